"""Numeric domains: `Float` and `Int`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from tuner.errors import SpaceError
from tuner.search_spaces import advice
from tuner.search_spaces.arithmetic import exact, exp, log, log_of
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.priors import NARROWEST, Bell, Normal, normal_of
from tuner.search_spaces.values import Array, number

LARGEST_GRID = 2**40
"""Maximum number of grid values, or of steps from zero on a logarithmic grid.

Positions in [0, 1] cannot distinguish more values.
"""

LARGEST_INT = 2**53
"""Maximum absolute bound of an `Int`; floats cannot distinguish larger integers."""


class Numeric(Domain):
    """Base class of numeric ranges, with both bounds included; see `Float` and `Int`."""

    type: ClassVar[type[float] | type[int]]
    low: Any
    high: Any
    log: bool
    step: Any

    def __init__(
        self, low: Any, high: Any, *, log: bool, step: Any, default: Any, prior: Any = None
    ) -> None:
        name = type(self).__name__
        self.low, self.high = self._bound(low, low, high), self._bound(high, low, high)
        self.step = None if step is None else self._checked_step(step)
        if not isinstance(log, bool | np.bool_):
            raise SpaceError(f"{name}({low!r}, {high!r}, log={log!r}): log must be True or False")
        self.log = bool(log)
        self._check_order()
        self._count = self._counted()
        if self._count is not None:
            self.high = self._at(self._count - 1)  # removes the rounding of a computed bound
        self._edges = self._log_edges() if self.log else (float(self.low), float(self.high))
        if prior is not None:
            self.prior = normal_of(self, self.low, self.high, log=self.log, prior=prior)
        if default is not None:
            try:
                self.default = self.cast(default)
            except ValueError:
                raise SpaceError(f"{self!r}: default={default!r} must be in the domain") from None

    def _bound(self, bound: Any, low: Any, high: Any) -> Any:
        """Convert a bound to a finite number of the declared type, or raise `SpaceError`."""
        try:
            return self._plain(number(bound))
        except (ValueError, OverflowError):
            raise SpaceError(
                f"{type(self).__name__}({low!r}, {high!r}): the bound {bound!r} must be a finite "
                f"number"
            ) from None

    def _checked_step(self, step: Any) -> Any:
        try:
            plain = self._plain(number(step))
        except (ValueError, OverflowError):
            plain = 0
        if plain <= 0:
            raise SpaceError(
                f"{type(self).__name__}({self.low}, {self.high}, step={step!r}): step must be "
                f"positive{advice.example_step(self)}, or omitted"
            )
        return plain

    def _check_order(self) -> None:
        name, low, high = type(self).__name__, self.low, self.high
        if low > high or (low == high and not isinstance(self, Int)):
            raise SpaceError(
                f"{name}({low}, {high}): low must be below high; "
                + (advice.in_order(self) if low > high else f"write Const({low})")
            )
        if self.log and low <= 0:
            raise SpaceError(
                f"{name}({low}, {high}, log=True): low must be positive; {advice.positive(self)}"
            )

    def _counted(self) -> int | None:
        """Return the number of grid values, None for a continuous range; validate the grid."""
        step = self._grid_step
        if step is None:
            return None
        given = f"{type(self).__name__}({self.low}, {self.high}, step={step})"
        steps = self._steps
        nearest = round(steps)
        largest = float(max(abs(self.low), abs(self.high)))
        # A computed bound, such as 3 * 0.1, has a rounding error.
        if abs(float(steps - nearest)) * step > 8 * math.ulp(largest):
            value = self._at(max(1, math.floor(steps)))
            remedy = advice.on_grid(self, value)
            raise SpaceError(f"{given}: {self.high} is not on the grid; {remedy}")
        if self.log and self.low <= step / 2:
            raise SpaceError(
                f"{given} with log=True: low must be above half a step; write a larger low or a "
                f"smaller step"
            )
        reach = self.high / step if self.log else nearest
        if reach > LARGEST_GRID or (isinstance(step, float) and step < 32 * math.ulp(largest)):
            raise SpaceError(
                f"{given}: floats cannot distinguish so many values; write a larger step, or Float "
                f"without a step"
            )
        return nearest + 1

    @abstractmethod
    def _plain(self, value: float) -> Any:
        """Convert a number to the declared type."""

    @property
    def _grid_step(self) -> Any:
        return self.step

    @property
    def _steps(self) -> Decimal:
        """The number of steps from `low` to `high`, in exact decimal arithmetic."""
        low, high, step = (Decimal(repr(x)) for x in (self.low, self.high, self._grid_step))
        return (high - low) / step

    def _log_edges(self) -> tuple[float, float]:
        """Return the logarithms at positions 0 and 1; on a grid, the edges of the outer cells."""
        half = (self._grid_step or 0) / 2
        return log_of(self.low - half), log_of(self.high + half)

    @property
    def edges(self) -> tuple[float, float]:
        """The values at positions 0 and 1, on the domain's scale; on a grid, the outer edges."""
        low, high = self._edges
        if self.log or self._count is None:
            return low, high
        return low - float(self._grid_step) / 2, high + float(self._grid_step) / 2

    @property
    def size(self) -> float:
        """The number of values; ``math.inf`` for a continuous range."""
        return math.inf if self._count is None else self._count

    def cast(self, value: Any) -> Any:
        """Convert `value` to the declared type.

        A value matches a grid value within four units in the last place of the larger bound, so
        0.1 + 0.2 matches 0.3.
        """
        given = number(value)
        if self._count is None:
            if not self.low <= given <= self.high:
                raise ValueError(value)
            return self._plain(given)
        tolerance = 4 * math.ulp(float(max(abs(self.low), abs(self.high))))
        if not self.low - tolerance <= given <= self.high + tolerance:
            raise ValueError(value)
        nearest = self._at(round((given - self.low) / self._grid_step))
        if abs(given - nearest) > tolerance:
            raise ValueError(value)
        return nearest

    @abstractmethod
    def _at(self, index: int) -> Any:
        """Return value `index` of the grid."""

    def to_unit(self, values: Sequence[Any]) -> Array:
        """Return the positions in [0, 1]; for a grid value, the center of its cell."""
        return self._places(np.asarray(values, dtype=float))

    def _places(self, x: Array) -> Array:
        step = self._grid_step
        if self._count is not None and not self.log:
            index = np.rint((x - float(self.low)) / float(step))
            return np.clip((index + 0.5) / float(self._count), 0.0, 1.0)
        low, high = self._edges
        if not self.log:
            t = x
        elif step is None:
            t = log(x)
        else:
            t = (log(x - step / 2) + log(x + step / 2)) / 2
        # Halved, because the difference of two finite bounds can overflow.
        width = high / 2 - low / 2
        if width == 0:
            return np.full(x.shape, 0.5)
        return np.clip((t / 2 - low / 2) / width, 0.0, 1.0)

    def from_unit(self, unit: ArrayLike) -> list[Any]:
        """Return the values at positions in [0, 1]."""
        u = np.asarray(unit, dtype=float)
        if self._count is not None:
            return list(map(self._at, self.indices(u).astype(np.int64).tolist()))
        return list(map(self._plain, self.numbers(u).tolist()))

    def numbers(self, unit: Array) -> Array:
        """Return the values of a continuous range at positions in [0, 1] as an array."""
        low, high = self._edges
        t = low * (1 - unit) + high * unit
        x = exp(t) if self.log else t
        # exact at the ends
        x = np.where(unit <= 0, self.low, np.where(unit >= 1, self.high, x))
        return np.asarray(np.clip(x, self.low, self.high))

    def snap(self, unit: Array) -> Array:
        """Return ``to_unit(from_unit(unit))`` for positions in [0, 1]."""
        if self._count is None:
            return np.clip(unit, 0.0, 1.0)
        index = self.indices(unit)
        if not self.log:
            return (index + 0.5) / float(self._count)
        return self._places(float(self.low) + index * float(self._grid_step))

    @property
    def exact_grid(self) -> tuple[Fraction, Fraction] | None:
        """The first value and the step of a grid, see `exact`; None for a continuous range."""
        if self._count is None:
            return None
        return Fraction(exact(self.low)), Fraction(exact(self._grid_step))

    def indices(self, unit: Array) -> Array:
        """Return the grid indices of positions in [0, 1], as floats."""
        assert self._count is not None
        if not self.log:
            index = np.floor(unit * self._count)
        else:
            low, high = self._edges
            x = exp(low * (1 - unit) + high * unit)
            index = np.floor((x - self.low) / self._grid_step + 0.5)
        return np.clip(index, 0, self._count - 1)

    def grid(self, levels: int) -> list[Any]:
        """Return all values of a grid, or `levels` evenly spaced values of a continuous range."""
        if math.isinf(self.size):
            return self.from_unit(np.linspace(0, 1, levels) if levels > 1 else [0.5])
        return list(self.values())

    def values(self) -> Iterator[Any]:
        """Iterate over the grid values in order; the iteration is lazy for large grids."""
        return map(self._at, range(int(self.size)))

    @property
    def density(self) -> Bell | None:
        """The prior as a normal density on the domain's column of the unit cube, or None."""
        if self.prior is None:
            return None
        loc, scale = self.prior.loc, self.prior.scale
        if self.log:
            loc, scale = log_of(loc), log_of(scale)
        low, high = self.edges
        half = high / 2 - low / 2  # halved: the difference of finite bounds can overflow
        return Bell((loc / 2 - low / 2) / half, max(scale / 2 / half, NARROWEST))

    def to_dict(self) -> dict[str, Any]:
        """Return the domain as a JSON-compatible dict without undeclared options."""
        options = {"log": self.log or None, "step": self.step, "default": self.default}
        if self.prior is not None:
            options["prior"] = {"loc": self.prior.loc, "scale": self.prior.scale}
        given = {name: value for name, value in options.items() if value is not None}
        return {"type": self.kind, "low": self.low, "high": self.high, **given}

    def __repr__(self) -> str:
        options = "".join(
            f", {name}={value!r}"
            for name, value in (
                ("log", self.log),
                ("step", self.step),
                ("default", self.default),
                ("prior", self.prior),
            )
            if value is not None and value is not False
        )
        return f"{type(self).__name__}({self.low!r}, {self.high!r}{options})"


