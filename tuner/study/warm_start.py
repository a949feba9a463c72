"""Load trials from other sources to warm-start the optimizer of a new study."""

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
"""A study name, a `Study`, an Optuna study, or a DataFrame like `Study.trials_dataframe`."""


@dataclass(frozen=True, slots=True)
class SourceTrial:
    """A completed trial of a source, with parameters by path and metrics by name."""

    flat: Mapping[str, Any]
    metrics: Mapping[str, Any]
    constraints: Mapping[str, float] = field(default_factory=dict)


def warm_start_trials(
    sources: Source | Sequence[Source], space: Space, goals: Sequence[Goal], store: Store
) -> tuple[Trial, ...]:
    """Return the completed trials of `sources` that are points of `space`, numbered up to -1.

    A missing parameter takes the default of its domain. A trial with a value outside its domain
    or with a missing parameter that has no default is skipped.

    Parameters
    ----------
    sources
        One `Source` or a list of them.
    space, goals
        The space and the goals of the new study. The sources must have values of these metrics.
    store
        The store in which studies are looked up by name.

    Raises
    ------
    ArgumentError
        If a source has another type, lacks a goal or has the opposite direction, or if no trial
        fits the space.
    StudyNotFound
        If the store has no study of a given name.
    """
    listed = sources if isinstance(sources, list | tuple) else [sources]
    found: list[Trial] = []
    seen, refused = 0, ""
    for source in listed:
        for known in _read(source, goals, store):
            seen += 1
            params, why = _fitted(space, known.flat)
            if params is None:
                refused = refused or why
                continue
            metrics = {goal.metric: _number(known.metrics.get(goal.metric)) for goal in goals}
            found.append(
                Trial(
                    0,
                    params,
                    State.COMPLETED,
                    tuple(metrics.values()),
                    metrics,
                    constraints=dict(known.constraints),
                )
            )
    if listed and not found:
        raise ArgumentError(
            f"warm_start: none of the {seen} completed trials is a point of this space"
            f"{f': {refused}' if refused else ''}; omit warm_start, or pass other trials"
        )
    first = -len(found)
    return tuple(
        Trial(first + k, t.params, t.state, t.values, t.metrics, constraints=t.constraints)
        for k, t in enumerate(found)
    )


def _read(source: Source, goals: Sequence[Goal], store: Store) -> Iterable[SourceTrial]:
    from tuner.study.study import Study

    if isinstance(source, str):
        info = store.find_study(source)
        if info is None:
            raise StudyNotFound(f"warm_start: study {source!r} does not exist in {store}")
        source = Study(info, store)
    if isinstance(source, Study):
        return _of_study(source, goals)
    if hasattr(source, "get_trials") and hasattr(source, "directions"):
        return _of_optuna(source, goals)
    if hasattr(source, "columns") and hasattr(source, "to_dict"):
        return _of_table(source, goals)
    raise ArgumentError(
        f"warm_start={source!r}: pass a study name, a Study, an Optuna study, a DataFrame of "
        f"trials, or a list of these"
    )


def _of_study(study: Any, goals: Sequence[Goal]) -> Iterator[SourceTrial]:
    for goal in goals:
        for other in study.goals:
            if other.metric == goal.metric and other.direction is not goal.direction:
                raise ArgumentError(
                    f"warm_start: study {study.name!r} has direction={other.direction.value!r} for "
                    f"{goal.metric!r}, this study has {goal.direction.value!r}"
                )
    completed = [t for t in study.trials if t.state is State.COMPLETED]
    for goal in goals:
        if completed and not any(goal.metric in trial.metrics for trial in completed):
            raise ArgumentError(f"warm_start: study {study.name!r} has no metric {goal.metric!r}")
    for trial in completed:
        if all(goal.metric in trial.metrics for goal in goals):
            yield SourceTrial(study.space.flatten(trial.params), trial.metrics, trial.constraints)


def _of_optuna(study: Any, goals: Sequence[Goal]) -> Iterator[SourceTrial]:
    directions = [direction.name.lower() for direction in study.directions]
    wanted = [goal.direction.value for goal in goals]
    if directions != wanted:
        raise ArgumentError(
            f"warm_start: Optuna study {study.study_name!r} has directions={directions}, this "
            f"study has {wanted}"
        )
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "COMPLETE":
            names = (goal.metric for goal in goals)
            yield SourceTrial(trial.params, dict(zip(names, trial.values, strict=True)))


def _of_table(table: Any, goals: Sequence[Goal]) -> Iterator[SourceTrial]:
    columns = list(map(str, table.columns))
    alone = len(goals) == 1 and "value" in columns
    names = {goal.metric: "value" if alone else goal.metric for goal in goals}
    for metric, column in names.items():
        if column not in columns:
            raise ArgumentError(
                f"warm_start: the table has no column {column!r} with the values of {metric!r}; "
                f"its columns are {', '.join(columns)}"
            )
    for row in table.to_dict("records"):
        if row.get("state", "completed") != "completed":
            continue
        known = {str(k).removeprefix("params."): v for k, v in row.items() if not _missing(v)}
        if all(column in known for column in names.values()):
            yield SourceTrial(known, {metric: known[column] for metric, column in names.items()})


def _fitted(space: Space, flat: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the point of `space` that `flat` encodes, or None and the reason."""
    point: dict[str, Any] = {}
    for column in space.columns:
        if not column.is_active(point):
            continue
        value, domain = _plain(flat.get(column.path)), column.domain
        if column.path not in flat and domain.default is not None:
            value = domain.default
        elif column.path not in flat and domain.size > 1:
            return None, f"{column.path!r} is missing, and its domain lacks a default"
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
    """Convert a NumPy or pandas scalar to a Python value."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
