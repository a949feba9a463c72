"""Loading registered models: checksums first, then formats, and only permitted code."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import Birch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import tuner
from support.command_line import call
from tuner.errors import (
    ArgumentError,
    ChecksumMismatch,
    MissingExtra,
    RegistryError,
    UntrustedModel,
)
from tuner.records import ModelVersion
from tuner.registry import Registry
from tuner.registry.formats import load_files, save_model
from tuner.registry.trusted import VARIABLE
from tuner.testing.model_formats import Touch
from tuner.tracking import open_store

X, y = load_iris(return_X_y=True)


class Own(BaseEstimator):
    """A user's own estimator, which skops keeps but does not trust."""

    def fit(self, X: Any, y: Any) -> Own:
        self.mean_ = y.mean()
        return self


OWN = f"{Own.__module__}.Own"


class OwnFormat:
    """A format of a user's own."""

    name = "own"

    def accepts(self, model: Any) -> bool:
        return isinstance(model, set)

    def save(self, model: Any, folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "set.txt").write_text(" ".join(sorted(model)))

    def load(self, folder: Path) -> Any:
        return set((folder / "deep" / "set.txt").read_text().split())


def registered(folder: Path, model: Any, **options: Any) -> ModelVersion:
    """Register a model that the objective of a search logs."""

    def objective(params: Any, trial: Any) -> float:
        trial.log_model(model, **options)
        return 0.0

    study = tuner.optimize(
        objective,
        {"x": tuner.Float(0, 1)},
        n_trials=1,
        backend="serial",
        store=folder,
        register="m",
        progress=False,
    )
    assert study.best_trial.error is None
    (version,) = tuner.list_models(store=folder)
    return version


def files_of(folder: Path, version: ModelVersion) -> list[Path]:
    assert version.artifact is not None
    return [p for p in (folder / "artifacts" / version.artifact.path).rglob("*") if p.is_file()]


# --- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "format"),
    [
        (LogisticRegression(max_iter=1000).fit(X, y), "skops"),
        ({"threshold": 0.5, "labels": ("a", "b")}, "json"),
    ],
)
def test_the_first_format_that_accepts_a_model_saves_it(
    model: Any, format: str, tmp_path: Path
) -> None:
    version = registered(tmp_path, model)
    assert version.artifact is not None
    assert (version.artifact.kind, version.artifact.format) == ("model", format)
    assert type(tuner.load_model("m", store=tmp_path)) is type(model)


def test_a_custom_format_saves_and_loads(tmp_path: Path) -> None:
    registered(tmp_path, {"b", "a"}, format=OwnFormat())
    registry = Registry(open_store(tmp_path))
    assert registry.load("m", format=OwnFormat()) == {"a", "b"}
    with pytest.raises(RegistryError, match=r"saved in the format 'own', .*Registry\.load"):
        registry.load("m")


def test_a_format_of_another_name_cannot_load(tmp_path: Path) -> None:
    registered(tmp_path, [1, 2])
    with pytest.raises(RegistryError, match="saved in the format 'json', format= loads 'own'"):
        Registry(open_store(tmp_path)).load("m", format=OwnFormat())


