"""Nevergrad: NGOpt, which picks among its optimizers; conditional columns are always there."""

from __future__ import annotations

import math
from typing import Any

import nevergrad as ng
from protocol import active, serve


class Search:
    """One search, asked and told."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._columns = task["columns"]
        space = ng.p.Dict(**{f"p{j}": _parameter(c) for j, c in enumerate(self._columns)})
        space.random_state.seed(task["seed"])
        self._optimizer = ng.optimizers.NGOpt(space, budget=task["n_trials"], num_workers=1)

    def ask(self) -> dict[str, Any]:
        """Return values of the active columns."""
        self._candidate = self._optimizer.ask()
        point: dict[str, Any] = {}
        for j, column in enumerate(self._columns):
            if active(column, point):
                value = self._candidate.value[f"p{j}"]
                log = column["kind"] == "int" and column["log"]
                point[column["name"]] = round(math.exp(value)) if log else value
        return point

    def tell(self, loss: float) -> None:
        """Take in the loss."""
        self._optimizer.tell(self._candidate, loss)


def _parameter(column: dict[str, Any]) -> Any:
    if column["kind"] == "choice":
        return ng.p.Choice(list(range(column["options"])))
    low, high = column["low"], column["high"]
    if column["kind"] == "float":
        if column["log"]:
            return ng.p.Log(lower=low, upper=high)
        return ng.p.Scalar(lower=low, upper=high)
    if column["log"]:
        return ng.p.Scalar(lower=math.log(low), upper=math.log(high))
    if low == high:
        return ng.p.Choice([low])
    return ng.p.Scalar(lower=low, upper=high).set_integer_casting()


if __name__ == "__main__":
    serve(Search)
