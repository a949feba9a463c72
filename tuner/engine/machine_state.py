"""State that the machine keeps about active runs and finished trials."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from tuner.records import Failure, Job, Run, State, Trial


@dataclass(slots=True)
class Attempt:
    """A run under way; times by the clock that measures, `launched` None if by another driver."""

    job: Job
    trial: Trial
    run: Run
    launched: float | None
    begun: float | None = None
    last: dict[str, float] = field(default_factory=dict)
    killed: Failure | None = None
    abandoned: bool = False
    stop_asked: bool = False


@dataclass(frozen=True, slots=True)
class Savepoint:
    """Snapshot of a state machine that `Machine.back_to` restores."""

    active: dict[str, Attempt]
    waiting: tuple[Trial, ...]
    open: dict[int, Trial]
    next_number: int


@dataclass(slots=True)
class Counts:
    """Number of finished trials of a study, by state."""

    completed: int = 0
    stopped: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        """Trials with an outcome."""
        return self.completed + self.stopped + self.failed

    def add(self, state: State) -> None:
        """Count one more trial that ended in `state`."""
        setattr(self, state.value, getattr(self, state.value) + 1)


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

    def pop_overdue(self, now: float) -> list[str]:
        """Return the runs that are overdue, and forget them."""
        overdue: list[str] = []
        while (due := self.next()) is not None and due <= now:
            _, run = heapq.heappop(self._heap)
            del self._due[run]
            overdue.append(run)
        return overdue
