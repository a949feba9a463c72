"""Convert domains to Optuna distributions, and values in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.search_spaces import Bool, Choice, Column, Const, Domain, Float, Int, Ordinal


class OptunaColumn:
    """A column of a space and its Optuna distribution.

    Numbers remain numbers. Optuna lacks logarithmic grids; there it suggests a continuous value,
    which is rounded to the grid. An `Ordinal` becomes the index of its value, which preserves the
    order. Unordered options become categories: the options themselves if Optuna can store and
    distinguish them, otherwise their ``repr``.
    """

    def __init__(self, column: Column) -> None:
        self.path = column.path
        self.distribution: BaseDistribution = _distribution(column.domain)
        self._domain = column.domain
        self._column = column
        self._options = _options(column.domain)

    def is_active(self, flat: Mapping[str, Any]) -> bool:
        """Return whether the parameter is active, given the values of its parents in `flat`."""
        return self._column.is_active(flat)

    def suggest(self, trial: optuna.Trial) -> Any:
        """Let `trial` suggest a value and return it as a value of the domain."""
        d = self.distribution
        if isinstance(d, FloatDistribution):
            value: Any = trial.suggest_float(self.path, d.low, d.high, step=d.step, log=d.log)
        elif isinstance(d, IntDistribution):
            value = trial.suggest_int(self.path, d.low, d.high, step=d.step, log=d.log)
        else:
            assert isinstance(d, CategoricalDistribution)
            value = trial.suggest_categorical(self.path, d.choices)
        return self.from_optuna(value)

    def to_optuna(self, value: Any) -> Any:
        """Convert a value of the domain to a value of the Optuna distribution."""
        if isinstance(self.distribution, FloatDistribution):
            return min(value, self.distribution.high)
        if not self._options:
            return value
        index = int(self._domain.to_unit([value])[0] * len(self._options))
        if isinstance(self.distribution, IntDistribution):
            return index
        assert isinstance(self.distribution, CategoricalDistribution)
        return self.distribution.choices[index]

    def from_optuna(self, value: Any) -> Any:
        """Convert a value of the Optuna distribution to a value of the domain."""
        if isinstance(self.distribution, CategoricalDistribution):
            return self._options[int(self.distribution.to_internal_repr(value))]
        if self._options:
            return self._options[value]
        (nearest,) = self._domain.from_unit(self._domain.to_unit([value]))
        return nearest if self._domain.size < float("inf") else value


def _options(domain: Domain) -> tuple[Any, ...]:
    """Return the values of a domain with listed values, in order; otherwise an empty tuple."""
    if isinstance(domain, Choice | Ordinal | Bool | Const):
        return tuple(domain.grid(int(domain.size)))
    return ()


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Float):
        step = None if domain.log else domain.step
        high = domain.high if step is None else _last_of_grid(domain)
        return FloatDistribution(domain.low, high, log=domain.log, step=step)
    if isinstance(domain, Int):
        step = 1 if domain.log else domain.step or 1
        return IntDistribution(domain.low, domain.high, log=domain.log, step=step)
    if isinstance(domain, Ordinal):
        return IntDistribution(0, int(domain.size) - 1)
    return CategoricalDistribution(_categories(domain))


def _last_of_grid(domain: Float) -> float:
    """Return the upper bound in decimal arithmetic, as Optuna does: 0.3 for 0.1 * 3."""
    steps = int(domain.size) - 1
    return float(Decimal(str(domain.low)) + steps * Decimal(str(domain.step)))


def _categories(domain: Domain) -> tuple[Any, ...]:
    options = domain.options if isinstance(domain, Choice) else _options(domain)
    plain = all(o is None or isinstance(o, bool | int | float | str) for o in options)
    if plain and len(set(options)) == len(options):  # Optuna equates 1, 1.0 and True
        return tuple(options)
    return tuple(map(repr, options))
