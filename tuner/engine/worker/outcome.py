"""What an objective may return, and what becomes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from tuner.errors import NOT_OUTCOMES
from tuner.records import Failure, Goal, Outcome, OutcomeConstraint, State
from tuner.records.bounds import as_name, check_count
from tuner.records.tracebacks import describe


class BadResult(Exception):
    """A returned or reported value that is no metric; carries the failure to record."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(kind, message)


def describe_failure(error: BaseException) -> Failure:
    """Return the record of an exception: type, message, traceback, place."""
    # By its type: an exception may claim to be of any class.
    if issubclass(type(error), BadResult):
        failure: Failure = error.failure  # type: ignore[attr-defined]
        return failure
    return describe(error)


def as_metric(value: Any, key: str) -> float:
    """Return `value` as a float.

    Raises
    ------
    BadResult
        If it is no real number (`WrongReturnType`) or not finite (`NotFinite`); names `key`.
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
    """Return metrics by name, as plain texts and floats.

    Raises
    ------
    BadResult
        If a value is not a finite number.
    ArgumentError
        If a name is too long or cannot be kept, or there are too many.
    """
    metrics: dict[str, float] = {}
    for key, value in given.items():
        name = as_name(key, "metric")
        metrics[name] = as_metric(value, name)
    check_count(metrics, "metric")
    return metrics


def as_metrics(returned: Any, goals: Sequence[Goal]) -> dict[str, float]:
    """Return the metrics that an objective's return value stands for.

    A number is the goal's metric, a mapping holds metrics by name, and with several goals a
    sequence holds one number a goal.

    Raises
    ------
    BadResult
        If the value stands for no metrics, or lacks a goal's.
    """
    names = [g.metric for g in goals]
    if isinstance(returned, Mapping):
        metrics = checked_metrics(returned)
        missing = [n for n in names if n not in metrics]
        if missing:
            has = ", ".join(map(repr, metrics)) or "nothing"
            raise BadResult(
                "MissingMetric",
                f"{missing[0]!r} is missing from what the objective returned, which has {has}; "
                f"return it, or name another with metric=...",
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
        What it returned.
    goals, constraints
        The study's.
    logged
        The metrics that it logged, without a step.
    reported
        The constraints whose values it reported itself.

    A value that raises when it is read, as a lazy scalar of a GPU can, makes a failed outcome.
    """
    try:
        metrics = {**(logged or {}), **as_metrics(returned, goals)}
        kept = {**(reported or {}), **constraint_values(constraints, metrics)}
        check_count(metrics, "metric")
    except NOT_OUTCOMES:
        raise
    except BaseException as error:
        return Outcome(State.FAILED, dict(logged or {}), describe_failure(error))
    return Outcome(State.COMPLETED, metrics, constraints=kept)


def constraint_values(
    constraints: Sequence[OutcomeConstraint], metrics: Mapping[str, float]
) -> dict[str, float]:
    """Return by how much each constraint is violated, 0 or less where it is kept.

    Raises
    ------
    BadResult
        If a constraint's metric is not among `metrics`.
    """
    for constraint in constraints:
        if constraint.metric not in metrics:
            has = ", ".join(map(repr, metrics)) or "nothing"
            raise BadResult(
                "MissingMetric",
                f"{constraint.metric!r}, which must be {constraint.operator} {constraint.bound!r}, "
                f"is missing from what the objective returned and logged, which has {has}; "
                f"return or log it",
            )
    return {str(c): c.violation(metrics[c.metric]) for c in constraints}


def _shown(value: Any) -> str:
    """Return a value for a message: its repr if short, its type in any case."""
    kind = type(value).__name__
    try:
        text = repr(value)
    except Exception as error:
        text = f"<repr raised {type(error).__name__}>"
    # An address would make the same failure look like another one each time.
    return f"{text} ({kind})" if len(text) <= 60 and " at 0x" not in text else f"a {kind}"
