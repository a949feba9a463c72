"""Every earlier trial that fits a space is taken, despite other forms of names and values."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tuner
from tuner import Bool, Choice, Const, Float, Int, Ordinal, Space
from tuner.errors import ArgumentError, TunerWarning
from tuner.optimizers.optuna_adapter import to_optuna_study
from tuner.study.fitting import Fitting, Misfit

RICH = {
    "x": Float(0, 1),
    "limit": Choice(None, "sqrt", 0.5),
    "depth": Choice(None, 4, 16),
    "layers": Choice((64,), (64, 64)),
    "bias": Bool(),
    "size": Ordinal(1, 2, 4, 8),
    "grade": Ordinal("low", "mid", "high"),
    "version": Const("v1"),
    "model": Choice(
        "plain",
        svm={"C": Float(0.1, 10, log=True), "gamma": Choice("scale", None)},
        forest={"trees": Int(8, 64, step=8), "depth": Int(1, 20), "warm": Bool()},
    ),
}


def objective(params: dict[str, Any]) -> float:
    return float(params["x"])


def search(folder: Path, space: Any, n_trials: int = 1, **options: Any) -> tuner.Study:
    return tuner.optimize(
        objective, space, n_trials=n_trials, backend="serial", optimizer="random", seed=3,
        register=False, progress=False, store=folder, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> tuner.Study:
    return search(tmp_path_factory.mktemp("rich"), RICH, 40)


def through_csv(table: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(table.to_csv(index=False)))


def in_single_precision(table: pd.DataFrame) -> pd.DataFrame:
    floats = table.select_dtypes("float64").columns
    return table.astype(dict.fromkeys(floats, "float32"))


def with_levels(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the columns ``("value", "")`` and ``("params", "x")``, as Optuna has."""
    own = ("number", "state", "value", "duration", "error")
    named = [(str(c), "") if c in own else ("params", str(c)) for c in table.columns]
    return table.set_axis(pd.MultiIndex.from_tuples(named), axis=1)


def through_json(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(json.loads(table.to_json(orient="records")))


SOURCES = {
    "study": lambda study: study,
    "table": lambda study: study.trials_dataframe(),
    "nullable table": lambda study: study.trials_dataframe().convert_dtypes(),
    "csv": lambda study: through_csv(study.trials_dataframe()),
    "csv without missing values": lambda study: pd.read_csv(
        io.StringIO(study.trials_dataframe().to_csv()), keep_default_na=False
    ),
    "text": lambda study: study.trials_dataframe().astype(str),
    "pandas json": lambda study: pd.read_json(
        io.StringIO(study.trials_dataframe().to_json(orient="records"))
    ),
    "single precision": lambda study: in_single_precision(study.trials_dataframe()),
    "column levels": lambda study: with_levels(study.trials_dataframe()),
    "json": lambda study: through_json(study.trials_dataframe()),
    "found": lambda study: study.find("state = 'completed'").dataframe(),
    "optuna": lambda study: to_optuna_study(study.space, study.goals, study.trials),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.filterwarnings("error::tuner.errors.TunerWarning")
def test_every_fitting_trial_is_taken(rich: tuner.Study, tmp_path: Path, kind: str) -> None:
    study = search(tmp_path, RICH, warm_start=SOURCES[kind](rich))
    found = study.info.warm_start_trials
    assert len(found) == 40
    for trial, known in zip(found, rich, strict=True):
        ours, theirs = (study.space.flatten(t.params) for t in (trial, known))
        assert ours.keys() == theirs.keys()
        for path, value in ours.items():
            assert type(value) is type(theirs[path])
            # Text may round floats.
            assert value == (pytest.approx(theirs[path]) if type(value) is float else theirs[path])


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (Bool(), 1.0, True),
        (Choice(True, False, None), 0.0, False),
        (Choice(1, True), 1.0, 1),
        (Ordinal(0.1, 1, 10), 0.10000000149011612, 0.1),
        (Float(0, 1, step=0.1), 0.8999999761581421, 0.9),
        (Choice("", "nan", None), "", ""),
        (Choice("nan", None), "nan", "nan"),
        (Choice("a", None), "nan", None),
        (Choice("a", None), "", None),
        (Int(1, 9, default=4), "", 4),
    ],
)
def test_equivalent_forms_of_a_value_are_recognized(domain: Any, value: Any, expected: Any) -> None:
    point = Fitting(Space({"x": domain})).fit({"x": value})
    assert isinstance(point, dict)
    assert point["x"] == expected
    assert type(point["x"]) is type(expected)


