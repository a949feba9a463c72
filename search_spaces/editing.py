"""Spaces made of spaces: parameters fixed, domains made smaller or larger."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors import SpaceError
from tuner.search_spaces.categorical import Choice, Const, Listed, Ordinal
from tuner.search_spaces.columns import columns_of
from tuner.search_spaces.domains import Bool, Domain, Numeric

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
    left = {column.path for column in columns_of(params)}
    # A constraint on a branch that is gone can never be broken again.
    constraints = [c for c in space.constraints if set(c.paths) <= left]
    return Space(params, constraints)


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
            domain = Choice(default=domain.default, **branches)
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
    if isinstance(change, Domain):
        return change
    if isinstance(domain, Numeric) and isinstance(change, tuple | list) and len(change) == 2:
        low, high = change
        default = domain.default
        if default is not None and not low <= default <= high:
            default = None
        return type(domain)(low, high, log=domain.log, step=domain.step, default=default)
    if isinstance(domain, Choice | Ordinal) and isinstance(change, list | tuple | set):
        default = domain.default if domain.default in change else None
        if isinstance(domain, Choice) and domain.branches is not None:
            unknown = [o for o in change if o not in domain.branches]
            if unknown:
                raise SpaceError(
                    f"search space: {path!r} has no option {unknown[0]!r}, it has "
                    f"{', '.join(map(repr, domain.options))}"
                )
            kept = {o: b for o, b in domain.branches.items() if o in change}
            return Choice(default=default, **kept)
        return type(domain)(*change, default=default)
    raise SpaceError(
        f"search space: {path!r} is {domain!r}; change it to a domain, a pair (low, high) or a "
        f"list of options, not {change!r}"
    )


def _covers(outer: Domain, inner: Domain) -> bool:
    """Whether every value of `inner` is one of `outer`."""
    if isinstance(inner, Numeric):
        if not isinstance(outer, Numeric) or not outer.low <= inner.low <= inner.high <= outer.high:
            return False
        if outer.size == float("inf"):
            return True
        return inner.size < float("inf") and all(map(outer.contains, inner.grid(1)))
    if isinstance(inner, Listed | Bool):
        return all(map(outer.contains, inner.grid(1)))
    return False