class Float(Numeric):
    """A real number in [low, high].

    Parameters
    ----------
    low, high
        The bounds, both included, as plain values.
    log
        Whether to search on a logarithmic scale; `low` must then be positive.
    step
        The distance between neighboring values; None for a continuous range. `high` must be on the
        grid.
    default
        The value to try first.
    prior
        The expected location of good values, as a `Normal`.

    Examples
    --------
    >>> Float(1e-3, 1.0, log=True).from_unit([0.0, 0.5, 1.0])
    [0.001, 0.0316227766016838, 1.0]
    """

    kind = "float"
    type = float

    def __init__(
        self,
        low: float,
        high: float,
        *,
        log: bool = False,
        step: float | None = None,
        default: float | None = None,
        prior: Normal | None = None,
    ) -> None:
        super().__init__(low, high, log=log, step=step, default=default, prior=prior)

    def _plain(self, value: float) -> float:
        return float(value) + 0.0  # no minus zero

    @cached_property
    def _grid_parts(self) -> tuple[int, int, int]:
        """`low` and `step` as integers, and their common divisor: (low, step, divisor)."""
        low, step = exact(self.low), exact(self.step)
        scale = math.lcm(low.denominator, step.denominator)
        return int(low * scale), int(step * scale), scale

    def _at(self, index: int) -> float:
        """Return the float nearest to the exact value: 0.3, not 0.1 + 0.1 + 0.1."""
        low, step, scale = self._grid_parts
        return (low + index * step) / scale


