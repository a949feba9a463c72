"""Import of the runs of an MLflow experiment as the trials of a study."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ForeignRecordError, InvalidParams
from tuner.errors.boundary import public
from tuner.errors.credentials import hide
from tuner.integrations.importing import ForeignStudy, ForeignTrial, Imported, write_foreign
from tuner.integrations.mlflow_client import check_is_there, connect, find_experiment
from tuner.integrations.observed_space import Fit, ObservedSpace, Presence, can_branch
from tuner.records import Failure, Goal, Params, Report, State, Trial
from tuner.search_spaces import Bool, Choice, Const, Domain, Float, Int, Space
from tuner.search_spaces.parsing import literal
from tuner.study.arguments import as_goals, as_space, renamed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tuner.tracking import Store

PAGE = 500
"""Number of runs per request."""

LOG_FROM = 100.0
"""Minimum ratio of the highest to the lowest value of a logarithmic range."""

LONGEST_NUMBER = 100
"""Maximum length of a number; a longer text of digits stays a string."""

_PARENT = "mlflow.parentRunId"
_DONE = {"FINISHED": State.COMPLETED, "FAILED": State.FAILED, "KILLED": State.FAILED}


@public(files=ForeignRecordError, data=ForeignRecordError)
@renamed("name", "study")
def import_mlflow(
    uri: str,
    experiment: str,
    *,
    metric: str | None = None,
    direction: str = "minimize",
    space: Space | Mapping[str, Any] | None = None,
    study: str | None = None,
    store: str | Path | Store | None = None,
) -> Imported:
    """Import the finished runs of an MLflow experiment that were not imported before.

    MLflow records params as text and does not record the space, so the space is inferred from the
    runs: integers and floats get the observed range, on a log scale if it spans two decades, and
    other values become options. The history of each metric becomes reports, tags become notes.
    Runs with child runs are groups, not trials, and are left out.

    Parameters
    ----------
    uri
        MLflow's tracking URI: a server, or a database such as ``sqlite:///mlflow.db``.
    experiment
        The experiment's name.
    metric
        The goal; optional if all runs have only one metric.
    direction
        Whether the metric is minimized or maximized.
    space
        The space of the runs, for ranges wider than the observed ones; params are matched by
        their dotted paths, and a run that is not a point of the space is refused.
    study
        Name of the new study. Defaults to the name of the experiment.
    store
        As for `tuner.optimize`.

    Raises
    ------
    ForeignRecordError
        If the experiment does not exist, none of its runs has params, or the metric is ambiguous.
    StudyExists, StudyMismatch
        As for `import_optuna`; new runs outside of the earlier observed ranges change the space.
    MissingExtra
        If MLflow is not installed.
    """
    check_is_there(uri)
    client = connect(uri)
    found = find_experiment(client, uri, experiment)
    survey = _survey(client, found.experiment_id)
    if not survey.params:
        raise ForeignRecordError(
            f"mlflow experiment {experiment!r} has no finished run with params; check the name "
            f"of the experiment"
        )
    goals = as_goals(direction, metric or _only_metric(survey, experiment))
    known_space = None if space is None else as_space(space)
    observed = None if known_space is not None else survey.space()
    foreign = ForeignStudy(
        source=f"mlflow:{experiment}",
        name=study or experiment.replace("/", "-"),
        space=known_space or observed.space,  # type: ignore[union-attr]
        goals=goals,
        created=(found.creation_time or 0) / 1000 or None,
    )

    def trials() -> Iterator[ForeignTrial]:
        for run in _runs(client, found.experiment_id):
            if run.info.status not in _DONE or run.info.run_id in survey.groups:
                continue
            if observed is not None:
                fit = observed.fit(survey.values(run.data.params))
            else:
                assert known_space is not None
                fit = Fit(_point(known_space, run.data.params, run.info.run_id))
            yield _foreign_trial(client, run, fit, goals[0])

    done = write_foreign(foreign, trials(), store)
    return Imported(done.study, done.added, done.known, survey.unfinished)


@dataclass(slots=True)
class _Survey:
    """Summary of a first pass over the runs: the params with their texts, and the metrics."""

    params: dict[str, set[str]] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    unfinished: int = 0
    _domains: dict[str, Domain] = field(default_factory=dict)
    _present: list[dict[str, str]] = field(default_factory=list)

    def space(self) -> ObservedSpace:
        """Return the space of the observed params."""
        self._domains = {name: _domain(texts) for name, texts in self.params.items()}
        presence = Presence(frozenset(n for n, d in self._domains.items() if can_branch(d)))
        for params in self._present:
            presence.add(self.values(params))
        return ObservedSpace(self._domains, presence)

    def values(self, params: Mapping[str, str]) -> dict[str, Any]:
        """Return the values of a run's param texts."""
        return {
            name: _value_in(self._domains[name], text)
            for name, text in params.items()
            if name in self._domains
        }

    def add(self, run: Run) -> None:
        """Add a finished run to the summary."""
        for param, text in run.data.params.items():
            self.params.setdefault(param, set()).add(text)
        for metric in run.data.metrics:
            self.metrics[metric] = self.metrics.get(metric, 0) + 1
        self._present.append(run.data.params)


