"""Commits what the driver records, whatever of it a store or a disk refuses.

Three things can go wrong with a batch, and each has its own answer here:

- The database or the artifact store is away. The whole call can be tried again; what was placed
  stays placed, and trials whose artifacts are not stored yet are recorded as running until then.
- The database refuses a value. The batch is split until the trial with the value stands alone;
  that trial is recorded as failed, with the reason, and everything else is committed.
- Anything else, such as a study that another driver took over, is raised.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from tuner.errors import ArgumentError, StoreError, StoreRefused
from tuner.records import Failure, Run, State, Trial, Upload
from tuner.tracking.batch import Batch
from tuner.tracking.lease import Lease

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_REFUSALS = (StoreRefused, ArithmeticError, ValueError, TypeError, struct.error, RecursionError)


def is_refusal(error: BaseException) -> bool:
    """Whether a store, or what encodes for it, refused values that another batch does not have."""
    return isinstance(error, _REFUSALS)


@dataclass(slots=True)
class Commits:
    """Commits batches of the study that a lease is for, and uploads of their runs.

    Not safe for threads: it belongs to the one that writes.
    """

    store: Store
    lease: Lease
    _batch: Batch = field(default_factory=Batch)
    _uploads: list[tuple[str, Upload]] = field(default_factory=list)
    _refused: dict[str, Failure] = field(default_factory=dict)
    _reporting: set[str] = field(default_factory=set)
    _ended: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether something waits to be committed."""
        return bool(self._batch or self._uploads)

    def add(self, batch: Batch, uploads: Iterable[tuple[str, Upload]]) -> None:
        """Take up what is to be committed next, after what waits."""
        _extend(self._batch, batch)
        self._uploads += uploads

    def attempt(self) -> None:
        """Place the uploads and commit the batch; with nothing to commit, renew the lease.

        Raises
        ------
        StoreUnavailable
            If something could not be stored just now. Call again: nothing is lost, and writing
            again what had been committed changes nothing.
        StoreError
            If something cannot be stored at all; what could be was committed.
        """
        self._commit(self._place(failures=1))

    def finish(self) -> None:
        """Commit whatever can still be committed, once the search is given up; see `attempt`.

        A trial whose artifacts cannot be stored stays open.
        """
        self.store.write(self.lease.study, Batch(), self.lease)  # is it there at all?
        self._commit(self._place(failures=len(self._uploads)))

    def take_ended(self, n: int | None = None) -> list[str]:
        """Return up to `n` runs, or all, that reported before the commit in which they ended."""
        n = len(self._ended) if n is None else n
        ended, self._ended = self._ended[:n], self._ended[n:]
        return ended

    def _commit(self, missing: StoreError | None) -> None:
        unplaced = {uid for uid, _ in self._uploads}
        batch = _marked(self._batch, self._refused, unplaced)
        self._write(batch)
        self._batch = _ends_of(self._batch, unplaced)
        self._note(batch)
        if missing is not None:
            raise missing

    def _note(self, batch: Batch) -> None:
        """Remember whose reports were committed before their end, and which of these have ended."""
        ended = {run.uid for run in batch.runs if run.state.finished}
        self._ended += self._reporting & ended
        self._reporting -= ended
        self._reporting |= {uid for uid, _ in batch.reports} - ended

    # --- uploads ------------------------------------------------------------------------------

    def _place(self, failures: int) -> StoreError | None:
        """Put uploads into the artifact store, until `failures` runs fail; return the first error.

        Those of a run stay in their order, as the latest content of a name counts.
        """
        left: list[tuple[str, Upload]] = []
        failed: dict[str, StoreError] = {}
        for uid, upload in self._uploads:
            if uid in failed or (failed and len(failed) >= failures):
                left.append((uid, upload))
                continue
            try:
                self._batch.artifacts.append(self.store.put_artifact(uid, upload))
            except StoreError as error:
                failed[uid] = error
                left.append((uid, upload))
            except ArgumentError as error:
                self._refuse(uid, error)
        self._uploads = left
        return next(iter(failed.values()), None)

    def _refuse(self, uid: str, error: BaseException) -> Failure:
        reason = f"the store does not take what this trial recorded: {error}"
        return self._refused.setdefault(uid, Failure("Refused", reason))

    # --- the batch ----------------------------------------------------------------------------

    def _write(self, batch: Batch) -> None:
        """Commit a batch; if the store refuses it, commit its halves, down to single trials."""
        try:
            self.store.write(self.lease.study, batch, self.lease)
        except Exception as error:
            if not is_refusal(error):
                raise
            units = _units(batch)
            if len(units) > 1:
                middle = len(units) // 2
                for half in units[:middle], units[middle:]:
                    self._write(_joined(half))
            else:
                self._write_refused(batch, error)

    def _write_refused(self, batch: Batch, error: Exception) -> None:
        """Record one trial as failed, without the values that the store refuses.

        A trial that is still running is recorded as failed when it ends.
        """
        uids = {run.uid for run in batch.runs} | {uid for uid, _ in batch.reports}
        uids |= {artifact.run for artifact in batch.artifacts}
        for uid in uids:
            self._refuse(uid, error)
        bare = _marked(Batch(batch.trials, batch.runs), self._refused, frozenset())
        try:
            self.store.write(self.lease.study, bare, self.lease)
        except Exception as again:
            if is_refusal(again):
                raise error from again  # not for what this trial recorded
            raise


