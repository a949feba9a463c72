"""Global random generators are seeded for each trial and restored afterwards."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tuner
from tuner.engine.worker.process_state import restored


class FakeTorch(SimpleNamespace):
    """PyTorch's functions for random states, without PyTorch."""

    def __init__(self, *, initialized: bool) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.cpu, self.first = "cpu before", 7
        self.cuda = SimpleNamespace(
            is_initialized=lambda: initialized,
            get_rng_state_all=lambda: ["cuda before"],
            set_rng_state_all=lambda states: self.calls.append(("cuda", states)),
            manual_seed_all=lambda seed: self.calls.append(("cuda seed", seed)),
        )

    def manual_seed(self, seed: int) -> None:
        self.calls.append(("seed", seed))
        self.cpu = f"seeded with {seed}"

    def initial_seed(self) -> int:
        return self.first

    def get_rng_state(self) -> str:
        return self.cpu

    def set_rng_state(self, state: str) -> None:
        self.cpu = state


@pytest.mark.parametrize("initialized", [False, True])
def test_pytorch_is_seeded_and_restored_if_it_is_imported(
    monkeypatch: pytest.MonkeyPatch, initialized: bool
) -> None:
    torch = FakeTorch(initialized=initialized)
    monkeypatch.setitem(sys.modules, "torch", torch)
    with restored(3):
        assert torch.cpu == "seeded with 3"
    assert torch.cpu == "cpu before"
    cuda = ("cuda", ["cuda before"]) if initialized else ("cuda seed", 7)
    assert torch.calls == [("seed", 3), cuda]


def test_pytorch_imported_during_a_trial_or_partially_is_not_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    torch = FakeTorch(initialized=False)
    with restored(3):
        monkeypatch.setitem(sys.modules, "torch", torch)
    assert torch.calls == []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__name__="torch"))
    with restored(3):
        pass


def test_tuner_does_not_import_pytorch() -> None:
    with restored(3):
        pass
    assert "torch" not in sys.modules or hasattr(sys.modules["torch"], "__version__")


def test_searches_with_one_seed_draw_the_same_and_restore_the_generators(tmp_path: Path) -> None:
    def draw() -> tuple[float, ...]:
        numbers = [random.random(), float(np.random.rand())]  # noqa: NPY002
        if "torch" in sys.modules:
            import torch

            numbers += [float(torch.rand(())), float(torch.nn.Linear(2, 1).weight.detach().sum())]
        return tuple(numbers)

    def search(folder: str) -> list[dict[str, float]]:
        study = tuner.optimize(
            lambda params: {"value": params["x"], **dict(zip("abcd", draw(), strict=False))},
            {"x": tuner.Float(0, 1)}, n_trials=3, seed=0, backend="serial",
            store=tmp_path / folder, register=False, progress=False,
        )  # fmt: skip
        return [trial.metrics for trial in study]

    first = search("first")
    draw()  # the generators have moved on
    assert search("second") == first
    assert first[0]["a"] != first[1]["a"]
    with restored(1):
        before = draw()
        search("inside")
        after = draw()
    with restored(1):
        assert (draw(), draw()) == (before, after)
