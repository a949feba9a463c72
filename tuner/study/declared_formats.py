"""Formats that an objective names for its models, checked before the training."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from tuner.errors import ArgumentError
from tuner.search_spaces.parsing import parse_python


def check_formats(objective: Callable[..., Any]) -> None:
    """Check the calls of ``trial.log_model`` in an objective that name a format.

    Only calls in the source of the objective itself can be checked, if it is known.

    Raises
    ------
    ArgumentError
        If no format has the name, or it is pickle and not allowed.
    """
    for line, options in _calls(objective):
        name = options.get("format")
        if not isinstance(name, str):
            continue
        from tuner.registry.formats import FORMATS
        from tuner.registry.value_formats import PickleFormat

        if name not in FORMATS.names:
            raise ArgumentError(
                f"objective, line {line}: trial.log_model(format={name!r}): no format has this "
                f"name; write one of {FORMATS.listed}"
            )
        if name == PickleFormat.name and options.get("allow_pickle", False) is False:
            raise ArgumentError(
                f"objective, line {line}: trial.log_model(format='pickle') needs "
                f"allow_pickle=True as well"
            )


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