@pytest.mark.parametrize(
    ("model", "options", "error", "says"),
    [
        (
            object(),
            {},
            RegistryError,
            r"none of the formats .*'skops', 'json'.* accepts it.*allow_pickle=True",
        ),
        (
            object(),
            {"format": "json"},
            RegistryError,
            "the format 'json' does not accept this model",
        ),
        ([], {"format": "pickle"}, RegistryError, "needs allow_pickle=True"),
        (
            [],
            {"format": "onyx"},
            ArgumentError,
            "format='onyx': unknown format.*choose .*'skops', 'json'",
        ),
        (LogisticRegression, {}, RegistryError, "none of the formats"),
        ((n for n in "ab"), {"allow_pickle": True}, RegistryError, "generator.*cannot be pickled"),
        ([10**5_000], {}, RegistryError, "cannot be kept as JSON"),
        (LogisticRegression(C=(n for n in "ab")), {}, RegistryError, "cannot be kept in skops"),
        (Birch().fit(X), {}, RegistryError, r"skops.*write format='pickle', allow_pickle=True"),
        (
            LogisticRegression(C=(n for n in "ab")),
            {},
            RegistryError,
            "in skops format.*a pickle cannot keep it either .*generator.*remove the part",
        ),
        (
            LogisticRegression(C=threading.Lock()),
            {},
            RegistryError,
            "in skops format.*a pickle cannot keep it either .*lock.*remove the part",
        ),
        (Birch().fit(X), {"format": "skops", "allow_pickle": True}, RegistryError, "in skops"),
        (
            LogisticRegression(C=(n for n in "ab")),
            {"allow_pickle": True},
            RegistryError,
            "in skops format.*cannot be pickled",
        ),
    ],
)
def test_a_model_that_cannot_be_saved_is_refused(
    model: Any, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        save_model(model, **options)


def test_a_model_without_a_safe_format_is_pickled_if_allowed() -> None:
    format, files = save_model(Birch().fit(X), allow_pickle=True)
    assert format == "pickle"
    assert type(load_files(format, files, allow_pickle=True)) is Birch


def test_a_missing_library_is_known_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> None:
        return None

    monkeypatch.delitem(sys.modules, "xgboost", raising=False)
    monkeypatch.setattr("tuner.registry.native.manifest.find_spec", find)
    ran = []

    def objective(params: Any, trial: Any) -> float:
        ran.append(params)
        trial.log_model(1, format="xgboost")
        return 0.0

    space = {"x": tuner.Float(0, 1)}
    options: dict[str, Any] = {"n_trials": 1, "backend": "serial", "store": tmp_path}
    with pytest.raises(MissingExtra, match=r"line \d+.*'xgboost'.*pip install 'tuner\[xgboost\]'"):
        tuner.optimize(objective, space, progress=False, **options)
    study = tuner.optimize(lambda params: 0.0, space, progress=False, register=False, **options)
    with pytest.raises(MissingExtra, match="pip install"):
        study.register("m", refit=ran.append, format="xgboost")
    with pytest.raises(ArgumentError, match="no format has this name"):
        study.register("m", refit=ran.append, format="onyx")
    assert ran == []


def test_a_pickle_is_marked_wherever_its_version_is_shown(tmp_path: Path) -> None:
    registered(tmp_path, {1, 2}, allow_pickle=True)
    store = ("--store", str(tmp_path))
    assert "pickle (runs code)" in call("models", "list", *store).output
    assert "runs any code in the file" in call("models", "show", "m", *store).output
    assert '"runs_code": true' in call("models", "show", "m", "--json", *store).output
    assert "runs any code in the file" in call("models", "card", "m", *store).output
    with pytest.raises(UntrustedModel, match="runs whatever code is in it"):
        tuner.load_model("m", store=tmp_path)


@pytest.mark.parametrize("path", ["../outside", "/outside", "a/../../outside", ""])
def test_files_stay_in_their_folder(path: str) -> None:
    with pytest.raises(ArgumentError, match="relative path"):
        load_files("json", {path: b"1"})


@pytest.mark.process
def test_formats_import_only_their_own_libraries() -> None:
    code = """
import sys
from tuner.registry.formats import load_files, save_model
assert load_files(*save_model({"a": [1, (2,)]})) == {"a": [1, (2,)]}
heavy = {"sklearn", "skops", "sqlalchemy", "scipy", "cloudpickle"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- checksums --------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 0.5, 1])
@pytest.mark.slow
def test_a_flipped_bit_is_detected_before_the_model_is_read(
    position: float, tmp_path: Path
) -> None:
    version = registered(tmp_path, LogisticRegression(max_iter=1000).fit(X, y))
    (file,) = files_of(tmp_path, version)
    content = bytearray(file.read_bytes())
    content[int(position * (len(content) - 1))] ^= 1
    file.write_bytes(content)
    with pytest.raises(ChecksumMismatch, match="do not load"):
        tuner.load_model("m", store=tmp_path)


def test_a_replaced_file_is_not_run_even_if_pickles_are_allowed(tmp_path: Path) -> None:
    version = registered(tmp_path, Own(), format="pickle", allow_pickle=True)
    (file,) = files_of(tmp_path, version)
    file.write_bytes(pickle.dumps(Touch(tmp_path / "trace")))
    with pytest.raises(ChecksumMismatch):
        tuner.load_model("m", store=tmp_path, allow_pickle=True)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "linked"])
def test_added_removed_and_renamed_files_are_detected(change: str, tmp_path: Path) -> None:
    version = registered(tmp_path, {"a": 1})
    (file,) = files_of(tmp_path, version)
    if change == "added":
        (file.parent / "more").write_bytes(b"")
    elif change == "removed":
        file.unlink()
    elif change == "renamed":
        file.rename(file.with_name("other"))
    else:
        file.rename(tmp_path / "elsewhere")
        os.symlink(tmp_path / "elsewhere", file)
    with pytest.raises(ChecksumMismatch):
        tuner.load_model("m", store=tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    version = registered(tmp_path, {"a": 1})
    (file,) = files_of(tmp_path, version)
    file.unlink()
    file.parent.rmdir()
    with pytest.raises(RegistryError, match=f"is not in {file.parent}"):
        tuner.load_model("m", store=tmp_path)


# --- trust ------------------------------------------------------------------------------------


def test_an_untrusted_type_is_named_with_the_remedy(tmp_path: Path) -> None:
    registered(tmp_path, Own().fit(X, y))
    with pytest.raises(UntrustedModel) as caught:
        tuner.load_model("m", store=tmp_path)
    assert f"trusted={[OWN]!r}" in str(caught.value)
    assert VARIABLE in str(caught.value)


def test_the_caller_can_trust_a_type(own_module: Any, tmp_path: Path) -> None:
    registered(tmp_path, own_module.Mean().fit(X, y))
    with pytest.raises(UntrustedModel, match=r"own_estimators\.Mean"):
        tuner.load_model("m", store=tmp_path)
    model = tuner.load_model("m", store=tmp_path, trusted=["own_estimators.Mean"])
    assert model.mean_ == y.mean()


def test_the_operator_can_trust_a_type(
    own_module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(tmp_path, own_module.Mean().fit(X, y))
    monkeypatch.setenv(VARIABLE, "other.Type, own_estimators.Mean,")
    assert tuner.load_model("m", store=tmp_path).mean_ == y.mean()


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user's with an estimator in it."""
    code = """
from sklearn.base import BaseEstimator

class Mean(BaseEstimator):
    def fit(self, X, y):
        self.mean_ = float(y.mean())
        return self
"""
    (tmp_path / "own_estimators.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import own_estimators  # type: ignore[import-not-found]

    yield own_estimators
    del sys.modules["own_estimators"]


@pytest.mark.parametrize("trusted", ["package.Type", [LogisticRegression], [None]])
def test_the_trusted_types_are_a_list_of_names(trusted: Any, tmp_path: Path) -> None:
    registered(tmp_path, LogisticRegression(max_iter=1000).fit(X, y))
    with pytest.raises(ArgumentError, match=r"trusted=.*write a list"):
        tuner.load_model("m", store=tmp_path, trusted=trusted)


def test_a_pickle_needs_permission_on_loading_too(tmp_path: Path) -> None:
    registered(tmp_path, np.arange(3), allow_pickle=True)
    with pytest.raises(UntrustedModel, match=r"load_model\(\.\.\., allow_pickle=True\)"):
        tuner.load_model("m", store=tmp_path)
    loaded = tuner.load_model("m", store=tmp_path, allow_pickle=True)
    assert loaded.tolist() == [0, 1, 2]
