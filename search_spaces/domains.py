"""The base class of all domains, `Domain`, and the conditions under which branches are active."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from tuner.search_spaces.priors import Cells, Density
from tuner.search_spaces.values import Array

ROUNDING = 1e-9
"""Tolerance of positions; the values of a parameter with branches are farther apart."""


class Domain(ABC):
    """The set of values of one parameter. A domain is immutable and independent of its name.

    A custom domain is a subclass with a unique `kind`. Documents contain the result of `to_dict`;
    `from_dict` reads it after the module with the subclass has been imported.
    """

    kind: ClassVar[str]
    default: Any = None
    prior: Any = None
    """The expected location of good values: a `Normal`, a weight for each option, or None."""
    branches: dict[str, dict[str, Domain]] | None = None
    """The conditional parameters by the name of their branch; None without any."""

    @property
    def own(self) -> Domain:
        """The domain of the parameter itself, without its branches."""
        return self

    def open_branches(self, value: Any) -> list[str]:
        """Return the names of the branches whose parameters are active for a value of `own`."""
        raise NotImplementedError(f"{type(self).__name__} has no branches")

    def condition(self, path: str, branch: str) -> Condition | None:
        """Return the condition on the parameter at `path` that opens a branch; None for always."""
        raise NotImplementedError(f"{type(self).__name__} has no branches")

    def join_value(self, value: Any, inner: Sequence[Any]) -> Any:
        """Return the value of a point: `own`'s value with the params of its open branches."""
        raise NotImplementedError(f"{type(self).__name__} has no branches")

    def split_value(self, value: Any) -> tuple[Any, Sequence[Any]]:
        """Invert `join_value`; raises ValueError for a value of another form."""
        raise NotImplementedError(f"{type(self).__name__} has no branches")

    @property
    def value_form(self) -> str:
        """The form of a value with branches, for error messages."""
        raise NotImplementedError(f"{type(self).__name__} has no branches")

    @property
    @abstractmethod
    def size(self) -> float:
        """The number of values; ``math.inf`` for a continuous domain."""

    @abstractmethod
    def cast(self, value: Any) -> Any:
        """Convert `value` to a plain Python value of the declared type.

        Raises
        ------
        ValueError
            If `value` is not in the domain.
        """

    @abstractmethod
    def to_unit(self, values: Sequence[Any]) -> Array:
        """Return the positions of values in [0, 1]; shape (n,)."""

    @abstractmethod
    def from_unit(self, unit: ArrayLike) -> list[Any]:
        """Return the values at positions in [0, 1]; uniform positions give an unbiased sample."""

    def snap(self, unit: Array) -> Array:
        """Return ``to_unit(from_unit(unit))`` for positions in [0, 1]."""
        return self.to_unit(self.from_unit(unit))

    @abstractmethod
    def grid(self, levels: int) -> list[Any]:
        """Return all values in order, or `levels` evenly spaced ones of a continuous domain."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the domain as a JSON-compatible dict."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Create a domain from the result of `to_dict`; its items are the constructor arguments."""
        return cls(**{name: value for name, value in data.items() if name != "type"})

    @property
    def middle(self) -> Any:
        """The central value, used as the default where none is declared."""
        (value,) = self.from_unit([0.5])
        return value

    @property
    def density(self) -> Density | None:
        """The prior as a density on the domain's column of the unit cube, or None."""
        if self.prior is None:
            return None
        total = sum(self.prior)
        return Cells(tuple(weight / total for weight in self.prior))

    def contains(self, value: Any) -> bool:
        """Return whether `value` is in the domain."""
        try:
            self.cast(value)
        except ValueError:
            return False
        return True

    def sample(self, rng: np.random.Generator, n: int) -> list[Any]:
        """Draw `n` independent values; the values of a grid are equally likely."""
        return self.from_unit(rng.random(n))

    @cached_property
    def _text(self) -> str:
        """Canonical text for equality; distinguishes 1, 1.0, True, and order."""
        return json.dumps(self.to_dict())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Domain) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        given = [f"{k}={v!r}" for k, v in self.to_dict().items() if k != "type"]
        return f"{type(self).__name__}({', '.join(given)})"


# --- conditions of branches -----------------------------------------------------------------------


class Condition(NamedTuple):
    """The parameter at `path` has the value `option`.

    Examples
    --------
    >>> str(Condition("model", "svm")), Condition("model", "svm").holds("forest")
    ('model = svm', False)
    """

    path: str
    option: Any

    def holds(self, value: Any) -> bool:
        """Return whether a value of the parameter satisfies the condition; None is inactive."""
        return bool(value == self.option)

    def allows(self, other: Condition) -> bool:
        """Return whether one value of the same parameter can satisfy both conditions."""
        return other.holds(self.option)

    def span(self, domain: Domain) -> tuple[float, float]:
        """Return the lowest and the highest position in [0, 1] that satisfy the condition."""
        position = float(domain.to_unit([self.option])[0])
        return position - ROUNDING, position + ROUNDING

    @property
    def text(self) -> str:
        """The condition without the path: ``= svm``."""
        return f"= {self.option}"

    def __str__(self) -> str:
        return f"{self.path} {self.text}"


class AtLeast(Condition):
    """The parameter at `path` has at least the value `option`, a number.

    Examples
    --------
    >>> str(AtLeast("layers", 2)), AtLeast("layers", 2).holds(3)
    ('layers ≥ 2', True)
    """

    __slots__ = ()

    def holds(self, value: Any) -> bool:
        """Return whether a value of the parameter satisfies the condition; None is inactive."""
        return value is not None and value >= self.option

    def allows(self, other: Condition) -> bool:
        """Return whether one value of the same parameter can satisfy both conditions."""
        return isinstance(other, AtLeast) or self.holds(other.option)

    def span(self, domain: Domain) -> tuple[float, float]:
        """Return the lowest and the highest position in [0, 1] that satisfy the condition."""
        first = next(value for value in domain.grid(1) if value >= self.option)
        return float(domain.to_unit([first])[0]) - ROUNDING, 1.0

    @property
    def text(self) -> str:
        """The condition without the path: ``≥ 2``."""
        return f"≥ {self.option}"