def _survey(client: MlflowClient, experiment: str) -> _Survey:
    survey = _Survey()
    done: list[Run] = []
    for run in _runs(client, experiment):
        parent = run.data.tags.get(_PARENT)
        if parent:
            survey.groups.add(parent)
        if run.info.status in _DONE:
            done.append(run)
    for run in done:
        if run.info.run_id not in survey.groups:
            survey.add(run)
    survey.unfinished = sum(
        run.info.status not in _DONE and run.info.run_id not in survey.groups
        for run in _runs(client, experiment)
    )
    return survey


def _runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    """Yield the runs of an experiment, oldest first."""
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            max_results=PAGE,
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _only_metric(survey: _Survey, experiment: str) -> str:
    if len(survey.metrics) == 1:
        return next(iter(survey.metrics))
    named = ", ".join(repr(metric) for metric in sorted(survey.metrics)) or "none"
    raise ForeignRecordError(
        f"mlflow experiment {experiment!r} has the metrics {named}; say which one is the goal: "
        f"metric=... (--metric)"
    )


# --- texts as values ------------------------------------------------------------------------------


def _literal(text: str) -> Any:
    """Return the number, boolean or None that a text represents, else the text."""
    if len(text) > LONGEST_NUMBER:
        return text
    try:
        value = literal(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    plain = value is None or isinstance(value, bool | int | float)
    return value if plain and not (isinstance(value, float) and math.isnan(value)) else text


def _domain(texts: set[str]) -> Domain:
    values = [_literal(text) for text in sorted(texts)]
    kinds = {type(value) for value in values}
    if len(values) == 1:
        return Const(values[0])
    if kinds == {bool}:
        return Bool()
    if kinds <= {int, float} and all(map(math.isfinite, values)):
        low, high = min(values), max(values)
        if low == high:
            return Const(float(low))
        log = low > 0 and high / low >= LOG_FROM
        return Int(low, high, log=log) if kinds == {int} else Float(low, high, log=log)
    return Choice(*(sorted(texts) if str in kinds else values))


def _value_in(domain: Domain, text: str) -> Any:
    """Return the value of a domain that a text represents, or the text if none matches."""
    value = _literal(text)
    for meant in (value, text):
        if domain.contains(meant):
            return domain.cast(meant)
    if isinstance(domain, Const) and value == domain.grid(1)[0]:
        return domain.grid(1)[0]  # 1 and 1.0
    return text


def _point(space: Space, params: Mapping[str, str], run: str) -> Params:
    domains = {column.path: column.domain for column in space.columns}
    flat = {
        path: _value_in(domains[path], text) for path, text in params.items() if path in domains
    }
    try:
        return space.validate(space.unflatten(flat))
    except InvalidParams as error:
        raise ForeignRecordError(
            f"mlflow run {run} is not a point of the space: {error}; widen the space"
        ) from error


# --- one run --------------------------------------------------------------------------------------


def _foreign_trial(client: MlflowClient, run: Run, fit: Fit, goal: Goal) -> ForeignTrial:
    info, data = run.info, run.data
    state = _DONE[info.status]
    value = data.metrics.get(goal.metric)
    error = None
    if state is State.FAILED:
        error = Failure("Failed", f"MLflow recorded the run as {info.status}")
    elif value is None or not math.isfinite(value):
        kind = "MissingMetric" if value is None else "NotFinite"
        error = Failure(kind, f"the metric {goal.metric!r} of the run is {value}")
    if error is not None:
        state, value = State.FAILED, None
    notes: dict[str, Any] = {"run_name": info.run_name} if info.run_name else {}
    # The URL of a repository may contain a token.
    tags = {key: hide(text) for key, text in data.tags.items() if _is_kept(key)}
    if tags:
        notes["tags"] = tags
    if fit.filled:
        notes["never_asked_for"] = list(fit.filled)
    if fit.surplus:
        notes["surplus_params"] = fit.surplus
    return ForeignTrial(
        key=info.run_id,
        trial=Trial(
            number=-1,
            params=fit.params,
            state=state,
            values=() if value is None else (value,),
            metrics=dict(data.metrics),
            error=error,
            started=None if info.start_time is None else info.start_time / 1000,
            ended=None if info.end_time is None else info.end_time / 1000,
            notes=notes,
        ),
        reports=tuple(_reports(client, run)),
    )


def _is_kept(tag: str) -> bool:
    return not tag.startswith("mlflow.") or tag.startswith(("mlflow.source.", "mlflow.user"))


def _reports(client: MlflowClient, run: Run) -> Iterator[Report]:
    """Yield the reports of a run, step by step, without metrics that were logged only once."""
    by_step: dict[int, dict[str, float]] = {}
    for metric in run.data.metrics:
        history = client.get_metric_history(run.info.run_id, metric)
        if len(history) < 2:
            continue
        for point in sorted(history, key=lambda p: p.timestamp):
            by_step.setdefault(max(point.step, 0), {})[metric] = point.value
    for step in sorted(by_step):
        yield Report(step, by_step[step])
