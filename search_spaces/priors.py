"""Priors: a user's expectation of the good values of a parameter.

The prior of a number is a `Normal`; the prior of a list of options is a weight for each. Both
become densities on the parameter's column of the unit cube. 5% of every prior is uniform, so a
wrong prior slows a search down but cannot exclude the optimum.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import SpaceError
from tuner.search_spaces.values import Array

UNIFORM = 0.05
"""The uniform share of each prior."""

NARROWEST = 1e-6
"""Minimum width of a normal prior, as a share of the range."""


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal prior of a number: about two thirds of its mass lie within `scale` of `loc`.

    On a domain with ``log=True``, `scale` is a factor: ``Normal(1e-3, 10)`` means from 1e-4 to
    1e-2.

    Parameters
    ----------
    loc
        The mean, within the range of the domain.
    scale
        The standard deviation, above 0; on a logarithmic domain a factor above 1.

    Examples
    --------
    >>> from tuner.search_spaces import Float, Normal
    >>> Float(1e-6, 1.0, log=True, prior=Normal(1e-3, 10))
    Float(1e-06, 1.0, log=True, prior=Normal(loc=0.001, scale=10.0))
    """

    loc: float
    scale: float


class Density(ABC):
    """A density on [0, 1], relative to the uniform density."""

    def places(self, uniform: Array) -> Array:
        """Transform uniform positions to positions distributed as the prior."""
        known = self._places(np.clip((uniform - UNIFORM) / (1.0 - UNIFORM), 0.0, 1.0))
        return np.asarray(np.where(uniform < UNIFORM, uniform / UNIFORM, known))

    def log(self, places: Array) -> Array:
        """Return the logarithm of the density."""
        return np.asarray(np.log(UNIFORM + (1.0 - UNIFORM) * self._density(places)))

    def slope(self, places: Array) -> Array:
        """Return the derivative of `log` with respect to the position; 0 for a step function."""
        share = (1.0 - UNIFORM) * self._density(places)
        return np.asarray(share / (UNIFORM + share) * self._log_slope(places))

    @abstractmethod
    def _places(self, uniform: Array) -> Array: ...

    @abstractmethod
    def _density(self, places: Array) -> Array: ...

    @abstractmethod
    def _log_slope(self, places: Array) -> Array: ...


@dataclass(frozen=True)
class Bell(Density):
    """A normal density, truncated to [0, 1]."""

    center: float
    width: float

    def _places(self, uniform: Array) -> Array:
        from scipy.special import ndtr, ndtri

        low, high = ndtr((np.array([0.0, 1.0]) - self.center) / self.width)
        z = ndtri(low + uniform * (high - low))
        return np.asarray(np.clip(self.center + self.width * z, 0.0, 1.0))

    def _density(self, places: Array) -> Array:
        z = (places - self.center) / self.width
        return np.asarray(np.exp(-0.5 * z * z) / self._mass)

    def _log_slope(self, places: Array) -> Array:
        return -(places - self.center) / self.width**2

    @cached_property
    def _mass(self) -> float:
        root = math.sqrt(2.0) * self.width
        area = math.erf((1.0 - self.center) / root) - math.erf(-self.center / root)
        return self.width * math.sqrt(math.pi / 2.0) * area


@dataclass(frozen=True)
class Cells(Density):
    """A histogram density: the probability of each of n cells of equal width; they sum to 1."""

    shares: tuple[float, ...]

    def _places(self, uniform: Array) -> Array:
        ends = np.cumsum([0.0, *self.shares])
        ends[-1] = 1.0
        return np.asarray(np.interp(uniform, ends, np.linspace(0.0, 1.0, len(ends))))

    def _density(self, places: Array) -> Array:
        n = len(self.shares)
        cells = np.clip((places * n).astype(int), 0, n - 1)
        return np.asarray(n * np.array(self.shares)[cells])

    def _log_slope(self, places: Array) -> Array:
        return np.zeros_like(places)


