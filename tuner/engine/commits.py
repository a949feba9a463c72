"""Commit records of the driver despite rejected values and unavailable stores.

A commit can fail in four ways:

- The database or the artifact store is unavailable. The whole call can be repeated. Stored uploads
  stay stored, and trials whose artifacts are missing are recorded as running until then.
- The database rejects a value. The batch is bisected until the trial with the value is isolated.
  This trial is recorded as failed, with the reason, and all others are committed.
- The artifact folder rejects the name of an upload. The upload is left out, the trial keeps its
  outcome, and its record has the reason.
- Any other error, such as a study that another driver took over, propagates.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from tuner.errors import ArgumentError, StoreError, StoreRefused
from tuner.records import NOT_SAVED, Failure, Run, State, Trial, Upload
from tuner.tracking.batch import Batch
from tuner.tracking.lease import Lease

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_REFUSALS = (StoreRefused, ArithmeticError, ValueError, TypeError, struct.error, RecursionError)


def is_refusal(error: BaseException) -> bool:
    """Whether the store, or an encoder, rejected values; other batches may be accepted."""
    return isinstance(error, _REFUSALS)


@dataclass(slots=True)
class Commits:
    """Commits batches and uploads of one study under its lease. Not thread-safe."""

    store: Store
    lease: Lease
    _batch: Batch = field(default_factory=Batch)
    _uploads: list[tuple[str, Upload]] = field(default_factory=list)
    _refused: dict[str, Failure] = field(default_factory=dict)
    _unsaved: dict[str, Failure] = field(default_factory=dict)
    _reporting: set[str] = field(default_factory=set)
    _ended: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything is pending."""
        return bool(self._batch or self._uploads)

    def add(self, batch: Batch, uploads: Iterable[tuple[str, Upload]]) -> None:
        """Append records to the pending ones."""
        _extend(self._batch, batch)
        self._uploads += uploads

    def attempt(self) -> None:
        """Store the uploads and commit the batch; if nothing is pending, renew the lease.

        Raises
        ------
        StoreUnavailable
            If the store is temporarily unavailable. Call again: nothing is lost, and commits are
            idempotent.
        StoreError
            If some records cannot be stored; the others were committed.
        """
        self._commit(self._place(failures=1))

    def finish(self) -> None:
        """Commit as much as possible after the search was abandoned; see `attempt`.

        A trial whose artifacts cannot be stored stays open.
        """
        self.store.write(self.lease.study, Batch(), self.lease)  # check that the store is reachable
        self._commit(self._place(failures=len(self._uploads)))

    def take_ended(self, n: int | None = None) -> list[str]:
        """Return up to `n` runs, or all, with reports that were committed before the run's end."""
        n = len(self._ended) if n is None else n
        ended, self._ended = self._ended[:n], self._ended[n:]
        return ended

    def _commit(self, missing: StoreError | None) -> None:
        unplaced = {uid for uid, _ in self._uploads}
        batch = _marked(self._batch, self._refused, unplaced)
        self._name_unsaved(batch)
        self._write(batch)
        self._batch = _ends_of(self._batch, unplaced)
        self._note(batch)
        if missing is not None:
            raise missing

    def _note(self, batch: Batch) -> None:
        """Track runs with reports committed before their end, and which of them ended."""
        ended = {run.uid for run in batch.runs if run.state.finished}
        self._ended += self._reporting & ended
        self._reporting -= ended
        self._reporting |= {uid for uid, _ in batch.reports} - ended

    # --- uploads ------------------------------------------------------------------------------

    def _place(self, failures: int) -> StoreError | None:
        """Put uploads into the artifact store, until `failures` runs fail; return the first error.

        The uploads of a run stay in order, because the last content of a name counts.
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
                failure = Failure(NOT_SAVED, f"{upload.kind} {upload.name!r:.100}: {error}")
                self._unsaved.setdefault(uid, failure)
        self._uploads = left
        return next(iter(failed.values()), None)

    def _name_unsaved(self, batch: Batch) -> None:
        """Record in finished runs, and their trials, which uploads were left out."""
        if not self._unsaved:
            return
        failures: dict[int, Failure] = {}
        for n, run in enumerate(batch.runs):
            if run.state.finished and (failure := self._unsaved.get(run.uid)) is not None:
                if run.error is None:
                    batch.runs[n] = replace(run, error=failure)
                failures[run.trial] = failure
        for n, trial in enumerate(batch.trials):
            if trial.state.finished and trial.error is None and trial.number in failures:
                batch.trials[n] = replace(trial, error=failures[trial.number])

    def _refuse(self, uid: str, error: BaseException) -> Failure:
        reason = f"the store rejects the records of this trial: {error}"
        return self._refused.setdefault(uid, Failure("Refused", reason))

    # --- the batch ----------------------------------------------------------------------------

    def _write(self, batch: Batch) -> None:
        """Commit a batch; if the store rejects it, commit its halves, down to single trials."""
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
        """Record one trial as failed, without the values that the store rejects.

        A running trial is recorded as failed when it ends.
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
                raise error from again  # the values are not the cause
            raise


def _marked(batch: Batch, refused: Mapping[str, Failure], unplaced: Container[str]) -> Batch:
    """Return a batch in which finished runs are failed if `refused`, and running if `unplaced`.

    The same holds for the trials of which they are the last runs.
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
    """Return the parts of a batch that can be committed independently."""
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
    """Return the finished ones among these runs, and their trials."""
    runs = [run for run in batch.runs if run.state.finished and run.uid in uids]
    numbers = {run.trial for run in runs}
    trials = [t for t in batch.trials if t.state.finished and t.number in numbers]
    return Batch(trials, runs)
