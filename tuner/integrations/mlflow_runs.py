"""The runs of a study on an MLflow server: a parent run with a child run for each trial."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors import StoreError
from tuner.errors.printable import well_formed
from tuner.records import Run, State, Trial
from tuner.records.attempts import last_attempt, reports_by_trial

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from tuner.study import Study


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

    def run_of(self, trial: int) -> str | None:
        """Return the id of a trial's run on the server, or None if it was not sent."""
        tags = f"tags.`tuner.parent` = '{self._study}' and tags.`tuner.trial` = '{trial}'"
        return next((str(run.info.run_id) for run in self._search(tags)), None)

    def end(self, study: Study) -> None:
        """Record the study's best values so far, and end the parent run."""
        front = study.best_trials
        if len(study.goals) == 1 and front:
            best = front[0]
            self._client.log_metric(
                self._parent, key_of(f"best.{study.goals[0].metric}"), best.values[0]
            )
            self._client.set_tag(self._parent, "tuner.best_trial", str(best.number))
        self._client.set_terminated(self._parent, "FINISHED")

    def _log(self, uid: str, study: Study, trial: Trial, ended: int) -> None:
        from mlflow.entities import Param

        params = [
            Param(key_of(path), well_formed(str(value))[:LONGEST_PARAM])
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
            **{key_of(name): text for name, text in info.tags.items()},
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
            points.append(Metric(key_of(name), value, ended, report.step))
            last[name] = value
    points += [
        Metric(key_of(name), value, ended, following)
        for name, value in trial.metrics.items()
        if last.get(name) != value
    ]
    return points


def _milliseconds(seconds: float | None) -> int:
    return int(1000 * (time.time() if seconds is None else seconds))


def key_of(name: str) -> str:
    """Return a name that MLflow accepts for a param, metric or tag."""
    return _NAME.sub("_", name)[:LONGEST_KEY].strip("/") or "_"


def _cut(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: well_formed(text)[:LONGEST_TAG] for name, text in tags.items()}
