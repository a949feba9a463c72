"""Check an objective before a study starts: its signature, and the model formats that it names."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from tuner.errors import ArgumentError, MissingExtra, ObjectiveError
from tuner.search_spaces.parsing import parse_python

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


def check_formats(objective: Callable[..., Any]) -> None:
    """Check the calls of ``trial.log_model`` in an objective that name a format.

    Only calls in the source of the objective itself can be checked, if it is known.

    Raises
    ------
    ArgumentError
        If no format has the name, or it is pickle and not allowed.
    MissingExtra
        If the library of the format is not installed.
    """
    for line, options in _calls(objective):
        name = options.get("format")
        if not isinstance(name, str):
            continue
        from tuner.registry.formats import check_named

        try:
            check_named(name, allow_pickle=options.get("allow_pickle", False) is not False)
        except (ArgumentError, MissingExtra) as error:
            raise type(error)(
                f"objective, line {line}: trial.log_model(format={name!r}): {error}"
            ) from None


def _calls(objective: Callable[..., Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line and the keywords of each call of ``trial.log_model``.

    The value of a keyword is None unless it is written in the call.
    """
    try:
        lines, first = inspect.getsourcelines(inspect.unwrap(objective))
        function = parse_python(textwrap.dedent("".join(lines))).body[0]
    except (OSError, TypeError, SyntaxError, ValueError, IndexError):
        return  # as for a lambda, or in an interactive session
    if not isinstance(function, ast.FunctionDef):
        return
    trials = {argument.arg for argument in function.args.args[1:]}
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "log_model"
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in trials
        ):
            options = {k.arg: getattr(k.value, "value", None) for k in node.keywords if k.arg}
            yield first + node.lineno - 1, options
