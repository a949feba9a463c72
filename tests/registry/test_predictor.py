"""Prediction by models of other libraries than scikit-learn, and their signatures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tuner.registry.checked_model import CheckedModel
from tuner.registry.prediction import predictor, signature_of

pytestmark = pytest.mark.slow

X = pd.DataFrame(
    {
        "a": np.linspace(0, 1, 40),
        "town": pd.Categorical(["Rome", "Oslo"] * 20, categories=["Oslo", "Rome"]),
    }
)
Y = (X["a"] > 0.5).astype(int)


def signed(model: Any, example: Any) -> Any:
    """Return the signature after predicting one row by it."""
    signature = signature_of(model, example, None)
    assert signature is not None
    assert signature.outputs is not None
    predict = predictor(model)
    assert predict is not None
    rows = [[0.5, 1]] if not signature.inputs.tabular else [{"town": "Rome", "a": 0.5}]
    assert len(predict(signature.check_inputs(rows))) == 1
    return signature


def test_boosters_of_xgboost_take_tables():
    import xgboost

    data = xgboost.DMatrix(X, Y, enable_categorical=True)
    signature = signed(xgboost.train({"nthread": 1}, data, 2), X)
    assert signature.outputs.fields[0].dtype == "float32"


def test_lightgbm_takes_categories_in_their_order():
    import lightgbm

    model = lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1).fit(X, Y)
    assert signed(model, X).outputs.fields[0].kind == "integer"
    assert CheckedModel(model, signed(model, X)).predict([{"a": 0, "town": "Oslo"}]).tolist() == [0]
    assert signed(model.booster_, X).outputs.fields[0].kind == "number"


def test_modules_of_pytorch_are_called_with_tensors():
    import torch

    model = torch.nn.Linear(2, 1)
    assert signed(model, np.zeros((3, 2), dtype="float32")).outputs.fields[0].shape == (1,)
    tensor = signed(model, torch.zeros((3, 2)))
    assert tensor.inputs.container == "tensor"
    checked = CheckedModel(model, tensor)
    assert checked([[1, 2]]).shape == (1, 1)


def test_a_model_without_a_method_has_no_predictor():
    assert predictor({"C": 1}) is None
    assert predictor(object(), "predict_proba") is None
