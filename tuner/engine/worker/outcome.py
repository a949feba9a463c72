"""Convert the return value of an objective to metrics and an outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

from tuner.errors import NOT_OUTCOMES
from tuner.records import Failure, Goal, Outcome, OutcomeConstraint, State, StudyInfo
from tuner.records.bounds import as_name, check_count
from tuner.records.tracebacks import describe, text_of


class BadResult(Exception):
    """A returned or reported value that is not a metric; `failure` is the record of this."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(kind, message)


def describe_failure(error: BaseException) -> Failure:
    """Return the record of an exception: type, message, traceback, place."""
    # Use its type, because an exception may override __class__.
    if issubclass(type(error), BadResult):
        failure: Failure = error.failure  # type: ignore[attr-defined]
        return failure
    return describe(error)


def as_metric(value: Any, key: str) -> float:
    """Return `value` as a float.

    Raises
    ------
    BadResult
        If it is not a real number (`WrongReturnType`) or not finite (`NotFinite`); names `key`.
    """
    number = value
    if not isinstance(value, Real | str | bytes) and getattr(value, "shape", None) == ():
        number = value.item()  # a zero-dimensional array of NumPy, PyTorch, JAX, ...
    if isinstance(number, bool) or not isinstance(number, Real):
        raise BadResult("WrongReturnType", f"{key!r} is {_shown(value)}, not a number")
    try:
        number = float(number)
    except OverflowError:
        number = math.inf if number > 0 else -math.inf
    if not math.isfinite(number):
        raise BadResult("NotFinite", f"{key!r} is {number}; return a finite number or raise")
    return number


def checked_metrics(given: Mapping[Any, Any]) -> dict[str, float]:
    """Return metrics with names as `str` and values as `float`.

    Raises
    ------
    BadResult
        If a value is not a finite number.
    ArgumentError
        If a name is too long or cannot be stored, or there are too many metrics.
    """
    metrics: dict[str, float] = {}
    for key, value in given.items():
        name = as_name(key, "metric")
        metrics[name] = as_metric(value, name)
    check_count(metrics, "metric")
    return metrics


def as_metrics(returned: Any, goals: Sequence[Goal]) -> dict[str, float]:
    """Return the metrics in an objective's return value.

    A number is the goal's metric. A mapping has metrics by name. With several goals, a list or
    tuple has one number per goal.

    Raises
    ------
    BadResult
        If the value has another type, or lacks the metric of a goal.
    """
    names = [g.metric for g in goals]
    if isinstance(returned, Mapping):
        metrics = checked_metrics(returned)
        missing = [n for n in names if n not in metrics]
        if missing:
            has = ", ".join(map(repr, metrics)) or "nothing"
            raise BadResult(
                "MissingMetric",
                f"{missing[0]!r} is missing from the dict that the objective returned, which has "
                f"{has}; return it, or name another with metric=...",
            )
        return metrics
    if len(names) > 1:
        if not isinstance(returned, list | tuple) or len(returned) != len(names):
            raise BadResult(
                "WrongReturnType",
                f"the objective returned {_shown(returned)}; return {len(names)} numbers "
                f"({', '.join(names)}) or a dict of them",
            )
        return {n: as_metric(v, n) for n, v in zip(names, returned, strict=True)}
    if returned is None:
        raise BadResult(
            "WrongReturnType",
            f"{names[0]!r} is None: the objective returned nothing; return a number",
        )
    return {names[0]: as_metric(returned, names[0])}


def as_outcome(
    returned: Any,
    goals: Sequence[Goal],
    logged: Mapping[str, float] | None = None,
    constraints: Sequence[OutcomeConstraint] = (),
    reported: Mapping[str, float] | None = None,
) -> Outcome:
    """Return the outcome of an objective.

    Parameters
    ----------
    returned
        The return value. If reading it raises, as for a lazy scalar on a GPU, the outcome is
        failed.
    goals, constraints
        Goals and constraints of the study.
    logged
        The metrics that the objective logged without a step.
    reported
        The constraint values that the objective reported.
    """
    try:
        metrics = {**(logged or {}), **as_metrics(returned, goals)}
        violations = {**(reported or {}), **constraint_values(constraints, metrics)}
        check_count(metrics, "metric")
    except NOT_OUTCOMES:
        raise
    except BaseException as error:
        return Outcome(State.FAILED, dict(logged or {}), describe_failure(error))
    return Outcome(State.COMPLETED, metrics, constraints=violations)


def told_outcome(
    returned: Any,
    state: State | None,
    study: StudyInfo,
    logged: Mapping[str, float],
    reported: Mapping[str, float],
    constraints: Mapping[str, float],
) -> Outcome:
    """Return the outcome of a trial of a manual loop.

    Parameters
    ----------
    returned
        The told value; for a failed trial, the reason.
    state
        The told state; None means completed.
    study
        The study.
    logged, reported
        Metrics that the user logged without a step, and the last reported ones.
    constraints
        Constraint values that the user reported.
    """
    if state is State.FAILED:
        reason = "failed" if returned is None else text_of(returned, "the reason")
        return Outcome(state, dict(logged), Failure("Told", reason or "failed"))
    if state is State.STOPPED and returned is None:
        return Outcome(state, {**reported, **logged})
    outcome = as_outcome(returned, study.goals, logged, study.constraints, constraints)
    if state is State.STOPPED and outcome.state is State.COMPLETED:
        outcome = replace(outcome, state=state)
    return outcome


def constraint_values(
    constraints: Sequence[OutcomeConstraint], metrics: Mapping[str, float]
) -> dict[str, float]:
    """Return the violation of each constraint: 0 or less if it is satisfied.

    Raises
    ------
    BadResult
        If the metric of a constraint is missing.
    """
    for constraint in constraints:
        if constraint.metric not in metrics:
            has = ", ".join(map(repr, metrics)) or "nothing"
            raise BadResult(
                "MissingMetric",
                f"{constraint.metric!r}, which must be {constraint.operator} {constraint.bound!r}, "
                f"is missing from the returned and logged metrics, which are {has}; return or "
                f"log it",
            )
    return {str(c): c.violation(metrics[c.metric]) for c in constraints}


def _shown(value: Any) -> str:
    """Return a value for a message: its type, with its repr if that is short."""
    kind = type(value).__name__
    try:
        text = repr(value)
    except Exception as error:
        text = f"<repr raised {type(error).__name__}>"
    # An address would make identical failures look different.
    return f"{text} ({kind})" if len(text) <= 60 and " at 0x" not in text else f"a {kind}"
