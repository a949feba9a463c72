"""Kill the workers of a driver that was killed, with all processes that their trials started.

The guard is a small process beside the driver, and this file is its program. It reads ``+PID`` and
``-PID`` from its standard input, one a line, and kills the process groups that are left when the
driver ends. The kernel ends the workers themselves with the driver, but not the processes that they
started. The program imports no packages, so the guard starts in milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress


class Guard:
    """The driver's handle: kills the added process groups if the driver ends before `close`."""

    def __init__(self) -> None:
        import subprocess

        # Neither packages nor the user's environment are needed, so it starts in milliseconds.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )

    def add(self, group: int) -> None:
        """Guard a process group."""
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Forget a process group that has ended."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the guard, once the process groups have ended."""
        assert self._process.stdin is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # someone has killed it
            self._process.stdin.write(line.encode())


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
