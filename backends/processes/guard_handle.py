"""The driver's handle of the guard, the process that outlives a killed driver; see `guard`."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

from tuner.backends.processes import guard


class Guard:
    """Kills the process groups that it was told about, if this process ends before `close`."""

    def __init__(self) -> None:
        # Neither packages nor the user's environment are needed, so it starts in milliseconds.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__],
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
