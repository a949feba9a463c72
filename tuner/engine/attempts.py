"""State that the machine keeps about active runs and finished trials."""

from __future__ import annotations

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
class Mark:
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
