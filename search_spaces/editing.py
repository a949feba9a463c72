"""Spaces made of spaces: parameters fixed, domains made smaller or larger."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuner.errors import SpaceError
from tuner.search_spaces.categorical import Choice, Const, Ordinal
from tuner.search_spaces.columns import columns_of
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.numeric import Numeric
from tuner.search_spaces.reduction import without

if TYPE_CHECKING:
    from tuner.search_spaces.space import Space

Edit = Callable[[str, Domain, Any], Domain]


def freeze(space: Space, values: Mapping[str, Any]) -> Space:
    """Return the space with parameters fixed; see `Space.freeze`."""
    return _edited(space, values, _frozen)


def narrow(space: Space, changes: Mapping[str, Any]) -> Space:
    """Return the space with domains made smaller; see `Space.narrow`."""
    return _edited(space, changes, _narrowed)


def widen(space: Space, changes: Mapping[str, Any]) -> Space:
    """Return the space with domains made larger; see `Space.widen`."""
    return _edited(space, changes, _widened)


def _edited(space: Space, changes: Mapping[str, Any], edit: Edit) -> Space:
    from tuner.search_spaces.space import Space

    paths = [column.path for column in space.columns]
    for path in changes:
        if path not in paths:
            close = difflib.get_close_matches(path, paths, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(paths)}"
            raise SpaceError(f"search space: there is no parameter {path!r}; {hint}")
    params = _rebuilt(space.params, "", changes, edit)
    gone = set(paths) - {column.path for column in columns_of(params)}
    left = [without(constraint, gone) for constraint in space.constraints]
    return Space(params, [constraint for constraint in left if constraint is not None])


def _rebuilt(
    params: Mapping[str, Domain], prefix: str, changes: Mapping[str, Any], edit: Edit
) -> dict[str, Domain]:
    new: dict[str, Domain] = {}
    for name, domain in params.items():
        path = prefix + name
        if isinstance(domain, Choice) and domain.branches is not None:
            branches = {
                option: _rebuilt(branch, f"{path}.{option}.", changes, edit)
                for option, branch in domain.branches.items()
            }
            domain = Choice(default=domain.default, prior=domain.prior, **branches)
        new[name] = edit(path, domain, changes[path]) if path in changes else domain
    return new


def _frozen(path: str, domain: Domain, value: Any) -> Domain:
    try:
        plain = domain.cast(value)
    except ValueError:
        raise SpaceError(
            f"search space: {path!r} cannot be frozen to {value!r}, allowed: {domain!r}"
        ) from None
    if isinstance(domain, Choice) and domain.branches is not None:
        return Choice(**{plain: domain.branches[plain]})
    return Const(plain)


def _narrowed(path: str, domain: Domain, change: Any) -> Domain:
    new = _changed(path, domain, change)
    if not _covers(domain, new):
        raise SpaceError(
            f"search space: {path!r} is {domain!r}; {new!r} reaches beyond it: write widen"
        )
    return new


def _widened(path: str, domain: Domain, change: Any) -> Domain:
    new = _changed(path, domain, change)
    if not _covers(new, domain):
        raise SpaceError(
            f"search space: {path!r} is {domain!r}; {new!r} does not hold all of it: write narrow"
        )
    return new


def _changed(path: str, domain: Domain, change: Any) -> Domain:
    """Return the domain that a change asks for: as it is, by its bounds, or by its options."""
    try:
        if isinstance(change, Domain):
            return _with_same_pairs(domain, change)
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
    branched = [isinstance(d, Choice) and d.branches is not None for d in (domain, change)]
    if branched[0] is not branched[1]:
        raise SpaceError(
            f"it is {domain!r}, and with {change!r} its values would "
            f"{'no longer be' if branched[0] else 'become'} pairs; give a list of options, or a "
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
        prior=prior if prior is not None and bare.low <= prior.centre <= bare.high else None,
    )


def _with_options(domain: Choice | Ordinal, options: Sequence[Any]) -> Domain:
    """Return the domain with these options, in their order in `domain` if it has them all."""
    known = [option for option in options if domain.contains(option)]
    if len(known) == len(options):
        options = [domain.options[i] for i in sorted(set(map(domain.index, options)))]
    branches: Mapping[str, Mapping[str, Domain]] = {}
    if isinstance(domain, Choice) and domain.branches is not None:
        for option in options:
            if option not in known:
                raise SpaceError(
                    f"it has no option {option!r}, it has {', '.join(map(repr, domain.options))}"
                )
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
    """Whether every value of `inner` is one of `outer`."""
    if isinstance(inner, Choice) and inner.branches is not None:
        return isinstance(outer, Choice) and _covers_branches(outer, inner.branches)
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


def _covers_range(outer: Numeric, inner: Numeric) -> bool:
    if not outer.low <= inner.low <= inner.high <= outer.high:
        return False
    if math.isinf(outer.size):
        return True
    # Two evenly spaced grids: if the first two values and the last are met, all are.
    first = itertools.islice(inner.values(), 2) if math.isfinite(inner.size) else ()
    return math.isfinite(inner.size) and all(map(outer.contains, (*first, inner.high)))
