"""The two clocks of a session: one that measures, one that tells the date.

The clock of the wall jumps: an operator or NTP sets it, forward and back. So every deadline and
duration is measured by a monotonic clock, and the wall's clock only dates what is recorded.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Measures time, and tells the date."""

    def elapsed(self) -> float:
        """Return the seconds since a fixed but arbitrary time; they never go back."""

    def now(self) -> float:
        """Return the date in seconds since the epoch, for the record only."""


class SystemClock:
    """The clocks of the operating system.

    `elapsed` is `time.monotonic`: it runs at one rate whatever is done to the wall's clock. On
    Linux and macOS it stands still while the machine is suspended.

    Examples
    --------
    >>> clock = SystemClock()
    >>> began = clock.elapsed()
    >>> clock.elapsed() >= began
    True
    """

    def elapsed(self) -> float:
        """Return the seconds of the monotonic clock."""
        return time.monotonic()

    def now(self) -> float:
        """Return the date in seconds since the epoch."""
        return time.time()


class Stopwatch:
    """Dates the beginning and the end of something; the end is its beginning plus its duration."""

    def __init__(self) -> None:
        self.began = time.time()
        self._since = time.monotonic()

    def now(self) -> float:
        """Return the date that it is, if the wall's clock has not been set since `began`."""
        return self.began + (time.monotonic() - self._since)
