"""Commits what the driver records, in batches, on a thread of its own."""

from __future__ import annotations

import threading

from tuner.records import Artifact, Report, Run, Trial
from tuner.tracking.protocol import Batch, Store

MAX_QUEUED = 20_000
"""Writes that may wait before the driver is made to wait for the store."""


class Writer:
    """Writes to the store as fast as it takes it, without keeping the driver from its work.

    While one batch commits, the next one gathers, so a slow store makes larger batches instead
    of a longer queue. The last state of a trial or run is all that is written of it.

    Raises
    ------
    StoreError
        `put`, `flush` and `close` raise what the store raised; nothing is written after that.
    """

    def __init__(self, store: Store, study: str) -> None:
        self._store = store
        self._study = study
        self._trials: dict[int, Trial] = {}
        self._runs: dict[str, Run] = {}
        self._reports: list[tuple[str, Report]] = []
        self._artifacts: list[Artifact] = []
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
        artifact: Artifact | None = None,
    ) -> None:
        """Queue writes; those given in one call are committed together."""
        with self._changed:
            self._raise_error()
            while self._queued() >= MAX_QUEUED and self._error is None:
                self._changed.wait()
            self._raise_error()
            if trial is not None:
                self._trials[trial.number] = trial
            if run is not None:
                self._runs[run.uid] = run
            if report is not None:
                self._reports.append(report)
            if artifact is not None:
                self._artifacts.append(artifact)
            if not self._busy:
                self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything that was put is committed."""
        with self._changed:
            while (self._queued() or self._busy) and self._error is None:
                self._changed.wait()
            self._raise_error()

    def close(self) -> None:
        """Flush, then end the thread."""
        try:
            self.flush()
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._thread.join()

    def _queued(self) -> int:
        return len(self._trials) + len(self._runs) + len(self._reports) + len(self._artifacts)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._queued() and not self._closed:
                    self._changed.wait()
                if not self._queued():
                    return
                batch = self._take()
                self._busy = True
            try:
                self._store.write(self._study, batch)
            except BaseException as error:
                # Kept for the driver's thread, which raises it at its next call.
                with self._changed:
                    self._error = error
                    self._busy = False
                    self._changed.notify_all()
                return
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _take(self) -> Batch:
        batch = Batch(
            list(self._trials.values()), list(self._runs.values()), self._reports, self._artifacts
        )
        self._trials, self._runs, self._reports, self._artifacts = {}, {}, [], []
        return batch
