"""Remedies in errors are valid themselves, and names with dots are taken."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tuner
from tuner import search_spaces
from tuner.errors import SpaceError
from tuner.search_spaces import Choice, Const, Float, Int, Ordinal, P, Space

SUGGESTION = re.compile(r"(?:write|tuple:|such as) (\w+\(.*?\)+)(?: or (\w+\(.*?\)))?(?=[,; ]|$)")


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: Float(-12, -1, log=True), "Float(1e-12, 0.1, log=True)"),
        (lambda: Float(0, 1, log=True), "Float(1e-05, 1.0, log=True)"),
        (lambda: Float(-3, 1e-9, log=True), "Float(1e-12, 1e-09, log=True)"),
        (lambda: Float(0, 1, step=0.1, log=True), "Float(0.1, 1.0, log=True, step=0.1)"),
        (lambda: Float(-900, -800, log=True), "Float(-900.0, -800.0)"),
        (lambda: Float(0, 0.0, log=True), "Const(0.0)"),
        (lambda: Float(1, 1e-3, log=True), "Float(0.001, 1.0, log=True)"),
        (lambda: Float(5, -3, log=True), "Float(-3.0, 5.0)"),
        (lambda: Int(-5, -1, log=True), "Int(-5, -1)"),
        (lambda: Int(0, 10, log=True), "Int(1, 10, log=True)"),
        (lambda: Int(0, 10, step=5, log=True), "Int(5, 10, log=True, step=5)"),
        (lambda: Int(9, 1, step=3), "Int(1, 9)"),
        (lambda: Float(0.2, 1, step=0.3, log=True), "Float(0.2, 0.8, log=True, step=0.3)"),
        (lambda: Float(10, 20, prior=3), "Normal(15, 1)"),
        (lambda: Float(1e-6, 1, log=True, prior=3), "Normal(0.001, 10)"),
        (lambda: Const([1]), "Const((1,))"),
        (lambda: Choice(np.array([1.5, 2.0])), "Choice(1.5, 2.0)"),
        (lambda: Space({"x": [1, 2]}), "Choice(1, 2) or Ordinal(1, 2)"),  # type: ignore[dict-item]
        (lambda: Space({"x": 3}), "Const(3)"),  # type: ignore[dict-item]
    ],
)
def test_a_suggested_remedy_is_valid_code(make: Any, advice: str) -> None:
    with pytest.raises(SpaceError) as raised:
        make()
    assert advice in str(raised.value)
    for one in advice.split(" or "):
        assert eval(one, vars(search_spaces)) is not None


@pytest.mark.parametrize("value", [[], [1, 1], [{}], [float("nan")], float("nan"), {1: 2}.keys()])
def test_an_invalid_remedy_is_not_suggested(value: Any) -> None:
    with pytest.raises(SpaceError) as raised:
        Space({"x": value})
    for suggestion in SUGGESTION.finditer(str(raised.value)):
        for one in filter(None, suggestion.groups()):
            assert eval(one, vars(search_spaces)) is not None


@pytest.mark.parametrize("options", [[], ["a", "a"], [[1], object()]])
def test_options_in_a_list_get_a_valid_remedy(options: Any) -> None:
    for kind in (Choice, Ordinal):
        with pytest.raises(SpaceError, match=r"one by one, as in \w+\('a', 'b'\)"):
            kind(options)


def test_a_branch_is_written_in_python() -> None:
    with pytest.raises(SpaceError, match=r"Choice\(\*\*\{'my-model': \{...\}\}\)"):
        Space({"my-model": {"C": Float(0, 1)}})  # type: ignore[dict-item]


# --- names with dots ------------------------------------------------------------------------------


def dotted() -> Space:
    return Space(
        {
            "optimizer.lr": Float(1e-4, 1, log=True),
            "optimizer": Choice("sgd", "adam"),
            "model": Choice("none", svm={"kernel.width": Float(0, 1)}),
            "a..b.": Int(1, 9),
        }
    ).where(P("optimizer.lr") <= P("model.svm.kernel.width"), P("a..b.") > 1)


def test_names_with_dots_are_accepted() -> None:
    space = dotted()
    assert [column.path for column in space.columns] == [
        "optimizer.lr", "optimizer", "model", "model.svm.kernel.width", "a..b.",
    ]  # fmt: skip
    for point in space.sample(np.random.default_rng(0), 50):
        assert space.validate(point) == point
        assert space.unflatten(space.flatten(point)) == point
        assert space.decode(space.encode([point])[0])[0].keys() == point.keys()
    for again in (Space.from_json(space.to_json()), Space.from_yaml(space.to_yaml())):
        assert again == space
        assert again.constraints[0].paths == ("optimizer.lr", "model.svm.kernel.width")


def test_a_name_that_is_the_path_of_another_parameter_is_refused() -> None:
    branches = Choice(svm={"C": Float(0, 1)})
    with pytest.raises(SpaceError, match=r"'model.svm.C' is the path of two .* 'model_svm_C'"):
        Space({"model": branches, "model.svm.C": Float(0, 1)})
    Space({"model": branches, "model_svm_C": Float(0, 1)})
    with pytest.raises(SpaceError, match=r"'params.lr' starts with 'params.'.* write 'params_lr'"):
        Space({"params.lr": Float(0, 1)})


def test_a_study_searches_names_with_dots(tmp_path: Any) -> None:
    study = tuner.optimize(
        lambda params: params["optimizer.lr"], dotted(), n_trials=12, optimizer="tpe",
        backend="serial", store=tmp_path, study="dots", seed=0, progress=False,
    )  # fmt: skip
    again = tuner.load_study("dots", store=tmp_path)
    assert again.best_params == study.best_params
    assert "optimizer.lr" in study.to_rows()[0]
    assert list(study.find("params.optimizer.lr < 1 order by value"))
    warm = tuner.create_study(
        dotted(), warm_start=study.trials_dataframe(), store=tmp_path, study="warm"
    )
    assert warm.space == study.space