@pytest.mark.parametrize(
    ("domain", "value"),
    [(Bool(), 2.0), (Ordinal(0.1, 1), 0.1001), (Float(0, 1, step=0.1), 0.85), (Int(1, 9), "nan")],
)
def test_different_values_are_not_recognized(domain: Any, value: Any) -> None:
    assert isinstance(Fitting(Space({"x": domain})).fit({"x": value}), Misfit)


def test_case_is_ignored_unless_names_differ_only_in_case() -> None:
    space = Space({"m": Choice(SVC={"C": Float(0, 1), "c": Float(0, 1)})})
    point = Fitting(space).fit({"m": "SVC", "svc_C": 0.1, "svc_c": 0.2})
    assert point == {"m": ("SVC", {"C": 0.1, "c": 0.2})}
    assert isinstance(Fitting(space).fit({"m": "SVC", "svc_C": 0.1}), Misfit)


@pytest.mark.parametrize("separator", ["_", None])
def test_an_optuna_table_of_two_goals_is_read(tmp_path: Path, separator: str | None) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    theirs = optuna.create_study(directions=["minimize", "maximize"])
    theirs.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=3)
    table = theirs.trials_dataframe(multi_index=separator is None)
    study = tuner.create_study(
        {"x": Float(0, 1)}, direction=["minimize", "maximize"], metric=["a", "b"],
        store=tmp_path, warm_start=table,
    )  # fmt: skip
    assert [t.values for t in study.info.warm_start_trials] == [
        (trial.params["x"], 2.0) for trial in theirs.trials
    ]


