"""Malicious model files that try to execute code, read files or exhaust memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from support.skops_nodes import (
    Node,
    a_list,
    an_object,
    load_trusting_all,
    mapping,
    node,
    npy,
    of_type,
    packed,
    partial,
    scaler,
    several,
    unpacked,
    value,
)
from tuner.errors import RegistryError
from tuner.registry import skops_library
from tuner.registry.skops_format import FILE, SkopsFormat
from tuner.registry.value_formats import JsonFormat
from tuner.testing.model_formats import Touch

skops_io = skops_library.skops_io()

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


def test_the_exploit_works_if_every_name_is_trusted(tmp_path: Path) -> None:
    content = chain(tmp_path)
    with pytest.raises(Exception, match=r".*"):  # the fit itself fails afterwards
        load_trusting_all(content)
    assert (tmp_path / "trace").exists()


# --- other ways to have something called, or a file opened ---------------------------------------

ACCURACY = "sklearn.metrics._classification.accuracy_score"
BUNCH = "sklearn.utils._bunch.Bunch"
FUNCTIONS = "sklearn.preprocessing._function_transformer.FunctionTransformer"
MEAN = node("FunctionNode", "numpy.mean")

CRAFTED: dict[str, Node] = {
    "key type is an estimator": scaler(a=mapping({"k": value(1)}, of_type(PIPELINE))),
    "key type is a function": scaler(a=mapping({"k": value(1)}, MEAN)),
    "key type is a scorer": scaler(a=mapping({"k": value(1)}, fitting_scorer())),
    "key type by the id of a function": scaler(
        pooling_func={**MEAN, "__id__": 7},
        a=mapping({"k": value(1)}, {**of_type("builtins.str"), "__id__": 7}),
    ),
    "an id of the node around": scaler(
        a={**a_list({**a_list(), "__id__": 7}), "__id__": 7},
    ),
    "constructor of a list's class": scaler(
        a=node("ConstructorFromReduceNode", PIPELINE, content=several(value("x")))
    ),
    "constructor of a part": scaler(
        a=node("ConstructorFromReduceNode", BUNCH, content=several())
    ),
    "list of another class": scaler(a=node("ListNode", BUNCH, content=[])),
    "tuple of another class": scaler(a=node("TupleNode", PIPELINE, content=[])),
    "set of another class": scaler(a=node("SetNode", PIPELINE, content=[])),
    "dict of another class": scaler(
        a=node("DictNode", PIPELINE, key_types=a_list(), content={})
    ),
    "random state of another class": scaler(
        a=node("RandomStateNode", PIPELINE, content=mapping({}))
    ),
    "loss of another class": scaler(
        a=node("LossNode", PIPELINE, __reduce__={"args": several()}, content=mapping({}))
    ),
    "method of an estimator": scaler(
        a=node("MethodNode", PIPELINE, content={"func": "fit", "obj": an_object(PIPELINE)})
    ),
    "method caller": scaler(
        a=node("OperatorFuncNode", "operator.methodcaller", attrs=several(value("fit")))
    ),
    "cached node": scaler(a={"__loader__": "CachedNode", "__module__": "m", "__class__": "c"}),
    "default dict": scaler(
        a=node(
            "DefaultDictNode",
            "collections.defaultdict",
            content={"main": mapping({}), "default_factory": MEAN},
        )
    ),
    "partial of an estimator": scaler(a=partial(an_object(PIPELINE))),
    "partial of a scorer": an_object(FUNCTIONS, func=partial(fitting_scorer())),
    "scorer that fits": an_object(PIPELINE, scorer_=fitting_scorer()),
    "function where an object is": an_object(FUNCTIONS, func=node("FunctionNode", ACCURACY)),
    "memory": an_object(PIPELINE, steps=a_list(), memory=value("/tmp/cache")),
    "memory of a search": an_object(
        "sklearn.model_selection._search.GridSearchCV",
        param_grid=mapping({"a__memory": a_list(value("/tmp/cache"))}),
    ),
    "file names as texts": an_object(
        "sklearn.feature_extraction.text.CountVectorizer", input=value("filename")
    ),
    "address of memory": scaler(__array_interface__=mapping({"data": value(0)})),
    "address of memory in a bunch": scaler(
        a={**mapping({"__array_interface__": value(0)}), "__module__": BUNCH[:-6],
           "__class__": "Bunch"}
    ),
    "class": scaler(__class__=value("x")),
    "method hidden": scaler(transform=MEAN),
    "attribute of the class hidden": an_object("sklearn.svm._classes.SVR", _impl=value("c_svc")),
    "unknown field": scaler(a={**value(1), "extra": 1}),
    "name with dots": scaler(a={**MEAN, "__class__": "f2py.os.system"}),
    "no class": scaler(a={"__loader__": "ObjectNode", "__module__": "numpy", "__class__": None}),
    "compiled state of other parts": an_object(
        "sklearn.neighbors._kde.KernelDensity",
        tree_=node(
            "ObjectNode", "sklearn.neighbors._kd_tree.KDTree", content=several(value(None))
        ),
    ),
    "compiled object without a state": scaler(
        a=node("ObjectNode", "sklearn.metrics._dist_metrics.EuclideanDistance64")
    ),
    "deep": value(0),  # made deep below
}  # fmt: skip
for _ in range(250):
    CRAFTED["deep"] = a_list(CRAFTED["deep"])


@pytest.mark.parametrize("root", CRAFTED.values(), ids=CRAFTED.keys())
def test_a_crafted_schema_is_refused(root: Node, tmp_path: Path) -> None:
    with pytest.raises(RegistryError):
        load(packed(root, {}), tmp_path)


def test_a_trusted_name_is_still_not_called(tmp_path: Path) -> None:
    made = str(tmp_path / "made")
    key_type = scaler(a=mapping({made: value(1)}, of_type("os.mkdir")))
    constructor = scaler(
        a=node("ConstructorFromReduceNode", "os.mkdir", content=several(value(made)))
    )
    for root in (key_type, constructor):
        with pytest.raises(RegistryError):
            load(packed(root, {}), tmp_path, ("os.mkdir",))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["../0.npy", "/etc/passwd", "schema.json", "0.npz", "gone.npy"])
def test_a_path_outside_the_archive_is_refused(name: str, tmp_path: Path) -> None:
    root = scaler(a=node("NdArrayNode", "numpy.ndarray", type="numpy", file=name))
    with pytest.raises(RegistryError):
        load(packed(root, {"0.npz": b"", "1.npy": npy(X)}), tmp_path)


@pytest.mark.slow
def test_a_fitted_grid_search_loads_and_scores(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    labels = np.arange(60) % 2
    data = np.arange(120.0).reshape(60, 2) + 9 * labels[:, None]
    for scoring in ("accuracy", "f1_macro", "roc_auc", "neg_log_loss", None):
        model = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, scoring=scoring, cv=2)
        model.fit(data, labels)
        loaded = load(skops_io.dumps(model), tmp_path)
        assert loaded.score(data, labels) == model.score(data, labels)


# --- files that fill the memory -----------------------------------------------------------------


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    content = packed(scaler(), {"0.npy": bytes(100 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert len(content) < 2**20
    with pytest.raises(RegistryError, match=r"unpacks to more than .*TUNER_MODEL_BYTES"):
        load(content, tmp_path)


@pytest.mark.slow
def test_the_operator_can_raise_the_size_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = npy(np.zeros(10 * 2**20))
    root = scaler(a=node("NdArrayNode", "numpy.ndarray", type="numpy", file="0.npy"))
    content = packed(root, {"0.npy": array}, zipfile.ZIP_DEFLATED)
    with pytest.raises(RegistryError, match="TUNER_MODEL_BYTES"):
        load(content, tmp_path)
    monkeypatch.setenv("TUNER_MODEL_BYTES", str(200 * 2**20))
    assert load(content, tmp_path).a.size == 10 * 2**20
    monkeypatch.setenv("TUNER_MODEL_BYTES", "much")
    with pytest.raises(RegistryError, match="write a number of bytes"):
        load(content, tmp_path)


def header(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "array",
    [
        header("(1000000000000,)"),
        header("(-1,)"),
        header("(2, 3)") + bytes(8),
        header("(1,)") + bytes(9),
        header("(1000000000000,)", "'|V0'"),
        header("(1,)", "'|O'") + bytes(8),
        header("(1,)", "[('a', '|O')]") + bytes(8),
        header("(1,)", "__import__('os')") + bytes(8),
        header("(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)") + bytes(8),
        b"\x93NUMPY\x09\x00" + bytes(20),
        b"",
    ],
)
def test_an_array_with_a_wrong_header_is_refused(array: bytes, tmp_path: Path) -> None:
    root = scaler(a=node("NdArrayNode", "numpy.ndarray", type="numpy", file="0.npy"))
    with pytest.raises(RegistryError):
        load(packed(root, {"0.npy": array}), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_methods_are_refused(method: int, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="unusual"):
        load(packed(scaler(), {"0.npy": npy(X)}, method), tmp_path)


def test_duplicate_archive_members_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO(packed(scaler(), {}))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("schema.json", json.dumps(fitting_scorer()))
    with pytest.raises(RegistryError, match="two members"):
        load(buffer.getvalue(), tmp_path)


def test_json_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    text = json.dumps([{}] * 700_000).encode()
    (tmp_path / "model.json").write_bytes(b'{"model": ' + text + b"}")
    with pytest.raises(RegistryError, match="TUNER_MODEL_BYTES"):
        JsonFormat().load(tmp_path)


# --- fuzz ---------------------------------------------------------------------------------------

FUZZ = Path(__file__).parents[1] / "support" / "model_fuzz.py"


def fuzzed(seed: int, count: int) -> None:
    """Run the fuzz in a separate process, which must neither die nor do anything but load."""
    places = os.pathsep.join(str(FUZZ.parents[n]) for n in (1, 2))
    done = subprocess.run(
        [sys.executable, str(FUZZ), str(seed), str(count)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
    )
    last = "\n".join(done.stdout.splitlines()[-3:])
    assert done.returncode == 0, f"{done.returncode} after {last}\n{done.stderr[-2000:]}"
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["heard"] == [], last
    assert summary["seen"]["loaded"] > count / 5
    assert sum(summary["seen"].values()) == count


@pytest.mark.process
def test_mutated_files_load_or_are_refused_and_nothing_else_happens() -> None:
    fuzzed(seed=1, count=150)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 30))
def test_many_mutated_files_load_or_are_refused(seed: int) -> None:
    fuzzed(seed, count=3000)
