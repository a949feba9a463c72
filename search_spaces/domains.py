"""The base class of all domains, `Domain`, and the domain of booleans, `Bool`."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from tuner.errors import SpaceError
from tuner.search_spaces.conditions import Condition
from tuner.search_spaces.priors import Cells, Density, weights_of
from tuner.search_spaces.values import Array


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


class Bool(Domain):
    """True or False.

    Parameters
    ----------
    default
        The value to try first.
    prior
        The expected weights of both values: ``{True: 3, False: 1}``.

    Examples
    --------
    >>> Bool().grid(levels=2)
    [False, True]
    """

    kind = "bool"

    def __init__(
        self,
        default: bool | None = None,
        prior: Mapping[bool, float] | Sequence[float] | None = None,
    ) -> None:
        if default is not None and not isinstance(default, bool | np.bool_):
            raise SpaceError(f"Bool(default={default!r}): default must be True or False")
        self.default = None if default is None else bool(default)
        self.prior = None
        if prior is not None:
            self.prior = weights_of(self, (False, True), self.contains, prior)

    size = 2

    def cast(self, value: Any) -> bool:
        """Return `value` if it is True or False; 1 and 0 are rejected."""
        if not isinstance(value, bool | np.bool_):
            raise ValueError(value)
        return bool(value)

    def to_unit(self, values: Sequence[Any]) -> Array:
        """Return 0.25 for False, 0.75 for True."""
        return 0.25 + 0.5 * np.asarray(values, dtype=float)

    def from_unit(self, unit: ArrayLike) -> list[bool]:
        """Return False below 0.5, True otherwise."""
        return (np.asarray(unit, dtype=float) >= 0.5).tolist()  # type: ignore[no-any-return]

    def snap(self, unit: Array) -> Array:
        """Return 0.25 below 0.5, 0.75 otherwise."""
        return np.where(unit >= 0.5, 0.75, 0.25)

    def grid(self, levels: int) -> list[bool]:  # noqa: ARG002 (the values are already finite)
        """Return both values."""
        return [False, True]

    def to_dict(self) -> dict[str, Any]:
        """Return the domain as a JSON-compatible dict."""
        given = {"type": self.kind} | ({} if self.default is None else {"default": self.default})
        return given if self.prior is None else given | {"prior": list(self.prior)}

    def __repr__(self) -> str:
        given = {"default": self.default, "prior": self.prior}
        return f"Bool({', '.join(f'{k}={v}' for k, v in given.items() if v is not None)})"
