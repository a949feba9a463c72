"""Checks of the arguments of public calls, before anything is started."""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from tuner.errors import ArgumentError, SpaceError
from tuner.records import Direction, Goal, State
from tuner.records.bounds import LONGEST_TITLE, as_name, is_title

if TYPE_CHECKING:
    from tuner.search_spaces import Space

_P = ParamSpec("_P")
_R = TypeVar("_R")


def renamed(old: str, new: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate a public function to accept the keyword `old` as a deprecated alias of `new`.

    `tuner.errors.boundary.public` must be the next decorator: the warning names the caller's line.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        called = function.__name__

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if old in kwargs:
                if kwargs.get(new) is not None:
                    raise ArgumentError(
                        f"{called}: {old}= and {new}= are the same argument; write only {new}="
                    )
                warnings.warn(
                    f"{called}: {old}= is deprecated; write {new}=",
                    DeprecationWarning,
                    stacklevel=3,
                )
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


def as_space(space: Space | Mapping[str, Any]) -> Space:
    """Return `space` as a `Space`.

    Raises
    ------
    SpaceError
        If it is not a valid search space.
    """
    from tuner.search_spaces import Space

    if isinstance(space, Space):
        return space
    if not isinstance(space, Mapping):
        raise SpaceError(
            f"search space: {space!r} is a {type(space).__name__}; "
            f'write a dict of domains such as {{"x": Float(0, 1)}}, or a tuner.Space'
        )
    return Space(space)


def as_goals(
    direction: str | Sequence[str], metric: str | Sequence[str] | None
) -> tuple[Goal, ...]:
    """Return the goals named by `direction` and `metric`, which have the same length.

    Raises
    ------
    ArgumentError
        If a direction or a metric name is invalid, or their numbers differ.
    """
    directions = [direction] if isinstance(direction, str) else list(direction)
    if metric is None:
        many = len(directions) > 1
        metrics = [f"value_{i}" if many else "value" for i in range(len(directions))]
    else:
        metrics = [metric] if isinstance(metric, str) else list(metric)
    if not directions or len(directions) != len(metrics):
        raise ArgumentError(
            f"direction has {len(directions)} goals, metric has {len(metrics)}; pass one "
            f"of each per goal"
        )
    for name in metrics:
        if not isinstance(name, str) or not name:
            raise ArgumentError(f"metric={name!r}: write the name of a metric")
        as_name(name, "metric")
    if len(set(metrics)) < len(metrics):
        raise ArgumentError(f"metric={metrics!r}: each metric can be a goal once")
    return tuple(Goal(name, _as_direction(d)) for name, d in zip(metrics, directions, strict=True))


def _as_direction(direction: Any) -> Direction:
    try:
        return Direction(direction)
    except ValueError:
        raise ArgumentError(f'direction={direction!r}: write "minimize" or "maximize"') from None


def as_count(name: str, value: Any, *, low: int = 1) -> int | None:
    """Return `value` as an integer of at least `low`, None if it is None.

    Raises
    ------
    ArgumentError
        If it is anything else; the message names the argument.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < low:
        raise ArgumentError(f"{name}={value!r}: write an integer of at least {low}")
    return int(value.__index__())


def is_number(value: object) -> bool:
    """Whether `value` is an int or a float, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(name: str, value: Any, *, low: float = -math.inf, below: float = math.inf) -> float:
    """Return `value` as a number of at least `low` and below `below`.

    Raises
    ------
    ArgumentError
        If it is anything else; the message names the argument.
    """
    is_number = hasattr(value, "__float__") and not isinstance(value, bool)
    if not is_number or not low <= float(value) < below:
        floor = "" if low == -math.inf else f" of at least {low:g}"
        ceiling = "" if below == math.inf else f", below {below:g}"
        raise ArgumentError(f"{name}={value!r}: write a number{floor}{ceiling}")
    return float(value)


def as_trial_number(trial: Any) -> int:
    """Return the number of a trial, which is given as a record or as any integer.

    Raises
    ------
    ArgumentError
        If it is neither.
    """
    number = getattr(trial, "number", trial)
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise ArgumentError(f"trial={trial!r}: write a trial or its number, such as 4")
    return int(number.__index__())


def as_outcome_state(state: State | str) -> State:
    """Return the state of a finished trial.

    Raises
    ------
    ArgumentError
        If it is another state, or none.
    """
    try:
        as_state = State(state)
    except ValueError:
        as_state = State.WAITING
    if not as_state.finished:
        raise ArgumentError(f'tell: state={state!r}: write "completed", "stopped" or "failed"')
    return as_state


def as_seconds(name: str, value: Any) -> float | None:
    """Return `value` as positive, finite seconds, None if it is None.

    Raises
    ------
    ArgumentError
        If it is anything else; the message names the argument.
    """
    if value is None:
        return None
    seconds = float(value) if is_number(value) else math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ArgumentError(f"{name}={value!r}: write a positive number of seconds")
    return seconds


def as_study_name(value: Any) -> str:
    """Return `value` if it can name a study.

    Raises
    ------
    ArgumentError
        If it is not a string, is blank, has more than 200 characters, or contains a slash, ``@``,
        a line break or a lone surrogate.
    """
    if not isinstance(value, str) or not value.strip():
        raise ArgumentError(f"study={value!r}: write a name")
    if not is_title(value):
        raise ArgumentError(
            f"study={value[:LONGEST_TITLE]!r}: a name has at most {LONGEST_TITLE} characters, and "
            f"none of '/', '@', line breaks and lone surrogates"
        )
    return value


def lease_seconds() -> float:
    """Return the duration of a lease in seconds: ``TUNER_LEASE``, or 30.

    Raises
    ------
    ArgumentError
        If the environment variable is not a number of at least 1.
    """
    from tuner.tracking.lease import LEASE

    text = os.environ.get("TUNER_LEASE") or str(LEASE)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1.0 <= seconds < math.inf:
        raise ArgumentError(f"TUNER_LEASE={text!r}: write a number of seconds, 1 or more")
    return seconds
