"""Searches on simulated workers, which can be repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner.backends import Faults, SimulatedBackend, lognormal


def log(folder: Path, backend: SimulatedBackend, n_trials: int = 30, **options: Any) -> bytes:
    study = tuner.optimize(
        lambda params: (params["x"] - 0.3) ** 2,
        {"x": tuner.Float(0, 1), "kind": tuner.Choice("a", "b")},
        n_trials=n_trials,
        optimizer="tpe",
        backend=backend,
        seed=7,
        study="s",
        store=folder,
        register=False,
        progress=False,
        **options,
    )
    return json.dumps([(t.number, t.params, t.values, t.state) for t in study.trials]).encode()


HARD = Faults(crash=0.05, lost=0.02, delay=60.0, duplicate=0.2, restart=300.0)


class LateWorkers(SimulatedBackend):
    """A pool of which one worker is ready at the start, as on a loaded machine."""

    def start(self, work: Any, **options: Any) -> None:
        super().start(work, **options)
        self._resize(1)


def test_a_deterministic_search_does_not_depend_on_late_workers(tmp_path: Path) -> None:
    prompt = SimulatedBackend(60.0, workers=3)
    late = LateWorkers(60.0, workers=3, sizes=[(200.0, 3)])
    logs = {
        log(tmp_path / name, backend, deterministic=True)
        for name, backend in (("prompt", prompt), ("late", late))
    }
    assert len(logs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 5])
def test_a_deterministic_search_does_not_depend_on_faults(tmp_path: Path, workers: int) -> None:
    backends = {
        "even": SimulatedBackend(60.0, workers=workers),
        "uneven": SimulatedBackend(lognormal(60.0, 1.5), workers=workers, seed=1),
        "faults": SimulatedBackend(lognormal(60.0), workers=workers, seed=2, faults=HARD),
        "more faults": SimulatedBackend(lognormal(60.0), workers=workers, seed=3, faults=HARD),
        "come and go": SimulatedBackend(
            lognormal(60.0), workers=workers, seed=4, sizes=[(100.0, 1), (400.0, workers + 3)]
        ),
    }
    logs = {
        name: log(tmp_path / name, backend, deterministic=True)
        for name, backend in backends.items()
    }
    assert len(set(logs.values())) == 1


@pytest.mark.slow
def test_a_nondeterministic_search_depends_on_timing(tmp_path: Path) -> None:
    logs = {
        log(tmp_path / str(seed), SimulatedBackend(lognormal(60.0), workers=5, seed=seed))
        for seed in range(3)
    }
    assert len(logs) == 3


def test_an_interrupted_deterministic_search_resumes_equally(tmp_path: Path) -> None:
    for n_trials in (11, 30):
        backend = SimulatedBackend(lognormal(60.0), workers=5, seed=n_trials, faults=HARD)
        halves = log(tmp_path / "halves", backend, n_trials, deterministic=True)
    whole = log(tmp_path / "whole", SimulatedBackend(60.0, workers=5), deterministic=True)
    assert halves == whole
