"""Kill the workers of a driver that was killed, with all processes that their trials started.

This file is the program of a small process beside the driver. It reads ``+PID`` and ``-PID`` from
its standard input, one a line, and kills the process groups that are left when the driver ends.
The kernel ends the workers themselves with the driver, but not the processes that they started.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Read the process groups until the driver ends, and kill those that are left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups = set()
    for line in sys.stdin:
        if line[0] == "+":
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    for group in groups:
        with suppress(OSError):  # it has ended
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
