"""Commits what the driver records, in batches, on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

from tuner.errors import StoreUnavailable
from tuner.records import Artifact, Report, Run, Trial
from tuner.tracking.lease import Lease
from tuner.tracking.protocol import Batch, Store

MAX_QUEUED = 20_000
"""Writes that may wait before the driver is made to wait for the store."""

PATIENCE = 60.0
"""Seconds that a store may be away until the study ends."""

PAUSE = 0.25
"""Seconds between tries while it is."""

AT_ONCE = 50
"""Runs whose reports are packed while nothing else is written."""

RENEWALS = 4
"""How often a lease is renewed in the time that it lasts, while there is nothing to write."""


WATCH = 2.0
"""Seconds between looks at whether the store's file is still in place, while nothing is written."""


class Writing(Protocol):
    """What the driver records through; every method raises what the store has raised."""

    def put(
        self,
        trial: Trial | None = None,
        run: Run | None = None,
        report: tuple[str, Report] | None = None,
        artifact: Artifact | None = None,
    ) -> None:
        """Queue writes; those given in one call are committed together."""

    def check(self) -> None:
        """Raise what the store has raised; called once in each round of the loop."""

    def flush(self) -> None:
        """Wait until everything that was put is committed."""

    def close(self) -> None:
        """Commit what is queued, and end."""


MakeWriter: TypeAlias = Callable[[Store, Lease], Writing]


class Queue:
    """What waits to be written: of a trial or a run its last state, and everything else."""

    def __init__(self) -> None:
        self._batch = Batch()
        self._trials: dict[int, Trial] = {}
        self._runs: dict[str, Run] = {}

    def __len__(self) -> int:
        batch = self._batch
        return len(self._trials) + len(self._runs) + len(batch.reports) + len(batch.artifacts)

    def put(
        self,
        trial: Trial | None,
        run: Run | None,
        report: tuple[str, Report] | None,
        artifact: Artifact | None,
    ) -> None:
        """Add what is not None."""
        if trial is not None:
            self._trials[trial.number] = trial
        if run is not None:
            self._runs[run.uid] = run
        if report is not None:
            self._batch.reports.append(report)
        if artifact is not None:
            self._batch.artifacts.append(artifact)

    def take(self) -> Batch:
        """Return all of it, and be empty."""
        batch, self._batch = self._batch, Batch()
        batch.trials, batch.runs = list(self._trials.values()), list(self._runs.values())
        self._trials, self._runs = {}, {}
        return batch


class Writer:
    """Writes to the store as fast as it takes it, without keeping the driver from its work.

    While one batch commits, the next one gathers, so a slow store makes larger batches instead
    of a longer queue. The last state of a trial or run is all that is written of it.

    Each write renews the lease, and when there is nothing else to write that alone is done. While
    the store is away what comes is kept, and the batch under way is tried again: if it had been
    committed and only the answer was lost, writing it once more changes nothing.

    The reports of runs that have ended are packed when there is nothing else to do, and at the end.

    Raises
    ------
    StoreError
        `put`, `check` and `close` raise what the store raised; nothing is written after that.
    StudyTakenOver
        Likewise, if another driver has the study.
    """

    def __init__(self, store: Store, lease: Lease, patience: float | None = None) -> None:
        self._store = store
        self._lease = lease
        self._patience = PATIENCE if patience is None else patience
        self._queue = Queue()
        self._changed = threading.Condition()
        self._busy = False
        self._closed = False
        self._reporting: set[str] = set()
        self._ended: list[str] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._loop, name="tuner-writer", daemon=True)
        self._thread.start()

    def put(
        self,
        trial: Trial | None = None,
        run: Run | None = None,
        report: tuple[str, Report] | None = None,
        artifact: Artifact | None = None,
    ) -> None:
        """Queue writes; those given in one call are committed together."""
        with self._changed:
            self.check()
            while len(self._queue) >= MAX_QUEUED and self._error is None:
                self._changed.wait()
            self.check()
            self._queue.put(trial, run, report, artifact)
            if not self._busy:
                self._changed.notify_all()

    def check(self) -> None:
        """Raise what the store has raised, if it has."""
        if self._error is not None:
            raise self._error

    def flush(self) -> None:
        """Wait until everything that was put is committed."""
        with self._changed:
            while (self._queue or self._busy) and self._error is None:
                self._changed.wait()
            self.check()

    def close(self) -> None:
        """Flush, then end the thread."""
        try:
            self.flush()
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._thread.join()

    def _loop(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self._with_patience(
                    partial(self._store.write, self._lease.study, batch, self._lease)
                )
                self._note(batch)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
                    idle = not self._queue
                if idle:
                    self._pack(AT_ONCE)
            self._pack(len(self._ended))
        except BaseException as error:
            # Kept for the driver's thread, which raises it at its next call.
            with self._changed:
                self._error = error
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> Batch | None:
        """Wait for something to write, or until the lease is to be renewed; None at the end."""
        due = time.monotonic() + self._lease.seconds / RENEWALS
        with self._changed:
            while not (self._queue or self._closed) and (left := due - time.monotonic()) > 0:
                self._changed.wait(min(left, WATCH))
                self._look()
            if self._closed and not self._queue:
                return None
            self._busy = True
            return self._queue.take()

    def _look(self) -> None:
        """Check that the store is still in place, where it can tell."""
        if (check := getattr(self._store, "check_in_place", None)) is not None:
            check()

    def _with_patience(self, write: Callable[[], object]) -> None:
        since = time.monotonic()
        while True:
            try:
                write()
                return
            except StoreUnavailable:
                if time.monotonic() - since > self._patience:
                    raise
                time.sleep(PAUSE)

    def _note(self, batch: Batch) -> None:
        """Remember whose reports were committed before their end, and which of these have ended."""
        ended = {run.uid for run in batch.runs if run.state.finished}
        self._ended += self._reporting & ended
        self._reporting -= ended
        self._reporting |= {uid for uid, _ in batch.reports} - ended

    def _pack(self, n: int) -> None:
        """Pack the reports of up to `n` runs that have ended."""
        runs, self._ended = self._ended[:n], self._ended[n:]
        if runs:
            self._with_patience(partial(self._store.compact, self._lease.study, runs))
