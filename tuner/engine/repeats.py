"""Run finished trials again, under fresh seeds, until a race between them is decided.

Each repeat is a run of its trial; the trial and its outcome do not change. A repeat counts once its
outcome is committed. A repeat whose worker or driver was lost does not count, so a race that is
interrupted continues where it was.
"""

from __future__ import annotations

import math
import socket
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from tuner.backends.protocol import Event, Finished, Lost, Sent, overdue
from tuner.engine.interrupted import INTERRUPTED, interrupted
from tuner.engine.machine_state import Attempt, Deadlines
from tuner.engine.progress import Snapshot
from tuner.errors import StoreUnavailable
from tuner.optimizers.estimates import Estimates
from tuner.optimizers.racing import Race, is_decided, next_repeats
from tuner.optimizers.winner import Repeats, estimates_of, is_counted, repeats_of
from tuner.records import (
    Begun,
    Failure,
    Job,
    Outcome,
    Output,
    Report,
    Run,
    RunPurpose,
    State,
    Trial,
)
from tuner.records.seeds import repeat_seed
from tuner.search_spaces import Space
from tuner.tracking.batch import Batch

if TYPE_CHECKING:
    from tuner.engine.driver import Session
    from tuner.engine.writer import Writing
    from tuner.tracking.lease import Lease


