"""Optuna samplers on a `Space`, and the export of trials as an Optuna study."""

import contextlib
import logging
import warnings

import numpy as np
import optuna
import pytest

from tuner.errors import ArgumentError, MissingExtra
from tuner.optimizers import OptunaOptimizer, describe
from tuner.optimizers.optuna_adapter import quiet, to_optuna_study
from tuner.optimizers.optuna_distributions import OptunaColumn
from tuner.records import Direction, Goal, Outcome, State, Trial
from tuner.search_spaces import Bool, Choice, Const, Float, Int, Ordinal, P, Space

EVERY_DOMAIN = Space(
    {
        "plain": Float(-1.0, 2.0),
        "log": Float(1e-5, 1.0, log=True),
        "grid": Float(0.0, 1.0, step=0.1),
        "log_grid": Float(1.0, 7.0, log=True, step=0.5),
        "int": Int(3, 9),
        "one": Int(4, 4),
        "even": Int(2, 20, step=2),
        "log_int": Int(1, 1000, log=True),
        "log_odd": Int(3, 21, log=True, step=2),
        "order": Ordinal("small", 2, 3.5),
        "alike": Choice(1, 1.0, True),
        "tuples": Choice((1, 2), (3,), None),
        "flag": Bool(),
        "fixed": Const("same"),
        "model": Choice("none", a={"k": Choice("x", y={"deep": Bool()})}, b={"n": Int(0, 4)}),
    }
)
POINTS = EVERY_DOMAIN.sample(np.random.default_rng(0), 60)


def bound(space, sampler="TPESampler", seed=0, direction=Direction.MINIMIZE, **options):
    optimizer = OptunaOptimizer(sampler, **options)
    optimizer.reset(space, [Goal("value", direction)], seed)
    return optimizer


def run(optimizer, loss, n):
    told = []
    for number in range(n):
        (params,) = optimizer.ask(1)
        told.append((params, float(loss(params))))
        optimizer.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": told[-1][1]}))
    return told


class TestColumns:
    @pytest.mark.parametrize("column", EVERY_DOMAIN.columns, ids=lambda c: c.path)
    def test_values_round_trip_through_optuna(self, column):
        theirs = OptunaColumn(column)
        for point in POINTS:
            flat = EVERY_DOMAIN.flatten(point)
            if column.path not in flat:
                continue
            value = theirs.to_optuna(flat[column.path])
            back = theirs.from_optuna(value)
            assert repr(back) == repr(flat[column.path])  # the value and its type
            assert theirs.distribution._contains(theirs.distribution.to_internal_repr(value))

    def test_options_that_optuna_treats_as_equal_are_distinguished(self):
        (column,) = (c for c in EVERY_DOMAIN.columns if c.path == "alike")
        assert OptunaColumn(column).distribution.choices == ("1", "1.0", "True")


