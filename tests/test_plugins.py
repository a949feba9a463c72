"""Optimizers, schedulers and backends that another installed package registers."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

import tuner
from tuner import optimizers, schedulers
from tuner.errors import ArgumentError, UnknownOptimizer
from tuner.optimizers import TPEOptimizer

MODULE = '''
from tuner.optimizers.base import SpaceOptimizer

class Corner(SpaceOptimizer):
    """Suggests the corner at the origin, then random points."""

    name = "corner"

    def suggest(self, history, rng):
        return self.space.sample(rng) if len(history.values) else self.space.decode([[0.0]])[0]

class Broken:
    def __init__(self):
        raise RuntimeError("no license")

class Half:
    def ask(self, n, pending): ...
'''

ENTRY_POINTS = """
[tuner.optimizers]
corner = other_package:Corner
tpe = other_package:Corner
broken = other_package:Broken
half = other_package:Half
missing = nowhere_at_all:Thing

[tuner.schedulers]
patient = tuner.schedulers.asha:ASHA
"""


@pytest.fixture(autouse=True)
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package, as pip leaves it."""
    folder = tmp_path / "site"
    metadata = folder / "other_package-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "other_package.py").write_text(textwrap.dedent(MODULE))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(folder)


def test_a_registered_optimizer_searches_by_its_name(tmp_path: Path) -> None:
    study = tuner.optimize(
        lambda params: params["x"],
        {"x": tuner.Float(0, 1)},
        n_trials=3,
        optimizer="corner",
        backend="serial",
        store=tmp_path,
        progress=False,
        register=False,
    )
    assert study.best_value == 0.0
    assert study.info.optimizer["name"] == "corner"


def test_registered_names_are_listed_and_suggested() -> None:
    assert "corner" in optimizers.OPTIMIZERS.names
    assert schedulers.SCHEDULERS.names == ["asha", "median", "patient"]
    with pytest.raises(UnknownOptimizer, match="did you mean 'corner'"):
        optimizers.resolve("cornr")
    assert type(schedulers.resolve("patient")).__name__ == "ASHA"


def test_a_built_in_name_cannot_be_replaced() -> None:
    assert isinstance(optimizers.resolve("tpe"), TPEOptimizer)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("broken", "'other_package:Broken', which cannot be used: RuntimeError: no license"),
        ("missing", "'nowhere_at_all:Thing', which cannot be used: ModuleNotFoundError"),
        ("half", "registered as 'other_package:Half', has no reset"),
    ],
)
def test_a_registered_part_that_does_not_work_is_named(name: str, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        optimizers.resolve(name)
