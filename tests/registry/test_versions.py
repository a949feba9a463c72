"""Models that were saved with other versions of packages than the installed ones."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import tuner
from tuner.errors import RegistryError, UntrustedModel
from tuner.provenance import capture
from tuner.records import Environment
from tuner.registry.load_failures import version_note
from tuner.registry.skops_format import FILE, SkopsFormat

X, y = load_iris(return_X_y=True)


class OlderSkops:
    """Writes files as with scikit-learn 1.7, whose losses were in a module ``_loss``."""

    name = "skops"

    def accepts(self, model: Any) -> bool:
        return True

    def save(self, model: Any, folder: Path) -> None:
        SkopsFormat().save(model, folder)
        file = folder / FILE
        changed = io.BytesIO()
        with zipfile.ZipFile(file) as archive, zipfile.ZipFile(changed, "w") as copy:
            for name in archive.namelist():
                copy.writestr(name, archive.read(name).replace(b"sklearn._loss._loss", b"_loss"))
        file.write_bytes(changed.getvalue())

    def load(self, folder: Path) -> Any:
        raise NotImplementedError


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record runs with an older scikit-learn."""
    now = capture.current_environment()
    then = dataclasses.replace(now, packages={**now.packages, "scikit-learn": "1.7.2"})
    monkeypatch.setattr(capture, "current_environment", lambda: then)


def logged(folder: Path, model: Any, **options: Any) -> None:
    def objective(params: Any, trial: Any) -> float:
        trial.log_model(model, **options)
        return 0.0

    tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=1, backend="serial", store=folder,
        register="m", progress=False,
    )  # fmt: skip


VERSIONS = rf"saved with scikit-learn 1\.7\.2, and here is scikit-learn {sklearn.__version__}"


@pytest.mark.usefixtures("older")
def test_a_model_of_another_scikit_learn_names_both_versions(tmp_path: Path) -> None:
    logged(tmp_path, GradientBoostingClassifier(n_estimators=2).fit(X, y), format=OlderSkops())
    with pytest.raises(UntrustedModel, match=VERSIONS) as caught:
        tuner.load_model("m", store=tmp_path)
    assert "there is no module '_loss'" in str(caught.value)
    assert "trusted=" not in str(caught.value), "advice that would fail"
    with pytest.raises(RegistryError, match=f"No module named '_loss'.*{VERSIONS}"):
        tuner.load_model("m", store=tmp_path, trusted=["_loss.CyHalfMultinomialLoss"])


class Gone:
    """A class that is there when the model is saved only."""


@pytest.mark.usefixtures("older")
def test_a_pickle_that_cannot_be_read_names_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged(tmp_path, Gone(), allow_pickle=True)
    monkeypatch.delattr(sys.modules[__name__], "Gone")
    with pytest.raises(RegistryError, match=f"Gone.*{VERSIONS}"):
        tuner.load_model("m", store=tmp_path, allow_pickle=True)


@pytest.mark.usefixtures("older")
def test_a_model_of_another_version_loads_if_it_can(tmp_path: Path) -> None:
    logged(tmp_path, LogisticRegression(max_iter=500).fit(X, y))
    assert tuner.load_model("m", store=tmp_path).predict(X[:1]) == [0]


@pytest.mark.usefixtures("older")
def test_an_untrusted_type_error_does_not_mention_versions(tmp_path: Path) -> None:
    logged(tmp_path, Gone(), allow_pickle=True)
    with pytest.raises(UntrustedModel, match=r"allow_pickle=True\)$"):
        tuner.load_model("m", store=tmp_path)


def test_a_refitted_model_has_the_environment_in_which_it_was_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = capture.current_environment()
    then = dataclasses.replace(now, packages={**now.packages, "scikit-learn": "1.7.2"})
    with monkeypatch.context() as patch:
        patch.setattr(capture, "current_environment", lambda: then)
        study = tuner.optimize(
            lambda params: 0.0, {"x": tuner.Float(0, 1)}, n_trials=1, backend="serial",
            store=tmp_path, progress=False,
        )  # fmt: skip
    version = study.register("m", refit=lambda params: LogisticRegression(max_iter=500).fit(X, y))
    recorded = study.store.get_environment(version.environment)
    assert recorded.packages["scikit-learn"] == sklearn.__version__
    kept = study.store.get_environment(study.runs(0)[0].environment)
    assert kept.packages["scikit-learn"] == "1.7.2"


@pytest.mark.parametrize(
    ("packages", "format", "problem", "says"),
    [
        ({"scikit-learn": sklearn.__version__}, "skops", "it fails", ""),
        ({"pandas": "0.1"}, "skops", "it fails", ""),
        ({"scikit-learn": "1.0"}, "json", "it fails", ""),
        ({"tabpfn": "2.0.0"}, "pickle", "No module named 'tabpfn'", "tabpfn 2.0.0.*no tabpfn"),
        ({"skops": "0.1"}, "onnx", "sklearn: not skops.io", "saved with skops 0.1, and here is sk"),
        ({"scikit-learn": "1.0"}, "own", "No module 'sklearn.x'", "scikit-learn 1.0, and here is"),
    ],
)
def test_the_relevant_packages_are_compared(
    packages: dict[str, str], format: str, problem: str, says: str
) -> None:
    note = version_note(Environment(sys.version.split()[0], "", packages), format, problem)
    assert re.search(says, note) if says else note == ""


def test_the_python_version_is_compared_for_pickles_only() -> None:
    older = Environment("3.2.1", "", {})
    assert version_note(older, "skops", "") == ""
    assert "saved with Python 3.2.1, and here is Python 3." in version_note(older, "pickle", "")