class TestSampling:
    @pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler", "NSGAIISampler"])
    def test_every_domain_is_suggested_within_its_values(self, sampler):
        optimizer = bound(EVERY_DOMAIN, sampler)
        for params, _ in run(optimizer, lambda p: p["plain"], 25):
            assert repr(EVERY_DOMAIN.validate(params)) == repr(params)

    def test_only_active_parameters_are_suggested(self):
        optimizer = bound(EVERY_DOMAIN, "RandomSampler")
        run(optimizer, lambda p: 0.0, 20)
        for trial in optimizer._study.trials:
            assert ("model.a.k" in trial.params) == (trial.params["model"] == "a")

    def test_the_sampler_learns_the_tried_points_and_not_its_suggestions(self):
        optimizer = bound(Space({"n": Int(3, 21, log=True, step=2)}), "RandomSampler")
        told = run(optimizer, lambda p: p["n"], 9)
        assert [t.params["n"] for t in optimizer._study.trials if t.values] == [
            p["n"] for p, _ in told
        ]

    def test_the_sampler_sees_losses_states_and_pending_trials(self):
        space = Space({"x": Float(0, 1)})
        optimizer = bound(space, direction=Direction.MAXIMIZE)
        points = optimizer.ask(4)
        outcomes = [
            Outcome(State.COMPLETED, {"value": 3.0}),
            Outcome(State.STOPPED, {"value": 2.0}),
            Outcome(State.FAILED),
        ]
        for number, outcome in enumerate(outcomes):
            optimizer.tell(Trial(number, points[number]), outcome)
        foreign = Trial(9, {"x": 0.125}, State.RUNNING)
        optimizer.ask(1, [Trial(3, points[3], State.RUNNING), foreign])
        trials = optimizer._study.trials
        assert [t.state.name for t in trials[:5]] == [
            "COMPLETE", "PRUNED", "FAIL", "RUNNING", "RUNNING"
        ]  # fmt: skip
        assert trials[0].value == -3.0
        assert trials[1].intermediate_values == {0: -2.0}
        assert trials[4].params == {"x": 0.125}

    def test_a_foreign_trial_is_finished_when_it_is_told(self):
        optimizer = bound(Space({"x": Float(0, 1)}))
        pending = Trial(0, {"x": 0.5}, State.RUNNING)
        optimizer.ask(1, [pending])
        optimizer.tell(pending, Outcome(State.STOPPED, {"value": 1.0}))
        assert optimizer._study.trials[0].state.name == "PRUNED"

    @pytest.mark.parametrize(
        ("sampler", "options"),
        [
            ("BruteForceSampler", {}),
            ("GridSampler", {"search_space": {"a": [1, 2, 3], "b": [True, False]}}),
            ("TPESampler", {}),
        ],
    )
    def test_a_finite_space_is_exhausted_and_the_search_continues(self, sampler, options):
        space = Space({"a": Choice(1, 2, 3), "b": Bool()})
        told = run(bound(space, sampler, **options), lambda p: 1.0, 9)
        assert len({space.key(p) for p, _ in told[:6]}) == 6

    def test_a_feasible_point_is_sampled_if_the_sampler_finds_none(self):
        space = Space({"x": Float(0, 1), "y": Float(0, 1)}).where(P("x") >= P("y") + 0.98)
        told = run(bound(space, "RandomSampler"), lambda p: p["x"], 6)
        assert all(params in space for params, _ in told)

    def test_a_sampler_instance_is_not_modified(self):
        sampler = optuna.samplers.RandomSampler(seed=4)
        space = Space({"x": Float(0, 1)})
        first = run(bound(space, sampler), lambda p: 0.0, 3)
        assert run(bound(space, sampler, seed=5), lambda p: 0.0, 3) == first

    def test_a_custom_sampler_class_is_accepted(self):
        class Middle(optuna.samplers.RandomSampler):
            def sample_independent(self, study, trial, param_name, param_distribution):
                return 0.5

        assert bound(Space({"x": Float(0, 1)}), Middle).ask(1) == [{"x": 0.5}]

    @pytest.mark.slow
    def test_optunas_tpe_finds_the_best_branch(self):
        def loss(p):
            return 1.0 if p["model"][0] != "b" else abs(p["model"][1]["n"] - 3) / 9

        optimizer = bound(EVERY_DOMAIN, multivariate=True, group=True)
        told = run(optimizer, loss, 40)
        assert sum(p["model"][0] == "b" for p, _ in told[20:]) > 10


class TestArguments:
    def test_an_unknown_sampler_lists_the_known_ones(self):
        with pytest.raises(
            ArgumentError, match=r"'TPE'.*unknown sampler in Optuna .*; write one of .*TPESampler"
        ):
            OptunaOptimizer("TPE")

    def test_a_wrong_option_is_refused_before_the_first_trial(self):
        with pytest.raises(ArgumentError, match=r"'TPESampler'.*gama"):
            OptunaOptimizer("TPESampler", gama=1)

    def test_options_beside_an_instance_are_refused(self):
        with pytest.raises(ArgumentError, match="already has its options"):
            OptunaOptimizer(optuna.samplers.RandomSampler(), n_startup_trials=3)

    @pytest.mark.parametrize("thing", [int, 3])
    def test_a_value_that_is_not_a_sampler_is_refused(self, thing):
        with pytest.raises(ArgumentError, match="not an Optuna sampler"):
            OptunaOptimizer(thing)

    def test_a_sampler_whose_package_is_missing_names_it(self):
        class Needy(optuna.samplers.RandomSampler):
            def sample_independent(self, study, trial, param_name, param_distribution):
                import no_such_package  # noqa: F401

        with pytest.raises(MissingExtra, match="pip install no_such_package"):
            bound(Space({"x": Float(0, 1)}), Needy).ask(1)

    def test_the_description_has_sampler_and_options(self):
        assert describe(OptunaOptimizer("TPESampler", n_startup_trials=5)) == {
            "name": "optuna",
            "sampler": "TPESampler",
            "n_startup_trials": 5,
        }