TABLES = {
    "optuna": {
        "value": [0.5, 9.0],
        "params_lr": [0.1, 0.2],
        "state": ["TrialState.COMPLETE", "FAIL"],
    },
    "mlflow": {
        "metrics.value": [0.5, None],
        "params.lr": ["0.1", "0.2"],
        "status": ["FINISHED"] * 2,
    },
    "ray": {"value": [0.5, None], "config/lr": [0.1, 0.2], "done": [True, False]},
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.filterwarnings("ignore::tuner.errors.TunerWarning")
def test_tables_of_other_tools_are_read(tmp_path: Path, kind: str) -> None:
    study = tuner.create_study(
        {"lr": Float(0, 1)}, store=tmp_path, warm_start=pd.DataFrame(TABLES[kind])
    )
    found = study.info.warm_start_trials
    assert [(t.params, t.values) for t in found] == [({"lr": 0.1}, (0.5,))]


NESTED = {
    "lr": Float(1e-4, 1, log=True),
    "model": Choice("plain", deep={"layers": Int(1, 9)}, svm={"C": Float(0.1, 10), "k": Int(1, 9)}),
}


def flat_study(name: str) -> optuna.Study:
    """Return a study of 12 trials whose nested parameters have names like `name`."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))

    def theirs(trial: optuna.Trial) -> float:
        trial.suggest_float("lr", 1e-4, 1, log=True)
        model = trial.suggest_categorical("model", ["plain", "deep", "svm"])
        if model == "deep":
            trial.suggest_int(name.format("deep", "layers"), 1, 9)
        if model == "svm":
            trial.suggest_float(name.format("svm", "C"), 0.1, 10)
            trial.suggest_int(name.format("svm", "k"), 1, 9)
        return float(trial.number)

    study.optimize(theirs, n_trials=12)
    return study


@pytest.mark.parametrize(
    "name", ["{1}", "{0}_{1}", "{0}.{1}", "{0}/{1}", "{0}__{1}", "model_{0}_{1}"]
)
@pytest.mark.filterwarnings("error::tuner.errors.TunerWarning")
def test_flat_names_of_optuna_are_read(tmp_path: Path, name: str) -> None:
    theirs = flat_study(name)
    study = search(tmp_path, NESTED | {"x": Float(0, 1, default=0.5)}, warm_start=theirs)
    found = study.info.warm_start_trials
    assert [t.values[0] for t in found] == list(range(12))
    for trial, known in zip(found, theirs.trials, strict=True):
        flat = study.space.flatten(trial.params)
        del flat["x"]
        assert list(flat.values()) == list(known.params.values())


@pytest.mark.filterwarnings("error::tuner.errors.TunerWarning")
def test_the_table_of_an_optuna_study_is_read(tmp_path: Path) -> None:
    theirs = flat_study("{0}_{1}")
    study = search(
        tmp_path, NESTED | {"x": Float(0, 1, default=0.5)}, warm_start=theirs.trials_dataframe()
    )
    assert [t.values[0] for t in study.info.warm_start_trials] == list(range(12))


def test_a_warning_has_the_number_of_omitted_trials_and_reasons(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "x": [0.1, 0.2, 3.0, None, 0.5, 4.0],
            "value": [1.0, 2.0, 3.0, 4.0, None, 5.0],
        }
    )
    with pytest.warns(TunerWarning) as caught:
        study = tuner.create_study({"x": Float(0, 1)}, store=tmp_path, warm_start=table)
    (said,) = [str(w.message) for w in caught if w.category is TunerWarning]
    assert said.startswith("warm_start: 4 of 6 completed trials are left out: ")
    assert "'x' = 3.0 is not in Float(0.0, 1.0) (2 trials)" in said
    assert "'x' is missing, and its domain lacks a default (1 trial)" in said
    assert "the value of 'value' is missing (1 trial)" in said
    assert len(study.info.warm_start_trials) == 2
    assert {w.filename for w in caught if w.category is TunerWarning} == {__file__}


def test_nonfinite_values_are_omitted(tmp_path: Path) -> None:
    theirs = optuna.create_study()
    for x, value in ((0.1, 1.0), (0.2, float("inf")), (0.3, 2.0)):
        theirs.add_trial(
            optuna.trial.create_trial(
                params={"x": x}, value=value,
                distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
            )
        )  # fmt: skip
    with pytest.warns(TunerWarning, match="1 of 3 .* the value of 'value' is inf"):
        study = search(tmp_path, {"x": Float(0, 1)}, warm_start=theirs)
    assert [t.values for t in study.info.warm_start_trials] == [(1.0,), (2.0,)]


class TestConstraints:
    """A trial that violates a constraint of the study is infeasible, for every kind of source."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> tuner.Study:
        return tuner.optimize(
            lambda params: {"loss": params["x"], "latency": 1 - params["x"]},
            {"x": Float(0, 1)}, metric="loss", constraints=["latency <= 0.5"], n_trials=10,
            backend="serial", optimizer="random", seed=3, register=False, progress=False,
            store=tmp_path / "source",
        )  # fmt: skip

    @pytest.mark.parametrize("kind", ["study", "table", "nullable table", "csv", "json", "optuna"])
    def test_outcome_constraints_of_the_source_are_applied(
        self, tmp_path: Path, source: tuner.Study, kind: str
    ) -> None:
        study = tuner.create_study(
            {"x": Float(0, 1)}, metric="loss", constraints=["latency <= 0.5"],
            store=tmp_path / "new", warm_start=SOURCES[kind](source),
        )  # fmt: skip
        found = study.info.warm_start_trials
        assert [t.feasible for t in found] == [t.feasible for t in source]
        assert {t.feasible for t in found} == {True, False}

    def test_outcome_constraints_of_the_new_study_are_applied(
        self, tmp_path: Path, source: tuner.Study
    ) -> None:
        study = tuner.create_study(
            {"x": Float(0, 1)}, metric="loss", constraints=["latency <= 0.9"],
            store=tmp_path / "new", warm_start=source,
        )  # fmt: skip
        found = study.info.warm_start_trials
        for trial, known in zip(found, source, strict=True):
            broken = known.metrics["latency"] - 0.9
            assert trial.constraints["latency <= 0.9"] == pytest.approx(broken)


class TestFitting:
    """The cases in which a value or a name is not taken for another one."""

    TWO: Any = Space(
        {
            "a": Choice(p={"lr": Float(0, 1)}, q={"lr": Float(0, 1)}),
            "b": Choice("none", p={"lr": Float(0, 1)}),
        }
    )

    def test_a_short_name_matches_the_active_parameter(self) -> None:
        found = Fitting(self.TWO).fit({"a": "q", "b": "none", "lr": 0.5})
        assert found == {"a": ("q", {"lr": 0.5}), "b": ("none", {})}

    def test_a_short_name_of_two_active_parameters_is_ambiguous(self) -> None:
        found = Fitting(self.TWO).fit({"a": "q", "b": "p", "lr": 0.5})
        assert isinstance(found, Misfit)
        assert found.reason == "'lr' may be 'a.q.lr' or 'b.p.lr'; write the path"

    def test_longer_names_come_first(self) -> None:
        values = {"a": "q", "b": "p", "q_lr": 0.5, "p_lr": 0.25, "lr": 9.0}
        found = Fitting(self.TWO).fit(values)
        assert found == {"a": ("q", {"lr": 0.5}), "b": ("p", {"lr": 0.25})}

    def test_a_top_level_parameter_does_not_match_a_nested_one(self) -> None:
        space = Space({"C": Int(1, 9), "model": Choice("plain", svm={"C": Int(1, 9)})})
        found = Fitting(space).fit({"C": 3, "model": "svm"})
        assert isinstance(found, Misfit)
        assert "'model.svm.C' is missing" in found.reason

    @pytest.mark.parametrize(
        ("domain", "value"),
        [
            (Int(1, 9), 2.5), (Int(1, 9), True), (Choice(1, 2), True), (Bool(), 0.5),
            (Choice("a", "b"), None), (Choice("a", "b"), 3.0), (Float(0, 1), "half"),
            (Int(1, 9), "nan"), (Choice((1, 2), (3,)), [4]), (Int(1, 9), float("inf")),
        ],
    )  # fmt: skip
    def test_a_value_outside_the_domain_does_not_match(self, domain: Any, value: Any) -> None:
        assert isinstance(Fitting(Space({"x": domain})).fit({"x": value}), Misfit)

    def test_exact_values_have_precedence(self) -> None:
        fitting = Fitting(Space({"x": Choice(1, 1.0, "1", True, None, "None")}))
        for value in (1, 1.0, "1", True, None, "None"):
            (found,) = fitting.fit({"x": value}).values()
            assert (found, type(found)) == (value, type(value))

    def test_a_point_that_violates_a_constraint_is_omitted(self) -> None:
        space = Space({"x": Float(0, 1), "y": Float(0, 1)}).where("x <= y")
        found = Fitting(space).fit({"x": 0.5, "y": 0.25})
        assert isinstance(found, Misfit)
        assert found.reason == "x = 0.5, y = 0.25 breaks 'x <= y'"

    @given(st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=3) | st.floats()))
    def test_any_names_and_values_give_a_point_or_a_reason(self, values: dict[str, Any]) -> None:
        found = Fitting(self.TWO).fit(values)
        assert isinstance(found, Misfit) or found in self.TWO


def test_a_table_without_any_fitting_row_is_refused_with_the_reason(tmp_path: Path) -> None:
    table = pd.DataFrame({"y": [1.0], "value": [1.0]})
    with pytest.raises(ArgumentError, match=r"none of the 1 completed trials .* 'x' is missing"):
        search(tmp_path, {"x": Float(0, 1)}, warm_start=table)