class Int(Numeric):
    """An integer in [low, high].

    Parameters
    ----------
    low, high
        The bounds, both included.
    log
        Whether to search on a logarithmic scale; `low` must then be positive.
    step
        The distance between neighboring values; None means 1. `high` must be on the grid.
    default
        The value to try first.
    prior
        The expected location of good values, as a `Normal`.

    Examples
    --------
    >>> Int(1, 9, step=2).grid(levels=10)
    [1, 3, 5, 7, 9]
    """

    kind = "int"
    type = int

    def __init__(
        self,
        low: int,
        high: int,
        *,
        log: bool = False,
        step: int | None = None,
        default: int | None = None,
        prior: Normal | None = None,
    ) -> None:
        super().__init__(low, high, log=log, step=step, default=default, prior=prior)

    def _bound(self, bound: Any, low: Any, high: Any) -> int:
        super()._bound(bound, low, high)
        if bound != int(bound):
            raise SpaceError(
                f"Int({low!r}, {high!r}): the bound {bound!r} must be an integer; or write Float"
            )
        if abs(bound) > LARGEST_INT:
            raise SpaceError(
                f"Int({low!r}, {high!r}): bounds must be within {-LARGEST_INT} and {LARGEST_INT}: "
                f"beyond 2**53, floats cannot distinguish integers"
            )
        return int(bound)

    def _checked_step(self, step: Any) -> int:
        plain: int = super()._checked_step(step)
        if plain != step:
            raise SpaceError(f"Int(step={step!r}): step must be an integer; or write Float")
        return plain

    @property
    def _grid_step(self) -> int:
        return self.step or 1

    def cast(self, value: Any) -> int:
        """Convert `value` to an int; 3.0 becomes 3, 3.5 is rejected."""
        given = number(value)
        if given != math.floor(given):
            raise ValueError(value)
        index, rest = divmod(int(given) - self.low, self._grid_step)
        if rest or not 0 <= index < self.size:
            raise ValueError(value)
        return int(given)

    def _plain(self, value: float) -> int:
        return int(value)

    def _at(self, index: int) -> int:
        return int(self.low + index * self._grid_step)
