"""A live copy of studies on an MLflow server, sent in the background of the search.

A study is a parent run with a child run for each trial, each written once.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tuner.errors import ExportError, StoreError
from tuner.errors.boundary import public
from tuner.errors.credentials import hide, hide_url
from tuner.errors.printable import well_formed
from tuner.integrations.mlflow_client import connect
from tuner.records import Run, State, Trial
from tuner.records.attempts import last_attempt, reports_by_trial
from tuner.study.arguments import as_count, as_seconds

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from tuner.study import Study


FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts at a server that does not answer: doubled each time."""

AT_EXIT = 10.0
"""Seconds that the process waits at exit for trials that are not sent yet."""

_log = logging.getLogger(__name__)


class MlflowMirror:
    """Callback that copies finished trials to MLflow: a parent run per study, a child per trial.

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
        self._queue: deque[tuple[Study, Trial | None]] = deque()
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

    @public(files=ExportError)
    def catch_up(self, study: Study) -> int:
        """Send every finished trial that the server lacks now, and return their number.

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
            left = [trial for _, trial in self._queue if trial is not None]
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

    def _put(self, study: Study, trial: Trial | None) -> None:
        self._queue.append((study, trial))
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
                study, trial = self._queue.popleft()
                self._busy = True
            try:
                self._send_until_done(study, trial)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _send_until_done(self, study: Study, trial: Trial | None) -> None:
        pause = FIRST_PAUSE
        while not self._closing:
            try:
                runs = self._runs_of(study)
                if trial is None:
                    runs.end(study)
                else:
                    runs.send(study, trial)
                return
            except Exception as error:  # no error of the mirror may stop the search
                if _is_refusal(error):
                    with self._changed:
                        self._drop(study, trial, f"it was refused: {hide(str(error))}")
                    return
                if pause == FIRST_PAUSE:
                    _log.warning("mlflow at %s: %s; it is tried again", self._uri, hide(str(error)))
            with self._changed:
                self._changed.wait_for(lambda: self._closing, pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        if trial is not None:
            self.dropped += 1

    def _runs_of(self, study: Study) -> MlflowRuns:
        uid = study.info.uid
        if uid not in self._runs:
            self._runs[uid] = MlflowRuns(self._client, self._experiment or study.name, study)
        return self._runs[uid]

    def _drop(self, study: Study, trial: Trial | None, why: str) -> None:
        if trial is None:
            return
        self.dropped += 1
        _log.warning(
            "mlflow at %s: trial %d of study %r is dropped, as %s (%d so far); "
            "MlflowMirror.catch_up(study) sends it later",
            self._uri,
            trial.number,
            study.name,
            why,
            self.dropped,
        )


def _is_refusal(error: Exception) -> bool:
    """Whether the error is a permanent refusal by the server, so that a retry is useless."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return False
    status = int(error.get_http_status_code())
    return 400 <= status < 500 and status not in (408, 425, 429)


METRICS_AT_ONCE, PARAMS_AT_ONCE = 900, 100
"""Maximum numbers per request; MLflow accepts 1000 of both together."""

LONGEST_PARAM, LONGEST_TAG, LONGEST_KEY = 6000, 5000, 250
"""Maximum lengths that MLflow accepts, in characters."""

COMMIT_WAIT = 60.0
"""Maximum wait in seconds until the record of a trial is committed."""

STATUS = {State.COMPLETED: "FINISHED", State.STOPPED: "KILLED", State.FAILED: "FAILED"}
"""States in MLflow; the tag ``tuner.state`` has the state of the trial."""

_NAME = re.compile(r"[^\w\-./: ]")


class MlflowRuns:
    """The runs of one study on a server; a repeated send finds its run instead of creating it.

    Parameters
    ----------
    client
        MLflow's client.
    experiment
        The experiment's name; created if it does not exist.
    study
        The study.
    """

    def __init__(self, client: MlflowClient, experiment: str, study: Study) -> None:
        self._client = client
        self._experiment = _experiment_id(client, experiment)
        self._study = study.info.uid
        self._parent = self._find_or_make_parent(study)
        self._sent: set[int] = set()
        self._begun: set[str] = set()
        for run in self._search(f"tags.`tuner.parent` = '{self._study}'"):
            if run.info.status == "RUNNING":
                self._begun.add(run.data.tags["tuner.run"])
            else:
                self._sent.add(int(run.data.tags["tuner.trial"]))

    def has(self, trial: Trial) -> bool:
        """Whether the server has this trial, its outcome included."""
        return trial.number in self._sent

    def send(self, study: Study, trial: Trial) -> None:
        """Record a finished trial with its params, metrics, curves and tags."""
        if self.has(trial):
            return
        run = _committed_run(study, trial)
        started = _milliseconds(trial.started)
        ended = _milliseconds(trial.ended)
        uid = self._find_or_make_child(trial, run, started)
        self._log(uid, study, trial, ended)
        self._client.set_terminated(uid, STATUS[trial.state], end_time=ended)
        self._sent.add(trial.number)

    def end(self, study: Study) -> None:
        """Record the study's best values so far, and end the parent run."""
        front = study.best_trials
        if len(study.goals) == 1 and front:
            best = front[0]
            self._client.log_metric(
                self._parent, _key(f"best.{study.goals[0].metric}"), best.values[0]
            )
            self._client.set_tag(self._parent, "tuner.best_trial", str(best.number))
        self._client.set_terminated(self._parent, "FINISHED")

    def _log(self, uid: str, study: Study, trial: Trial, ended: int) -> None:
        from mlflow.entities import Param

        params = [
            Param(_key(path), well_formed(str(value))[:LONGEST_PARAM])
            for path, value in study.space.flatten(trial.params).items()
        ]
        points = _points(study, trial, ended)
        while params or points:
            self._client.log_batch(
                uid, metrics=points[:METRICS_AT_ONCE], params=params[:PARAMS_AT_ONCE]
            )
            points, params = points[METRICS_AT_ONCE:], params[PARAMS_AT_ONCE:]

    def _find_or_make_parent(self, study: Study) -> str:
        for run in self._search(f"tags.`tuner.study` = '{self._study}'"):
            self._client.update_run(run.info.run_id, "RUNNING")
            return str(run.info.run_id)
        info = study.info
        tags = {
            **{_key(name): text for name, text in info.tags.items()},
            "tuner.study": info.uid,
            "tuner.name": info.name,
            "tuner.goals": ", ".join(map(str, info.goals)),
            "tuner.optimizer": str(info.optimizer.get("name", "")),
            "tuner.space": study.space.to_json(),
        }
        run = self._client.create_run(
            self._experiment,
            start_time=_milliseconds(info.created),
            tags=_cut(tags),
            run_name=info.name,
        )
        return str(run.info.run_id)

    def _find_or_make_child(self, trial: Trial, run: Run, started: int) -> str:
        if run.uid in self._begun:
            # An earlier attempt may have created it, even if its answer was lost.
            for known in self._search(f"tags.`tuner.run` = '{run.uid}'"):
                return str(known.info.run_id)
        self._begun.add(run.uid)
        tags = {
            "mlflow.parentRunId": self._parent,
            "tuner.parent": self._study,
            "tuner.trial": str(trial.number),
            "tuner.run": run.uid,
            "tuner.state": trial.state.value,
            "tuner.seed": str(trial.seed),
        }
        if run.host:
            tags["tuner.host"] = run.host
        if trial.error is not None:
            tags["tuner.error"] = str(trial.error)
        made = self._client.create_run(
            self._experiment, start_time=started, tags=_cut(tags), run_name=f"trial-{trial.number}"
        )
        return str(made.info.run_id)

    def _search(self, condition: str) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], condition, max_results=1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


