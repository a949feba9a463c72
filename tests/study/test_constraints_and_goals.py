"""Outcome constraints and several goals, end to end: the best trials, and refused arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tuner
from tuner import Float, State
from tuner.cli.commands import cli
from tuner.errors import (
    ArgumentError,
    NoCompletedTrial,
    NoFeasibleTrial,
    SeveralGoals,
    StudyMismatch,
)

SPACE = {"x": Float(0, 1)}
TWO = {"direction": ["minimize", "maximize"], "metric": ["cost", "gain"]}


def search(folder: Path, objective: Any, **options: Any) -> tuner.Study:
    options = {
        "n_trials": 12, "backend": "serial", "seed": 0, "progress": False, "optimizer": "random",
        "space": SPACE,
    } | options  # fmt: skip
    return tuner.optimize(objective, store=folder, **options)


def trade(params: dict[str, Any]) -> dict[str, float]:
    return {"cost": params["x"], "gain": params["x"] ** 2}


class TestConstraintsOnMetrics:
    def test_the_best_trial_is_a_feasible_one(self, tmp_path: Path) -> None:
        study = search(
            tmp_path,
            lambda p: {"value": p["x"], "latency": 1 - p["x"]},
            constraints=["latency <= 0.25"],
        )
        expected = min(t.params["x"] for t in study.trials if t.params["x"] >= 0.75)
        assert study.best_value == expected
        assert study.best_trial.feasible
        assert study.best_trial.constraints == {"latency <= 0.25": 0.75 - expected}
        assert any(not t.feasible for t in study.trials)
        again = tuner.load_study(study.name, store=tmp_path)
        assert again.trials == study.trials
        assert [str(c) for c in again.info.constraints] == ["latency <= 0.25"]

    def test_a_lower_bound_on_a_logged_metric(self, tmp_path: Path) -> None:
        def objective(params, trial):
            trial.log_metric("auc", params["x"])
            return params["x"]

        study = search(tmp_path, objective, constraints=["auc >= 0.5"])
        assert study.best_value == min(t.value for t in study.trials if t.value >= 0.5)

    def test_a_trial_without_the_constrained_metric_fails(self, tmp_path: Path) -> None:
        study = search(
            tmp_path,
            lambda p: {"value": p["x"]} | ({"latency": 0.0} if p["x"] < 0.5 else {}),
            constraints=["latency <= 1"],
        )
        failed = [t for t in study.trials if t.state is State.FAILED]
        assert {t.number for t in failed} == {t.number for t in study if t.params["x"] >= 0.5}
        assert failed[0].error is not None
        assert failed[0].error.kind == "MissingMetric"
        assert "'latency', which must be <= 1.0, is missing" in failed[0].error.message

    def test_without_a_feasible_trial_the_error_names_the_least_violated(
        self, tmp_path: Path
    ) -> None:
        study = search(
            tmp_path, lambda p: {"value": 1, "x": p["x"]}, constraints=["x <= -1", "x >= 0.0"]
        )
        least = min(study.trials, key=lambda t: t.params["x"])
        text = rf"all 12 .* trial {least.number} has the smallest violation: x <= -1.0 by 1\."
        with pytest.raises(NoFeasibleTrial, match=text):
            _ = study.best_trial
        with pytest.raises(NoCompletedTrial):
            _ = study.best_params
        assert study.best_trials == []
        assert study.hypervolume() == 0.0
        assert tuner.list_models(store=tmp_path) == []

    @pytest.mark.parametrize(
        "constraint", ["latency < 0.1", "latency", "<= 3", "a <= b", "a <= nan", "a <= inf", 3, ""]
    )
    def test_an_invalid_constraint_is_refused_before_the_search(
        self, tmp_path: Path, constraint: Any
    ) -> None:
        with pytest.raises(ArgumentError, match='"<=" or ">="'):
            search(tmp_path / "new", trade, constraints=[constraint])
        assert not (tmp_path / "new").exists()

    def test_a_duplicate_constraint_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ArgumentError, match=r"'a <= 1\.0' is repeated"):
            search(tmp_path, trade, constraints=["a <= 1", "a<=1.0"])

    def test_a_single_constraint_needs_no_list(self, tmp_path: Path) -> None:
        study = search(tmp_path, trade, metric="gain", constraints="cost <= 0.5")
        assert study.best_trial.feasible

    def test_a_study_keeps_its_constraints(self, tmp_path: Path) -> None:
        search(tmp_path, trade, metric="gain", study="s", constraints=["cost <= 0.5"])
        with pytest.raises(
            StudyMismatch, match=r"constraints are cost <= 0\.5, this call has none"
        ):
            search(tmp_path, trade, metric="gain", study="s")


class TestReportedConstraints:
    def test_reported_constraints_count_like_those_on_metrics(self, tmp_path: Path) -> None:
        def objective(params, trial):
            trial.report_constraint("size", 9.0)
            trial.report_constraint("size", params["x"] - 0.5)
            return -params["x"]

        study = search(tmp_path, objective)
        assert study.best_params["x"] == max(
            t.params["x"] for t in study.trials if t.params["x"] <= 0.5
        )
        assert all(t.constraints == {"size": t.params["x"] - 0.5} for t in study.trials)

    @pytest.mark.parametrize(
        ("value", "kind"), [(float("nan"), "NotFinite"), ("1", "WrongReturnType")]
    )
    def test_a_constraint_value_that_is_not_a_number_fails_the_trial(
        self, tmp_path, value, kind
    ) -> None:
        def objective(params, trial):
            if params["x"] < 0.5:
                trial.report_constraint("size", value)
            return 0.0

        study = search(tmp_path, objective)
        failed = [t for t in study.trials if t.state is State.FAILED]
        assert failed
        assert all("'size'" in str(t.error) and t.error.kind == kind for t in failed)

    def test_a_constraint_name_must_be_a_string(self, tmp_path: Path) -> None:
        study = tuner.create_study(SPACE, store=tmp_path)
        with pytest.raises(ArgumentError, match="must be a non-empty string"):
            study.ask().report_constraint("", 1.0)

    def test_constraints_can_be_told_in_an_ask_tell_loop(self, tmp_path: Path) -> None:
        study = tuner.create_study(
            SPACE, store=tmp_path, constraints=["cost <= 0.5"], optimizer="random", metric="gain"
        )
        for k in range(4):
            trial = study.ask()
            trial.report_constraint("odd", k % 2)
            told = study.tell(trial, {"gain": 1.0, "cost": k / 4})
            assert told.constraints == {"odd": k % 2, "cost <= 0.5": k / 4 - 0.5}
        assert [t.feasible for t in study.trials] == [True, False, True, False]


class TestSeveralGoals:
    def test_the_best_trials_are_the_nondominated_ones(self, tmp_path: Path) -> None:
        def objective(params):
            x = params["x"]
            return (x, x**2) if x > 0.4 else (x + 1, -1.0)

        study = search(tmp_path, objective, **TWO)
        assert {t.number for t in study.best_trials} == {
            t.number for t in study.trials if t.params["x"] > 0.4
        }
        assert study.best_trials[0].values == (
            study.best_trials[0].params["x"],
            study.best_trials[0].params["x"] ** 2,
        )

    def test_the_hypervolume_has_the_units_of_the_goals(self, tmp_path: Path) -> None:
        study = tuner.create_study(SPACE, store=tmp_path, optimizer="random", **TWO)
        for values in [(1.0, 2.0), (2.0, 3.0), (5.0, 0.5)]:
            study.tell(study.ask(), values)
        assert study.hypervolume([3.0, 0.0]) == 2 * 2 + 1 * 1
        assert study.hypervolume() == 4 * 1.5 + 3 * 1.0
        with pytest.raises(ArgumentError, match="pass 2 numbers, one for each of 'cost', 'gain'"):
            study.hypervolume([1.0])

    def test_infeasible_trials_are_not_on_the_front(self, tmp_path: Path) -> None:
        study = search(tmp_path, trade, constraints=["cost <= 0.5"], **TWO)
        assert {t.number for t in study.best_trials} == {
            t.number for t in study.trials if t.params["x"] <= 0.5
        }

    def test_several_goals_have_no_single_best_trial(self, tmp_path: Path) -> None:
        study = search(tmp_path, trade, **TWO)
        with pytest.raises(SeveralGoals, match=r"2 goals \(cost, gain\).*study.best_trials"):
            _ = study.best_trial
        assert tuner.list_models(store=tmp_path) == []
        chosen = study.best_trials[3]
        version = study.register("trade", trial=chosen)
        assert (version.trial, version.params) == (chosen.number, chosen.params)

    def test_automatic_registration_is_refused_with_several_goals(self, tmp_path: Path) -> None:
        with pytest.raises(ArgumentError, match="2 goals has no single best trial"):
            search(tmp_path / "new", trade, register="model", **TWO)
        assert not (tmp_path / "new").exists()

    def test_an_unfinished_trial_cannot_be_registered(self, tmp_path: Path) -> None:
        study = tuner.create_study(SPACE, store=tmp_path, optimizer="random")
        study.ask()
        with pytest.raises(ArgumentError, match="trial 0 is running; pass a completed trial"):
            study.register(trial=study.trials[0])

    def test_a_search_with_several_goals_resumes(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {"constraints": ["cost <= 0.5"], "study": "s", **TWO}
        search(tmp_path / "a", trade, n_trials=5, **options)
        halves = search(tmp_path / "a", trade, n_trials=12, **options)
        whole = search(tmp_path / "b", trade, n_trials=12, **options)
        assert [t.params for t in halves] == [t.params for t in whole]


class TestCommands:
    def run(self, folder: Path, *arguments: str) -> str:
        result = CliRunner().invoke(cli, [*arguments, "--store", str(folder)])
        assert result.exit_code == 0, result.output
        return result.output

    def test_the_command_line_shows_the_front(self, tmp_path: Path) -> None:
        (tmp_path / "trade.py").write_text(
            "from tuner import Float\nspace = {'x': Float(0, 1)}\n"
            "def objective(params):\n    return {'cost': params['x'], 'gain': params['x'] ** 2}\n"
        )
        out = self.run(
            tmp_path, "run", str(tmp_path / "trade.py:objective"), "--backend", "serial", "--quiet",
            "--n-trials", "6", "--study", "s", "--optimizer", "random", "--direction", "minimize",
            "--direction", "maximize", "--metric", "cost", "--metric", "gain",
            "--constraint", "cost <= 0.5",
        )  # fmt: skip
        assert "Pareto front: 3 of 6 trials" in out
        assert "trial\tcost\tgain\tfeasible\tparams" in out
        front = json.loads(self.run(tmp_path, "best", "s", "--json"))
        assert [len(entry["values"]) for entry in front] == [2, 2, 2]
        shown = self.run(tmp_path, "show", "s")
        assert "minimize cost, maximize gain" in shown
        assert "constraints: cost <= 0.5" in shown
        assert shown.count("\tno\t") == 3
        assert "3 trials" in self.run(tmp_path, "studies")
        assert "constraint cost <= 0.5:" in self.run(tmp_path, "show", "s", "--trial", "0")
        table = self.run(tmp_path, "export", "s")
        assert "cost <= 0.5" in table.splitlines()[0]
