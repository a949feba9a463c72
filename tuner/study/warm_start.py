"""Load earlier trials from other sources to warm-start the optimizer of a new study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.errors import ArgumentError, StudyNotFound
from tuner.records import Goal, State, Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from tuner.tracking.store import Store

Source: TypeAlias = Any
"""A study's name, a `Study`, a study of Optuna, a DataFrame like `Study.trials_dataframe` gives."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """One completed trial of a source: parameters by path, metrics by name."""

    flat: Mapping[str, Any]
    metrics: Mapping[str, Any]
    constraints: Mapping[str, float] = field(default_factory=dict)


def warm_start_trials(
    sources: Source | Sequence[Source], space: Space, goals: Sequence[Goal], store: Store
) -> tuple[Trial, ...]:
    """Return the completed trials of `sources` that are points of `space`, numbered up to -1.

    A parameter that a trial lacks takes its default, if it declares one. Other data
    of a trial is dropped. A trial with a value outside its domain is left out.

    Parameters
    ----------
    sources
        One `Source` or a list of them.
    space, goals
        Those of the new study; the sources must have values of these metrics.
    store
        Where studies are looked up by name.

    Raises
    ------
    ArgumentError
        If a source is none of these, lacks a goal, has it in the other direction, or no trial of
        all fits the space.
    StudyNotFound
        If no study has a given name.
    """
    listed = sources if isinstance(sources, list | tuple) else [sources]
    found: list[Trial] = []
    seen, refused = 0, ""
    for source in listed:
        for earlier in _read(source, goals, store):
            seen += 1
            params, why = _fitted(space, earlier.flat)
            if params is None:
                refused = refused or why
                continue
            metrics = {goal.metric: _number(earlier.metrics.get(goal.metric)) for goal in goals}
            found.append(
                Trial(
                    0,
                    params,
                    State.COMPLETED,
                    tuple(metrics.values()),
                    metrics,
                    constraints=dict(earlier.constraints),
                )
            )
    if listed and not found:
        raise ArgumentError(
            f"warm_start: none of {seen} completed trials is a point of this space"
            f"{f': {refused}' if refused else ''}; leave warm_start out, or give others"
        )
    first = -len(found)
    return tuple(
        Trial(first + k, t.params, t.state, t.values, t.metrics, constraints=t.constraints)
        for k, t in enumerate(found)
    )


def _read(source: Source, goals: Sequence[Goal], store: Store) -> Iterable[Earlier]:
    from tuner.study.study import Study

    if isinstance(source, str):
        info = store.find_study(source)
        if info is None:
            raise StudyNotFound(f"warm_start: there is no study {source!r} in {store}")
        source = Study(info, store)
    if isinstance(source, Study):
        return _of_study(source, goals)
    if hasattr(source, "get_trials") and hasattr(source, "directions"):
        return _of_optuna(source, goals)
    if hasattr(source, "columns") and hasattr(source, "to_dict"):
        return _of_table(source, goals)
    raise ArgumentError(
        f"warm_start={source!r}: write a study's name, a Study, a study of Optuna, a DataFrame of "
        f"trials, or a list of these"
    )


def _of_study(study: Any, goals: Sequence[Goal]) -> Iterator[Earlier]:
    for goal in goals:
        for other in study.goals:
            if other.metric == goal.metric and other.direction is not goal.direction:
                raise ArgumentError(
                    f"warm_start: study {study.name!r} is to {other.direction} {goal.metric!r}, "
                    f"this one to {goal.direction} it"
                )
    completed = [t for t in study.trials if t.state is State.COMPLETED]
    for goal in goals:
        if completed and not any(goal.metric in trial.metrics for trial in completed):
            raise ArgumentError(f"warm_start: study {study.name!r} has no metric {goal.metric!r}")
    for trial in completed:
        if all(goal.metric in trial.metrics for goal in goals):
            yield Earlier(study.space.flatten(trial.params), trial.metrics, trial.constraints)


def _of_optuna(study: Any, goals: Sequence[Goal]) -> Iterator[Earlier]:
    directions = [direction.name.lower() for direction in study.directions]
    wanted = [goal.direction.value for goal in goals]
    if directions != wanted:
        raise ArgumentError(
            f"warm_start: Optuna's study {study.study_name!r} is to {', '.join(directions)}, this "
            f"one to {', '.join(wanted)}"
        )
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "COMPLETE":
            names = (goal.metric for goal in goals)
            yield Earlier(trial.params, dict(zip(names, trial.values, strict=True)))


def _of_table(table: Any, goals: Sequence[Goal]) -> Iterator[Earlier]:
    columns = list(map(str, table.columns))
    alone = len(goals) == 1 and "value" in columns
    names = {goal.metric: "value" if alone else goal.metric for goal in goals}
    for metric, column in names.items():
        if column not in columns:
            raise ArgumentError(
                f"warm_start: the table has no column {column!r} with the values of {metric!r}; "
                f"it has {', '.join(columns)}"
            )
    for row in table.to_dict("records"):
        if row.get("state", "completed") != "completed":
            continue
        known = {str(k).removeprefix("params."): v for k, v in row.items() if not _missing(v)}
        if all(column in known for column in names.values()):
            yield Earlier(known, {metric: known[column] for metric, column in names.items()})


def _fitted(space: Space, flat: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the point of `space` that `flat` encodes, or None and the reason."""
    point: dict[str, Any] = {}
    for column in space.columns:
        if any(point.get(parent) != option for parent, option in column.parents):
            continue
        value, domain = _plain(flat.get(column.path)), column.domain
        if column.path not in flat and domain.default is not None:
            value = domain.default
        elif column.path not in flat and domain.size > 1:
            return None, f"{column.path!r} is missing and has no default"
        elif column.path not in flat:
            value = domain.middle
        try:
            point[column.path] = domain.cast(value)
        except ValueError:
            return None, f"{column.path!r} = {value!r} is not in {domain!r}"
    params = space.unflatten(point)
    if not space.feasible(params):
        return None, f"{params!r} breaks a constraint"
    return params, ""


def _number(value: Any) -> float:
    return float(_plain(value))


def _plain(value: Any) -> Any:
    """Return a scalar of NumPy or pandas as Python's own."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
