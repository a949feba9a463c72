"""Registered models keep a profile of their data, and new data is compared with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

import tuner
from support.command_line import call
from tuner.drift import Profile, check_model
from tuner.errors import ArgumentError, RegistryError, TunerWarning
from tuner.registry import Registry
from tuner.registry.served import Sample, add_sample


def table(n: int, seed: int, mean: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(mean, 1, n), "b": rng.normal(0, 1, n)})
    return frame.assign(bought=frame["a"] + rng.normal(0, 1, n) > 0)


def registered(store: Path, data: Any, fit: Any = None, **options: Any) -> tuner.Study:
    return tuner.optimize(
        lambda params: params["C"], {"C": tuner.Float(0.1, 1)}, n_trials=1, backend="serial",
        refit=fit, data=data, register="m", study="s", store=store, progress=False, **options,
    )  # fmt: skip


def features(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["a", "b"]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    train = table(600, 0)
    registered(
        tmp_path,
        (features(train), train["bought"]),
        lambda params: LogisticRegression(**params).fit(features(train), train["bought"]),
    )
    return tmp_path


def test_a_version_keeps_the_profile_of_its_data(store: Path) -> None:
    profile = Registry(store).profile("m@champion")
    assert profile is not None
    roles = {name: column.role for name, column in profile.columns.items()}
    assert roles == {
        "a": "feature", "b": "feature", "bought": "target", "prediction": "prediction",
    }  # fmt: skip
    assert profile.quality is not None
    assert 0.6 < profile.quality.mean < 0.85


def test_profile_false_keeps_no_rows(tmp_path: Path) -> None:
    registered(tmp_path, table(50, 0), profile=False)
    assert Registry(tmp_path).profile("m") is None
    with pytest.raises(RegistryError, match=r"has no profile.*data="):
        check_model("m", table(50, 1), store=tmp_path)


def test_data_that_is_not_a_table_has_no_profile(tmp_path: Path) -> None:
    study = registered(tmp_path, [np.zeros((2, 2)), "text", 3])
    assert Registry(tmp_path).profile("m") is None
    study.register("m", data=table(60, 0))
    assert Registry(tmp_path).profile("m").rows == 60


def test_new_data_is_compared_with_predictions_and_metric(store: Path) -> None:
    assert not check_model("m", table(600, 1), store=store).drift
    moved = check_model("m", table(600, 2, mean=1.0), store=store)
    assert {f.column for f in moved.drifted} >= {"a", "prediction", "bought"}
    wrong = table(600, 3).assign(bought=lambda frame: ~frame["bought"])
    renamed = wrong.rename(columns={"bought": "label"})
    report = check_model("m", renamed, label="label", store=store)
    assert "accuracy" in {f.column for f in report.drifted}
    unlabeled = check_model("m", features(table(600, 4)), store=store)
    assert not unlabeled.drift
    with pytest.raises(ArgumentError, match="'none' is not a column"):
        check_model("m", wrong, label="none", store=store)


def test_a_model_that_fits_its_data_exactly_gives_no_alarm_on_new_data(tmp_path: Path) -> None:
    """Predictions of rows that the model was fitted to are better than those of new rows."""
    train, new = table(500, 0), table(500, 1)
    registered(
        tmp_path,
        (features(train).to_numpy(), train["bought"].to_numpy()),
        lambda _: RandomForestClassifier(10, random_state=0).fit(
            features(train).to_numpy(), train["bought"].to_numpy()
        ),
    )
    assert Registry(tmp_path).profile("m").array
    pair = features(new).to_numpy(), new["bought"].to_numpy()
    report = check_model("m", pair, store=tmp_path, joint=False)
    assert not report.drift
    assert "accuracy" in {f.column for f in report.findings}


def test_the_history_has_the_last_check(store: Path) -> None:
    registry = Registry(store)
    assert registry.last_drift("m") is None
    check_model("m", table(300, 1), store=store, by="ann", joint=False)
    check_model("m", table(300, 2, mean=1.0), store=store, by="bob", joint=False)
    check_model("m", table(300, 1), store=store, record=False, joint=False)
    event = registry.last_drift("m@1")
    assert (event.action, event.who, event.after) == ("drift", "bob", 1)
    assert event.in_words().startswith("drift: version 1, by bob: drift: a")
    assert event.result["drift"] is True
    assert event.result["findings"][0]["adjusted"] < 0.01


def test_a_model_that_cannot_predict_its_data_says_so(tmp_path: Path) -> None:
    with pytest.warns(TunerWarning, match="predictions are left out"):
        registered(
            tmp_path,
            table(50, 0)[["b"]].to_numpy(),
            lambda _: LinearRegression().fit(np.zeros((2, 3)), [0, 1]),
        )
    assert list(Registry(tmp_path).profile("m").columns) == ["x0"]


def test_the_profile_stays_as_long_as_its_version(store: Path) -> None:
    registry = Registry(store)
    study = tuner.load_study("s", store=store)
    study.register("other", data=None)
    tuner.delete_study("s", store=store)
    assert registry.profile("m") is not None
    tuner.delete_model("m", force=True, store=store)
    assert registry.profile("other") is not None  # the same run
    run = registry.get("other").run
    tuner.delete_model("other", force=True, store=store)
    assert not list(registry.store.artifacts(study.info.uid, run))


def test_a_given_profile_is_kept_as_it_is(tmp_path: Path) -> None:
    held_out = table(100, 5)
    given = Profile.of(held_out, target="bought", predictions=held_out["bought"])
    registered(tmp_path, None).register("m", data=given)
    assert Registry(tmp_path).profile("m").quality.mean == 1.0


def test_the_command_compares_a_file_with_a_model(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNER_STORE", str(store))
    table(300, 1).to_csv("same.csv", index=False)
    table(300, 2, mean=1.0).rename(columns={"bought": "y"}).to_csv("moved.csv", index=False)
    assert "not checked" in call("models", "show", "m").output
    call("drift", "m@champion", "same.csv", "--no-joint", "--by", "ann")
    output = call(
        "drift", "m", "moved.csv", "--no-joint", "--label", "y", "--format", "json", code=3
    ).output
    assert json.loads(output)["drift"] is True
    shown = call("models", "show", "m").output
    assert "600 rows, 4 columns" in shown
    assert "drift: a" in shown
    found = json.loads(call("models", "show", "m", "--json").output)
    assert found["drift"]["result"]["drift"] is True
    assert found["profile"]["rows"] == 600
    assert "has no model" in call("drift", "none@champion", "same.csv", code=1).output
    Path("m").write_bytes(Path("same.csv").read_bytes())
    assert "neither .csv nor .parquet" in call("drift", "m", "same.csv", code=1).output


def test_the_sampled_rows_of_a_served_model_are_checked(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_STORE", str(store))
    registry = Registry(store)
    assert "no rows of version 1" in call("drift", "m", "--served", "7d", code=1).output
    for seed, mean, code in ((1, 0.0, 0), (2, 2.0, 3)):
        rows = features(table(300, seed, mean=mean))
        answers = [bool(p) for p in registry.load("m").predict(rows)]
        columns = rows.to_dict("list") | {"prediction": answers}
        add_sample(registry.store, Sample("m", 1, 300, columns))
        output = call("drift", "m@champion", "--served", "1h", "--no-joint", code=code).output
    assert "prediction" in output
    assert "is a file" in call("drift", "x.csv", "--served", "7d", code=1).output
    assert "such as 7d" in call("drift", "m", "--served", "week", code=1).output
    call("drift", "m", code=2)
    call("drift", "m", "x.csv", "--served", "7d", code=2)
    call("drift", "m", "--served", "7d", "--retune", "train.py:objective", code=2)


SCRIPT = """
import os
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

