"""A live copy of studies and their models on an MLflow server, sent in the background."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tuner.errors import ExportError, StoreError, TunerError
from tuner.errors.boundary import public
from tuner.errors.credentials import hide, hide_url
from tuner.integrations.mlflow_client import connect
from tuner.integrations.mlflow_models import send_model, versions_of
from tuner.integrations.mlflow_runs import MlflowRuns
from tuner.records import ModelVersion, Trial
from tuner.study.arguments import as_count, as_seconds

if TYPE_CHECKING:
    from tuner.study import Study


FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts at a server that does not answer: doubled each time."""

AT_EXIT = 10.0
"""Seconds that the process waits at exit for trials that are not sent yet."""

_log = logging.getLogger(__name__)


class MlflowMirror:
    """Callback that copies finished trials to MLflow: a parent run per study, a child per trial.

    The model that the search registers follows: its artifacts go to the run of its trial, and it
    becomes a version of the model of this name in MLflow's registry, with its aliases.

    Trials wait in a queue, and a separate thread sends them, so that a slow or unavailable server
    neither slows nor stops the search: the thread retries until the server is back. If the queue
    is full, further trials are dropped with a log message; `catch_up` sends them later.

    Parameters
    ----------
    uri
        MLflow's tracking URI: a server, or a database such as ``sqlite:///mlflow.db``.
    experiment
        The experiment, created if it does not exist; the study's name if None.
    queue_size
        The maximum number of waiting trials.

    Raises
    ------
    MissingExtra
        If MLflow is not installed.

    Examples
    --------
    ``tuner.optimize(..., callbacks=[MlflowMirror("http://mlflow:5000")])``
    """

    def __init__(self, uri: str, experiment: str | None = None, *, queue_size: int = 1000) -> None:
        # MLflow prints two lines for each run that ends, which are unwanted here.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        self._client = connect(uri)
        self._uri = hide_url(str(uri))
        self._experiment = experiment
        self._size = as_count("queue_size", queue_size) or 1000
        self._queue: deque[tuple[Study, Trial | ModelVersion | None]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._busy = False
        self._thread: threading.Thread | None = None
        self._runs: dict[str, MlflowRuns] = {}
        self.dropped = 0
        """Number of trials not sent, because the queue was full or the server refused them."""

    def __call__(self, study: Study, trial: Trial) -> None:
        """Queue a trial and return at once."""
        with self._changed:
            if len(self._queue) >= self._size:
                self._drop(study, trial, f"{self._size} trials wait already")
                return
            self._put(study, trial)

    def study_ended(self, study: Study) -> None:
        """Queue the end of the parent run, after all trials; `tuner.optimize` calls it."""
        with self._changed:
            self._put(study, None)

    def model_registered(self, study: Study, version: ModelVersion) -> None:
        """Queue the model that a search has registered; `tuner.optimize` calls it."""
        with self._changed:
            self._put(study, version)

    @public(files=ExportError)
    def catch_up(self, study: Study) -> int:
        """Send every finished trial that the server lacks now, and return their number.

        The models of the study follow, with their present aliases.

        Raises
        ------
        ExportError
            If the server does not accept them.
        """
        self.flush()
        runs = self._runs_of(study)
        missing = [t for t in study.trials if t.state.finished and not runs.has(t)]
        for trial in missing:
            runs.send(study, trial)
        runs.end(study)
        for version in versions_of(study):
            send_model(self._client, runs, study, version)
        return len(missing)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds until all trials are sent; return whether they are."""
        timeout = as_seconds("timeout", timeout)
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._busy, timeout)

    def close(self, timeout: float = AT_EXIT) -> None:
        """Send the waiting trials, for at most `timeout` seconds, and end the thread."""
        sent = self.flush(timeout)
        with self._changed:
            self._closing = True
            left = [item for _, item in self._queue if isinstance(item, Trial)]
            self._queue.clear()
            self._changed.notify_all()
        atexit.unregister(self.close)
        if not sent:
            self.dropped += len(left)
            _log.warning(
                "mlflow at %s: %d trials were not sent in %g s; MlflowMirror.catch_up(study) "
                "sends them later",
                self._uri,
                len(left),
                timeout,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- the thread ---------------------------------------------------------------------------

    def _put(self, study: Study, item: Trial | ModelVersion | None) -> None:
        self._queue.append((study, item))
        if self._thread is None:
            self._closing = False
            # A daemon thread, so that a hanging server does not keep the process from ending.
            self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
            self._thread.start()
            atexit.register(self.close)
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue) or self._closing)
                if not self._queue:
                    self._thread = None
                    return
                study, item = self._queue.popleft()
                self._busy = True
            try:
                self._send_until_done(study, item)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _send_until_done(self, study: Study, item: Trial | ModelVersion | None) -> None:
        pause = FIRST_PAUSE
        while not self._closing:
            try:
                runs = self._runs_of(study)
                if item is None:
                    runs.end(study)
                elif isinstance(item, Trial):
                    runs.send(study, item)
                else:
                    send_model(self._client, runs, study, item)
                return
            except Exception as error:  # no error of the mirror may stop the search
                if _is_refusal(error):
                    with self._changed:
                        self._drop(study, item, f"it was refused: {hide(str(error))}")
                    return
                if pause == FIRST_PAUSE:
                    _log.warning("mlflow at %s: %s; it is tried again", self._uri, hide(str(error)))
            with self._changed:
                self._changed.wait_for(lambda: self._closing, pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        if isinstance(item, Trial):
            self.dropped += 1

    def _runs_of(self, study: Study) -> MlflowRuns:
        uid = study.info.uid
        if uid not in self._runs:
            self._runs[uid] = MlflowRuns(self._client, self._experiment or study.name, study)
        return self._runs[uid]

    def _drop(self, study: Study, item: Trial | ModelVersion | None, why: str) -> None:
        if item is None:
            return
        if isinstance(item, Trial):
            self.dropped += 1
            what = f"trial {item.number}"
        else:
            what = f"model '{item.name}@{item.version}'"
        _log.warning(
            "mlflow at %s: %s of study %r is dropped, as %s (%d trials so far); "
            "MlflowMirror.catch_up(study) sends it later",
            self._uri,
            what,
            study.name,
            why,
            self.dropped,
        )


def _is_refusal(error: Exception) -> bool:
    """Whether the error is permanent, so that a retry is useless: a refusal, not an outage."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, TunerError):
        return not isinstance(error, StoreError)  # such as a version that was deleted meanwhile
    if not isinstance(error, MlflowException):
        return False
    status = int(error.get_http_status_code())
    return 400 <= status < 500 and status not in (408, 425, 429)
