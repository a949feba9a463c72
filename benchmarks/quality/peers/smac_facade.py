"""SMAC3: the facade for hyperparameter optimization, asked and told."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from ConfigSpace import (
    AndConjunction,
    CategoricalHyperparameter,
    ConfigurationSpace,
    EqualsCondition,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from protocol import serve
from smac import HyperparameterOptimizationFacade, Scenario
from smac.runhistory.dataclasses import TrialValue

logging.disable(logging.CRITICAL)


class Search:
    """One search by the facade."""

    def __init__(self, task: dict[str, Any]) -> None:
        scenario = Scenario(
            _space(task["columns"], task["seed"]),
            deterministic=not task["noisy"],
            n_trials=task["n_trials"],
            seed=task["seed"],
            output_directory=Path(tempfile.mkdtemp()),
        )
        intensifier = HyperparameterOptimizationFacade.get_intensifier(scenario, max_config_calls=1)
        self._facade = HyperparameterOptimizationFacade(
            scenario, _not_called, intensifier=intensifier, overwrite=True, logging_level=False
        )

    def ask(self) -> dict[str, Any]:
        """Return values of the active columns."""
        self._info = self._facade.ask()
        return {name: _plain(value) for name, value in dict(self._info.config).items()}

    def tell(self, loss: float) -> None:
        """Take in the loss."""
        self._facade.tell(self._info, TrialValue(cost=loss, time=0.1))


def _not_called(config: Any, seed: int = 0) -> float:
    raise NotImplementedError


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _space(columns: list[dict[str, Any]], seed: int) -> ConfigurationSpace:
    space = ConfigurationSpace(seed=seed)
    for column in columns:
        space.add(_hyperparameter(column))
    for column in columns:
        conditions = [
            EqualsCondition(space[column["name"]], space[parent], option)
            for parent, option in column["parents"]
        ]
        if len(conditions) > 1:
            space.add(AndConjunction(*conditions))
        elif conditions:
            space.add(conditions[0])
    return space


def _hyperparameter(column: dict[str, Any]) -> Any:
    name = column["name"]
    if column["kind"] == "choice":
        return CategoricalHyperparameter(name, list(range(column["options"])))
    kind = UniformFloatHyperparameter if column["kind"] == "float" else UniformIntegerHyperparameter
    return kind(name, column["low"], column["high"], log=column["log"])


if __name__ == "__main__":
    serve(Search)
