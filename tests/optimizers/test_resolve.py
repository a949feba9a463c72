"""Resolution of optimizers by name, and their recorded descriptions."""

import subprocess
import sys

import pytest

import tuner.optimizers
from tuner.errors import ArgumentError, UnknownOptimizer
from tuner.optimizers import OPTIMIZERS, TPEOptimizer, describe, resolve
from tuner.optimizers.protocol import Optimizer
from tuner.records import Goal
from tuner.search_spaces import Float, Space


class Own:
    """A user-defined optimizer without a base class."""

    def __init__(self, rate=0.5, model=object, sizes=(1, 2), hidden=3):
        self.rate, self.model, self.sizes = rate, model, sizes

    def reset(self, space, goals, seed):
        pass

    def ask(self, n, pending=()):
        return []

    def tell(self, trial, outcome):
        pass


@pytest.mark.parametrize("name", OPTIMIZERS.built_in)
def test_each_name_gives_an_optimizer_of_that_name(name):
    optimizer = resolve(name)
    assert isinstance(optimizer, Optimizer)
    assert describe(optimizer)["name"] == name
    assert resolve(name) is not optimizer


@pytest.mark.parametrize("name", ["tpe", "bayesian", "auto"])
@pytest.mark.parametrize("seed", range(3))
def test_learning_optimizers_start_at_the_center(name, seed):
    optimizer = resolve(name)
    optimizer.reset(Space({"x": Float(1, 3), "rate": Float(1e-4, 1, log=True)}), [Goal()], seed)
    first, second = optimizer.ask(2)
    assert first == pytest.approx({"x": 2.0, "rate": 1e-2})
    assert second["x"] != first["x"]


def test_an_optimizer_object_is_used_unchanged():
    own = Own()
    assert resolve(own) is own


def test_an_unknown_name_lists_close_and_available_names():
    with pytest.raises(
        UnknownOptimizer, match=r"'baysian'.*did you mean 'bayesian'.*'auto', 'random', 'tpe'"
    ):
        resolve("baysian")
    with pytest.raises(UnknownOptimizer, match="did you mean 'tpe'"):
        resolve("TPE")


def test_a_name_without_close_matches_gets_no_suggestion():
    with pytest.raises(UnknownOptimizer) as caught:
        resolve("qqqqqqqq")
    assert "did you mean" not in str(caught.value)


def test_an_optimizer_class_is_refused_with_a_remedy():
    with pytest.raises(ArgumentError, match=r"is a class.*write TPEOptimizer\(\)"):
        resolve(TPEOptimizer)


@pytest.mark.parametrize("thing", [None, 3, object()])
def test_an_object_that_is_not_an_optimizer_is_refused_with_missing_methods(thing):
    with pytest.raises(ArgumentError, match="lacks reset, ask, tell"):
        resolve(thing)


def test_a_custom_optimizer_is_described_by_its_options():
    assert describe(Own(rate=float("inf"))) == {
        "name": "Own",
        "rate": "inf",
        "model": "<class 'object'>",
        "sizes": [1, 2],
    }


def test_a_built_in_optimizer_is_described_by_name_and_options():
    assert describe(TPEOptimizer(gamma=0.2)) == {
        "name": "tpe",
        "n_startup": 10,
        "gamma": 0.2,
        "max_best": 25,
        "candidates": 256,
    }


def test_the_exports_are_complete():
    for name in tuner.optimizers.__all__:
        assert getattr(tuner.optimizers, name)
    with pytest.raises(AttributeError, match="no attribute 'GridSearch'"):
        tuner.optimizers.GridSearch  # noqa: B018


@pytest.mark.process
def test_importing_and_random_search_need_neither_scipy_nor_optuna():
    code = """
import sys
from tuner.optimizers import resolve
assert not {"scipy", "optuna", "tuner.optimizers.base"} & sys.modules.keys()
from tuner.records import Goal
from tuner.search_spaces import Float, Space
search = resolve("random")
search.reset(Space({"x": Float(0, 1)}), [Goal()], 0)
search.ask(100)
assert not {"scipy", "optuna", "ray", "sklearn"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
