"""A virtual clock, and a queue of actions ordered by virtual time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

EPOCH = 946_684_800.0
"""When virtual time begins: the year 2000, in seconds since the epoch."""


class VirtualClock:
    """Seconds since the epoch, advanced explicitly; several backends may share one clock.

    Examples
    --------
    >>> clock = VirtualClock()
    >>> began = clock()
    >>> clock.advance_to(began + 3600)
    >>> clock() - began
    3600.0
    """

    __slots__ = ("_now",)

    def __init__(self, now: float = EPOCH) -> None:
        self._now = now

    def __call__(self) -> float:
        """Return the current virtual time."""
        return self._now

    def now(self) -> float:
        """Return the wall-clock time; virtual time is never adjusted."""
        return self._now

    def elapsed(self) -> float:
        """Return the monotonic time, which equals the wall-clock time."""
        return self._now

    def advance_to(self, time: float) -> None:
        """Advance to `time`, unless the clock is already later."""
        self._now = max(self._now, time)


class EventQueue:
    """A queue of actions ordered by time, then by insertion.

    An action with ``after`` runs after all other actions of the same time.
    """

    __slots__ = ("_entries", "_order")

    def __init__(self) -> None:
        self._entries: list[tuple[float, bool, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, time: float, action: Callable[[], None], *, after: bool = False) -> None:
        """Schedule `action` at `time`."""
        heapq.heappush(self._entries, (time, after, next(self._order), action))

    @property
    def next_time(self) -> float:
        """Return the time of the next action; the queue must not be empty."""
        return self._entries[0][0]

    @property
    def next_is_after(self) -> bool:
        """Whether the next action was put with ``after``; the queue must not be empty."""
        return self._entries[0][1]

    def take(self) -> Callable[[], None]:
        """Remove and return the next action."""
        return heapq.heappop(self._entries)[-1]

    def clear(self) -> None:
        """Remove all actions."""
        self._entries.clear()
