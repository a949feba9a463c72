"""Time that passes only when someone waits for it, and what is to happen in it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

BEGINNING = 946_684_800.0
"""When virtual time begins: the year 2000, in seconds since the epoch."""


class VirtualClock:
    """Seconds since the epoch, moved on by hand; several may share one.

    Examples
    --------
    >>> clock = VirtualClock()
    >>> began = clock()
    >>> clock.advance_to(began + 3600)
    >>> clock() - began
    3600.0
    """

    __slots__ = ("_now",)

    def __init__(self, now: float = BEGINNING) -> None:
        self._now = now

    def __call__(self) -> float:
        """Return what time it is."""
        return self._now

    def now(self) -> float:
        """Return the date, which is never set."""
        return self._now

    def elapsed(self) -> float:
        """Return the time that measures, which is the date."""
        return self._now

    def advance_to(self, time: float) -> None:
        """Let it be `time`, unless it is later already."""
        self._now = max(self._now, time)


class Agenda:
    """What is to happen, by its time; of the same time, in the order in which it was put.

    What is put with ``after`` happens once everything else of its time has.
    """

    __slots__ = ("_entries", "_order")

    def __init__(self) -> None:
        self._entries: list[tuple[float, bool, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, time: float, action: Callable[[], None], *, after: bool = False) -> None:
        """Let `action` happen at `time`."""
        heapq.heappush(self._entries, (time, after, next(self._order), action))

    @property
    def next_time(self) -> float:
        """When the next action is due; the agenda must not be empty."""
        return self._entries[0][0]

    @property
    def next_is_after(self) -> bool:
        """Whether the next action was put with ``after``; the agenda must not be empty."""
        return self._entries[0][1]

    def take(self) -> Callable[[], None]:
        """Return the next action, and cross it out."""
        return heapq.heappop(self._entries)[-1]

    def clear(self) -> None:
        """Cross out everything."""
        self._entries.clear()
