"""Conditions under which the parameters of a branch are active."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tuner.search_spaces.domains import Domain


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


ROUNDING = 1e-9
"""Tolerance of positions; the values of a parameter with branches are farther apart."""
