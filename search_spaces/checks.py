"""Checks of names, domains and constraints when a space is created."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuner.errors import SpaceError
from tuner.search_spaces.categorical import Choice, Listed
from tuner.search_spaces.columns import Column
from tuner.search_spaces.domains import Bool, Domain
from tuner.search_spaces.expressions import (
    ARITHMETIC,
    LOGIC,
    ORDERINGS,
    Binary,
    Expression,
    Literal,
    P,
    Unary,
)
from tuner.search_spaces.parsing import parse_constraint

RESERVED = frozenset(
    {
        "number", "state", "value", "values", "metrics", "params", "trial", "seed",
        "attempts", "started", "ended", "duration", "error", "notes",
    }
)  # fmt: skip
"""Names of the record of a trial, which a table has beside the parameters."""


def checked_params(params: Any, prefix: str = "") -> dict[str, Domain]:
    """Return the domains by name.

    Raises
    ------
    SpaceError
        If something is no domain, or a name is no name.
    """
    if not isinstance(params, Mapping):
        raise SpaceError(
            f"search space: {params!r} is a {type(params).__name__}; write a dict of domains such "
            f'as {{"x": Float(0, 1)}}'
        )
    if not params and not prefix:
        raise SpaceError('search space: it is empty; write at least one domain: {"x": Float(0, 1)}')
    for name, domain in params.items():
        _check_name(name, prefix)
        _check_domain(prefix + name, domain)
        if isinstance(domain, Choice) and domain.branches is not None:
            for option, branch in domain.branches.items():
                checked_params(branch, f"{prefix}{name}.{option}.")
    return dict(params)


def checked_constraints(
    constraints: Iterable[Expression | str], columns: Sequence[Column]
) -> tuple[Expression, ...]:
    """Return the constraints as expressions whose parameters exist.

    Raises
    ------
    SpaceError
        If one is no condition, names no parameter of the space, or orders texts or reckons
        with them.
    """
    if isinstance(constraints, str | Expression):
        constraints = (constraints,)
    checked = []
    for constraint in constraints:
        expression = parse_constraint(constraint) if isinstance(constraint, str) else constraint
        if not isinstance(expression, P) and not (
            isinstance(expression, Expression) and expression.is_condition
        ):
            raise SpaceError(
                f"constraint: {str(constraint)!r} is no condition; compare something, such as "
                f"P('a') <= P('b')"
            )
        by_path = {column.path: column.domain for column in columns}
        _check_paths(expression, by_path)
        _check_kinds(expression, by_path)
        checked.append(expression)
    return tuple(checked)


def unsatisfiable(tried: str, constraints: Sequence[Expression]) -> SpaceError:
    """Return the error for constraints that none of the points `tried` satisfies."""
    rules = " and ".join(repr(str(c)) for c in constraints)
    equal = any(
        isinstance(node, Binary) and node.operation == "==" and node.paths
        for c in constraints
        for node in c.walk()
    )
    hint = (
        "an equation over continuous parameters is never met: leave out one of them and compute it "
        "in the objective"
        if equal
        else "relax the constraints, or narrow the domains to where they hold"
    )
    return SpaceError(f"search space: none of {tried} satisfies {rules}; {hint}")


def _check_name(name: Any, prefix: str) -> None:
    if not isinstance(name, str) or not name:
        raise SpaceError(f"search space: {prefix}{name!r} is no name; write a text")
    if "." in name:
        raise SpaceError(
            f"search space: {prefix + name!r}: a name has no '.', which is for paths; write "
            f"{name.replace('.', '_')!r}"
        )
    if not prefix and name in RESERVED:
        raise SpaceError(
            f"search space: {name!r} is reserved for the record of a trial; write another name, "
            f"such as {name + '_'!r}"
        )


def _check_domain(path: str, domain: Any) -> None:
    if isinstance(domain, Domain):
        return
    if isinstance(domain, Mapping):
        remedy = f"a dict is written as a branch: Choice({path.split('.')[-1]}={{...}})"
    elif isinstance(domain, list | tuple | set | range):
        options = ", ".join(map(repr, domain))
        remedy = f"write Choice({options}) or Ordinal({options})"
    elif isinstance(domain, type) and issubclass(domain, Domain):
        remedy = f"write {domain.__name__}(...)"
    elif domain is None or isinstance(domain, bool | int | float | str):
        remedy = f"write Const({domain!r}) for a fixed value"
    else:
        remedy = "write Float, Int, Choice, Ordinal, Bool or Const"
    raise SpaceError(
        f"search space: {path!r} is {domain!r} ({type(domain).__name__}), no domain; {remedy}"
    )


def _check_paths(expression: Expression, by_path: Mapping[str, Domain]) -> None:
    for path in expression.paths:
        if path not in by_path:
            close = difflib.get_close_matches(path, by_path, n=1) or [
                known for known in by_path if known.split(".")[-1] == path.split(".")[-1]
            ]
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(by_path)}"
            raise SpaceError(
                f"constraint {str(expression)!r}: there is no parameter {path!r}; {hint}"
            )


def _check_kinds(expression: Expression, by_path: Mapping[str, Domain]) -> None:
    """Refuse what could never be reckoned: it would be unknown, and so satisfied, everywhere."""
    if isinstance(expression, P):
        _refuse_unless_truth(expression, expression, by_path)
    for node in expression.walk():
        operation = node.operation if isinstance(node, Binary | Unary) else None
        for side in node.children():
            if operation in LOGIC:
                _refuse_unless_truth(expression, side, by_path)
            elif operation in ORDERINGS and (_is_text(side, by_path) or _is_bool(side, by_path)):
                raise SpaceError(
                    f"constraint {str(expression)!r}: {str(side)!r} has no order; compare it with "
                    f"== or .isin([...])"
                )
            elif operation in ARITHMETIC and _is_text(side, by_path):
                raise SpaceError(
                    f"constraint {str(expression)!r}: {str(side)!r} is not always a number; "
                    f"compare it with == or .isin([...])"
                )


def _refuse_unless_truth(
    expression: Expression, side: Expression, by_path: Mapping[str, Domain]
) -> None:
    if isinstance(side, P) and not _is_bool(side, by_path):
        raise SpaceError(
            f"constraint {str(expression)!r}: {str(side)!r} is no condition, it is "
            f"{by_path[side.path]!r}; compare it with something"
        )


def _is_text(side: Expression, by_path: Mapping[str, Domain]) -> bool:
    """Whether a side may be something else than a number."""
    if isinstance(side, Literal):
        return not isinstance(side.value, int | float)
    domain = by_path[side.path] if isinstance(side, P) else None
    return isinstance(domain, Listed) and any(
        not isinstance(option, int | float) for option in domain.options
    )


def _is_bool(side: Expression, by_path: Mapping[str, Domain]) -> bool:
    domain = by_path[side.path] if isinstance(side, P) else None
    return isinstance(domain, Bool) or (
        isinstance(domain, Listed) and all(isinstance(option, bool) for option in domain.options)
    )
