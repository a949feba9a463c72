"""Commit records of the driver in batches, on a separate thread."""

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
from tuner.errors.notices import held, warn
from tuner.records import Report, Run, Trial, Upload
from tuner.tracking.batch import Batch
from tuner.tracking.lease import Lease

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_log = logging.getLogger(__name__)

MAX_QUEUED = 20_000
"""Maximum number of queued writes; further ones block the driver."""

MAX_BYTES = 128 * 2**20
"""Maximum bytes of queued artifacts; further ones block the driver."""

STORE_TIMEOUT = 60.0
"""Seconds that a store may be unavailable, or a disk full, until the study ends."""

RETRY_DELAY = 0.25
"""Seconds between two attempts while the store is unavailable."""

PACK_BATCH = 50
"""Number of runs whose reports are packed at once while the writer is idle."""

RENEWALS = 4
"""Number of renewals within the duration of a lease while the writer is idle."""

CHECK_INTERVAL = 2.0
"""Seconds between checks that the store's file still exists, while the writer is idle."""

_T = TypeVar("_T")


def retry_while_unavailable(call: Callable[[], _T], timeout: float | None = None) -> _T:
    """Return ``call()``, and retry it while the store is unavailable.

    Parameters
    ----------
    call
        An idempotent function.
    timeout
        Maximum seconds of retries; None means `STORE_TIMEOUT`.

    Raises
    ------
    StoreUnavailable
        If the store is still unavailable after `timeout` seconds.
    """
    timeout = STORE_TIMEOUT if timeout is None else timeout
    since = time.monotonic()
    while True:
        try:
            return call()
        except StoreUnavailable:
            if time.monotonic() - since > timeout:
                raise
            time.sleep(RETRY_DELAY)


class Writing(Protocol):
    """The driver's interface to the store; every method raises the store's errors."""

    def put(
        self,
        trial: Trial | None = None,
        run: Run | None = None,
        report: tuple[str, Report] | None = None,
        upload: tuple[str, Upload] | None = None,
    ) -> None:
        """Queue writes; the arguments of one call are committed together.

        The `upload` of a run is stored before the run's end is committed.
        """

    def check(self) -> None:
        """Raise the error of the store, if any; called once per iteration of the loop."""

    def flush(self) -> None:
        """Wait until all queued writes are committed."""

    def call_with_retries(self, call: Callable[[], object]) -> None:
        """Call a function that uses the store or its disk, with the same retries."""

    def close(self) -> None:
        """Commit all queued writes, and end."""


MakeWriter: TypeAlias = "Callable[[Store, Lease], Writing]"


class WriteQueue:
    """Pending writes; only the last state of each trial and run is kept."""

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
        """Whether there are `most` writes or `MAX_BYTES` of artifacts."""
        return len(self) >= most or self._bytes >= MAX_BYTES

    def put(
        self,
        trial: Trial | None,
        run: Run | None,
        report: tuple[str, Report] | None,
        upload: tuple[str, Upload] | None,
    ) -> None:
        """Add the arguments that are not None."""
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
        """Move all writes to `commits`."""
        batch, self._batch = self._batch, Batch()
        batch.trials, batch.runs = list(self._trials.values()), list(self._runs.values())
        commits.add(batch, self._uploads)
        self._trials, self._runs, self._uploads, self._bytes = {}, {}, [], 0


class Writer:
    """Writes to the store on a thread, without blocking the driver.

    While one batch is committed, the next one accumulates, so a slow store leads to larger batches,
    not to a longer queue. Only the last state of each trial and run is written.

    Each write renews the lease; an idle writer renews it alone. While the store is unavailable, the
    queue is kept and the current batch is retried. Writes are idempotent, so a batch may be
    repeated whose confirmation was lost. The same holds for artifacts, see `Commits`.

    Reports of ended runs are packed while the writer is idle, and at the end.

    Raises
    ------
    StoreError
        `put`, `check`, `flush` and `close` raise the error of the store. All earlier writes,
        including those of a `put` that raises, are written by `close` if the store accepts them.
    StudyTakenOver
        Likewise, if another driver took over the study; nothing is written after that.
    """

    def __init__(self, store: Store, lease: Lease, timeout: float | None = None) -> None:
        self._store = store
        self._lease = lease
        self._timeout = STORE_TIMEOUT if timeout is None else timeout
        self._queue = WriteQueue()
        self._commits = Commits(store, lease)
        self._changed = threading.Condition()
        self._busy = False
        self._closed = False
        self._error: BaseException | None = None
        self._warnings: list[str] = []
        self._thread = threading.Thread(target=self._loop, name="tuner-writer", daemon=True)
        self._thread.start()

    def put(
        self,
        trial: Trial | None = None,
        run: Run | None = None,
        report: tuple[str, Report] | None = None,
        upload: tuple[str, Upload] | None = None,
    ) -> None:
        """Queue writes; the arguments of one call are committed together.

        The `upload` of a run is stored before the run's end is committed.
        """
        with self._changed:
            while self._queue.is_full(MAX_QUEUED) and self._error is None:
                self._changed.wait()
            self._queue.put(trial, run, report, upload)
            self.check()
            if not self._busy:
                self._changed.notify_all()

    def check(self) -> None:
        """Issue the warnings of the store, and raise its error, if any."""
        while self._warnings:
            warn(self._warnings.pop(0))
        if self._error is not None:
            raise self._error

    def flush(self) -> None:
        """Wait until all queued writes are committed."""
        with self._changed:
            while (self._queue or self._busy) and self._error is None:
                self._changed.wait()
            self.check()

    def call_with_retries(self, call: Callable[[], object]) -> None:
        """Call a function that uses the store or its disk, with the same retries."""

        def unless_ended() -> None:
            self.check()
            call()

        retry_while_unavailable(unless_ended, self._timeout)

    def close(self) -> None:
        """Flush, and end the thread; after a store error, try once more to write the queue."""
        try:
            self.flush()
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._thread.join()
            if isinstance(self._error, StoreError):
                self._queue.move_to(self._commits)
                # The store may have been replaced by one without this study.
                with suppress(TunerError):
                    self._commits.finish()

    def _loop(self) -> None:
        with held(self._warnings):
            self._write_all()

    def _write_all(self) -> None:
        try:
            while self._next():
                retry_while_unavailable(self._commits.attempt, self._timeout)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
                    idle = not self._queue
                if idle:
                    self._pack(PACK_BATCH)
            self._pack()
        except BaseException as error:
            # The driver's thread raises it at its next call.
            with self._changed:
                self._error = error
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> bool:
        """Wait for writes or for the lease's renewal; return False at the end."""
        due = time.monotonic() + self._lease.seconds / RENEWALS
        with self._changed:
            while not (self._queue or self._closed) and (left := due - time.monotonic()) > 0:
                self._changed.wait(min(left, CHECK_INTERVAL))
                self._check_in_place()
            if self._closed and not self._queue:
                return False
            self._busy = True
            self._queue.move_to(self._commits)
            return True

    def _check_in_place(self) -> None:
        """Check that the store still exists, if it can tell."""
        if (check := getattr(self._store, "check_in_place", None)) is not None:
            check()

    def _pack(self, n: int | None = None) -> None:
        """Pack the reports of up to `n` ended runs, or of all."""
        runs = self._commits.take_ended(n)
        if not runs:
            return
        try:
            retry_while_unavailable(
                partial(self._store.pack_metrics, self._lease.study, runs), self._timeout
            )
        except Exception as error:
            if not is_refusal(error):
                raise
            # Readers accept unpacked reports.
            _log.warning("the reports of %d runs cannot be packed: %s", len(runs), error)
