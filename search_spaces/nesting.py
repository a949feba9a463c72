"""Points as nested dicts: flatten to dotted paths, build, validate, count and enumerate."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from tuner.errors import ArgumentError, InvalidParams
from tuner.search_spaces.categorical import Choice, Listed
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.numeric import Numeric
from tuner.search_spaces.values import shown


def flatten_params(domains: Mapping[str, Domain], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{path: value}`` of the active parameters of a valid point."""
    flat: dict[str, Any] = {}
    _flatten(domains, params, "", flat)
    return flat


def _flatten(
    domains: Mapping[str, Domain], params: Mapping[str, Any], prefix: str, flat: dict[str, Any]
) -> None:
    for name, domain in domains.items():
        path = prefix + name
        if isinstance(domain, Choice) and domain.branches is not None:
            option, inner = params[name]
            flat[path] = option
            _flatten(domain.branches[option], inner, f"{path}.{option}.", flat)
        else:
            flat[path] = params[name]


class PointBuilder:
    """Builds nested points from ``{path: value}``; optimized for reading many trials.

    Parameters
    ----------
    domains
        The parameters by name.
    prefix
        The prefix of their paths.
    """

    __slots__ = ("_parts",)

    def __init__(self, domains: Mapping[str, Domain], prefix: str = "") -> None:
        self._parts = [_Part(name, prefix + name, domain) for name, domain in domains.items()]

    def __call__(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """Return the point; entries of inactive parameters are ignored.

        Numbers of the declared type are accepted without a check of their bounds.

        Raises
        ------
        InvalidParams
            If an active parameter is missing, or its value has another type.
        """
        params: dict[str, Any] = {}
        for part in self._parts:
            try:
                value = flat[part.path]
            except KeyError:
                raise InvalidParams(f"params: missing {part.path!r}") from None
            kind = type(value)
            if kind is not part.number and (kind is not str or value not in part.texts):
                # JSON stores tuples as lists, and some writers drop the ".0" of 1.0.
                value = _cast(part.domain, value, part.path)
            params[part.name] = value if part.branches is None else (value, part.inner(value)(flat))
        return params


class _Part:
    """One parameter: the values accepted without conversion, and the builders of its branches."""

    __slots__ = ("_builders", "branches", "domain", "name", "number", "path", "texts")

    def __init__(self, name: str, path: str, domain: Domain) -> None:
        self.name, self.path, self.domain = name, path, domain
        self.number = domain.type if isinstance(domain, Numeric) else None
        self.branches = domain.branches if isinstance(domain, Choice) else None
        options = domain.options if isinstance(domain, Listed) else ()
        self.texts = frozenset(option for option in options if type(option) is str)
        self._builders: dict[Any, PointBuilder] = {}

    def inner(self, option: str) -> PointBuilder:
        """Return the builder for a branch."""
        if option not in self._builders:
            assert self.branches is not None
            self._builders[option] = PointBuilder(self.branches[option], f"{self.path}.{option}.")
        return self._builders[option]


def validate_params(domains: Mapping[str, Domain], params: Any, prefix: str = "") -> dict[str, Any]:
    """Convert a point to plain values of the declared types; constraints are not checked.

    Raises
    ------
    InvalidParams
        If it is not a point of these domains.
    """
    if not isinstance(params, Mapping):
        place = repr(prefix.rstrip(".")) if prefix else "the point"
        keys = f"a dict with {', '.join(domains)}" if domains else "an empty dict"
        raise InvalidParams(f"params: {place} must be {keys}, not {shown(params)}")
    _refuse_other_names(domains, params, prefix)
    return {
        name: _validate_value(domain, params[name], prefix + name)
        for name, domain in domains.items()
    }


def _validate_value(domain: Domain, value: Any, path: str) -> Any:
    if not isinstance(domain, Choice) or domain.branches is None:
        return _cast(domain, value, path)
    if not isinstance(value, tuple | list) or len(value) != 2:
        example = f"({domain.options[0]!r}, {{...}})"
        raise InvalidParams(
            f"params: {path!r} is {shown(value)}, allowed: a pair such as {example}"
        )
    option = _cast(domain, value[0], path)
    return (option, validate_params(domain.branches[option], value[1], f"{path}.{option}."))


def _cast(domain: Domain, value: Any, path: str) -> Any:
    try:
        return domain.cast(value)
    except ValueError:
        allowed = f"one of {domain.options!r}" if isinstance(domain, Listed) else repr(domain)
        raise InvalidParams(f"params: {path!r} is {shown(value)}, allowed: {allowed}") from None


def _refuse_other_names(
    domains: Mapping[str, Domain], params: Mapping[Any, Any], prefix: str
) -> None:
    missing = [name for name in domains if name not in params]
    unknown = [name for name in params if name not in domains]
    if unknown:
        name = unknown[0] if isinstance(unknown[0], str) else shown(unknown[0])
        close = difflib.get_close_matches(name, missing or domains, n=1)
        hint = f"did you mean {prefix + close[0]!r}?" if close else f"known: {', '.join(domains)}"
        raise InvalidParams(f"params: unknown parameter {prefix + name!r}; {hint}")
    if missing:
        raise InvalidParams(f"params: missing {', '.join(repr(prefix + name) for name in missing)}")


def count_points(domains: Mapping[str, Domain]) -> float:
    """Return the number of points; ``math.inf`` with a continuous parameter."""
    total: float = 1
    for domain in domains.values():
        if isinstance(domain, Choice) and domain.branches is not None:
            total *= sum(map(count_points, domain.branches.values()))
        else:
            total *= domain.size
    return total if math.isinf(total) else int(total)


def enumerate_points(domains: Mapping[str, Domain], levels: int) -> Iterator[dict[str, Any]]:
    """Iterate over all points; see `Space.grid`.

    Raises
    ------
    ArgumentError
        If `levels` is not a positive integer.
    """
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
        raise ArgumentError(f"levels={levels!r} must be a positive integer")
    return _product(domains, levels)


def _product(domains: Mapping[str, Domain], levels: int) -> Iterator[dict[str, Any]]:
    """Yield all combinations; the last parameter varies fastest."""
    if not domains:
        yield {}
        return
    (name, domain), *rest = domains.items()
    for value in _values(domain, levels):
        for point in _product(dict(rest), levels):
            yield {name: value, **point}


def _values(domain: Domain, levels: int) -> Iterator[Any]:
    if isinstance(domain, Numeric) and domain.size < math.inf:
        yield from domain.values()
        return
    if not isinstance(domain, Choice) or domain.branches is None:
        yield from domain.grid(levels)
        return
    for option, branch in domain.branches.items():
        yield from zip(itertools.repeat(option), _product(branch, levels), strict=False)
