"""Domains of one number or one fixed value: `Float`, `Int`, `Bool`, `Const`, and their base."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuner.errors import SpaceError

Array = NDArray[np.float64]


class Domain(ABC):
    """What one parameter may be. A domain is immutable and knows nothing of its name."""

    kind: ClassVar[str]
    default: Any = None

    @property
    @abstractmethod
    def size(self) -> float:
        """How many values there are, ``math.inf`` for a continuum."""

    @abstractmethod
    def cast(self, value: Any) -> Any:
        """Return `value` as the plain Python value of the declared type.

        Raises
        ------
        ValueError
            If it is not in the domain.
        """

    @abstractmethod
    def to_unit(self, values: Sequence[Any]) -> Array:
        """Return where values of the domain lie in [0, 1]; shape (n,)."""

    @abstractmethod
    def from_unit(self, unit: ArrayLike) -> list[Any]:
        """Return the values at places in [0, 1]; uniform places give an unbiased sample."""

    @abstractmethod
    def grid(self, levels: int) -> list[Any]:
        """Return all values in order, or `levels` evenly spread ones of a continuum."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the domain as JSON values."""

    @property
    def middle(self) -> Any:
        """The value in the middle: the default of those that declare none."""
        (value,) = self.from_unit([0.5])
        return value

    def contains(self, value: Any) -> bool:
        """Whether `value` is in the domain."""
        try:
            self.cast(value)
        except ValueError:
            return False
        return True

    def sample(self, rng: np.random.Generator, n: int) -> list[Any]:
        """Return `n` independent values, each value of a grid equally likely."""
        return self.from_unit(rng.random(n))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Domain) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(repr(self.to_dict()))


