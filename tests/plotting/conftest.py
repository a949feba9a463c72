"""Made-up studies of every kind, drawn without a window."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from tuner.plotting import Plots
from tuner.records import Direction, Failure, Goal, Report, Run, State, Trial
from tuner.search_spaces import Bool, Choice, Const, Float, Int, Ordinal, Space

mpl.use("Agg")

SPACE = Space(
    {
        "scaler": Choice("none", "standard", "minmax"),
        "lr": Float(1e-4, 1.0, log=True),
        "layers": Int(1, 8),
        "batch": Ordinal(16, 64, 256),
        "nesterov": Bool(),
        "verbose": Const(0),
        "model": Choice(
            "dummy",
            svm={
                "C": Float(1e-3, 1e3, log=True),
                "kernel": Choice(rbf={"gamma": Float(1e-4, 1.0, log=True)}, linear={}),
            },
            forest={"trees": Int(10, 1000, log=True), "max_features": Float(0.1, 1.0)},
        ),
    }
)


def loss(params: dict[str, Any]) -> float:
    kind, options = params["model"]
    base = (np.log10(params["lr"]) + 2) ** 2
    return float(base + {"dummy": 5, "svm": 1, "forest": 2}[kind] + len(options) / 10)


@lru_cache(maxsize=2)  # ten thousand trials are drawn by every plot
def _records(
    n: int, space: Space, value: Callable[[dict[str, Any]], float], states: str, seed: int
) -> tuple[list[Trial], list[Run], list[tuple[str, Report]]]:
    rng = np.random.default_rng(seed)
    trials: list[Trial] = []
    runs: list[Run] = []
    reports: list[tuple[str, Report]] = []
    now = 1.7e9
    for number, params in enumerate(space.sample(rng, n) if n else []):
        state = next(s for s in State if s.value.startswith(states[number % len(states)].lower()))
        result = value(params)
        known = state in (State.COMPLETED, State.STOPPED)
        ended = now + 1 + number % 3 if state.finished else None
        error = Failure("ValueError", "no") if state is State.FAILED else None
        values = (result,) if known else ()
        times: dict[str, Any] = {"started": now, "ended": ended}
        trials.append(Trial(number, params, state, values, error=error, **times))
        worker = f"worker-{number % 3}"
        runs.append(Run(f"run-{number}", number, state=state, worker=worker, **times))
        steps = 4 if state is State.STOPPED else 8
        reports += [
            (f"run-{number}", Report(step, {"value": result + 1 / (step + 1), "other": step}))
            for step in range(steps)
        ]
        now += 1.0
    return trials, runs, reports


@pytest.fixture
def made_up() -> Callable[..., Plots]:
    """Return a function that makes plots of `n` trials of `SPACE`, in every state."""

    def make(
        n: int,
        *,
        space: Space = SPACE,
        value: Callable[[dict[str, Any]], float] = loss,
        states: str = "CCCCSCF",
        direction: Direction = Direction.MINIMIZE,
        seed: int = 0,
    ) -> Plots:
        trials, runs, reports = _records(n, space, value, states, seed)
        return Plots(
            space, [Goal("value", direction)], lambda: trials, lambda: runs, lambda: reports
        )

    return make
