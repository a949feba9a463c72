"""Commits what the driver records, in batches, on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from tuner.engine.commits import Commits, is_refusal
from tuner.errors import StoreError, StoreUnavailable, TunerError
from tuner.records import Report, Run, Trial, Upload
from tuner.tracking.batch import Batch
from tuner.tracking.lease import Lease

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_log = logging.getLogger(__name__)

MAX_QUEUED = 20_000
"""Writes that may wait before the driver is made to wait for the store."""

MAX_BYTES = 128 * 2**20
"""Bytes of artifacts that may wait before the driver is made to wait for the artifact store."""

PATIENCE = 60.0
"""Seconds that a store may be away, or a disk full, until the study ends."""

PAUSE = 0.25
"""Seconds between tries while it is."""

AT_ONCE = 50
"""Runs whose reports are packed while nothing else is written."""

RENEWALS = 4
"""How often a lease is renewed in the time that it lasts, while there is nothing to write."""


WATCH = 2.0
"""Seconds between looks at whether the store's file is still in place, while nothing is written."""

_T = TypeVar("_T")


def with_patience(call: Callable[[], _T], patience: float | None = None) -> _T:
    """Return ``call()``, tried again while the store is away, for `patience` seconds at most.

    Raises
    ------
    StoreUnavailable
        If it still is after that; None stands for `PATIENCE`.
    """
    patience = PATIENCE if patience is None else patience
    since = time.monotonic()
    while True:
        try:
            return call()
        except StoreUnavailable:
            if time.monotonic() - since > patience:
                raise
            time.sleep(PAUSE)


class Writing(Protocol):
    """The driver's interface to the store; every method raises the store's errors."""

    def put(
        self,
        trial: Trial | None = None,
        run: Run | None = None,
        report: tuple[str, Report] | None = None,
        upload: tuple[str, Upload] | None = None,
    ) -> None:
        """Queue writes; those given in one call are committed together.

        An artifact of a run, `upload`, is stored before the run's end is committed.
        """

    def check(self) -> None:
        """Raise the error of the store, if any; called once in each round of the loop."""

    def flush(self) -> None:
        """Wait until everything that was put is committed."""

    def insist(self, call: Callable[[], object]) -> None:
        """Do something else with the store or its disk, with the same patience."""

    def close(self) -> None:
        """Commit what is queued, and end."""


MakeWriter: TypeAlias = "Callable[[Store, Lease], Writing]"


class Queue:
    """What waits to be written: of a trial or a run its last state, and everything else."""

    def __init__(self) -> None:
        self._batch = Batch()
        self._trials: dict[int, Trial] = {}
        self._runs: dict[str, Run] = {}
        self._uploads: list[tuple[str, Upload]] = []
        self._bytes = 0

    def __len__(self) -> int:
        batch = self._batch
        return len(self._trials) + len(self._runs) + len(batch.reports) + len(self._uploads)

    def is_full(self, most: int) -> bool:
        """Whether there are `most` writes or `MAX_BYTES` of artifacts, so that others must wait."""
        return len(self) >= most or self._bytes >= MAX_BYTES

    def put(
        self,
        trial: Trial | None,
        run: Run | None,
        report: tuple[str, Report] | None,
        upload: tuple[str, Upload] | None,
    ) -> None:
        """Add what is not None."""
        if trial is not None:
            self._trials[trial.number] = trial
        if run is not None:
            self._runs[run.uid] = run
        if report is not None:
            self._batch.reports.append(report)
        if upload is not None:
            self._uploads.append(upload)
            self._bytes += sum(map(len, upload[1].files.values()))

    def move_to(self, commits: Commits) -> None:
        """Hand over all of it, and be empty."""
        batch, self._batch = self._batch, Batch()
        batch.trials, batch.runs = list(self._trials.values()), list(self._runs.values())
        commits.add(batch, self._uploads)
        self._trials, self._runs, self._uploads, self._bytes = {}, {}, [], 0


