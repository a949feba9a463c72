"""Optimizers, schedulers, backends and model formats that another installed package registers."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

import tuner
from tuner import optimizers, schedulers
from tuner.cli.commands import cli
from tuner.errors import ArgumentError, RegistryError, UnknownOptimizer
from tuner.optimizers import TPEOptimizer
from tuner.registry.formats import load_files, save_model

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

class WordsFormat:
    name = "words"

    def accepts(self, model):
        return isinstance(model, frozenset)

    def save(self, model, folder):
        (folder / "words.txt").write_text(" ".join(sorted(model)))

    def load(self, folder):
        return frozenset((folder / "words.txt").read_text().split())

class Nameless:
    accepts = save = load = print
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

[tuner.model_formats]
words = other_package:WordsFormat
"""


@pytest.fixture(autouse=True)
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package, as pip leaves it."""
    folder = tmp_path / "site"
    metadata = folder / "other_package-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "other_package.py").write_text(textwrap.dedent(MODULE))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(folder)
    return folder


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
    assert schedulers.SCHEDULERS.names == ["asha", "halving", "hyperband", "median", "patient"]
    with pytest.raises(UnknownOptimizer, match="did you mean 'corner'"):
        optimizers.resolve("cornr")
    assert type(schedulers.resolve("patient")).__name__ == "ASHA"


def test_a_built_in_name_cannot_be_replaced() -> None:
    assert isinstance(optimizers.resolve("tpe"), TPEOptimizer)


def test_a_registered_format_saves_and_loads_by_its_name(tmp_path: Path) -> None:
    def objective(params, trial):
        trial.log_model(frozenset({"the", "of"}))
        return params["x"]

    tuner.optimize(
        objective,
        {"x": tuner.Float(0, 1)},
        n_trials=1,
        backend="serial",
        store=tmp_path,
        progress=False,
        register="m",
    )
    (version,) = tuner.list_models(store=tmp_path)
    assert version.artifact.format == "words"
    assert tuner.load_model("m", store=tmp_path) == {"the", "of"}


def test_the_errors_of_formats_list_registered_names() -> None:
    with pytest.raises(RegistryError, match=r"none of the formats 'keras', .*'words' accepts"):
        save_model(object())
    with pytest.raises(ArgumentError, match="did you mean 'words'"):
        save_model(frozenset(), format="word")
    with pytest.raises(RegistryError, match=r"'letters', but only .*'words' are installed"):
        load_files("letters", {})


def test_a_format_registers_under_its_own_name(other_package: Path) -> None:
    entries = other_package / "other_package-1.0.dist-info" / "entry_points.txt"
    entries.write_text("[tuner.model_formats]\nletters = other_package:WordsFormat\n")
    with pytest.raises(ArgumentError, match=r"'letters' is registered for a class .*'words'"):
        save_model(frozenset(), format="letters")
    entries.write_text("[tuner.model_formats]\nletters = other_package:Nameless\n")
    with pytest.raises(ArgumentError, match="'other_package:Nameless', lacks name"):
        save_model(frozenset(), format="letters")


def test_the_help_of_the_command_line_lists_registered_names() -> None:
    text = " ".join(CliRunner().invoke(cli, ["run", "--help"]).output.split())
    named = "auto, random, tpe, bayesian, grid, transfer, broken, corner, half, missing."
    assert f"next trial: {named}" in text
    assert "bad trials early: asha, halving, hyperband, median, patient." in text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("broken", "'other_package:Broken', which cannot be used: RuntimeError: no license"),
        ("missing", "'nowhere_at_all:Thing', which cannot be used: ModuleNotFoundError"),
        ("half", "registered as 'other_package:Half', lacks reset"),
    ],
)
def test_a_registered_part_that_does_not_work_is_named(name: str, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        optimizers.resolve(name)