def _experiment_id(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:
        # Another process may have created it in the meantime.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _committed_run(study: Study, trial: Trial) -> Run:
    """Return the run that ended a trial, once the store has it and its reports."""
    deadline = time.monotonic() + COMMIT_WAIT
    while True:
        if (run := last_attempt(study.runs(trial.number), trial.state)) is not None:
            return run
        if time.monotonic() > deadline:
            raise StoreError(
                f"study {study.name!r}: the store has no finished run of trial {trial.number} "
                f"{COMMIT_WAIT:g} s after its end"
            )
        time.sleep(0.05)


def _points(study: Study, trial: Trial, ended: int) -> list[Metric]:
    """Return the reports of a trial, step by step, followed by its final metrics."""
    from mlflow.entities import Metric

    points: list[Metric] = []
    last: dict[str, float] = {}
    following = 0
    reports = reports_by_trial(study.runs(trial.number), study.reports(trial.number))
    for report in reports.get(trial.number, ()):
        following = max(following, report.step + 1)
        for name, value in report.metrics.items():
            points.append(Metric(_key(name), value, ended, report.step))
            last[name] = value
    points += [
        Metric(_key(name), value, ended, following)
        for name, value in trial.metrics.items()
        if last.get(name) != value
    ]
    return points


def _milliseconds(seconds: float | None) -> int:
    return int(1000 * (time.time() if seconds is None else seconds))


def _key(name: str) -> str:
    """Return a name that MLflow accepts for a param, metric or tag."""
    return _NAME.sub("_", name)[:LONGEST_KEY].strip("/") or "_"


def _cut(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: well_formed(text)[:LONGEST_TAG] for name, text in tags.items()}
