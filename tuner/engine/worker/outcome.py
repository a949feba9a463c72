"""The results of a run: logged values and the return value, as metrics and an outcome."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from numbers import Real
from typing import Any

from tuner.errors import NOT_OUTCOMES, ArgumentError, TunerError
from tuner.records import (
    NOT_SAVED,
    Failure,
    Goal,
    Outcome,
    OutcomeConstraint,
    State,
    StudyInfo,
    decode_params,
)
from tuner.records.bounds import MAX_METRICS, as_name, check_count
from tuner.records.tracebacks import called_from_user_code, describe, text_of
from tuner.tracking.annotation_values import check_note_names, stored


class BadResult(TunerError):
    """A returned or reported value that is not a metric; `kind` is the kind of the failure."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def describe_failure(error: BaseException) -> Failure:
    """Return the record of an exception: type, message, traceback, place."""
    failure = describe(error)
    # Use its type, because an exception may override __class__.
    if issubclass(type(error), BadResult):
        return replace(failure, kind=error.kind)  # type: ignore[attr-defined]
    return failure


def not_saved(what: str, error: BaseException) -> Failure:
    """Return the record of a failure to save `what`, which leaves the outcome as it is.

    Its place is the line of user code that called, if any did.
    """
    failure = describe(error)
    message = f"{what}: {failure}"
    return replace(called_from_user_code(failure), kind=NOT_SAVED, message=message)


def as_number(value: Any, key: str) -> float:
    """Return `value` as a float, which may be NaN or infinite; a masked value is NaN.

    Raises
    ------
    BadResult
        If it is not a real number (`WrongReturnType`); names `key`.
    """
    number: Any = _as_scalar(value)
    if isinstance(number, bool) or not isinstance(number, Real | Decimal):
        raise BadResult("WrongReturnType", f"{key!r} is {_shown(value)}, not a number")
    try:
        return float(number)
    except OverflowError:
        large: Any = number
        return math.inf if large > 0 else -math.inf


def as_metric(value: Any, key: str) -> float:
    """Return `value` as a finite float.

    Raises
    ------
    BadResult
        If it is not a real number (`WrongReturnType`) or not finite (`NotFinite`); names `key`.
    """
    number = as_number(value, key)
    if not math.isfinite(number):
        raise BadResult("NotFinite", f"{key!r} is {number}; return a finite number or raise")
    return number


def checked_metrics(given: Mapping[Any, Any]) -> dict[str, float]:
    """Return metrics with names as `str` and values as `float`, which may be NaN or infinite.

    Raises
    ------
    BadResult
        If a value is not a number.
    ArgumentError
        If a name is too long or cannot be stored, or there are too many metrics.
    """
    metrics: dict[str, float] = {}
    for key, value in given.items():
        name = as_name(key, "metric")
        metrics[name] = as_number(value, name)
    check_count(metrics, "metric")
    return metrics


def as_metrics(returned: Any, goals: Sequence[Goal]) -> dict[str, float]:
    """Return the metrics of the goals in an objective's return value.

    A number is the goal's metric. A mapping has metrics by name. With several goals, a list or
    tuple has one number per goal.

    Raises
    ------
    BadResult
        If the value has another type, lacks the metric of a goal, or a goal is not finite.
    """
    names = [g.metric for g in goals]
    if isinstance(returned, Mapping):
        given = {str(key): value for key, value in returned.items()}
        missing = [n for n in names if n not in given]
        if missing:
            has = ", ".join(map(repr, given)) or "nothing"
            raise BadResult(
                "MissingMetric",
                f"{missing[0]!r} is missing from the dict that the objective returned, which has "
                f"{has}; return it, or name another with metric=...",
            )
        return {n: as_metric(given[n], n) for n in names}
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
    side: SideResults | None = None,
    constraints: Sequence[OutcomeConstraint] = (),
) -> Outcome:
    """Return the outcome of an objective.

    Only goals and constraints must be finite numbers. Other numbers in a returned dict are metrics
    as they are, other JSON values are notes. A value that cannot be recorded is left out, and
    named in the outcome's `error`.

    Parameters
    ----------
    returned
        The return value. If reading it raises, as for a lazy scalar on a GPU, the outcome is
        failed.
    goals, constraints
        Goals and constraints of the study.
    side
        Everything else that the objective logged.
    """
    side = SideResults() if side is None else side.copy()
    metrics = dict(side.logged)
    try:
        if isinstance(returned, Mapping):
            _add_side_values(returned, [g.metric for g in goals], metrics, side)
        metrics |= as_metrics(returned, goals)
        violations = {**side.constraints, **constraint_values(constraints, metrics)}
    except NOT_OUTCOMES:
        raise
    except BaseException as error:
        return Outcome(State.FAILED, metrics, describe_failure(error), notes=side.notes)
    return Outcome(State.COMPLETED, metrics, side.failure, violations, side.notes)


