"""The columns of a space, and the three forms of a point: nested dict, flat dict and row.

A flat dict is ``{path: value}`` of the active parameters. A row of the unit cube has one entry in
[0, 1] for each column.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuner.errors import ArgumentError, InvalidParams
from tuner.search_spaces.categorical import Listed
from tuner.search_spaces.domains import Condition, Domain
from tuner.search_spaces.numeric import Numeric
from tuner.search_spaces.values import shown


@dataclass(frozen=True, slots=True)
class Column:
    """One parameter of a space.

    `path` is its dotted path (``"model.svm.C"``). `parents` holds the condition of each enclosing
    branch, a pair ``(path, option)``, outermost first; the parameter is active where all of these
    hold.
    """

    path: str
    domain: Domain
    parents: tuple[Condition, ...] = ()

    def is_active(self, flat: Mapping[str, Any]) -> bool:
        """Return whether the parameter is active, given ``{path: value}`` of its parents."""
        return all(condition.holds(flat.get(condition.path)) for condition in self.parents)


def columns_of(params: Mapping[str, Domain]) -> tuple[Column, ...]:
    """Return all columns in the order of declaration, parents before children."""
    return tuple(_walk(params, "", ()))


def _walk(
    params: Mapping[str, Domain], prefix: str, parents: tuple[Condition, ...]
) -> Iterator[Column]:
    for name, domain in params.items():
        path = prefix + name
        yield Column(path, domain.own, parents)
        for name, branch in (domain.branches or {}).items():
            condition = domain.condition(path, name)
            inner = parents if condition is None else (*parents, condition)
            yield from _walk(branch, f"{path}.{name}.", inner)


# --- rows of the unit cube ------------------------------------------------------------------------

INACTIVE = 0.5
"""The entry of an inactive parameter."""


def encode(
    columns: Sequence[Column], flats: Sequence[Mapping[str, Any]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Encode n flat points as ``(X, active)``, both of shape (n, d); see `Space.encode`."""
    shape = (len(flats), len(columns))
    X, active = np.full(shape, INACTIVE), np.zeros(shape, dtype=bool)
    for j, column in enumerate(columns):
        path = column.path
        if not column.parents:
            active[:, j] = True
            X[:, j] = column.domain.to_unit([flat[path] for flat in flats]) if flats else 0
            continue
        rows = [i for i, flat in enumerate(flats) if path in flat]
        if rows:
            active[rows, j] = True
            X[rows, j] = column.domain.to_unit([flats[i][path] for i in rows])
    return X, active


