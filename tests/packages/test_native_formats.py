"""Packages of models that are kept in their libraries' own files."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.packages import code_of, register
from tuner.errors import RegistryError

pytestmark = pytest.mark.slow


def check(
    model: Any, data: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Path:
    """Check that a package predicts as the registered model, and return it."""
    import numpy as np

    register(folder / "store", model, **options.pop("register", {}))
    loaded = tuner.load_model("people", store=folder / "store", trusted=options.get("trusted", ()))
    package = tuner.export_model("people", folder / "p", store=folder / "store", **options).path
    packaged = code_of(package, "model", monkeypatch).PackagedModel(package)
    np.testing.assert_array_equal(packaged.predict(data), predictions(loaded, data))
    return package


def predictions(model: Any, data: Any) -> Any:
    kind = f"{type(model).__module__}.{type(model).__name__}"
    if kind == "xgboost.core.Booster":
        import xgboost

        return model.predict(xgboost.DMatrix(data, enable_categorical=True))
    return model.predict(data)


def table() -> tuple[Any, Any]:
    """Return a table with categories and missing values, and numbers to predict."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(3)
    columns = {"a": rng.normal(size=80), "b": pd.Categorical(rng.choice(["x", "y", "z"], 80))}
    frame = pd.DataFrame(columns)
    frame.loc[5, "a"] = None
    return frame, np.where(frame["b"] == "x", 1.0, 0.0) + rng.normal(size=80)


@pytest.mark.parametrize("kind", ["booster", "regressor", "classifier"])
def test_xgboost(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import xgboost

    frame, values = table()
    made = xgboost.XGBClassifier if kind == "classifier" else xgboost.XGBRegressor
    labels = values > 0.5 if kind == "classifier" else values
    model = made(n_estimators=4, n_jobs=1, enable_categorical=True).fit(frame, labels)
    check(model.get_booster() if kind == "booster" else model, frame, tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", ["booster", "regressor", "two", "three"])
def test_lightgbm(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lightgbm
    import numpy as np

    frame, values = table()
    labels = {"two": np.where(values > 0.5, "yes", "no"), "three": np.digitize(values, [0, 1])}
    made = lightgbm.LGBMClassifier if kind in labels else lightgbm.LGBMRegressor
    model = made(n_estimators=4, n_jobs=1, min_child_samples=2, verbose=-1)
    model.fit(frame, labels.get(kind, values))
    package = check(model.booster_ if kind == "booster" else model, frame, tmp_path, monkeypatch)
    assert "libgomp1" in (package / "Dockerfile").read_text()


@pytest.mark.parametrize("kind", ["plain", "regressor", "classifier"])
def test_catboost(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import catboost

    frame, values = table()
    few = {"iterations": 3, "depth": 2, "verbose": 0, "allow_writing_files": False,
           "thread_count": 1}  # fmt: skip
    if kind == "plain":
        model = catboost.CatBoost({**few, "loss_function": "RMSE"})
    elif kind == "regressor":
        model = catboost.CatBoostRegressor(**few)
    else:
        model, values = catboost.CatBoostClassifier(**few), values > 0.5
    check(model.fit(frame[["a"]], values), frame[["a"]], tmp_path, monkeypatch)


NETWORK = """
import torch

class Net(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(2, hidden), torch.nn.BatchNorm1d(hidden), torch.nn.Linear(hidden, 1)
        )

    def forward(self, rows):
        return self.layers(rows)

def halves(rows):
    return [row[0] / 2 for row in rows]
"""


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of a user, which no package installs."""
    (tmp_path / "network_of_mine.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "network_of_mine", raising=False)
    return importlib.import_module("network_of_mine")


def test_torch(network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import torch

    from tuner.registry import TorchFormat

    rows = np.array([[0.5, 1.0], [2.0, -1.0]])
    net = network.Net(hidden=3).eval()
    register(tmp_path / "store", net, format=TorchFormat(network.Net, {"hidden": 3}))
    given = {"store": tmp_path / "store", "trusted": ["network_of_mine.Net"]}
    with pytest.raises(RegistryError, match="your own module network_of_mine"):
        tuner.export_model("people", tmp_path / "p", **given)
    code = [tmp_path / "network_of_mine.py"]
    package = tuner.export_model("people", tmp_path / "p", code=code, **given).path
    packaged = code_of(package, "model", monkeypatch).PackagedModel(package)
    with torch.inference_mode():
        expected = net(torch.as_tensor(rows, dtype=torch.float32)).numpy()
    np.testing.assert_array_equal(packaged.predict(rows), expected)
    assert "+cpu" not in (package / "requirements.lock").read_text()


def test_a_function(network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = [tmp_path / "network_of_mine.py"]
    trusted = ["network_of_mine.halves"]
    check(network.halves, [[1.0], [4.0]], tmp_path, monkeypatch, code=code, trusted=trusted)


def test_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    from sklearn.linear_model import LinearRegression

    from tuner.registry import OnnxFormat

    rows = np.random.default_rng(1).normal(size=(30, 3)).astype(np.float32)
    model = LinearRegression().fit(rows, rows @ [1.0, 2.0, 3.0])
    format = {"format": OnnxFormat(example=rows)}
    package = check(model, rows, tmp_path, monkeypatch, register=format)
    assert "scikit-learn" not in (package / "requirements.lock").read_text()


def test_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras
    import numpy as np

    rows = np.ones((3, 2), dtype=np.float32)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    package = check(model, rows, tmp_path, monkeypatch)
    assert "\ntorch==" in (package / "requirements.lock").read_text()


def test_plain_files_have_no_package(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a the of")
    register(tmp_path / "store", tmp_path / "words.txt")
    with pytest.raises(RegistryError, match="'files' has no loader"):
        tuner.export_model("people", tmp_path / "p", store=tmp_path / "store")