frame = pd.read_csv(os.environ.get("TUNER_DATA", "train.csv"))
X, y = frame[["a", "b"]], frame["bought"]

def objective(params, trial):
    model = LogisticRegression(**params)
    trial.log_model(model.fit(X, y))
    return -cross_val_score(model, X, y, cv=3).mean()
"""


def test_the_command_re_tunes_a_model_that_drifted(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNER_STORE", str(store))
    monkeypatch.setenv("TUNER_DATA", "")
    Path("train.py").write_text(SCRIPT)
    table(300, 1).to_csv("same.csv", index=False)
    table(300, 2, mean=1.0).to_csv("moved.csv", index=False)
    retune = ("--no-joint", "--retune", "train.py:objective", "--n-trials", "2")
    serial = ("--backend", "serial")
    assert "re-tuned" not in call("drift", "m", "same.csv", *retune, *serial).output
    output = call("drift", "m", "moved.csv", *retune, *serial, code=3).output
    assert "re-tuned by study m-retune-" in output
    assert "model: m@2 (champion)" in output
    profile = Registry(store).profile("m@2")
    assert (profile.rows, profile.target) == (300, "bought")
    assert not check_model("m", table(300, 3, mean=1.0), store=store).drift
    assert "is a file" in call("drift", "same.csv", "moved.csv", *retune, code=1).output
