"""When runs under way are overdue, the earliest first."""

from __future__ import annotations

import heapq


class Deadlines:
    """The times at which runs are to be ended; each call costs the same however many there are.

    Examples
    --------
    >>> deadlines = Deadlines()
    >>> deadlines.set("a", 10.0)
    >>> deadlines.set("b", 20.0)
    >>> deadlines.drop("a")
    >>> deadlines.next(), deadlines.passed(20.0), deadlines.next()
    (20.0, ['b'], None)
    """

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        # Keeps what was dropped until its time comes; only what is still due then counts.
        self._heap: list[tuple[float, str]] = []

    def set(self, run: str, due: float) -> None:
        """Let `run` be overdue at that time."""
        self._due[run] = due
        heapq.heappush(self._heap, (due, run))

    def drop(self, run: str) -> None:
        """Forget `run`, if it is known."""
        self._due.pop(run, None)

    def next(self) -> float | None:
        """Return when the next run is overdue, None if none ever is."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def passed(self, now: float) -> list[str]:
        """Return the runs that are overdue, and forget them."""
        overdue: list[str] = []
        while (due := self.next()) is not None and due <= now:
            _, run = heapq.heappop(self._heap)
            del self._due[run]
            overdue.append(run)
        return overdue
