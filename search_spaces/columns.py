"""The columns of a space, and points as rows of the unit cube: encode, decode and snap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuner.errors import ArgumentError
from tuner.search_spaces.domains import Condition, Domain


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
