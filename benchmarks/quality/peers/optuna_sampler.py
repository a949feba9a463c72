"""Optuna: the sampler that is named first, with the options that are named after it."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import optuna
from protocol import active, serve

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")


class Search:
    """One study, asked and told."""

    def __init__(self, task: dict[str, Any]) -> None:
        name, *options = sys.argv[1:]
        sampler = getattr(optuna.samplers, name)(seed=task["seed"], **dict.fromkeys(options, True))
        self._columns = task["columns"]
        directions = ["minimize"] * task["goals"]
        self._study = optuna.create_study(sampler=sampler, directions=directions)

    def ask(self) -> dict[str, Any]:
        """Return values of the active columns."""
        self._trial = self._study.ask()
        point: dict[str, Any] = {}
        for column in self._columns:
            if active(column, point):
                point[column["name"]] = self._suggest(column)
        return point

    def tell(self, loss: Any) -> None:
        """Take in the loss."""
        self._study.tell(self._trial, loss)

    def _suggest(self, column: dict[str, Any]) -> Any:
        name = column["name"]
        if column["kind"] == "choice":
            return self._trial.suggest_categorical(name, list(range(column["options"])))
        suggest = getattr(self._trial, f"suggest_{column['kind']}")
        return suggest(name, column["low"], column["high"], log=column["log"])


if __name__ == "__main__":
    if sys.argv[1] == "GPSampler":
        import torch

        torch.set_num_threads(1)
    serve(Search)
