"""Commits what the driver records between its rounds, on the driver's own thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from tuner.engine.commits import Commits
from tuner.engine.writer import MAX_QUEUED, PATIENCE, PAUSE, RENEWALS, Queue
from tuner.errors import StoreError, StoreUnavailable
from tuner.records import Report, Run, Trial, Upload
from tuner.tracking.lease import Lease
from tuner.tracking.store import Store


class InlineWriter:
    """A `Writing` without a thread: what is queued in a round is committed at the next `check`.

    For where one thread must do everything in an order that can be repeated, such as simulations:
    then `clock`, which measures, and `sleep` are virtual, too. While the store is away
    the driver goes on, and the batch under way is tried again in each round; if it had been
    committed and only the answer was lost, writing it once more changes nothing.

    Raises
    ------
    StoreError
        `check` and `close` raise what the store raised; nothing is written after that.
    StudyTakenOver
        Likewise, if another driver has the study.
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = PATIENCE,
    ) -> None:
        self._lease = lease
        self._commits = Commits(store, lease)
        self._clock = clock
        self._sleep = sleep
        self._patience = patience
        self._queue = Queue()
        self._heard = clock()
        self._error: BaseException | None = None

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
        while self._queue.is_full(MAX_QUEUED) and self._error is None:
            if not self._commit():
                self._sleep(PAUSE)
        self._queue.put(trial, run, report, upload)

    def check(self) -> None:
        """Commit what is queued, or renew the lease when that is due."""
        due = self._clock() >= self._heard + self._lease.seconds / RENEWALS
        if self._queue or self._commits or self._error is not None or due:
            self._commit()

    def flush(self) -> None:
        """Commit what is queued, however often it takes while the store is away."""
        while self._queue or self._commits:
            if not self._commit():
                self._sleep(PAUSE)

    def insist(self, call: Callable[[], object]) -> None:
        """Do something else with the store or its disk, with the same patience."""
        since = self._clock()
        while True:
            try:
                call()
                return
            except StoreUnavailable:
                if self._clock() > since + self._patience:
                    raise
                self._sleep(PAUSE)
                self.check()

    def close(self) -> None:
        """Commit what is queued; see what a store that failed takes by now."""
        try:
            self.flush()
        finally:
            if isinstance(self._error, StoreError):
                self._queue.move_to(self._commits)
                with suppress(StoreError):
                    self._commits.finish()

    def _commit(self) -> bool:
        """Write one batch; return whether the store took it."""
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
