"""Check the signature of an objective before a study starts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from tuner.errors import ObjectiveError

_WRITE = "write def objective(params) or def objective(params, trial)"


def wants_trial(objective: Callable[..., Any]) -> bool:
    """Return whether `objective` takes the trial as its second argument.

    This is a second parameter that has no default or is named ``trial``.

    Raises
    ------
    ObjectiveError
        If it cannot be called with ``(params)`` or ``(params, trial)``.
    """
    name = getattr(objective, "__name__", repr(objective))
    if not callable(objective):
        raise ObjectiveError(
            f"objective: {objective!r} is a {type(objective).__name__}, not a function; {_WRITE}"
        )
    if any(map(inspect.iscoroutinefunction, (objective, type(objective).__call__))):
        raise ObjectiveError(f"objective: {name} is async; {_WRITE}")
    if inspect.isgeneratorfunction(objective):
        raise ObjectiveError(
            f"objective: {name} is a generator; report steps with trial.report and return the value"
        )
    try:
        signature = inspect.signature(objective)
    except ValueError:
        return False  # some built-ins have no signature; they get the params only
    parameters = list(signature.parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    keyword_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(required) > 2 or keyword_only or not (positional or variadic):
        raise ObjectiveError(f"objective: {name}{signature} cannot be called with params; {_WRITE}")
    return len(required) == 2 or (len(positional) > 1 and positional[1].name == "trial")


def place_of(objective: Callable[..., Any]) -> str:
    """Return the file and line of the definition of `objective`, empty if unknown."""
    while isinstance(objective, functools.partial):
        objective = objective.func
    function = (
        inspect.unwrap(objective) if inspect.isroutine(objective) else type(objective).__call__
    )
    code = getattr(function, "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"
