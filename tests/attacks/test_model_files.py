"""Model files that were made up to run code, to read files, or to fill the memory."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skops import io as skops_io
from skops_nodes import (
    Node,
    an_object,
    load_trusting_all,
    mapping,
    node,
    npy,
    packed,
    partial,
    scaler,
    unpacked,
    value,
)

from conformance.model_formats import Touch
from tuner.errors import RegistryError
from tuner.registry.skops_format import FILE, SkopsFormat

PIPELINE = "sklearn.pipeline.Pipeline"
SCORER = "sklearn.metrics._scorer._Scorer"


def load(content: bytes, folder: Path, trusted: tuple[str, ...] = ()) -> Any:
    (folder / FILE).write_bytes(content)
    return SkopsFormat(trusted).load(folder)


# --- the chain that ran code --------------------------------------------------------------------

X = np.arange(8.0).reshape(4, 2)


def cached_pipeline(folder: Path) -> Pipeline:
    """A pipeline whose cache has a pickle that leaves a trace."""
    pipeline = Pipeline(
        [("a", StandardScaler()), ("b", StandardScaler())], memory=str(folder / "cache")
    )
    pipeline.fit(X)
    (pickled,) = (folder / "cache").rglob("output.pkl")
    pickled.write_bytes(pickle.dumps(Touch(folder / "trace")))
    return Pipeline(
        [("a", StandardScaler()), ("b", StandardScaler())], memory=str(folder / "cache")
    )


def fitting_scorer() -> Node:
    return an_object(
        SCORER,
        _score_func=node("FunctionNode", "sklearn.metrics._regression.r2_score"),
        _sign=value(1),
        _kwargs=mapping({}),
        _response_method=value("fit"),
    )


def chain(folder: Path) -> bytes:
    """A file that fits a pipeline while a key of a dict is made."""
    pipeline, members = unpacked(skops_io.dumps(cached_pipeline(folder)))
    del pipeline["protocol"], pipeline["_skops_version"]
    members["0.npy"] = npy(X)
    data = node("NdArrayNode", "numpy.ndarray", type="numpy", file="0.npy")
    key_type = partial(fitting_scorer(), pipeline, data)
    return packed(scaler(scale_=mapping({"key": value(1)}, key_type)), members)


def test_a_key_type_does_not_fit_a_pipeline_from_a_cache(tmp_path: Path) -> None:
    content = chain(tmp_path)
    with pytest.raises(RegistryError):
        load(content, tmp_path)
    assert not (tmp_path / "trace").exists()


def test_the_chain_works_where_every_name_is_trusted(tmp_path: Path) -> None:
    content = chain(tmp_path)
    with pytest.raises(Exception, match=r".*"):  # the fit itself fails afterwards
        load_trusting_all(content)
    assert (tmp_path / "trace").exists()
