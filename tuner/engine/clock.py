"""The clocks of a session: a monotonic clock for durations and a wall clock for dates.

An operator or NTP can set the wall clock forward or back. Every deadline and duration is therefore
measured by a monotonic clock, and the wall clock only dates records.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Measures durations, and returns dates."""

    def elapsed(self) -> float:
        """Return monotonic seconds since an arbitrary origin."""

    def now(self) -> float:
        """Return the date in seconds since the epoch, for records only."""


class SystemClock:
    """The clocks of the operating system.

    `elapsed` is `time.monotonic`: it runs at one rate regardless of changes to the wall clock. On
    Linux and macOS it stops while the machine is suspended.

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
    """Dates a start and an end; the end is the start plus the measured duration."""

    def __init__(self) -> None:
        self.began = time.time()
        self._since = time.monotonic()

    def now(self) -> float:
        """Return the date, unaffected by changes of the wall clock since `began`."""
        return self.began + (time.monotonic() - self._since)
