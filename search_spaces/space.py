"""`Space`: named domains, conditions by nesting, constraints on top."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuner.errors import InvalidParams, SpaceError
from tuner.search_spaces import checks, editing, encoding, grid, serialization
from tuner.search_spaces.categorical import Listed
from tuner.search_spaces.columns import Column, columns_of
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.expressions import Expression
from tuner.search_spaces.nesting import PointBuilder, flatten_params, validate_params
from tuner.search_spaces.numeric import Float
from tuner.search_spaces.priors import SpacePrior

BATCH = 1_000
"""Points drawn at once while constraints reject some."""

MAX_EMPTY_BATCHES = 1_000
"""Batches in a row without a feasible point after which sampling gives up."""

N_TRIED = 10_000
"""Random points of which one must satisfy the constraints of a new space."""

MAX_ENUMERABLE = 100_000
"""Finite spaces of up to this many points are enumerated to count feasible points."""

Params: TypeAlias = dict[str, Any]
"""A point: plain nested dict of plain values; a branch is a pair ``(option, {...})``."""


class Space:
    """What may be tried: a dict of domains, and constraints between them. Immutable.

    Parameters
    ----------
    params
        Name to domain. A `Choice` with branches holds the parameters that exist only with an
        option. The names that the record of a trial uses (``number``, ``state``, ``value``, ...)
        are reserved at the top.
    constraints
        Expressions over parameters, or their text. What an expression touches may be inactive:
        then it is satisfied.

    Raises
    ------
    SpaceError
        If it is empty, a name or domain is wrong, a constraint names an unknown parameter, or
        nothing satisfies the constraints.

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
        self._build = PointBuilder(self._params)
        self._constraints = checks.checked_constraints(constraints, self._columns)
        self._refuse_unsatisfiable()

    @property
    def params(self) -> Mapping[str, Domain]:
        """The domains by name, in the order of declaration."""
        return MappingProxyType(self._params)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every parameter at any depth, parents before children, depth first."""
        return self._columns

    @property
    def constraints(self) -> tuple[Expression, ...]:
        """What every point satisfies, beside the domains."""
        return self._constraints

    @cached_property
    def prior(self) -> SpacePrior:
        """Where the domains' priors expect good points."""
        return SpacePrior(column.domain.density for column in self._columns)

    def where(self, *constraints: Expression | str) -> Space:
        """Return this space with further constraints."""
        return Space(self, constraints)

    # --- points -------------------------------------------------------------------------------

    def flatten(self, params: Params) -> dict[str, Any]:
        """Return ``{path: value}`` of the active parameters, in the order of `columns`."""
        return flatten_params(self._params, params)

    def unflatten(self, flat: Mapping[str, Any]) -> Params:
        """Return the point that `flatten` was called on, of values as JSON gives them.

        Lists are taken for tuples, and 1 for the 1.0 of a `Float`. Whether numbers are within
        their bounds is not looked at; see `validate`.

        Raises
        ------
        InvalidParams
            If an active parameter is missing, or its value cannot be one of its domain.
        """
        return self._build(flat)

    def validate(self, params: Any) -> Params:
        """Return the point as plain values of the declared types.

        Raises
        ------
        InvalidParams
            If it is no point of this space; names the path, the value and what was allowed.
        """
        valid = validate_params(self._params, params)
        flat = self.flatten(valid)
        for constraint in self.constraints:
            if constraint.evaluate(flat) is False:
                values = ", ".join(f"{p} = {flat[p]!r}" for p in constraint.paths if p in flat)
                raise InvalidParams(f"params: {values} breaks the constraint {str(constraint)!r}")
        return valid

    def contains(self, params: Any) -> bool:
        """Whether `params` is a point of this space."""
        try:
            self.validate(params)
        except InvalidParams:
            return False
        return True

    __contains__ = contains

    def feasible(self, params: Params) -> bool:
        """Whether a point satisfies the constraints."""
        if not self.constraints:
            return True
        return self.feasible_flat(self.flatten(params))

    def feasible_flat(self, flat: Mapping[str, Any]) -> bool:
        """Whether a point as `flatten` gives it satisfies the constraints."""
        return all(c.evaluate(flat) is not False for c in self.constraints)

    def key(self, params: Params) -> Hashable:
        """Return what two points share if and only if they are the same."""
        as_keys = self._as_keys
        return tuple(
            (path, as_keys[path](value) if path in as_keys else value)
            for path, value in self.flatten(params).items()
        )

    def defaults(self) -> Params | None:
        """Return the point of the declared defaults, others at their middle or first option.

        None if no default is declared, or the point violates a constraint.
        """
        if all(column.domain.default is None for column in self.columns):
            return None
        flat = {
            c.path: (
                c.domain.default
                if c.domain.default is not None
                else c.domain.options[0]
                if isinstance(c.domain, Listed)
                else c.domain.middle
            )
            for c in self.columns
        }
        point = self.unflatten(flat)
        return point if self.feasible(point) else None

    # --- many points --------------------------------------------------------------------------

    @overload
    def sample(self, rng: np.random.Generator) -> Params: ...

    @overload
    def sample(self, rng: np.random.Generator, n: None) -> Params: ...

    @overload
    def sample(self, rng: np.random.Generator, n: int) -> list[Params]: ...

    def sample(self, rng: np.random.Generator, n: int | None = None) -> Params | list[Params]:
        """Return a random point that satisfies the constraints, or a list of `n`.

        Points are independent and follow the domains' priors, uniform without them.

        Raises
        ------
        SpaceError
            If a million points in a row break the constraints.
        """
        points = self._sample(rng, 1 if n is None else n)
        return points[0] if n is None else points

    def _sample(self, rng: np.random.Generator, n: int) -> list[Params]:
        if not self._constraints:
            return self._draw(rng, n)
        found: list[Params] = []
        empty = 0
        size = min(BATCH, max(8, 2 * n))
        while len(found) < n:
            points = list(filter(self.feasible, self._draw(rng, size)))
            found += points
            empty = 0 if points else empty + 1
            size = BATCH
            if empty >= MAX_EMPTY_BATCHES:
                rules = " and ".join(repr(str(c)) for c in self._constraints)
                raise SpaceError(
                    f"search space: none of {MAX_EMPTY_BATCHES * BATCH} random points satisfies "
                    f"{rules}; narrow the domains to where it holds"
                )
        return found[:n]

    def _draw(self, rng: np.random.Generator, n: int) -> list[Params]:
        """Return `n` points of the priors, without regard to the constraints."""
        return self.decode(self.prior.places(rng.random((n, len(self._columns)))))

    def encode(self, points: Sequence[Params]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return points as rows of the unit cube.

        Returns
        -------
        X : array of shape (n, d)
            One column per entry of `columns`, in [0, 1]; 0.5 where the parameter is inactive.
        active : bool array of shape (n, d)
        """
        return encoding.encode(self._columns, [self.flatten(point) for point in points])

    def snap(self, X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return ``encode(decode(X))``, up to rounding, in a fraction of the time.

        Parameters
        ----------
        X
            Rows of the unit cube, shape (n, d).
        """
        return encoding.snap(self._columns, X)

    def decode(self, X: ArrayLike) -> list[Params]:
        """Return the points at the rows of an array of shape (n, d) in [0, 1].

        Inactive columns are ignored; constraints are not enforced. What is beyond the cube is taken
        for what is at its edge.

        Raises
        ------
        ArgumentError
            If `X` has another shape, or NaN in it.
        """
        return encoding.decode(self._params, self._columns, X)

    @cached_property
    def size(self) -> float:
        """How many points there are, ``math.inf`` with a continuous parameter.

        Exact without constraints, and with them for up to 100,000 points; beyond that the
        constraints are not counted.
        """
        whole = grid.size(self._params)
        if not self._constraints or whole > MAX_ENUMERABLE:
            return whole
        return sum(1 for _ in self.grid(1))

    def grid(self, levels: int = 5) -> Iterator[Params]:
        """Yield every point that satisfies the constraints, the last parameter changing fastest.

        A continuous parameter has `levels` evenly spread values.

        Raises
        ------
        ArgumentError
            If `levels` is no positive whole number.
        """
        return filter(self.feasible, grid.points(self._params, levels))

    # --- other spaces -------------------------------------------------------------------------

    def freeze(self, values: Mapping[str, Any]) -> Space:
        """Return this space with parameters fixed, by path: ``{"model": "svm", "lr": 0.1}``."""
        return self._edited(values, editing.frozen)

    def narrow(self, changes: Mapping[str, Any]) -> Space:
        """Return this space with domains made smaller, by path.

        A change is a domain, a pair ``(low, high)``, or a list of the options that stay.
        """
        return self._edited(changes, editing.narrowed)

    def widen(self, changes: Mapping[str, Any]) -> Space:
        """Return this space with domains made larger, by path; see `narrow`."""
        return self._edited(changes, editing.widened)

    def _edited(self, changes: Mapping[str, Any], edit: editing.Edit) -> Space:
        return Space(*editing.edited(self._params, self._constraints, changes, edit))

    # --- text ---------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the space as JSON values."""
        return serialization.to_dict(self._params, self._constraints)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Space:
        """Return the space that `to_dict` was called on."""
        return cls(*serialization.from_dict(data))

    def to_json(self) -> str:
        """Return the space as JSON text."""
        return serialization.to_json(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Space:
        """Return the space that `to_json` wrote."""
        return cls(*serialization.from_json(text))

    def to_yaml(self) -> str:
        """Return the space as YAML text."""
        return serialization.to_yaml(self.to_dict())

    @classmethod
    def from_yaml(cls, text: str) -> Space:
        """Return the space that `to_yaml`, or a person, wrote."""
        return cls(*serialization.from_yaml(text))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex of what may be tried: the domains in order, and the constraints.

        Defaults are left out: they say where to begin, not what may be tried.
        """
        return serialization.fingerprint(self.to_dict())

    def _refuse_unsatisfiable(self) -> None:
        """Raise `SpaceError` if no point satisfies the constraints.

        All points of a small finite space are tested, and `N_TRIED` random points of another: if
        none of them is feasible, sampling would take too long even if a few points were.
        """
        if not self._constraints:
            return
        whole = grid.size(self._params)
        if whole <= MAX_ENUMERABLE:
            if next(self.grid(), None) is None:
                raise checks.unsatisfiable(f"its {int(whole)} points", self._constraints)
            return
        rng = np.random.default_rng(0)
        for _ in range(N_TRIED // BATCH):
            points = self.decode(rng.random((BATCH, len(self._columns))))
            if any(map(self.feasible, points)):
                return
        raise checks.unsatisfiable(f"{N_TRIED} random points", self._constraints)

    @cached_property
    def _as_keys(self) -> dict[str, Callable[[Any], Hashable]]:
        """What turns values that are the same, but not equal or not alone in it, into one."""
        turned: dict[str, Callable[[Any], Hashable]] = {}
        for column in self._columns:
            if isinstance(column.domain, Listed):
                turned[column.path] = column.domain.index  # 1 == True, and yet two options
            elif isinstance(column.domain, Float) and column.domain.step is not None:
                turned[column.path] = column.domain.cast  # 0.1 + 0.2 is 0.3
        return turned

    def __eq__(self, other: object) -> bool:
        # As texts: equal dicts may have another order, and 1 for True.
        return isinstance(other, Space) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        inner = ", ".join(f"{name!r}: {domain!r}" for name, domain in self.params.items())
        where = ", ".join(repr(str(c)) for c in self.constraints)
        return f"Space({{{inner}}})" + (f".where({where})" if where else "")
