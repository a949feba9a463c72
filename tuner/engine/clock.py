"""The clocks of a session: a monotonic clock for durations and a wall clock for dates.

An operator or NTP can set the wall clock forward or back. Every deadline and duration is therefore
measured by a monotonic clock, and the wall clock only dates records.
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

    `elapsed` is `time.monotonic`: it runs at one rate regardless of changes to the wall clock. On
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
        """Return the date that it is, if the wall clock has not been set since `began`."""
        return self.began + (time.monotonic() - self._since)