class Numeric(Domain):
    """A range of numbers, its upper bound included; see `Float` and `Int`."""

    low: Any
    high: Any
    log: bool
    step: Any

    def __init__(
        self, low: float, high: float, *, log: bool, step: float | None, default: float | None
    ) -> None:
        self.low, self.high = low, high
        self.log, self.step = log, step
        name = type(self).__name__
        if low > high or (low == high and not isinstance(self, Int)):
            raise SpaceError(
                f"{name}({low}, {high}): low must be below high; "
                + (f"write {name}({high}, {low})" if low > high else f"write Const({low})")
            )
        if log and low <= 0:
            raise SpaceError(
                f"{name}({low}, {high}, log=True): {low} has no logarithm; log takes plain, "
                f"positive bounds such as {name}({'1e-5' if name == 'Float' else 1}, {high}, "
                f"log=True)"
            )
        if step is not None:
            self._check_step(step)
        self._edges = self._unit_range()
        self.default = None
        if default is not None:
            try:
                self.default = self.cast(default)
            except ValueError:
                raise SpaceError(f"{self!r}: the default {default!r} is not in it") from None

    def _check_step(self, step: Any) -> None:
        name = type(self).__name__
        if not (math.isfinite(step) and step > 0):
            raise SpaceError(f"{name}({self.low}, {self.high}, step={step}): step must be positive")
        steps = (self.high - self.low) / step
        if abs(steps - round(steps)) > 1e-9 * max(1.0, steps):
            nearest = self._plain(self.low + math.floor(steps) * step)
            raise SpaceError(
                f"{name}({self.low}, {self.high}, step={step}): {self.high} is not on the grid; "
                f"write {name}({self.low}, {nearest}, step={step})"
            )
        if self.log and self.low <= step / 2:
            raise SpaceError(
                f"{name}({self.low}, {self.high}, log=True, step={step}): with log, low must be "
                f"above half a step; write a larger low or a smaller step"
            )

    @abstractmethod
    def _plain(self, value: float) -> Any:
        """Return the number as the declared type."""

    @property
    def _grid_step(self) -> float | None:
        return None if self.step is None else float(self.step)

    def _unit_range(self) -> tuple[float, float]:
        """Return the transformed values at 0 and at 1: of a grid, the edges of the outer cells."""
        half = 0.0 if self._grid_step is None else self._grid_step / 2
        low, high = self.low - half, self.high + half
        return (math.log(low), math.log(high)) if self.log else (float(low), float(high))

    @property
    def size(self) -> float:
        """How many values there are."""
        step = self._grid_step
        return math.inf if step is None else round((self.high - self.low) / step) + 1

    def cast(self, value: Any) -> Any:
        """Return `value` as the declared type; a grid's values are met within rounding."""
        number = _number(value)
        step = self._grid_step
        if step is None:
            if not self.low <= number <= self.high:
                raise ValueError(value)
            return self._plain(number)
        index = round((number - self.low) / step)
        nearest = self.low + index * step
        tolerance = 4 * np.spacing(max(abs(float(self.low)), abs(float(self.high))))
        if not 0 <= index < self.size or abs(number - nearest) > tolerance:
            raise ValueError(value)
        return self._at(index)

    def _at(self, index: int) -> Any:
        return self._plain(min(self.low + index * self._grid_step, self.high))  # type: ignore[operator]

    def to_unit(self, values: Sequence[Any]) -> Array:
        """Return places in [0, 1]: of a grid's value, the middle of its cell."""
        x = np.asarray(values, dtype=float)
        low, high = self._edges
        step = self._grid_step
        if step is None:
            t = np.log(x) if self.log else x
        elif self.log:
            t = (np.log(x - step / 2) + np.log(x + step / 2)) / 2
        else:
            t = x
        if high == low:
            return np.full(x.shape, 0.5)
        # Halved, because the difference of two finite bounds may be infinite.
        return np.clip((t / 2 - low / 2) / (high / 2 - low / 2), 0.0, 1.0)

    def from_unit(self, unit: ArrayLike) -> list[Any]:
        """Return the values at places in [0, 1]."""
        low, high = self._edges
        u = np.asarray(unit, dtype=float)
        t = low * (1 - u) + high * u
        x = np.exp(t) if self.log else t
        step = self._grid_step
        if step is None:
            x = np.where(u <= 0, self.low, np.where(u >= 1, self.high, x))  # exact at the ends
            return list(map(self._plain, np.clip(x, self.low, self.high).tolist()))
        index = np.floor((x - self.low) / step + 0.5)
        index = np.clip(index, 0, self.size - 1).astype(int)
        return [self._at(i) for i in index.tolist()]

    def grid(self, levels: int) -> list[Any]:
        """Return all values of a grid, or `levels` evenly spread ones."""
        if math.isinf(self.size):
            return self.from_unit(np.linspace(0, 1, levels) if levels > 1 else [0.5])
        return list(self.values())

    def values(self) -> Iterator[Any]:
        """Yield all values of a grid in order, one at a time: there may be millions."""
        return map(self._at, range(int(self.size)))

    def to_dict(self) -> dict[str, Any]:
        """Return the domain as JSON values; what is not given is left out."""
        options = {"log": self.log or None, "step": self.step, "default": self.default}
        given = {name: value for name, value in options.items() if value is not None}
        return {"type": self.kind, "low": self.low, "high": self.high, **given}

    def __repr__(self) -> str:
        options = "".join(
            f", {name}={value!r}"
            for name, value in (("log", self.log), ("step", self.step), ("default", self.default))
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
        Whether the logarithm is what varies evenly; low must be positive then.
    step
        The distance of neighbouring values, None for a continuum. `high` must be on the grid.
    default
        The value to try first.

    Examples
    --------
    >>> Float(1e-3, 1.0, log=True).from_unit([0.0, 0.5, 1.0])
    [0.001, 0.0316227766016838, 1.0]
    """

    kind = "float"

    def __init__(
        self,
        low: float,
        high: float,
        *,
        log: bool = False,
        step: float | None = None,
        default: float | None = None,
    ) -> None:
        bounds = _bounds("Float", low, high)
        super().__init__(
            *bounds, log=bool(log), step=None if step is None else float(step), default=default
        )

    def _plain(self, value: float) -> float:
        return float(value)


class Int(Numeric):
    """A whole number in [low, high].

    Parameters
    ----------
    low, high
        The bounds, both included.
    log
        Whether the logarithm is what varies evenly; low must be positive then.
    step
        The distance of neighbouring values, 1 if not given. `high` must be on the grid.
    default
        The value to try first.

    Examples
    --------
    >>> Int(1, 9, step=2).grid(levels=10)
    [1, 3, 5, 7, 9]
    """

    kind = "int"

    def __init__(
        self,
        low: int,
        high: int,
        *,
        log: bool = False,
        step: int | None = None,
        default: int | None = None,
    ) -> None:
        bounds = _bounds("Int", low, high)
        for bound in (*bounds, *([] if step is None else [step])):
            if isinstance(bound, bool) or bound != int(bound):
                raise SpaceError(f"Int({low}, {high}): {bound!r} is no whole number; write Float")
        super().__init__(
            int(low),
            int(high),
            log=bool(log),
            step=None if step is None else int(step),
            default=default,
        )

    @property
    def _grid_step(self) -> int:
        return self.step or 1

    def cast(self, value: Any) -> int:
        """Return `value` as an int; 3.0 is 3, 3.5 is not in the domain."""
        number = _number(value)
        if number != math.floor(number):
            raise ValueError(value)
        index, rest = divmod(int(number) - self.low, self._grid_step)
        if rest or not 0 <= index < self.size:
            raise ValueError(value)
        return int(number)

    def _plain(self, value: float) -> int:
        return int(value)


class Bool(Domain):
    """True or False.

    Examples
    --------
    >>> Bool().grid(levels=2)
    [False, True]
    """

    kind = "bool"

    def __init__(self, default: bool | None = None) -> None:
        if default is not None and not isinstance(default, bool | np.bool_):
            raise SpaceError(f"Bool(default={default!r}): write True or False")
        self.default = None if default is None else bool(default)

    size = 2

    def cast(self, value: Any) -> bool:
        """Return `value` if it is True or False; 1 and 0 are numbers."""
        if not isinstance(value, bool | np.bool_):
            raise ValueError(value)
        return bool(value)

    def to_unit(self, values: Sequence[Any]) -> Array:
        """Return 0.25 for False, 0.75 for True."""
        return 0.25 + 0.5 * np.asarray(values, dtype=float)

    def from_unit(self, unit: ArrayLike) -> list[bool]:
        """Return False below 0.5, True from there."""
        return (np.asarray(unit, dtype=float) >= 0.5).tolist()  # type: ignore[no-any-return]

    def grid(self, levels: int) -> list[bool]:  # noqa: ARG002 (there are two)
        """Return both values."""
        return [False, True]

    def to_dict(self) -> dict[str, Any]:
        """Return the domain as JSON values."""
        return {"type": self.kind} | ({} if self.default is None else {"default": self.default})

    def __repr__(self) -> str:
        return f"Bool({'' if self.default is None else f'default={self.default}'})"


def _bounds(name: str, low: Any, high: Any) -> tuple[float, float]:
    """Return two finite numbers, or say which is none."""
    for bound in (low, high):
        try:
            number = _number(bound)
        except ValueError:
            raise SpaceError(f"{name}({low!r}, {high!r}): {bound!r} is no number") from None
        if not math.isfinite(number):
            raise SpaceError(f"{name}({low!r}, {high!r}): the bound {bound!r} is not finite")
    if name == "Float":
        return float(low), float(high)
    return low, high


def _number(value: Any) -> Any:
    """Return a plain int or float; a bool or a text is no number."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(value)
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(value)
    return value
