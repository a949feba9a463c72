"""Searches and reads for tests of input that a store cannot handle."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import tuner
from tuner import Float, errors
from tuner.tracking.database import maintenance


def search(store: object, **more: Any) -> tuner.Study:
    options: dict[str, Any] = {"n_trials": 4, "study": "s", "register": False, **more}
    objective = options.pop("objective", lambda params: params["x"])
    space = options.pop("space", {"x": Float(0, 1)})
    return tuner.optimize(
        objective, space, backend="serial", seed=0, optimizer="random", progress=False,
        store=store, **options,
    )  # fmt: skip


def read_all(store: object) -> None:
    """Use every call that reads a store."""
    for info in tuner.list_studies(store=store):
        study = tuner.load_study(info.name, store=store)
        assert study.trials is not None
        study.runs(), study.reports(), study.to_rows()
        if any(t.eligible for t in study):
            assert study.best_trial
        list(tuner.find("", what="runs", store=store))
    tuner.list_models(store=store)
    list(maintenance.check(store))


def raw_error(call: Callable[[], object]) -> str:
    """Return the traceback of an error that is not a tuner error, else ""."""
    try:
        call()
    except errors.TunerError:
        return ""
    except Exception:
        return traceback.format_exc()
    return ""
