"""The searches that are compared: an optimizer, and a scheduler that stops or pauses trials."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tuner
from benchmarks.fidelity.curves import Curves
from tuner.backends import SimulatedBackend
from tuner.engine.worker.trial import LiveTrial
from tuner.schedulers import ASHA, Hyperband, MedianStopping, SuccessiveHalving
from tuner.schedulers.protocol import Scheduler

SCHEDULERS: dict[str, Callable[[int], Scheduler | None]] = {
    "none": lambda _steps: None,
    "median": lambda _steps: MedianStopping(),
    "asha": lambda _steps: ASHA(),
    "halving": lambda _steps: SuccessiveHalving(),
    "hyperband": lambda steps: Hyperband(max_steps=steps),
}
"""Schedulers by name; each is made for a number of steps."""


@dataclass(frozen=True)
class Observed:
    """One report: when it came, of which configuration, and its loss."""

    time: float
    row: int
    trial: int
    step: int
    loss: float


def run(
    name: str, curves: Curves, seed: int, workers: int, epochs: float, noise: float
) -> list[Observed]:
    """Return all reports of a search, by time.

    Parameters
    ----------
    name
        Optimizer and scheduler, such as ``"tpe+asha"``.
    curves
        The task.
    seed
        The seed of the search; it also decides which recorded training each trial gets.
    workers
        Number of simulated workers; a step takes one unit of virtual time.
    epochs
        Steps that all workers together may run.
    noise
        Standard deviation of each report, in units of normalized regret.
    """
    optimizer, _, scheduler = name.partition("+")
    backend = SimulatedBackend(1.0, workers=workers, seed=seed)
    seen: list[Observed] = []

    def objective(params: dict[str, Any], trial: LiveTrial) -> float:
        row = curves.nearest(params)
        losses = curves.losses[row, trial.seed % curves.losses.shape[1]]
        drawn = np.random.default_rng(trial.seed).normal(size=len(losses))
        losses = losses + noise * curves.scale[1] * drawn
        first = 0
        if (saved := trial.restore()) is not None:
            first = json.loads((saved / "step").read_text())
        for step in range(first, len(losses)):
            trial.report(float(losses[step]), step)
            seen.append(Observed(backend.elapsed, row, trial.number, step, float(losses[step])))
            if step + 1 < len(losses) and trial.should_stop():
                with trial.checkpoint() as folder:
                    (folder / "step").write_text(json.dumps(step + 1))
                break
        return float(losses[step])

    with tempfile.TemporaryDirectory() as folder:
        tuner.optimize(
            objective,
            curves.space,
            study="fidelity",
            n_trials=None,
            timeout=epochs / workers,
            optimizer=optimizer,
            scheduler=SCHEDULERS[scheduler or "none"](curves.steps),
            backend=backend,
            seed=seed,
            store=folder,
            register=False,
            progress=False,
        )
    return seen


def regrets(seen: list[Observed], curves: Curves, times: list[float]) -> list[float]:
    """Return the regret of the trial with the best reported loss at each time; 1 before any."""
    found: list[float] = []
    best, row, k = np.inf, -1, 0
    for time in times:
        while k < len(seen) and seen[k].time <= time:
            if seen[k].loss < best:
                best, row = seen[k].loss, seen[k].row
            k += 1
        found.append(1.0 if row < 0 else curves.regret(row))
    return found