class RepeatDriver:
    """Runs one race to its end; see `run`.

    Parameters
    ----------
    session
        As for a search. Its limits on trials do not apply; files and models that a repeat logs are
        not kept.
    space
        The space of the study.
    race
        The rules.
    budget
        Total number of repeats of the study, earlier calls included.
    noise
        Standard deviation of a value, None if it is unknown.
    """

    def __init__(
        self,
        session: Session,
        space: Space,
        race: Race,
        budget: int,
        noise: float | None = None,
    ) -> None:
        self._session = session
        self._space = space
        self._race = race
        self._budget = budget
        self._noise = noise
        self._active: dict[str, Attempt] = {}
        self._deadlines = Deadlines()
        self._lost: Counter[int] = Counter()
        self._ended: list[Run] = []
        self._repeats = Repeats({}, {})
        self._attempts: dict[int, int] = {}
        self._trials: dict[int, Trial] = {}
        self._template = Run("", 0)
        self._writer: Writing | None = None
        self._estimates: Estimates | None = None
        self._opened = session.clock.elapsed()

    def run(self) -> None:
        """Run repeats until the race is decided, or its budget or the timeout is spent.

        Raises
        ------
        StudyBusy
            If a driver holds the study; nothing was started.
        BackendError
            If the workers cannot be started or replaced.
        StoreError
            If the store does not accept records; earlier commits are kept.
        KeyboardInterrupt
            After all finished repeats have been recorded.
        """
        s = self._session
        closing = "failed"
        with ExitStack() as last:
            lease = s.store.acquire_lease(s.info, s.owner, s.lease)
            last.callback(self._release, lease)
            self._begin(lease)
            last.callback(lambda: s.progress.close(closing))
            if not self._has_work():
                closing = "finished"
                return
            self._writer = writer = s.writer(s.store, lease)
            last.callback(writer.close)
            last.callback(s.backend.close)
            s.progress.note("starting workers")
            s.backend.start(
                s.work, workers=s.workers, resources=s.resources, deliver=self._on_event
            )
            try:
                while self._step(writer):
                    pass
                closing = "finished"
            except BaseException as error:
                closing = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                self._give_up()
                raise

    # --- start and end ------------------------------------------------------------------------

    def _begin(self, lease: Lease) -> None:
        """Read the record, and end the repeats that a dead driver left active."""
        s = self._session
        self._trials = {t.number: t for t in s.store.trials(s.info.uid)}
        self._template = Run(
            "",
            0,
            host=socket.gethostname(),
            purpose=RunPurpose.REPEAT,
            code=s.store.put_code(s.code),
            environment=s.store.put_environment(s.environment),
        )
        known = list(s.store.runs(s.info.uid, purpose=RunPurpose.REPEAT))
        silence = lease.silence
        left = interrupted(known, s.clock.now() - silence if silence is not None else 0.0)
        if left:
            s.store.write(s.info.uid, Batch(runs=left), lease)
        self._ended = [*(run for run in known if run.state.finished), *left]
        self._repeats = repeats_of(self._ended, s.info.goal)
        done, goal = self._repeats.count, s.info.goal
        s.progress.start(s.info.name, done, self._budget, s.limits.timeout, goal)

    def _release(self, lease: Lease) -> None:
        with suppress(StoreUnavailable):  # it expires by itself
            self._session.store.release_lease(lease)

    def _give_up(self) -> None:
        """End the active repeats as interrupted; a later call runs them again."""
        for uid in list(self._active):
            self._end(uid, Outcome(State.FAILED, error=INTERRUPTED))

    # --- the loop -----------------------------------------------------------------------------

    def _step(self, writer: Writing) -> bool:
        """Fill the free workers and handle events; return whether there is more to do."""
        s = self._session
        writer.check()
        now = s.clock.elapsed()
        for uid in self._deadlines.pop_overdue(now):
            self._active[uid].killed = overdue(s.limits.trial_timeout)
            s.backend.stop(uid, kill=True)
        has_work = self._has_work()
        if has_work:
            self._fill(s.backend.capacity - len(self._active), now)
        s.progress.update(self._snapshot())
        if not self._active and not has_work:
            return False
        due = self._deadlines.next()
        wait = s.poll if due is None else min(s.poll, max(0.0, due - s.clock.elapsed()))
        for event in s.backend.events(wait):
            self._on_event(event)
        return True

    def _has_work(self) -> bool:
        """Whether further repeats should start."""
        s = self._session
        if self._repeats.count + len(self._active) >= self._budget:
            return False
        timeout = s.limits.timeout
        if timeout is not None and s.clock.elapsed() - self._opened >= timeout:
            return False
        if not any(trial.eligible for trial in self._candidates()):
            return False
        return not is_decided(self._race, self._current(), self._repeats.count)

    def _candidates(self) -> list[Trial]:
        """Return the trials without those that lost too many workers."""
        most = self._session.limits.max_lost
        return [t for t in self._trials.values() if self._lost[t.number] <= most]

    def _current(self) -> Estimates:
        """Return the estimates, which change only when a repeat has ended."""
        if self._estimates is None:
            goal, trials = self._session.info.goal, self._candidates()
            self._estimates = estimates_of(self._space, goal, trials, self._repeats, self._noise)
        return self._estimates

    def _fill(self, free: int, now: float) -> None:
        """Submit up to `free` repeats."""
        s = self._session
        n = min(free, self._budget - self._repeats.count - len(self._active))
        running = Counter(a.run.trial for a in self._active.values())
        for number in next_repeats(self._race, self._current(), running, n):
            trial = replace(self._trials[number], seed=self._fresh_seed(number))
            attempt = self._next_attempt(number)
            run = replace(
                self._template,
                uid=s.new_run(),
                trial=number,
                attempt=attempt,
                seed=trial.seed,
                started=s.clock.now(),
            )
            job = Job(run.uid, trial, attempt, timeout=s.limits.trial_timeout)
            self._active[run.uid] = Attempt(job, trial, run, launched=now)
            s.backend.submit(job)

    def _fresh_seed(self, number: int) -> int:
        """Return the first seed of a repeat that no other counted repeat of a trial has."""
        runs = (*self._ended, *(a.run for a in self._active.values()))
        taken = {run.seed for run in runs if run.trial == number and is_counted(run)}
        seeds = (repeat_seed(self._session.info.seed, place) for place in count())
        return next(seed for seed in seeds if seed not in taken)

    def _next_attempt(self, number: int) -> int:
        """Return the number of the next run of a trial, after its attempts and replays."""
        if number not in self._attempts:
            runs = self._session.store.runs(self._session.info.uid, number)
            self._attempts[number] = max((run.attempt for run in runs), default=0)
        self._attempts[number] += 1
        return self._attempts[number]

    # --- events -------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        s = self._session
        match event:
            case Sent(uid, message) if (attempt := self._active.get(uid)) is not None:
                match message:
                    case Begun():
                        attempt.begin(message, s.clock.elapsed())
                        if s.limits.trial_timeout is not None:
                            due = s.clock.elapsed() + s.limits.trial_timeout
                            self._deadlines.set(uid, due)
                        self._put(attempt.run)
                    case Output(text, time):
                        attempt.run = replace(attempt.run, output=text, ended=time)
                    case Report() if self._writer is not None:
                        self._writer.put(report=(uid, message))
            case Finished(uid, outcome) if (attempt := self._active.get(uid)) is not None:
                killed = attempt.killed
                self._end(uid, outcome if killed is None else Outcome(State.FAILED, error=killed))
            case Lost(uid, reason) if (attempt := self._active.get(uid)) is not None:
                self._lost[attempt.run.trial] += attempt.killed is None
                failure = attempt.killed or Failure("WorkerLost", reason)
                self._end(uid, Outcome(State.FAILED, error=failure))

    def _end(self, uid: str, outcome: Outcome) -> None:
        """Record the end of a repeat."""
        clock = self._session.clock
        attempt = self._active.pop(uid)
        self._deadlines.drop(uid)
        run = attempt.ended_run(outcome, clock.elapsed(), clock.now())
        self._ended.append(run)
        self._repeats = repeats_of(self._ended, self._session.info.goal)
        self._estimates = None
        self._put(run)

    def _put(self, run: Run) -> None:
        if self._writer is not None:
            self._writer.put(run=run)

    def _snapshot(self) -> Snapshot:
        s = self._session
        best = None if self._estimates is None else self._estimates.winner
        return Snapshot(
            done=self._repeats.count,
            running=min(len(self._active), s.backend.capacity),
            failed=sum(self._repeats.failed.values()),
            best_value=None if best is None or math.isnan(best.mean) else best.mean,
            best_trial=None if best is None else best.trial,
            elapsed=s.clock.elapsed() - self._opened,
        )