class Writer:
    """Writes to the store as fast as it takes it, without keeping the driver from its work.

    While one batch commits, the next one gathers, so a slow store makes larger batches instead
    of a longer queue. The last state of a trial or run is all that is written of it.

    Each write renews the lease, and when there is nothing else to write that alone is done. While
    the store is away what comes is kept, and the batch under way is tried again: if it had been
    committed and only the answer was lost, writing it once more changes nothing. The same holds for
    artifacts, whose place may be full or away while the database is there: see `Commits`.

    The reports of runs that have ended are packed when there is nothing else to do, and at the end.

    Raises
    ------
    StoreError
        `put`, `check`, `flush` and `close` raise what the store raised. What was put by then, the
        values of a `put` that raises included, is written by `close` if the store takes it.
    StudyTakenOver
        Likewise, if another driver has the study; nothing is written after that.
    """

    def __init__(self, store: Store, lease: Lease, patience: float | None = None) -> None:
        self._store = store
        self._lease = lease
        self._patience = PATIENCE if patience is None else patience
        self._queue = Queue()
        self._commits = Commits(store, lease)
        self._changed = threading.Condition()
        self._busy = False
        self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._loop, name="tuner-writer", daemon=True)
        self._thread.start()

    def put(
        self,
        trial: Trial | None = None,
        run: Run | None = None,
        report: tuple[str, Report] | None = None,
        upload: tuple[str, Upload] | None = None,
    ) -> None:
        """Queue writes; those given in one call are committed together.

        An artifact of a run, `upload`, is stored before the run's end is committed.
        """
        with self._changed:
            while self._queue.is_full(MAX_QUEUED) and self._error is None:
                self._changed.wait()
            self._queue.put(trial, run, report, upload)
            self.check()
            if not self._busy:
                self._changed.notify_all()

    def check(self) -> None:
        """Raise the error of the store, if any."""
        if self._error is not None:
            raise self._error

    def flush(self) -> None:
        """Wait until everything that was put is committed."""
        with self._changed:
            while (self._queue or self._busy) and self._error is None:
                self._changed.wait()
            self.check()

    def insist(self, call: Callable[[], object]) -> None:
        """Do something else with the store or its disk, on this thread, with the same patience."""

        def unless_ended() -> None:
            self.check()
            call()

        with_patience(unless_ended, self._patience)

    def close(self) -> None:
        """Flush, then end the thread; see what a store that failed takes by now."""
        try:
            self.flush()
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._thread.join()
            if isinstance(self._error, StoreError):
                self._queue.move_to(self._commits)
                # Another store may lie there by now, without this study.
                with suppress(TunerError):
                    self._commits.finish()

    def _loop(self) -> None:
        try:
            while self._next():
                with_patience(self._commits.attempt, self._patience)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
                    idle = not self._queue
                if idle:
                    self._pack(AT_ONCE)
            self._pack()
        except BaseException as error:
            # Kept for the driver's thread, which raises it at its next call.
            with self._changed:
                self._error = error
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> bool:
        """Wait for something to write, or until the lease is to be renewed; False at the end."""
        due = time.monotonic() + self._lease.seconds / RENEWALS
        with self._changed:
            while not (self._queue or self._closed) and (left := due - time.monotonic()) > 0:
                self._changed.wait(min(left, WATCH))
                self._look()
            if self._closed and not self._queue:
                return False
            self._busy = True
            self._queue.move_to(self._commits)
            return True

    def _look(self) -> None:
        """Check that the store is still in place, where it can tell."""
        if (check := getattr(self._store, "check_in_place", None)) is not None:
            check()

    def _pack(self, n: int | None = None) -> None:
        """Pack the reports of up to `n` runs that have ended, or of all."""
        runs = self._commits.take_ended(n)
        if not runs:
            return
        try:
            with_patience(
                partial(self._store.pack_metrics, self._lease.study, runs), self._patience
            )
        except Exception as error:
            if not is_refusal(error):
                raise
            # They stay as they are, which readers do not notice.
            _log.warning("the reports of %d runs cannot be packed: %s", len(runs), error)
