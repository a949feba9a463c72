"""A re-tune starts from the model's study, and its winner becomes champion by the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner.errors import ArgumentError
from tuner.registry import PromotionRule, Registry, Rules

SPACE = {"x": tuner.Float(0, 4), "kind": tuner.Choice("a", "b")}


def bowl(middle: float) -> Any:
    return lambda params: (params["x"] - middle) ** 2 + (params["kind"] == "b")


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"backend": "serial", "seed": 0, "store": tmp_path, "progress": False}
    tuner.optimize(
        bowl(1.0), SPACE, n_trials=8, optimizer="random", data=[1], register="m", study="old",
        **found,
    )  # fmt: skip
    return found


def aliases(options: dict[str, Any]) -> dict[int, tuple[str, ...]]:
    return {v.version: v.aliases for v in Registry(options["store"]).versions("m")}


def test_the_best_old_configurations_come_first(options: dict[str, Any]) -> None:
    old = tuner.load_study("old", store=options["store"])
    new = tuner.retune("m", bowl(1.5), data=[2], n_trials=4, optimizer="random", **options)
    assert new.trials[0].params == Registry(options["store"]).get("m@1").params
    assert len(new.trials) == 4
    assert new.info.tags == {"retune": "m@1"}
    known = [old.space.key(trial.params) for trial in old.trials]
    assert old.space.key(new.trials[0].params) in known


def test_the_winner_replaces_a_champion_of_other_data(options: dict[str, Any]) -> None:
    tuner.retune("m", bowl(1.5), data=[2], n_trials=6, **options)
    assert aliases(options) == {1: (), 2: ("champion",)}
    [*_, event] = Registry(options["store"]).history("m", "champion")
    texts = [check["text"] for check in event.result["checks"]]
    assert "the champion's (version 1) params were tried again on its data" in texts


def test_the_same_configuration_fitted_to_new_data_wins_the_tie(options: dict[str, Any]) -> None:
    tuner.retune("m", bowl(1.0), data=[2], n_trials=1, **options)
    assert aliases(options) == {1: (), 2: ("champion",)}


def test_a_winner_that_a_rule_refuses_becomes_challenger(options: dict[str, Any]) -> None:
    registry = Registry(options["store"])
    registry.set_rules("m", Rules((PromotionRule("champion", min_improvement=10.0),)))
    tuner.retune("m", bowl(1.5), data=[2], n_trials=6, **options)
    assert aliases(options) == {1: ("champion",), 2: ("challenger",)}
    assert "(version 1) params on this data" in registry.get("m@2").note
    registry.set_rules("m", None)
    assert registry.promote("m@challenger").allowed


def test_another_study_of_other_data_is_not_compared(options: dict[str, Any]) -> None:
    tuner.optimize(bowl(1.0), SPACE, n_trials=9, data=[2], register="m", study="toy", **options)
    assert aliases(options)[2] == ("challenger",)


def test_a_champion_that_moved_meanwhile_is_not_compared(options: dict[str, Any]) -> None:
    first = tuner.retune("m@1", bowl(1.5), data=[2], n_trials=3, study="r1", **options)
    assert first.info.notes["retune"]["version"] == 1
    tuner.retune("m@1", bowl(1.6), data=[3], n_trials=3, study="r2", **options)
    assert aliases(options) == {1: (), 2: ("champion",), 3: ("challenger",)}


def test_a_repeated_call_finishes_the_study(options: dict[str, Any]) -> None:
    for n in (2, 5, 5):
        found = tuner.retune("m@1", bowl(1.5), data=[2], n_trials=n, study="again", **options)
    assert len(found.trials) == 5


def test_another_space_must_have_the_configuration(options: dict[str, Any]) -> None:
    wider = {**SPACE, "x": tuner.Float(-9, 9)}
    found = tuner.retune("m", bowl(1.5), data=[2], n_trials=3, space=wider, **options)
    assert found.trials[0].params == Registry(options["store"]).get("m@1").params
    with pytest.raises(ArgumentError, match="is not a point of this space"):
        tuner.retune("m", bowl(1.5), space={"x": tuner.Float(8, 9)}, **options)


def test_the_study_may_be_deleted(options: dict[str, Any]) -> None:
    tuner.delete_study("old", store=options["store"])
    found = tuner.retune("m", bowl(1.5), data=[2], n_trials=3, **options)
    assert found.trials[0].params == Registry(options["store"]).get("m@1").params


def test_several_goals_have_no_winner(tmp_path: Path) -> None:
    study = tuner.optimize(
        lambda params: (params["x"], 1.0), {"x": tuner.Float(0, 1)}, n_trials=2,
        direction=["minimize", "maximize"], backend="serial", store=tmp_path, progress=False,
    )  # fmt: skip
    study.register("m", trial=0)
    with pytest.raises(ArgumentError, match="has 2 goals"):
        tuner.retune("m", bowl(1.0), store=tmp_path)


def test_any_note_of_a_user_is_harmless(options: dict[str, Any]) -> None:
    for note in ("x", 3, {"model": "m"}, {"model": "m", "version": 1, "more": 2}):
        study = tuner.optimize(
            bowl(1.0), SPACE, n_trials=1, data=[2], register=False, study=f"s{note}"[:9], **options
        )
        study.set_study_note("retune", note)
        study.register("m")
    assert aliases(options)[1] == ("champion",)
