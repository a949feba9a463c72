"""The state machine of a study whose trials several processes run: ask and tell."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tuner.engine.machine import Machine
from tuner.engine.machine_state import Attempt, Limits
from tuner.records import Job, Run, State, StudyInfo, Trial
from tuner.schedulers.protocol import Scheduler
from tuner.tracking.batch import TrialStatus
from tuner.tracking.uuid7 import uuid7


@dataclass(frozen=True, slots=True)
class Savepoint:
    """A state of the machine that `SharedMachine.rollback_to` restores."""

    active: dict[str, Attempt]
    waiting: tuple[Trial, ...]
    open: dict[int, Trial]
    next_number: int


class SharedMachine(Machine):
    """A state machine that also learns from the records of other processes, and can roll back.

    Parameters
    ----------
    info
        The study, which starts without trials here.
    scheduler
        Decides whether a trial stops when it reports; None stops no trial.
    """

    queues = False

    def __init__(self, info: StudyInfo, scheduler: Scheduler | None = None) -> None:
        limits = Limits(max_identical_failures=None)
        super().__init__(limits, info.goals, info.seed, uuid7, scheduler=scheduler)
        self._scheduling.pauses = False  # the process of a trial decides when it ends
        self._info = info

    def alone(self, attempt: Attempt) -> SharedMachine:
        """Return a machine without a scheduler, with a copy of this attempt only."""
        machine = SharedMachine(self._info)
        machine.adopt(attempt.trial, attempt.run)
        copy = machine.active[attempt.run.uid]
        copy.launched = attempt.launched
        copy.last.update(attempt.last)
        return machine

    def active_run(self, number: int) -> str | None:
        """Return the uid of the active run of a trial, or None."""
        runs = (uid for uid, attempt in self.active.items() if attempt.trial.number == number)
        return next(runs, None)

    def places(self) -> dict[int, TrialStatus]:
        """Return the state and the number of attempts of each open trial."""
        return {trial.number: (trial.state, trial.attempts) for trial in self.pending}

    def adopt(self, trial: Trial, run: Run) -> None:
        """Continue an active attempt that another process started."""
        self._trials.start(trial)
        self.active[run.uid] = Attempt(Job(run.uid, trial, run.attempt), trial, run, launched=None)

    def savepoint(self) -> Savepoint:
        """Return the state that `rollback_to` restores."""
        trials = self._trials
        return Savepoint(
            dict(self.active), tuple(trials.waiting), dict(trials.open), trials.next_number
        )

    def rollback_to(self, savepoint: Savepoint) -> None:
        """Undo the creation and launch of trials since `savepoint`, which were not recorded.

        Covers the effects of `enqueue`, `AskRequested` and `Suggested`, but not of outcomes.
        """
        self.active = savepoint.active
        self._trials.waiting = deque(savepoint.waiting)
        self._trials.open = savepoint.open
        self._trials.next_number = savepoint.next_number
        self._asked = 0
        self._exhausted = False

    def learn(self, trial: Trial) -> None:
        """Update a trial as another process recorded it; that process owns the trial's runs.

        Trials that are new here must come by number.
        """
        known = self._trials.open.get(trial.number)
        if known is not None and known.state is not State.WAITING:
            for uid in [u for u, a in self.active.items() if a.trial.number == trial.number]:
                del self.active[uid]
                self._deadlines.drop(uid)
        self._trials.replace(trial)
        if trial.state.finished:
            self.counts.add(trial.state)

    @property
    def last_number(self) -> int:
        """The highest number of a trial, -1 if there is none."""
        return self._trials.next_number - 1

    def open_trial(self, number: int) -> Trial | None:
        """Return a trial without an outcome; None if it has one or does not exist."""
        return self._trials.open.get(number)
