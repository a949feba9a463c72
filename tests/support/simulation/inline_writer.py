"""Commit records between iterations of the loop, on the driver's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from tuner.engine.commits import Commits
from tuner.engine.writer import MAX_QUEUED, RENEWALS, RETRY_DELAY, STORE_TIMEOUT, WriteQueue
from tuner.errors import StoreError, StoreUnavailable
from tuner.records import Report, Run, Trial, Upload
from tuner.tracking.lease import Lease
from tuner.tracking.store import Store


class InlineWriter:
    """A `Writing` without a thread: `check` commits the queued writes.

    For simulations, which need a repeatable order on one thread, with a virtual `clock` and
    `sleep`. While the store is unavailable, the driver continues, and each iteration retries the
    current batch. Writes are idempotent.

    Raises
    ------
    StoreError
        `check` and `close` raise the error of the store; nothing is written after that.
    StudyTakenOver
        Likewise, if another driver took over the study.
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = STORE_TIMEOUT,
    ) -> None:
        self._lease = lease
        self._commits = Commits(store, lease)
        self._clock = clock
        self._sleep = sleep
        self._patience = patience
        self._queue = WriteQueue()
        self._heard = clock()
        self._error: BaseException | None = None

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
        while self._queue.is_full(MAX_QUEUED) and self._error is None:
            if not self._commit():
                self._sleep(RETRY_DELAY)
        self._queue.put(trial, run, report, upload)

    def check(self) -> None:
        """Commit queued writes, or renew the lease if this is due."""
        due = self._clock() >= self._heard + self._lease.seconds / RENEWALS
        if self._queue or self._commits or self._error is not None or due:
            self._commit()

    def flush(self) -> None:
        """Commit queued writes, and retry while the store is unavailable."""
        while self._queue or self._commits:
            if not self._commit():
                self._sleep(RETRY_DELAY)

    def call_with_retries(self, call: Callable[[], object]) -> None:
        """Call a function that uses the store or its disk, with the same retries."""
        since = self._clock()
        while True:
            try:
                call()
                return
            except StoreUnavailable:
                if self._clock() > since + self._patience:
                    raise
                self._sleep(RETRY_DELAY)
                self.check()

    def close(self) -> None:
        """Commit queued writes; after a store error, try again."""
        try:
            self.flush()
        finally:
            if isinstance(self._error, StoreError):
                self._queue.move_to(self._commits)
                with suppress(StoreError):
                    self._commits.finish()

    def _commit(self) -> bool:
        """Write one batch; return whether the store accepted it."""
        if self._error is not None:
            raise self._error
        if not self._commits:
            self._queue.move_to(self._commits)
        try:
            self._commits.attempt()
        except StoreUnavailable as error:
            if self._clock() > self._heard + self._patience:
                self._error = error
                raise
            return False
        except BaseException as error:
            self._error = error
            raise
        self._heard = self._clock()
        return True