class TestQuiet:
    def test_a_search_does_not_log_warn_or_change_the_log_level(self, caplog, capfd):
        optuna.logging.enable_propagation()
        optuna.logging.set_verbosity(optuna.logging.INFO)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                run(bound(EVERY_DOMAIN, multivariate=True, group=True), lambda p: 0.0, 14)
                to_optuna_study(EVERY_DOMAIN, [Goal()], [Trial(0, POINTS[0])])
        finally:
            optuna.logging.disable_propagation()
        assert caplog.record_tuples == []
        assert capfd.readouterr() == ("", "")
        assert optuna.logging.get_verbosity() == optuna.logging.INFO

    def test_the_log_level_is_restored_after_an_error(self):
        optuna.logging.set_verbosity(optuna.logging.INFO)
        with contextlib.suppress(KeyError), quiet():
            assert logging.getLogger("optuna").level == logging.ERROR
            raise KeyError
        assert optuna.logging.get_verbosity() == optuna.logging.INFO


class TestStudy:
    TRIALS = (
        Trial(4, POINTS[0], State.COMPLETED, (1.0,), {"value": 1.0, "seconds": 2.0}),
        Trial(2, POINTS[1], State.COMPLETED, (3.0,), {"value": 3.0}),
        Trial(5, POINTS[2], State.FAILED),
        Trial(6, POINTS[3], State.STOPPED, (2.0,)),
        Trial(7, POINTS[4], State.STOPPED),
        Trial(8, POINTS[5], State.RUNNING),
        Trial(9, POINTS[6], State.WAITING),
    )

    def study(self, direction=Direction.MINIMIZE):
        return to_optuna_study(EVERY_DOMAIN, [Goal("value", direction)], self.TRIALS, "mine")

    def test_trials_keep_state_value_and_order(self):
        study = self.study()
        assert study.study_name == "mine"
        states = [t.state.name for t in study.trials]
        assert states == ["COMPLETE", "COMPLETE", "FAIL", "PRUNED", "PRUNED", "RUNNING", "WAITING"]
        assert [t.user_attrs["number"] for t in study.trials] == [2, 4, 5, 6, 7, 8, 9]
        assert study.trials[3].intermediate_values == {0: 2.0}
        assert study.trials[1].user_attrs["seconds"] == 2.0
        assert self.study(Direction.MAXIMIZE).best_value == 3.0

    def test_parameters_have_the_names_of_columns(self):
        for trial, point in zip(self.study().trials, [POINTS[1], POINTS[0]], strict=False):
            assert trial.params.keys() == EVERY_DOMAIN.flatten(point).keys()
            assert trial.params["plain"] == point["plain"]

    @pytest.mark.slow
    def test_optuna_computes_importances(self):
        trials = [
            Trial(k, p, State.COMPLETED, (p["plain"] ** 2 + 0.01 * p["int"],))
            for k, p in enumerate(POINTS)
        ]
        study = to_optuna_study(EVERY_DOMAIN, [Goal()], trials)
        with quiet():
            importances = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
            )
        assert max(importances, key=importances.get) == "plain"

    def test_several_goals_give_several_directions(self):
        goals = [Goal("loss"), Goal("score", Direction.MAXIMIZE)]
        trial = Trial(0, POINTS[0], State.COMPLETED, (1.0, 2.0))
        study = to_optuna_study(EVERY_DOMAIN, goals, [trial])
        assert [d.name for d in study.directions] == ["MINIMIZE", "MAXIMIZE"]
        assert study.trials[0].values == [1.0, 2.0]
