"""`Space`: named domains with nested conditional parameters and constraints."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuner.errors import InvalidParams, SpaceError
from tuner.search_spaces import checks, editing, serialization
from tuner.search_spaces.categorical import Listed
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.expressions import Expression
from tuner.search_spaces.numeric import Float
from tuner.search_spaces.points import (
    Column,
    PointBuilder,
    columns_of,
    count_points,
    decode,
    encode,
    enumerate_points,
    flatten_params,
    snap,
    validate_params,
)
from tuner.search_spaces.priors import SpacePrior
from tuner.search_spaces.region import BATCH, N_TRIED, Region, nearest_row

MAX_ENUMERABLE = 100_000
"""Maximum size of a finite space that is enumerated to find its feasible points."""

N_CANDIDATES = 200
"""Number of random points of which the nearest one is the start of `Space.defaults`."""

Params: TypeAlias = dict[str, Any]
"""A point: a nested dict of plain values; a branch is a pair ``(option, {...})``."""


class Space:
    """A search space: an immutable dict of domains, with constraints between them.

    Parameters
    ----------
    params
        Name to domain. A `Choice` with branches contains the conditional parameters of its
        options. At the top level, the field names of a trial (``number``, ``state``, ``value``,
        ...) are reserved.
    constraints
        Expressions over parameters, or their text. A constraint with an inactive parameter counts
        as satisfied.

    Raises
    ------
    SpaceError
        If the space is empty, a name or domain is invalid, a constraint names an unknown
        parameter, or no point satisfies the constraints.

    Examples
    --------
    >>> from tuner.search_spaces import Choice, Float, Int, P
    >>> space = Space({
    ...     "depth": Int(1, 8),
    ...     "model": Choice(svm={"C": Float(0.1, 10.0, log=True)}, forest={"trees": Int(1, 8)}),
    ... }).where(P("model.forest.trees") >= P("depth"))
    >>> [column.path for column in space.columns]
    ['depth', 'model', 'model.svm.C', 'model.forest.trees']
    >>> {"depth": 3, "model": ("forest", {"trees": 2})} in space
    False
    >>> {"depth": 3, "model": ("svm", {"C": 1.0})} in space
    True
    """

    def __init__(
        self,
        params: Mapping[str, Domain] | Space,
        constraints: Iterable[Expression | str] = (),
    ) -> None:
        if isinstance(params, Space):
            constraints = (*params.constraints, *constraints)
            params = params.params
        self._params = checks.checked_params(params)
        self._columns = columns_of(self._params)
        checks.check_paths_differ(self._columns)
        self._build = PointBuilder(self._params)
        self._constraints = checks.checked_constraints(constraints, self._columns)
        self._region = (
            Region(self._columns, self._constraints, self.prior) if self._constraints else None
        )
        self._refuse_unsatisfiable()

    @property
    def params(self) -> Mapping[str, Domain]:
        """The domains by name, in the order of declaration."""
        return MappingProxyType(self._params)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The parameters at all depths, depth first, parents before children."""
        return self._columns

    @property
    def constraints(self) -> tuple[Expression, ...]:
        """The constraints that every point satisfies."""
        return self._constraints

    @cached_property
    def prior(self) -> SpacePrior:
        """The joint prior of the domains."""
        return SpacePrior(column.domain.density for column in self._columns)

    def where(self, *constraints: Expression | str) -> Space:
        """Return this space with additional constraints."""
        return Space(self, constraints)

    # --- points -------------------------------------------------------------------------------

    def flatten(self, params: Params) -> dict[str, Any]:
        """Return ``{path: value}`` of the active parameters, in the order of `columns`."""
        return flatten_params(self._params, params)

    def unflatten(self, flat: Mapping[str, Any]) -> Params:
        """Invert `flatten`; accepts values read from JSON.

        Lists become tuples, and the integer 1 becomes 1.0 for a `Float`. Bounds of numbers are not
        checked; see `validate`.

        Raises
        ------
        InvalidParams
            If an active parameter is missing, or its value has a wrong type.
        """
        return self._build(flat)

    def validate(self, params: Any) -> Params:
        """Validate a point and convert it to plain values of the declared types.

        Raises
        ------
        InvalidParams
            If it is not a point of this space; names the path, the value and the allowed values.
        """
        valid = validate_params(self._params, params)
        flat = self.flatten(valid)
        for constraint in self.constraints:
            if constraint.evaluate(flat) is False:
                values = ", ".join(f"{p} = {flat[p]!r}" for p in constraint.paths if p in flat)
                raise InvalidParams(f"params: {values} violates the constraint {str(constraint)!r}")
        return valid

    def contains(self, params: Any) -> bool:
        """Return whether `params` is a point of this space."""
        try:
            self.validate(params)
        except InvalidParams:
            return False
        return True

    __contains__ = contains

    def feasible(self, params: Params) -> bool:
        """Return whether a point satisfies the constraints."""
        if not self.constraints:
            return True
        return self.feasible_flat(self.flatten(params))

    def feasible_flat(self, flat: Mapping[str, Any]) -> bool:
        """Return whether a flat point, as returned by `flatten`, satisfies the constraints."""
        return all(c.evaluate(flat) is not False for c in self.constraints)

    def feasible_rows(
        self, X: NDArray[np.float64], active: NDArray[np.bool_] | None = None
    ) -> NDArray[np.bool_]:
        """Return which of the points that `X` (n, d) decodes to satisfy the constraints.

        The mask has shape (n,). It takes a fraction of the time of `feasible` for each point.
        `active` is the mask of `snap`, if it is known.
        """
        if self._region is None:
            return np.ones(len(X), dtype=bool)
        return self._region.contains(X, active)

    def key(self, params: Params) -> Hashable:
        """Return a hashable key; two points have the same key if and only if they are the same."""
        as_keys = self._as_keys
        return tuple(
            (path, as_keys[path](value) if path in as_keys else value)
            for path, value in self.flatten(params).items()
        )

    def defaults(self) -> Params | None:
        """Return the point of the declared defaults, or None.

        Parameters without a default take their central value or first option, or the nearest
        value that the constraints allow. The result is None if no default is declared, or if the
        defaults themselves violate a constraint.
        """
        declared = {c.path: c.domain.default for c in self.columns if c.domain.default is not None}
        if not declared:
            return None
        point = self._central()
        return point if self.feasible(point) else self._completed(declared)

    def _central(self) -> Params:
        """Return the point of the defaults, the first options and the central values."""
        flat = {}
        for column in self._columns:
            domain = column.domain
            first = domain.options[0] if isinstance(domain, Listed) else domain.middle
            flat[column.path] = first if domain.default is None else domain.default
        return self.unflatten(flat)

    def _completed(self, fixed: Mapping[str, Any]) -> Params | None:
        """Return a feasible point with fixed values, near the center in all other parameters."""
        try:
            rest = self.freeze(fixed)
            points = rest.sample(np.random.default_rng(0), N_CANDIDATES)
        except SpaceError:
            return None
        (center,), _ = rest.encode([rest._central()])
        X, _ = rest.encode(points)
        row = nearest_row(
            X,
            center,
            np.array([isinstance(column.domain, Listed) for column in rest.columns]),
            lambda row: rest.feasible(*rest.decode([row])),
        )
        return rest.decode([row])[0]

    # --- many points --------------------------------------------------------------------------

    @overload
    def sample(self, rng: np.random.Generator) -> Params: ...

    @overload
    def sample(self, rng: np.random.Generator, n: None) -> Params: ...

    @overload
    def sample(self, rng: np.random.Generator, n: int) -> list[Params]: ...

    def sample(self, rng: np.random.Generator, n: int | None = None) -> Params | list[Params]:
        """Draw a random point that satisfies the constraints, or a list of `n` points.

        Points are independent and follow the priors of the domains; without a prior they are
        uniform.

        Raises
        ------
        SpaceError
            If a million consecutive points violate the constraints.
        """
        points = self.decode(self.sample_rows(rng, 1 if n is None else n))
        return points[0] if n is None else points

    def sample_rows(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Draw `n` random points as rows of the unit cube, shape (n, d); see `sample`."""
        if self._region is None:
            return self.prior.places(rng.random((n, len(self._columns))))
        return self._region.sample(rng, n)

    def encode(self, points: Sequence[Params]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Encode points as rows of the unit cube.

        Returns
        -------
        X : array of shape (n, d)
            One column per entry of `columns`, in [0, 1]; 0.5 for inactive parameters.
        active : bool array of shape (n, d)
        """
        return encode(self._columns, [self.flatten(point) for point in points])

    def snap(self, X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return ``encode(decode(X))``, up to rounding, in a fraction of the time.

        Parameters
        ----------
        X
            Rows of the unit cube, shape (n, d).
        """
        return snap(self._columns, X)

    def decode(self, X: ArrayLike) -> list[Params]:
        """Decode the rows of an array of shape (n, d) in [0, 1] to points.

        Inactive columns are ignored; constraints are not enforced. Entries outside [0, 1] are
        clipped.

        Raises
        ------
        ArgumentError
            If `X` has another shape or contains NaN.
        """
        return decode(self._params, self._columns, X)

    @cached_property
    def size(self) -> float:
        """The number of points; ``math.inf`` with a continuous parameter.

        Constraints are taken into account in spaces of up to 100,000 points; in larger spaces
        they are ignored.
        """
        whole = count_points(self._params)
        if not self._constraints or whole > MAX_ENUMERABLE:
            return whole
        return sum(1 for _ in self.grid(1))

    def grid(self, levels: int = 5) -> Iterator[Params]:
        """Yield all points that satisfy the constraints; the last parameter varies fastest.

        A continuous parameter takes `levels` evenly spaced values.

        Raises
        ------
        ArgumentError
            If `levels` is not a positive integer.
        """
        points = enumerate_points(self._params, levels)
        if self._region is None or count_points(self._params) == math.inf:
            return filter(self.feasible, points)
        return self._feasible_of(points)

    def _feasible_of(self, points: Iterator[Params]) -> Iterator[Params]:
        """Yield the feasible points of a finite space; small batches first."""
        size = 8
        while batch := list(itertools.islice(points, size)):
            X, active = self.encode(batch)
            yield from itertools.compress(batch, self.feasible_rows(X, active))
            size = BATCH

    # --- other spaces -------------------------------------------------------------------------

    def freeze(self, values: Mapping[str, Any]) -> Space:
        """Return this space with parameters fixed, by path: ``{"model": "svm", "lr": 0.1}``."""
        return self._edited(values, editing.frozen)

    def narrow(self, changes: Mapping[str, Any]) -> Space:
        """Return this space with smaller domains, by path.

        A change is a domain, a pair ``(low, high)``, or a list of the options to keep.
        """
        return self._edited(changes, editing.narrowed)

    def widen(self, changes: Mapping[str, Any]) -> Space:
        """Return this space with larger domains, by path; see `narrow`."""
        return self._edited(changes, editing.widened)

    def _edited(self, changes: Mapping[str, Any], edit: editing.Edit) -> Space:
        return Space(*editing.edited(self._params, self._constraints, changes, edit))

    # --- text ---------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the space as a JSON-compatible dict."""
        return serialization.to_dict(self._params, self._constraints)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Space:
        """Create a space from the result of `to_dict`."""
        return cls(*serialization.from_dict(data))

    def to_json(self) -> str:
        """Return the space as JSON text."""
        return serialization.to_json(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Space:
        """Create a space from the result of `to_json`."""
        return cls(*serialization.from_json(text))

    def to_yaml(self) -> str:
        """Return the space as YAML text."""
        return serialization.to_yaml(self.to_dict())

    @classmethod
    def from_yaml(cls, text: str) -> Space:
        """Create a space from YAML text, generated by `to_yaml` or written by hand."""
        return cls(*serialization.from_yaml(text))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex of the domains, in order, and the constraints.

        Defaults and priors are excluded: they guide the search but do not change the set of points.
        """
        return serialization.fingerprint(self.to_dict())

    def _refuse_unsatisfiable(self) -> None:
        """Raise `SpaceError` if no point satisfies the constraints.

        In a small finite space, all points are tested; otherwise `N_TRIED` random points. If none
        of these is feasible, rejection sampling would take too long.
        """
        if self._region is None:
            return
        whole = count_points(self._params)
        if whole <= MAX_ENUMERABLE:
            if next(self.grid(), None) is None:
                raise checks.unsatisfiable(f"its {int(whole)} points", self._constraints)
        elif self._region.empty:
            raise checks.unsatisfiable(f"{N_TRIED} random points", self._constraints)

    @cached_property
    def _as_keys(self) -> dict[str, Callable[[Any], Hashable]]:
        """The conversions to hashable keys, by path, for domains whose values need one."""
        turned: dict[str, Callable[[Any], Hashable]] = {}
        for column in self._columns:
            if isinstance(column.domain, Listed):
                turned[column.path] = column.domain.index  # 1 == True, but they are two options
            elif isinstance(column.domain, Float) and column.domain.step is not None:
                turned[column.path] = column.domain.cast  # 0.1 + 0.2 means 0.3
        return turned

    def __eq__(self, other: object) -> bool:
        # Compares text: equal dicts can differ in order, and in 1 versus True.
        return isinstance(other, Space) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        inner = ", ".join(f"{name!r}: {domain!r}" for name, domain in self.params.items())
        where = ", ".join(repr(str(c)) for c in self.constraints)
        return f"Space({{{inner}}})" + (f".where({where})" if where else "")
