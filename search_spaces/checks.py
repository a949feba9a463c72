"""Validate the names, domains and constraints of a new space."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tuner.errors import SpaceError
from tuner.search_spaces.advice import unknown_parameter, write
from tuner.search_spaces.categorical import Bool, Choice, Const, Listed, Ordinal
from tuner.search_spaces.domains import Domain
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
from tuner.search_spaces.points import Column

RESERVED = frozenset(
    {
        "number", "state", "value", "values", "metrics", "params", "trial", "seed",
        "attempts", "started", "ended", "duration", "error", "notes",
    }
)  # fmt: skip
"""Field names of a trial's record, which share a table with the parameters."""


GROUPS = ("params.", "metrics.", "constraints.", "tags.")
"""Prefixes of the columns in a table of trials."""


def check_paths_differ(columns: Sequence[Column]) -> None:
    """Raise `SpaceError` if a name with dots equals the path of another parameter."""
    seen: set[str] = set()
    for column in columns:
        if column.path in seen:
            raise SpaceError(
                f"search space: {column.path!r} is the path of two parameters, one of which has a "
                f"name with '.'; rename it to {_free_name(column.path, columns)!r}"
            )
        seen.add(column.path)


def _free_name(path: str, columns: Sequence[Column]) -> str:
    name = path.replace(".", "_")
    while any(column.path == name for column in columns) or name in RESERVED:
        name += "_"
    return name


def checked_params(params: Any, prefix: str = "") -> dict[str, Domain]:
    """Validate the parameters of a space and return them as a dict.

    Raises
    ------
    SpaceError
        If a value is not a domain, or a name is not a valid name.
    """
    if not isinstance(params, Mapping):
        raise SpaceError(
            f"search space: {params!r} is a {type(params).__name__}; write a dict of domains such "
            f'as {{"x": Float(0, 1)}}'
        )
    if not params and not prefix:
        raise SpaceError('search space is empty; write at least one domain: {"x": Float(0, 1)}')
    for name, domain in params.items():
        _check_name(name, prefix)
        _check_domain(prefix + name, domain)
        for option, branch in (domain.branches or {}).items():
            checked_params(branch, f"{prefix}{name}.{option}.")
    return dict(params)


def checked_constraints(
    constraints: Iterable[Expression | str], columns: Sequence[Column]
) -> tuple[Expression, ...]:
    """Parse and validate constraints.

    Raises
    ------
    SpaceError
        If a constraint is not a condition, names an unknown parameter, or applies ``<`` or
        arithmetic to strings.
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
                f"constraint: {str(constraint)!r} must be a condition; write a comparison such as "
                f"P('a') <= P('b')"
            )
        by_path = {column.path: column.domain for column in columns}
        _check_paths(expression, by_path)
        _check_kinds(expression, by_path)
        checked.append(expression)
    return tuple(checked)


def unsatisfiable(tried: str, constraints: Sequence[Expression]) -> SpaceError:
    """Return the error for constraints that no point satisfies; `tried` describes the points."""
    rules = " and ".join(repr(str(c)) for c in constraints)
    equal = any(
        isinstance(node, Binary) and node.operation == "==" and node.paths
        for c in constraints
        for node in c.walk()
    )
    hint = (
        "random points never satisfy an equation of continuous parameters: remove one of them and "
        "compute it in the objective"
        if equal
        else "relax the constraints, or narrow the domains to the feasible region"
    )
    return SpaceError(f"search space: none of {tried} satisfies {rules}; {hint}")


def _check_name(name: Any, prefix: str) -> None:
    if not isinstance(name, str) or not name:
        raise SpaceError(f"search space: the name {prefix}{name!r} must be a non-empty string")
    if not prefix and name.startswith(GROUPS):
        raise SpaceError(
            f"search space: the name {name!r} starts with {name.split('.')[0] + '.'!r}, which "
            f"marks columns of a table of trials; write {name.replace('.', '_')!r}"
        )
    if not prefix and name in RESERVED:
        raise SpaceError(
            f"search space: {name!r} is reserved for a field of a trial; write another name, "
            f"such as {name + '_'!r}"
        )


def _check_domain(path: str, domain: Any) -> None:
    if isinstance(domain, Domain):
        return
    if isinstance(domain, Mapping):
        name = path.split(".")[-1]
        plain = name.isidentifier() and not keyword.iskeyword(name)
        branch = f"{name}={{...}}" if plain else f"**{{{name!r}: {{...}}}}"
        if name in ("default", "prior"):
            branch = "option={...}"
        remedy = f"write a dict as a branch: Choice({branch})"
    elif isinstance(domain, list | tuple | set | range):
        remedy = write(
            lambda: Either(Choice(*domain), Ordinal(*domain)),
            otherwise="write the options as Choice('a', 'b') or Ordinal(1, 2)",
        )
    elif isinstance(domain, type) and issubclass(domain, Domain):
        remedy = f"write {domain.__name__}(...)"
    elif domain is None or isinstance(domain, bool | int | float | str):
        fixed = write(lambda: Const(domain), otherwise="")
        remedy = f"{fixed} for a fixed value" if fixed else "write a range, such as Float(0, 1)"
    else:
        remedy = "write Float, Int, Choice, Ordinal, Bool or Const"
    raise SpaceError(
        f"search space: {path!r} is {domain!r} ({type(domain).__name__}), not a domain; {remedy}"
    )


class Either(NamedTuple):
    """Two alternatives of a remedy."""

    first: object
    second: object

    def __repr__(self) -> str:
        return f"{self.first!r} or {self.second!r}"


def _check_paths(expression: Expression, by_path: Mapping[str, Domain]) -> None:
    for path in expression.paths:
        if path not in by_path:
            problem = unknown_parameter(path, by_path)
            raise SpaceError(f"constraint {str(expression)!r}: {problem}")


def _check_kinds(expression: Expression, by_path: Mapping[str, Domain]) -> None:
    """Reject type errors: the constraint would always be unknown, and therefore satisfied."""
    if isinstance(expression, P):
        _refuse_unless_truth(expression, expression, by_path)
    for node in expression.walk():
        operation = node.operation if isinstance(node, Binary | Unary) else None
        for side in node.children():
            if operation in LOGIC:
                _refuse_unless_truth(expression, side, by_path)
            elif operation in ORDERINGS and (_is_text(side, by_path) or _is_bool(side, by_path)):
                raise SpaceError(
                    f"constraint {str(expression)!r}: {str(side)!r} cannot be ordered; compare it "
                    f"with == or .isin([...])"
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
            f"constraint {str(expression)!r}: {str(side)!r} is {by_path[side.path]!r}, not a "
            f"condition; compare it with a value"
        )


def _is_text(side: Expression, by_path: Mapping[str, Domain]) -> bool:
    """Return whether an operand can have a value that is not a number."""
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
