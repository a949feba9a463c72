"""Ax: its client with the default strategy; conditional columns are always there."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from protocol import active, serve

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

import torch  # noqa: E402
from ax.service.ax_client import AxClient, ObjectiveProperties  # noqa: E402

torch.set_num_threads(1)


class Search:
    """One search, asked and told."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._columns = task["columns"]
        self._noisy = task["noisy"]
        self._client = AxClient(random_seed=task["seed"], verbose_logging=False)
        self._client.create_experiment(
            parameters=[_parameter(j, column) for j, column in enumerate(self._columns)],
            objectives={"loss": ObjectiveProperties(minimize=True)},
        )

    def ask(self) -> dict[str, Any]:
        """Return values of the active columns."""
        values, self._number = self._client.get_next_trial()
        point: dict[str, Any] = {}
        for j, column in enumerate(self._columns):
            if active(column, point):
                point[column["name"]] = values.get(f"p{j}", column.get("low", 0))
        return point

    def tell(self, loss: float) -> None:
        """Take in the loss."""
        noise = None if self._noisy else 0.0
        self._client.complete_trial(self._number, raw_data={"loss": (loss, noise)})

    def choose(self) -> int | None:
        """Return the number of the best trial by the predictions of the model."""
        best = self._client.get_best_trial(use_model_predictions=True)
        return None if best is None else int(best[0])


def _parameter(j: int, column: dict[str, Any]) -> dict[str, Any]:
    name = f"p{j}"
    options = column.get("options", 2)
    if options == 1 or (column["kind"] != "choice" and column["low"] == column["high"]):
        return {"name": name, "type": "fixed", "value": column.get("low", 0)}
    if column["kind"] == "choice":
        values = list(range(options))
        return {"name": name, "type": "choice", "values": values, "is_ordered": options == 2,
                "value_type": "int", "sort_values": True}  # fmt: skip
    return {
        "name": name,
        "type": "range",
        "bounds": [column["low"], column["high"]],
        "value_type": column["kind"],
        "log_scale": column["log"],
    }


if __name__ == "__main__":
    serve(Search)