def normal_of(domain: object, low: float, high: float, *, log: bool, prior: Any) -> Normal:
    """Validate the prior of a numeric domain, given as a `Normal` or as its document.

    Parameters
    ----------
    domain
        The domain, for error messages.
    low, high, log
        The range and the scale of the domain.
    prior
        The declared prior.

    Raises
    ------
    SpaceError
        If `prior` has another form, `loc` is outside the range, or `scale` is too small.
    """
    if isinstance(prior, Mapping):
        if prior.keys() == {"loc", "scale"}:
            prior = Normal(**prior)
        elif prior.keys() == {"centre", "spread"}:  # documents written by tuner 0.1
            prior = Normal(prior["centre"], prior["spread"])
    example = _example(low, high, log=log)
    if not isinstance(prior, Normal):
        raise SpaceError(
            f"{domain!r}: prior={prior!r} must be a Normal with loc and scale, such as {example}"
        )
    try:
        loc, scale = float(prior.loc), float(prior.scale)
    except (TypeError, ValueError):
        loc = scale = math.nan
    if not low <= loc <= high:
        raise SpaceError(f"{domain!r}: the prior's loc={prior.loc!r} must be within the range")
    least = 1.0 if log else 0.0
    if not (math.isfinite(scale) and scale > least):
        raise SpaceError(
            f"{domain!r}: the prior's scale={prior.scale!r} must be a "
            f"{'factor above 1' if log else 'number above 0'}, such as {example}"
        )
    return Normal(loc, scale)


def _example(low: float, high: float, *, log: bool) -> str:
    """Return a prior that fits a range, for error messages."""
    middle = math.sqrt(low) * math.sqrt(high) if log else low / 2 + high / 2
    scale = 10.0 if log else (high / 2 - low / 2) / 5 or 1.0
    short = float(f"{middle:.3g}")
    return f"Normal({short if low <= short <= high else middle:.17g}, {scale:.3g})"


def weights_of(
    domain: object, options: Sequence[Any], contains: Callable[[Any], bool], prior: Any
) -> tuple[float, ...]:
    """Return the weight of each option, declared by option or in the order of the options.

    Parameters
    ----------
    domain
        The domain, for error messages.
    options
        The options of the domain.
    contains
        Returns whether a value is an option; distinguishes 1 from True.
    prior
        The declared prior.

    Raises
    ------
    SpaceError
        If an option is unknown or lacks a weight, or a weight is not a positive number.
    """
    listed = ", ".join(map(repr, options))
    if isinstance(prior, Mapping):
        for option in prior:
            if not contains(option):
                raise SpaceError(
                    f"{domain!r}: the prior's option {option!r} must be one of {listed}"
                )
        prior = [prior.get(option) for option in options]
    if isinstance(prior, str) or not isinstance(prior, Sequence) or len(prior) != len(options):
        raise SpaceError(f"{domain!r}: prior={prior!r}; write a weight for each of {listed}")
    for option, weight in zip(options, prior, strict=True):
        good = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not (good and math.isfinite(weight) and weight > 0):
            raise SpaceError(
                f"{domain!r}: the prior's weight of {option!r} is {weight!r}; write a positive "
                f"number for each of {listed}"
            )
    return tuple(float(weight) for weight in prior)


class SpacePrior:
    """The priors of a space as one density on the unit cube; uniform for columns without a prior.

    Parameters
    ----------
    densities
        The density on each column of the unit cube; None for a uniform column.

    Examples
    --------
    >>> from tuner.search_spaces import Choice, Space
    >>> prior = Space({"kernel": Choice("rbf", "poly", prior={"rbf": 3, "poly": 1})}).prior
    >>> prior.log(np.array([[0.25], [0.75]]), np.ones((2, 1), dtype=bool)).round(3).tolist()
    [0.389, -0.644]
    """

    def __init__(self, densities: Iterable[Density | None]) -> None:
        self._densities = {j: d for j, d in enumerate(densities) if d is not None}

    def __bool__(self) -> bool:
        return bool(self._densities)

    def places(self, uniform: Array) -> Array:
        """Transform uniform rows, shape (m, d), to rows distributed as the prior."""
        rows = uniform.copy()
        for j, density in self._densities.items():
            rows[:, j] = density.places(uniform[:, j])
        return rows

    def log(self, X: Array, active: NDArray[np.bool_]) -> Array:
        """Return the log density at `X` (m, d) relative to the uniform density, shape (m,)."""
        logs = np.zeros(len(X))
        for j, density in self._densities.items():
            logs += np.where(active[:, j], density.log(X[:, j]), 0.0)
        return logs

    def slope(self, X: Array, active: NDArray[np.bool_]) -> Array:
        """Return the gradient of `log` at `X` (m, d), shape (m, d)."""
        slopes = np.zeros_like(X)
        for j, density in self._densities.items():
            slopes[:, j] = np.where(active[:, j], density.slope(X[:, j]), 0.0)
        return slopes
