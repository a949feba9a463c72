"""Load trials from other sources to warm-start the optimizer of a study."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.errors import ArgumentError, StudyNotFound
from tuner.errors.notices import warn
from tuner.records import Goal, OutcomeConstraint, State, Trial
from tuner.search_spaces import Bool, Space
from tuner.search_spaces.categorical import Listed
from tuner.study.fitting import Fitting, Misfit

if TYPE_CHECKING:
    from tuner.tracking.store import Store

Source: TypeAlias = Any
"""A study name, a `Study`, an Optuna study, or a DataFrame like `Study.trials_dataframe`."""


@dataclass(frozen=True, slots=True)
class SourceTrial:
    """A completed trial of a source, with parameters and metrics by name.

    A parameter that is None has no value in the source, or the option None.
    """

    flat: Mapping[str, Any]
    metrics: Mapping[str, Any]
    constraints: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class SourceTrials:
    """The trials of sources that fit a study, and why others do not.

    Attributes
    ----------
    trials
        The trials that fit, numbered up to -1.
    seen
        The number of completed trials in the sources.
    """

    trials: tuple[Trial, ...] = ()
    seen: int = 0
    _left_out: Counter[str] = field(default_factory=Counter)
    _reasons: dict[str, str] = field(default_factory=dict)

    def leave_out(self, misfit: Misfit) -> None:
        """Count a trial that does not fit."""
        self._left_out[misfit.about] += 1
        self._reasons.setdefault(misfit.about, misfit.reason)

    @property
    def reasons(self) -> str:
        """The most frequent reasons, each with one example; empty if all trials fit."""
        counts = self._left_out.most_common(REASONS)
        alone = len(self._left_out) == 1
        return "; ".join(
            self._reasons[about] + ("" if alone else f" ({n} trial{'s' * (n > 1)})")
            for about, n in counts
        )

    def say_left_out(self) -> None:
        """Warn if trials do not fit; names their number and the reasons."""
        if n := self._left_out.total():
            warn(f"warm_start: {n} of {self.seen} completed trials are left out: {self.reasons}")


REASONS = 3
"""Number of different reasons in a warning."""


def warm_start_trials(
    sources: Source | Sequence[Source],
    space: Space,
    goals: Sequence[Goal],
    store: Store,
    constraints: Sequence[OutcomeConstraint] = (),
) -> SourceTrials:
    """Return the completed trials of `sources` that are points of `space`.

    See `Fitting` for names and values that differ. A missing parameter takes the default of its
    domain. A trial with a value outside its domain, with a missing parameter without a default,
    or without a finite value of each goal is left out.

    Parameters
    ----------
    sources
        One `Source` or a list of them.
    space, goals, constraints
        As in the study. The sources must have values of the goals. A constraint whose metric
        they have applies to their trials too.
    store
        The store in which studies are looked up by name.

    Raises
    ------
    ArgumentError
        If a source has another type, lacks a goal or has the opposite direction.
    StudyNotFound
        If the store has no study of a given name.
    """
    listed = sources if isinstance(sources, list | tuple) else [sources]
    fitting = Fitting(space)
    result = SourceTrials()
    found: list[Trial] = []
    for source in listed:
        for known in _read(source, space, goals, constraints, store):
            result.seen += 1
            trial = _as_trial(known, fitting, goals, constraints)
            if isinstance(trial, Misfit):
                result.leave_out(trial)
            else:
                found.append(trial)
    result.trials = numbered_before(found, 0)
    return result


def numbered_before(trials: Sequence[Trial], end: int) -> tuple[Trial, ...]:
    """Return trials with the numbers up to, and without, `end`."""
    first = end - len(trials)
    return tuple(replace(trial, number=first + k) for k, trial in enumerate(trials))


def none_fits(found: SourceTrials) -> str:
    """Return the statement that no trial of the sources fits, with the reasons."""
    reasons = f": {found.reasons}" if found.reasons else ""
    return f"none of the {found.seen} completed trials is a point of this space{reasons}"


def _as_trial(
    known: SourceTrial,
    fitting: Fitting,
    goals: Sequence[Goal],
    constraints: Sequence[OutcomeConstraint],
) -> Trial | Misfit:
    metrics: dict[str, float] = {}
    for goal in goals:
        value = as_number(known.metrics.get(goal.metric))
        if value is None or not math.isfinite(value):
            what = "missing" if value is None or math.isnan(value) else repr(value)
            return Misfit(f"value of {goal.metric}", f"the value of {goal.metric!r} is {what}")
        metrics[goal.metric] = value
    params = fitting.fit({name: as_plain(value) for name, value in known.flat.items()})
    if isinstance(params, Misfit):
        return params
    violations = dict(known.constraints)
    for constraint in constraints:
        measured = as_number(known.metrics.get(constraint.metric))
        if measured is not None and not math.isnan(measured):
            violations[str(constraint)] = constraint.violation(measured)
    return Trial(
        0, params, State.COMPLETED, tuple(metrics.values()), metrics, constraints=violations
    )


def _read(
    source: Source,
    space: Space,
    goals: Sequence[Goal],
    constraints: Sequence[OutcomeConstraint],
    store: Store,
) -> Iterable[SourceTrial]:
    from tuner.study.study import Study

    if isinstance(source, str):
        info = store.find_study(source)
        if info is None:
            raise StudyNotFound(f"warm_start: study {source!r} does not exist in {store}")
        source = Study(info, store)
    if isinstance(source, Study):
        return _of_study(source, goals)
    if hasattr(source, "get_trials") and hasattr(source, "directions"):
        return _of_optuna(source, space, goals)
    if hasattr(source, "columns") and hasattr(source, "to_dict"):
        return _of_table(source, goals, constraints)
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
        yield SourceTrial(study.space.flatten(trial.params), trial.metrics, trial.constraints)


def _of_optuna(study: Any, space: Space, goals: Sequence[Goal]) -> Iterator[SourceTrial]:
    from tuner.optimizers.optuna_distributions import OptunaColumn

    directions = [direction.name.lower() for direction in study.directions]
    wanted = [goal.direction.value for goal in goals]
    if directions != wanted:
        raise ArgumentError(
            f"warm_start: Optuna study {study.study_name!r} has directions={directions}, this "
            f"study has {wanted}"
        )
    # Optuna may store an option in another form, or as its index.
    columns = {
        c.path: OptunaColumn(c) for c in space.columns if isinstance(c.domain, Listed | Bool)
    }
    names = [goal.metric for goal in goals]
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name != "COMPLETE":
            continue
        flat = dict(trial.params)
        for path, column in columns.items():
            if trial.distributions.get(path) == column.distribution:
                flat[path] = column.from_optuna(flat[path])
        values = dict(zip(names, trial.values, strict=True))
        yield SourceTrial(
            flat, {**trial.user_attrs, **values}, optuna_constraints(trial.system_attrs)
        )


def optuna_constraints(system_attrs: Mapping[str, Any]) -> dict[str, float]:
    """Return the constraint values of an Optuna trial: named ones, or the results of a function."""
    listed = system_attrs.get("constraints") or ()
    found = {f"constraint_{i}": float(value) for i, value in enumerate(listed)}
    for key, value in system_attrs.items():
        group, colon, name = key.partition(":")
        if group == "constraints" and colon and isinstance(value, int | float):
            found[name] = float(value)
    return found


def _of_table(
    table: Any, goals: Sequence[Goal], constraints: Sequence[OutcomeConstraint]
) -> Iterator[SourceTrial]:
    columns = [_column_name(column) for column in table.columns]
    names = _goal_columns(goals, columns)
    for metric, column in names.items():
        if column not in columns:
            raise ArgumentError(
                f"warm_start: the table has no column {column!r} with the values of {metric!r}; "
                f"its columns are {', '.join(columns)}"
            )
    for record in table.to_dict("records"):
        row = {_column_name(column): cell for column, cell in record.items()}
        state = str(row.get("state", "completed")).rpartition(".")[2]
        if state.lower() not in _COMPLETED:
            continue
        cells = {name: None if _missing(cell) else cell for name, cell in row.items()}
        metrics = {
            **{name.removeprefix("metrics."): cell for name, cell in cells.items()},
            **{metric: cells[column] for metric, column in names.items()},
        }
        found = {str(c): cells.get(f"constraints.{c}", cells.get(str(c))) for c in constraints}
        ours, *theirs = (
            {n.removeprefix(prefix): cell for n, cell in cells.items() if n.startswith(prefix)}
            for prefix in _PREFIXES
        )
        yield SourceTrial(
            {name: cell for group in (*theirs, cells, ours) for name, cell in group.items()},
            metrics,
            {name: value for name, cell in found.items() if (value := as_number(cell)) is not None},
        )


def _column_name(column: Any) -> str:
    """Return the name of a column; ``("params", "C")`` of a table with levels is ``params.C``."""
    if isinstance(column, tuple):
        return ".".join(str(part) for part in column if part != "")
    return str(column)


def _goal_columns(goals: Sequence[Goal], columns: Sequence[str]) -> dict[str, str]:
    """Return the column with the values of each goal, by metric."""
    if len(goals) == 1 and "value" in columns:
        return {goals[0].metric: "value"}
    # Optuna numbers the values of several goals unless they have names.
    for separator in ("_", "."):
        numbered = [f"values{separator}{k}" for k in range(len(goals))]
        if all(name in columns for name in numbered) and len(goals) > 1:
            return {goal.metric: name for goal, name in zip(goals, numbered, strict=True)}
    return {
        goal.metric: prefixed
        if goal.metric not in columns and (prefixed := f"metrics.{goal.metric}") in columns
        else goal.metric
        for goal in goals
    }


_PREFIXES = ("params.", "params_", "config/")
"""Prefixes of parameters in the tables of `find` and of MLflow, of Optuna, and of Ray Tune."""

_COMPLETED = ("completed", "complete")
"""The state of a completed trial in tables of tuner and of Optuna, in lower case."""


def as_number(value: Any) -> float | None:
    """Return a value as a float, None if it is missing or no number; text may be a number."""
    value = as_plain(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def as_plain(value: Any) -> Any:
    """Convert a NumPy or pandas scalar to a Python value."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def _missing(cell: Any) -> bool:
    """Whether a cell of a table is None, NaN, or a missing value of pandas."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float) and cell != cell