def _add_side_values(
    returned: Mapping[Any, Any], goals: Sequence[str], metrics: dict[str, float], side: SideResults
) -> None:
    """Add the values of a returned dict that are not goals to the metrics and notes."""
    for key, value in returned.items():
        if str(key) in goals:
            continue
        try:
            name = as_name(key, "metric")
            plain = _as_plain(value)
            if isinstance(plain, bool) or not isinstance(plain, Real | Decimal):
                side.set_notes({name: plain})
            elif len(metrics) < MAX_METRICS - len(goals) or name in metrics:
                metrics[name] = as_number(plain, name)
            else:
                raise ArgumentError(f"a trial has at most {MAX_METRICS} metrics")
        except NOT_OUTCOMES:
            raise
        except Exception as error:
            side.unsaved.append(not_saved(f"{text_of(key, 'a key')!r:.100}", error))


def _as_plain(value: Any) -> Any:
    """Return a scalar array as a number, another array as lists, and None as NaN."""
    value = _as_scalar(value)
    if value is None:
        return math.nan
    return value.tolist() if callable(getattr(value, "tolist", None)) else value


def _as_scalar(value: Any) -> Any:
    """Return a zero-dimensional array of NumPy, PyTorch, JAX, ... as a Python value.

    Masked and missing values are NaN. Times of NumPy, which count as integers, stay as they are.
    """
    if isinstance(value, str | bytes) or type(value) in (float, int, bool):
        return value
    if _is_missing(value):
        return math.nan
    if getattr(value, "shape", None) != ():
        return value
    if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):
        return str(value)
    return value if isinstance(value, Real) else value.item()


def _is_missing(value: Any) -> bool:
    """Whether a value is masked by NumPy, or pandas' missing value."""
    if (masked := sys.modules.get("numpy.ma")) is not None and isinstance(
        value, masked.MaskedArray
    ):
        return value.shape == () and bool(masked.getmaskarray(value))
    return (pandas := sys.modules.get("pandas")) is not None and value is getattr(
        pandas, "NA", None
    )


def told_outcome(
    returned: Any,
    state: State | None,
    study: StudyInfo,
    side: SideResults,
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
    side
        Everything that the user logged with the trial.
    """
    if state is State.FAILED:
        reason = "failed" if returned is None else text_of(returned, "the reason")
        return Outcome(
            state, dict(side.logged), Failure("Told", reason or "failed"), notes=side.notes
        )
    if state is State.STOPPED and returned is None:
        return stopped_outcome(side)
    outcome = as_outcome(returned, study.goals, side, study.constraints)
    if state is State.STOPPED and outcome.state is State.COMPLETED:
        outcome = replace(outcome, state=state)
    return outcome


def stopped_outcome(side: SideResults, last: Outcome | None = None) -> Outcome:
    """Return the outcome of a trial that stopped early, with its last values.

    Parameters
    ----------
    side
        Everything that the objective logged.
    last
        The outcome of the value that it returned, which may be None or incomplete.
    """
    metrics, constraints, notes = side.metrics, side.constraints, side.notes
    if last is not None and last.state is State.COMPLETED:
        metrics |= last.metrics
        constraints = last.constraints
    return Outcome(
        State.STOPPED,
        metrics,
        side.failure if last is None or last.state is State.FAILED else last.error,
        constraints,
        notes if last is None else last.notes,
    )


def constraint_values(
    constraints: Sequence[OutcomeConstraint], metrics: Mapping[str, float]
) -> dict[str, float]:
    """Return the violation of each constraint: 0 or less if it is satisfied.

    Raises
    ------
    BadResult
        If the metric of a constraint is missing or not finite.
    """
    for constraint in constraints:
        if not math.isfinite(value := metrics.get(constraint.metric, 0.0)):
            raise BadResult(
                "NotFinite",
                f"{constraint.metric!r}, which must be {constraint.operator} {constraint.bound!r}, "
                f"is {value}; return a finite number or raise",
            )
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


@dataclass(slots=True)
class SideResults:
    """The results that one run of an objective has logged so far.

    Attributes
    ----------
    logged
        Final values of metrics logged without a step.
    reported
        The last reported values.
    constraints
        The reported values of outcome constraints.
    notes
        Notes on the trial: small JSON values by name.
    unsaved
        Failures to save something; they leave the outcome as it is.
    """

    logged: dict[str, float] = field(default_factory=dict)
    reported: dict[str, float] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    unsaved: list[Failure] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, float]:
        """The last reported values and the logged ones."""
        return {**self.reported, **self.logged}

    @property
    def failure(self) -> Failure | None:
        """One failure that names everything that was not saved, or None."""
        return joined(self.unsaved)

    def set_notes(self, notes: Mapping[str, Any]) -> None:
        """Set notes, and remove those that are None.

        Raises
        ------
        ArgumentError
            If a name is not a string or is too long, a value is not a JSON value, or all notes
            together are too large.
        """
        check_note_names(notes)
        encoded = stored({**self.notes, **notes}, "notes")
        # A copy, which the objective cannot change any more.
        together = decode_params(encoded)
        self.notes = {name: value for name, value in together.items() if value is not None}

    def copy(self) -> SideResults:
        """Return a copy with its own notes and failures."""
        return replace(self, notes=dict(self.notes), unsaved=list(self.unsaved))


def joined(failures: list[Failure]) -> Failure | None:
    """Return one failure with the messages of several, each of them once; None without any."""
    if not failures:
        return None
    messages = dict.fromkeys(failure.message for failure in failures)
    return replace(failures[0], message="; ".join(messages))