def _marked(batch: Batch, refused: Mapping[str, Failure], unplaced: Container[str]) -> Batch:
    """Return a batch in which runs that ended are failed if refused, under way if `unplaced`.

    Their trials likewise, if it was their last run.
    """
    if not refused and not unplaced:
        return batch
    last: dict[tuple[int, int], Failure | None] = {}
    runs: list[Run] = []
    for run in batch.runs:
        failure = refused.get(run.uid)
        if run.state.finished and (run.uid in unplaced or failure is not None):
            last[run.trial, run.attempt] = None if run.uid in unplaced else failure
            state, ended = State.FAILED, run.ended
            if run.uid in unplaced:
                state, ended, failure = State.RUNNING, None, None
            run = replace(run, state=state, metrics={}, error=failure, ended=ended, output="")
        runs.append(run)
    trials: list[Trial] = []
    for trial in batch.trials:
        place = trial.number, trial.attempts
        if trial.state.finished and place in last:
            failure = last[place]
            trial = replace(
                trial,
                state=State.RUNNING if failure is None else State.FAILED,
                values=(),
                metrics={},
                error=failure,
                constraints={},
                notes={} if failure is not None else trial.notes,
                ended=None if failure is None else trial.ended,
            )
        trials.append(trial)
    return Batch(trials, runs, batch.reports, batch.artifacts)


# --- parts of batches -----------------------------------------------------------------------------

_Key: TypeAlias = int | str
"""A trial's number, or the uid of a run whose trial is not in the batch."""


def _units(batch: Batch) -> list[Batch]:
    """Return the parts of a batch that can be committed one without the other."""
    units: dict[_Key, Batch] = {}
    trial_of: dict[str, int] = {run.uid: run.trial for run in batch.runs}

    def unit(key: _Key) -> Batch:
        return units.setdefault(key, Batch())

    for trial in batch.trials:
        unit(trial.number).trials.append(trial)
    for run in batch.runs:
        unit(run.trial).runs.append(run)
    for uid, report in batch.reports:
        unit(trial_of.get(uid, uid)).reports.append((uid, report))
    for artifact in batch.artifacts:
        unit(trial_of.get(artifact.run, artifact.run)).artifacts.append(artifact)
    return list(units.values())


def _joined(units: Iterable[Batch]) -> Batch:
    batch = Batch()
    for unit in units:
        _extend(batch, unit)
    return batch


def _extend(batch: Batch, more: Batch) -> None:
    batch.trials += more.trials
    batch.runs += more.runs
    batch.reports += more.reports
    batch.artifacts += more.artifacts


def _ends_of(batch: Batch, uids: Container[str]) -> Batch:
    """Return the ends of these runs and of their trials."""
    runs = [run for run in batch.runs if run.state.finished and run.uid in uids]
    numbers = {run.trial for run in runs}
    trials = [t for t in batch.trials if t.state.finished and t.number in numbers]
    return Batch(trials, runs)
