"""Grid search: its order, its end, and its refusals."""

import pytest

import tuner
from tuner import Choice, Float, Int, Ordinal
from tuner.errors import ArgumentError, StudyError
from tuner.optimizers import GridOptimizer, describe, restore

SMALL = {"kind": Choice("a", b={"n": Int(1, 3)}), "x": Float(0, 1, step=0.5)}


def search(objective, space=SMALL, **options):
    settings = {"backend": "serial", "progress": False, "register": False, "optimizer": "grid"}
    return tuner.optimize(objective, space, **settings | options)


def test_the_whole_grid_is_tried_in_order(tmp_path):
    study = search(lambda params: params["x"], store=tmp_path)
    assert [trial.params for trial in study.trials] == list(study.space.grid())
    assert len(study.trials) == study.space.size == 12


def test_a_grid_above_the_default_number_of_trials_is_tried_whole(tmp_path):
    study = search(lambda params: params["n"], {"n": Int(1, 120)}, store=tmp_path)
    assert len(study.trials) == 120


def test_a_resumed_grid_continues_and_then_returns_at_once(tmp_path):
    options = {"store": tmp_path, "study": "s"}
    first = search(lambda params: params["x"], n_trials=5, **options)
    assert len(first.trials) == 5
    whole = search(lambda params: params["x"], **options)
    assert [trial.params for trial in whole.trials] == list(whole.space.grid())
    again = search(lambda params: pytest.fail("nothing is left"), **options)
    assert len(again.trials) == 12


def test_the_end_of_the_grid_ends_a_search_with_more_trials(tmp_path):
    assert len(search(lambda params: params["x"], n_trials=50, store=tmp_path).trials) == 12


def test_initial_points_are_not_repeated(tmp_path):
    last = {"kind": ("b", {"n": 3}), "x": 1.0}
    study = search(lambda params: params["x"], initial=[last], store=tmp_path)
    assert study.trials[0].params == last
    assert len({study.space.key(trial.params) for trial in study.trials}) == 12


def test_failed_trials_are_retried_at_the_end_of_the_grid(tmp_path):
    failed = []

    def objective(params):
        if params["n"] == 3 and not failed:
            failed.append(params)
            raise ValueError("once")
        return params["n"]

    study = search(objective, {"n": Int(1, 3)}, max_retries=1, store=tmp_path)
    assert [trial.value for trial in study.trials] == [1, 2, 3]


@pytest.mark.process
def test_several_workers_share_one_grid(tmp_path):
    study = search(lambda params: params["x"], backend="processes", workers=2, store=tmp_path)
    assert sorted(map(study.space.key, (t.params for t in study.trials)), key=repr) == sorted(
        map(study.space.key, study.space.grid()), key=repr
    )


def test_a_continuous_parameter_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(ArgumentError, match=r"'x' is Float\(0.0, 1.0\).*give it a step"):
        search(lambda params: 0, {"n": Int(1, 3), "x": Float(0, 1)}, store=tmp_path)


def test_levels_of_a_continuous_parameter(tmp_path):
    study = search(
        lambda params: params["x"],
        {"x": Float(0, 1), "o": Ordinal(1, 2)},
        optimizer=GridOptimizer(levels=3),
        store=tmp_path,
    )
    assert len(study.trials) == 6
    assert describe(GridOptimizer(levels=3)) == {"name": "grid", "levels": 3}
    assert restore({"name": "grid", "levels": 3}).levels == 3


@pytest.mark.parametrize("levels", [0, 2.5, True, "3"])
def test_wrong_levels(levels):
    with pytest.raises(ArgumentError, match="positive integer"):
        GridOptimizer(levels=levels)


def test_asking_by_hand_ends(tmp_path):
    study = tuner.create_study({"n": Int(1, 3)}, optimizer="grid", store=tmp_path)
    assert [trial.params["n"] for trial in study.ask(5)] == [1, 2, 3]
    assert study.ask(1) == []
    with pytest.raises(StudyError, match="all of its points"):
        study.ask()
