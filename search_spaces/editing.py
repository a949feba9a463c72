"""Derive spaces by fixing parameters and by narrowing or widening domains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

from tuner.errors import SpaceError
from tuner.search_spaces.advice import unknown_parameter
from tuner.search_spaces.categorical import Choice, Const, Ordinal
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.expressions import LOGIC, Binary, Expression, Unary
from tuner.search_spaces.numeric import Int, Numeric
from tuner.search_spaces.points import columns_of
from tuner.search_spaces.repeat import Repeat

Edit: TypeAlias = Callable[[str, Domain, Any], Domain]
"""A function of a path, its domain and a change; returns the new domain."""


def edited(
    params: Mapping[str, Domain],
    constraints: Iterable[Expression],
    changes: Mapping[str, Any],
    edit: Edit,
) -> tuple[dict[str, Domain], list[Expression]]:
    """Apply an edit at each path of `changes`; return the new domains and constraints.

    Removed parameters are eliminated from the constraints; see `without`.

    Raises
    ------
    SpaceError
        If a path is unknown, or a change does not fit its domain.
    """
    paths = [column.path for column in columns_of(params)]
    for path in changes:
        if path not in paths:
            raise SpaceError(f"search space: {unknown_parameter(path, paths)}")
    new = _rebuilt(params, "", changes, edit)
    gone = set(paths) - {column.path for column in columns_of(new)}
    left = [without(constraint, gone) for constraint in constraints]
    return new, [constraint for constraint in left if constraint is not None]


def _rebuilt(
    params: Mapping[str, Domain], prefix: str, changes: Mapping[str, Any], edit: Edit
) -> dict[str, Domain]:
    new: dict[str, Domain] = {}
    for name, domain in params.items():
        path = prefix + name
        branches = {
            option: _rebuilt(branch, f"{path}.{option}.", changes, edit)
            for option, branch in (domain.branches or {}).items()
        }
        if isinstance(domain, Repeat):
            domain = Repeat(domain.name, domain.count, list(branches.values()))
        elif branches:
            domain = Choice(default=domain.default, prior=domain.prior, **branches)
        new[name] = edit(path, domain, changes[path]) if path in changes else domain
    return new


def frozen(path: str, domain: Domain, value: Any) -> Domain:
    """Return the domain fixed to a value; see `Space.freeze`."""
    try:
        plain = domain.cast(value)
    except ValueError:
        raise SpaceError(
            f"search space: {path!r} cannot be frozen to {value!r}, allowed: {domain!r}"
        ) from None
    if isinstance(domain, Choice) and domain.branches is not None:
        return Choice(**{plain: domain.branches[plain]})
    if isinstance(domain, Repeat):
        if plain == 0:
            raise SpaceError(f"search space: {path!r} cannot be frozen to no {domain.name}")
        return domain.with_count(Int(plain, plain))
    return Const(plain)


def narrowed(path: str, domain: Domain, change: Any) -> Domain:
    """Return the smaller domain; see `Space.narrow`."""
    new = _changed(path, domain, change)
    if not _covers(domain, new):
        raise SpaceError(f"search space: {path!r} is {domain!r}; {new!r} exceeds it: use widen")
    return new


def widened(path: str, domain: Domain, change: Any) -> Domain:
    """Return the larger domain; see `Space.widen`."""
    new = _changed(path, domain, change)
    if not _covers(new, domain):
        raise SpaceError(
            f"search space: {path!r} is {domain!r}; {new!r} does not contain it: use narrow"
        )
    return new


def _changed(path: str, domain: Domain, change: Any) -> Domain:
    """Return the domain of a change, given as a domain, as bounds or as options."""
    try:
        if isinstance(change, Domain):
            return _with_same_pairs(domain, change)
        if isinstance(domain, Repeat) and not isinstance(change, Repeat):
            count = _changed(path, domain.count, change)
            return domain.with_count(count)  # type: ignore[arg-type]
        if isinstance(domain, Numeric) and isinstance(change, tuple | list) and len(change) == 2:
            return _with_bounds(domain, *change)
        if isinstance(domain, Choice | Ordinal) and isinstance(change, tuple | list):
            return _with_options(domain, change)
    except SpaceError as error:
        raise SpaceError(f"search space: {path!r}: {error}") from None
    raise SpaceError(
        f"search space: {path!r} is {domain!r}; change it to a domain, a pair (low, high) or a "
        f"list of options, not {change!r}"
    )


def _with_same_pairs(domain: Domain, change: Domain) -> Domain:
    branched = [d.branches is not None for d in (domain, change)]
    if branched[0] is not branched[1]:
        raise SpaceError(
            f"with {change!r} instead of {domain!r}, the values would "
            f"{'no longer be' if branched[0] else 'become'} pairs; write a list of options, or a "
            f"Choice with{'' if branched[0] else 'out'} branches"
        )
    return change


def _with_bounds(domain: Numeric, low: Any, high: Any) -> Domain:
    make = type(domain)
    bare = make(low, high, log=domain.log, step=domain.step, default=None)
    default, prior = domain.default, domain.prior
    return make(
        low,
        high,
        log=domain.log,
        step=domain.step,
        default=default if default is not None and bare.contains(default) else None,
        prior=prior if prior is not None and bare.low <= prior.loc <= bare.high else None,
    )


def _with_options(domain: Choice | Ordinal, options: Sequence[Any]) -> Domain:
    """Return the domain with these options, in the order of `domain` if it contains them all."""
    known = [option for option in options if domain.contains(option)]
    if len(known) == len(options):
        options = [domain.options[i] for i in sorted(set(map(domain.index, options)))]
    branches: Mapping[str, Mapping[str, Domain]] = {}
    if isinstance(domain, Choice) and domain.branches is not None:
        for option in options:
            if option not in known:
                known_options = ", ".join(map(repr, domain.options))
                raise SpaceError(f"unknown option {option!r}; write one of {known_options}")
        branches = {option: domain.branches[option] for option in options}
        options = ()
    bare = type(domain)(*options, **branches)
    default, prior = domain.default, domain.prior
    weights = None
    if prior is not None and len(known) == len(bare.options):
        weights = [prior[domain.index(option)] for option in bare.options]
    return type(domain)(
        *options,
        default=default if default is not None and bare.contains(default) else None,
        prior=weights,
        **branches,
    )


def _covers(outer: Domain, inner: Domain) -> bool:
    """Return whether every value of `inner` is a value of `outer`."""
    if isinstance(inner, Choice) and inner.branches is not None:
        return isinstance(outer, Choice) and _covers_branches(outer, inner.branches)
    if isinstance(inner, Repeat):
        return isinstance(outer, Repeat) and _covers_blocks(outer, inner)
    if isinstance(inner, Numeric):
        return isinstance(outer, Numeric) and _covers_range(outer, inner)
    if math.isinf(inner.size):
        return outer == inner
    return all(map(outer.contains, inner.grid(1)))


def _covers_branches(outer: Choice, inner: Mapping[str, Mapping[str, Domain]]) -> bool:
    branches = outer.branches or {}
    return all(
        option in branches
        and branches[option].keys() == branch.keys()
        and all(_covers(branches[option][name], domain) for name, domain in branch.items())
        for option, branch in inner.items()
    )


def _covers_blocks(outer: Repeat, inner: Repeat) -> bool:
    return (
        outer.name == inner.name
        and _covers_range(outer.count, inner.count)
        and all(
            wide.keys() == block.keys()
            and all(_covers(wide[name], domain) for name, domain in block.items())
            for wide, block in zip(outer.blocks, inner.blocks, strict=False)
        )
    )


def _covers_range(outer: Numeric, inner: Numeric) -> bool:
    if not outer.low <= inner.low <= inner.high <= outer.high:
        return False
    if math.isinf(outer.size):
        return True
    # Both grids are evenly spaced: if the first two values and the last one match, all do.
    first = itertools.islice(inner.values(), 2) if math.isfinite(inner.size) else ()
    return math.isfinite(inner.size) and all(map(outer.contains, (*first, inner.high)))


# --- constraints without some of their parameters -------------------------------------------------


def without(constraint: Expression, gone: AbstractSet[str]) -> Expression | None:
    """Eliminate the parameters `gone` from a constraint; their values are always unknown.

    Returns
    -------
    Expression or None
        A constraint without these parameters that the same points violate; None if no point can
        violate it.

    Examples
    --------
    >>> from tuner.search_spaces import P
    >>> print(without((P("model.svm.C") > 1) & (P("lr") < 0.1), {"model.svm.C"}))
    lr < 0.1
    >>> print(without((P("model.svm.C") > 1) | (P("lr") < 0.1), {"model.svm.C"}))
    None
    """
    return _reduced(constraint, gone, outcome=False)


def _reduced(node: Expression, gone: AbstractSet[str], *, outcome: bool) -> Expression | None:
    """Return an expression that equals `outcome` wherever `node` does; None if it never does."""
    if gone.isdisjoint(node.paths):
        return node
    if isinstance(node, Unary) and node.operation == "not":
        inner = _reduced(node.inner, gone, outcome=not outcome)
        return None if inner is None else ~inner
    if not isinstance(node, Binary) or node.operation not in LOGIC:
        return None
    sides = [_reduced(side, gone, outcome=outcome) for side in node.children()]
    possible = [side for side in sides if side is not None]
    # One false side makes an "and" false, one true side makes an "or" true.
    by_one_side = outcome is (node.operation == "or")
    if len(possible) == len(sides):
        return Binary(node.operation, *possible)
    return possible[0] if possible and by_one_side else None
