"""Hyperopt's TPE, with choices that nest as its own do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hyperopt import JOB_STATE_DONE, STATUS_OK, Domain, Trials, hp, space_eval, tpe
from protocol import serve


class Search:
    """One search through Hyperopt's suggest function."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._space = _branch(task["columns"], [])
        self._domain = Domain(lambda _: None, self._space)
        self._trials = Trials()
        self._rng = np.random.default_rng(task["seed"])

    def ask(self) -> dict[str, Any]:
        """Return values of the active columns."""
        (number,) = self._trials.new_trial_ids(1)
        self._trials.refresh()
        seed = int(self._rng.integers(2**31 - 1))
        (self._document,) = tpe.suggest([number], self._domain, self._trials, seed)
        values = {k: v[0] for k, v in self._document["misc"]["vals"].items() if v}
        return _flat(space_eval(self._space, values))

    def tell(self, loss: float) -> None:
        """Take in the loss."""
        self._document["state"] = JOB_STATE_DONE
        self._document["result"] = {"loss": loss, "status": STATUS_OK}
        self._trials.insert_trial_docs([self._document])
        self._trials.refresh()


def _branch(columns: list[dict[str, Any]], parents: list[Any]) -> dict[str, Any]:
    """Return the parameters that are active where `parents` hold, as Hyperopt's expressions."""
    return {
        column["name"]: _expression(column, columns)
        for column in columns
        if column["parents"] == parents
    }


def _expression(column: dict[str, Any], columns: list[dict[str, Any]]) -> Any:
    name = column["name"]
    if column["kind"] == "choice":
        options = [
            {"option": k} | _branch(columns, [*column["parents"], [name, k]])
            for k in range(column["options"])
        ]
        return hp.choice(name, options)
    low, high = column["low"], column["high"]
    if column["kind"] == "float":
        if column["log"]:
            return hp.loguniform(name, math.log(low), math.log(high))
        return hp.uniform(name, low, high)
    if column["log"]:
        return hp.qloguniform(name, math.log(low - 0.49), math.log(high + 0.49), 1)
    return hp.quniform(name, low - 0.49, high + 0.49, 1)


def _flat(nested: dict[str, Any]) -> dict[str, Any]:
    """Return the values of an evaluated expression by column."""
    point: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            inner = dict(value)
            point[name] = int(inner.pop("option"))
            point |= _flat(inner)
        else:
            point[name] = float(value)
    return point


if __name__ == "__main__":
    serve(Search)