def activity(columns: Sequence[Column], X: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the mask of the active parameters of the points at the rows of `X`, shape (n, d)."""
    if not any(column.parents for column in columns):
        return np.ones(X.shape, dtype=bool)
    return snap(columns, X)[1]


def snap(
    columns: Sequence[Column], X: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return ``encode(decode(X))``, up to rounding, without creating the points."""
    snapped, active = np.full(X.shape, INACTIVE), np.zeros(X.shape, dtype=bool)
    places = {column.path: j for j, column in enumerate(columns)}
    for j, column in enumerate(columns):
        if column.parents:
            condition = column.parents[-1]  # active only where its own parents are
            parent = places[condition.path]
            low, high = condition.span(columns[parent].domain)
            here = active[:, parent] & (low <= snapped[:, parent]) & (snapped[:, parent] <= high)
        else:
            here = np.ones(len(X), dtype=bool)
        active[:, j] = here
        snapped[:, j] = np.where(here, column.domain.snap(X[:, j]), INACTIVE)
    return snapped, active


def decode(
    domains: Mapping[str, Domain], columns: Sequence[Column], X: ArrayLike
) -> list[dict[str, Any]]:
    """Decode the rows of `X`, shape (n, d), to points; see `Space.decode`.

    Raises
    ------
    ArgumentError
        If `X` has another shape or contains NaN.
    """
    cube = np.asarray(X, dtype=float)
    if cube.ndim != 2 or cube.shape[1] != len(columns):
        raise ArgumentError(f"X has shape {cube.shape}; it must be (n, {len(columns)})")
    if np.isnan(cube).any():
        row = int(np.isnan(cube).any(axis=1).argmax())
        raise ArgumentError(f"X has NaN in row {row}; all entries must be numbers in [0, 1]")
    values = {column.path: column.domain.from_unit(cube[:, j]) for j, column in enumerate(columns)}
    if all(domain.branches is None for domain in domains.values()):
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return [_point(domains, values, i, "") for i in range(len(cube))]


def _point(
    domains: Mapping[str, Domain], values: Mapping[str, list[Any]], i: int, prefix: str
) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, domain in domains.items():
        path = prefix + name
        value = values[path][i]
        if domain.branches is None:
            params[name] = value
            continue
        inner = [
            _point(domain.branches[branch], values, i, f"{path}.{branch}.")
            for branch in domain.open_branches(value)
        ]
        params[name] = domain.join_value(value, inner)
    return params


# --- nested and flat dicts ------------------------------------------------------------------------


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
        if domain.branches is None:
            flat[path] = params[name]
            continue
        flat[path], inner = domain.split_value(params[name])
        for branch, part in zip(domain.open_branches(flat[path]), inner, strict=True):
            _flatten(domain.branches[branch], part, f"{path}.{branch}.", flat)


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
                value = _cast(part.domain.own, value, part.path)
            if part.domain.branches is not None:
                names = part.domain.open_branches(value)
                inner = [part.inner(name)(flat) for name in names]
                value = part.domain.join_value(value, inner)
            params[part.name] = value
        return params


class _Part:
    """One parameter: the values accepted without conversion, and the builders of its branches."""

    __slots__ = ("_builders", "domain", "name", "number", "path", "texts")

    def __init__(self, name: str, path: str, domain: Domain) -> None:
        self.name, self.path, self.domain = name, path, domain
        own = domain.own
        self.number = own.type if isinstance(own, Numeric) else None
        options = own.options if isinstance(own, Listed) else ()
        self.texts = frozenset(option for option in options if type(option) is str)
        self._builders: dict[Any, PointBuilder] = {}

    def inner(self, branch: str) -> PointBuilder:
        """Return the builder for a branch."""
        if branch not in self._builders:
            assert self.domain.branches is not None
            params = self.domain.branches[branch]
            self._builders[branch] = PointBuilder(params, f"{self.path}.{branch}.")
        return self._builders[branch]


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
    if domain.branches is None:
        return _cast(domain, value, path)
    try:
        own, inner = domain.split_value(value)
    except ValueError:
        raise InvalidParams(
            f"params: {path!r} is {shown(value)}, allowed: {domain.value_form}"
        ) from None
    own = _cast(domain.own, own, path)
    names = domain.open_branches(own)
    parts = [
        validate_params(domain.branches[name], part, f"{path}.{name}.")
        for name, part in zip(names, inner, strict=True)
    ]
    return domain.join_value(own, parts)


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


# --- all points of a space ------------------------------------------------------------------------


def count_points(domains: Mapping[str, Domain]) -> float:
    """Return the number of points; ``math.inf`` with a continuous parameter."""
    total: float = 1
    for domain in domains.values():
        if domain.branches is None:
            total *= domain.size
            continue
        sizes = {name: count_points(branch) for name, branch in domain.branches.items()}
        total *= sum(
            math.prod(sizes[name] for name in domain.open_branches(value))
            for value in domain.grid(1)
        )
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
    if domain.branches is None:
        yield from domain.grid(levels)
        return
    for value in domain.grid(levels):
        branches = [domain.branches[name] for name in domain.open_branches(value)]
        for inner in _combined(branches, levels):
            yield domain.join_value(value, inner)


def _combined(branches: Sequence[Mapping[str, Domain]], levels: int) -> Iterator[list[Any]]:
    """Yield all combinations of the points of several branches."""
    if not branches:
        yield []
        return
    for first in _product(branches[0], levels):
        for others in _combined(branches[1:], levels):
            yield [first, *others]
