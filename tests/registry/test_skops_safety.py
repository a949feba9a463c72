"""Files in skops format that were made up to run code, or to lead predictions astray."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from support.effort import each_once
from tuner.errors import RegistryError, UntrustedModel
from tuner.registry import skops_library
from tuner.registry.skops_format import FILE, SkopsFormat
from tuner.registry.soundness import Unsound, check_model
from tuner.testing.model_formats import Touch

skops_io = skops_library.skops_io()

X, y = load_iris(return_X_y=True)

Node = dict[str, Any]

# --- files that run code ----------------------------------------------------------------------


def node(loader: str, type_name: str, **fields: Any) -> Node:
    module, _, name = type_name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": name, **fields}


def value(plain: Any) -> Node:
    return node("JsonNode", "builtins.str", content=json.dumps(plain), is_json=True)


def several(*nodes: Node) -> Node:
    return node("TupleNode", "builtins.tuple", content=list(nodes))


def write(folder: Path, root: Node, protocol: int = 2, **files: bytes) -> None:
    """Write a skops file whose schema is `root`."""
    schema = json.dumps({**root, "protocol": protocol, "_skops_version": "0.16.0"})
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        archive.writestr("schema.json", schema)
        for name, content in files.items():
            archive.writestr(f"{name}.npy", content)


CALLS: dict[str, tuple[Callable[[str], Node], list[str]]] = {
    "a constructor": (
        lambda path: node("ConstructorFromReduceNode", "os.mkdir", content=several(value(path))),
        ["os.mkdir"],
    ),
    "code as text": (
        lambda path: node(
            "ConstructorFromReduceNode",
            "builtins.eval",
            content=several(value(f"__import__('os').mkdir({path!r})")),
        ),
        ["builtins.eval"],
    ),
    "the type of a key": (
        lambda path: node(
            "DictNode",
            "builtins.dict",
            key_types=node("ListNode", "builtins.list", content=[node("TypeNode", "os.mkdir")]),
            content={path: value(1)},
        ),
        ["os.mkdir"],
    ),
    "an operator": (
        lambda path: node(
            "OperatorFuncNode",
            "operator.call",
            attrs=several(node("FunctionNode", "os.mkdir"), value(path)),
        ),
        ["operator.call", "os.mkdir"],
    ),
    "a process": (
        lambda path: node(
            "ConstructorFromReduceNode",
            "subprocess.Popen",
            content=several(value(["mkdir", path])),
        ),
        ["subprocess.Popen"],
    ),
}
"""What makes a folder at a path when it is loaded, and the types that must be allowed for it."""


@pytest.mark.parametrize("protocol", [0, 1, 2])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_call_in_the_file_is_not_made(
    call: tuple[Callable[[str], Node], list[str]], protocol: int, tmp_path: Path
) -> None:
    make, types = call
    trace = tmp_path / "trace"
    inside_a_model = node(
        "ObjectNode",
        "sklearn.preprocessing._data.StandardScaler",
        content=node(
            "DictNode",
            "builtins.dict",
            key_types=node("ListNode", "builtins.list", content=[node("TypeNode", "builtins.str")]),
            content={"scale_": make(str(trace))},
        ),
    )
    for root in (make(str(trace)), inside_a_model):
        write(tmp_path, root, protocol)
        with pytest.raises(RegistryError) as caught:
            SkopsFormat().load(tmp_path)
        if protocol == 2:  # the older ones write some of these otherwise
            assert isinstance(caught.value, UntrustedModel)
            assert all(name in str(caught.value) for name in types)
        assert not trace.exists()


@pytest.mark.process
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_the_calls_are_made_if_allowed(
    call: tuple[Callable[[str], Node], list[str]], tmp_path: Path
) -> None:
    make, types = call
    write(tmp_path, make(str(tmp_path / "trace")))
    made = skops_io.loads((tmp_path / FILE).read_bytes(), trusted=types)
    if hasattr(made, "wait"):
        made.wait()
    assert (tmp_path / "trace").exists()


def test_a_function_in_a_model_is_not_trusted(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(pickle.loads))
    SkopsFormat().save(model, tmp_path)
    with pytest.raises(UntrustedModel, match=r"_pickle\.loads"):
        SkopsFormat().load(tmp_path)


def test_a_pickle_in_an_array_does_not_run(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Touch(tmp_path / "trace")], dtype=object), allow_pickle=True)
    write(tmp_path, node("NdArrayNode", "numpy.ndarray", type="numpy", file="0.npy"))
    with zipfile.ZipFile(tmp_path / FILE, "a") as archive:
        archive.writestr("0.npy", buffer.getvalue())
    with pytest.raises(RegistryError, match="allow_pickle"):
        SkopsFormat().load(tmp_path)
    assert not (tmp_path / "trace").exists()
    np.load(io.BytesIO(buffer.getvalue()), allow_pickle=True)
    assert (tmp_path / "trace").exists()


def test_the_file_cannot_add_to_what_is_trusted(tmp_path: Path) -> None:
    make, types = CALLS["a constructor"]
    write(tmp_path, {**make(str(tmp_path / "trace")), "trusted": types, "__trusted__": True})
    with pytest.raises(UntrustedModel):
        SkopsFormat().load(tmp_path)
    assert not (tmp_path / "trace").exists()


# --- trees that lead astray -------------------------------------------------------------------


def set_nodes(tree: Any, field: str, index: int, number: int) -> None:
    """Change a node of a ``Tree``, as a file could."""
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][field][index] = number
    tree.__setstate__(state)


def set_state(tree: Any, **fields: Any) -> None:
    tree.__setstate__({**tree.__getstate__(), **fields})


TREE_CHANGES: dict[str, Callable[[Any], None]] = {
    "left child beyond": lambda tree: set_nodes(tree, "left_child", 0, 10**6),
    "right child beyond": lambda tree: set_nodes(tree, "right_child", 0, tree.node_count),
    "negative child": lambda tree: set_nodes(tree, "right_child", 0, -5),
    "a circle": lambda tree: set_nodes(tree, "left_child", 0, 0),
    "back up": lambda tree: set_nodes(
        tree, "left_child", int(np.flatnonzero(tree.children_left > 0)[-1]), 0
    ),
    "feature beyond": lambda tree: set_nodes(tree, "feature", 0, tree.n_features),
    "negative feature": lambda tree: set_nodes(tree, "feature", 0, -3),
    "less deep": lambda tree: set_state(tree, max_depth=tree.max_depth - 1),
    "no nodes": lambda tree: set_state(tree, node_count=0),
}

TREES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "tree": (DecisionTreeClassifier, lambda m: m.tree_),
    "forest": (lambda: RandomForestClassifier(3), lambda m: m.estimators_[-1].tree_),
    "extra trees": (lambda: ExtraTreesRegressor(3), lambda m: m.estimators_[-1].tree_),
    "gradient boosting": (
        lambda: GradientBoostingClassifier(n_estimators=3),
        lambda m: m.estimators_[-1, -1].tree_,
    ),
    "isolation forest": (
        lambda: IsolationForest(n_estimators=3),
        lambda m: m.estimators_[-1].tree_,
    ),
    "in a pipeline": (
        lambda: make_pipeline(FunctionTransformer(), RandomForestClassifier(3)),
        lambda m: m[-1].estimators_[-1].tree_,
    ),
}


def load_again(model: Any, folder: Path) -> Any:
    SkopsFormat().save(model, folder)
    return SkopsFormat().load(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("tree", "change"), each_once(TREES, TREE_CHANGES))
def test_a_tree_with_invalid_child_indices_is_not_loaded(
    tree: tuple[Callable[[], Any], Callable[[Any], Any]],
    change: Callable[[Any], None],
    tmp_path: Path,
) -> None:
    make, tree_of = tree
    model = make().fit(X, y)
    load_again(model, tmp_path)
    change(tree_of(model))
    with pytest.raises(RegistryError, match="not a model that was fitted"):
        load_again(model, tmp_path)


def test_a_tree_with_a_wrong_node_count_is_not_loaded() -> None:
    model = DecisionTreeClassifier().fit(X, y)
    check_model(model)
    set_state(model.tree_, node_count=model.tree_.node_count + 1)
    with pytest.raises(Unsound, match="fewer nodes than it says"):
        check_model(model)


BOOSTED_CHANGES: dict[str, Callable[[Any, np.ndarray], None]] = {
    "left child beyond": lambda _, nodes: nodes["left"].put(0, 10**6),
    "right child beyond": lambda _, nodes: nodes["right"].put(0, len(nodes)),
    "a circle": lambda _, nodes: nodes["left"].put(0, 0),
    "feature beyond": lambda _, nodes: nodes["feature_idx"].put(0, 4),
    "negative feature": lambda _, nodes: nodes["feature_idx"].put(0, -1),
    "set of categories beyond": lambda _, nodes: (
        nodes["is_categorical"].put(0, 1),
        nodes["bitset_idx"].put(0, 7),
    ),
    "fewer features": lambda model, _: setattr(model, "n_features_in_", 1),
    "no features": lambda model, _: delattr(model, "n_features_in_"),
    "bins of fewer features": lambda model, _: setattr(
        model._bin_mapper, "is_categorical_", np.zeros(1, np.uint8)
    ),
}


@pytest.mark.parametrize("change", BOOSTED_CHANGES.values(), ids=BOOSTED_CHANGES.keys())
def test_a_boosted_tree_with_invalid_indices_is_not_loaded(
    change: Callable[[Any, np.ndarray], Any], tmp_path: Path
) -> None:
    model = HistGradientBoostingClassifier(max_iter=3).fit(X, y)
    load_again(model, tmp_path)
    change(model, model._predictors[-1][-1].nodes)
    with pytest.raises(RegistryError, match="not a model that was fitted"):
        load_again(model, tmp_path)


def test_a_model_that_reads_a_number_as_a_category_is_not_loaded(tmp_path: Path) -> None:
    categorical = np.column_stack([X[:, 0], np.arange(len(X)) % 5])
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=[1], min_samples_leaf=2)
    model.fit(categorical, np.arange(len(X)) % 5 % 2)
    predicted = model.predict(categorical)
    assert np.array_equal(load_again(model, tmp_path).predict(categorical), predicted)
    model._bin_mapper.is_categorical_[:] = 0
    with pytest.raises(RegistryError, match="takes a number for a category"):
        load_again(model, tmp_path)


@pytest.mark.parametrize("make", [DecisionTreeClassifier, lambda: RandomForestClassifier(3)])
def test_the_feature_count_of_a_model_must_match_its_trees(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    model = make().fit(X, y)
    model.n_features_in_ = 2  # callers' data is compared with it
    with pytest.raises(RegistryError, match="a tree for other features"):
        load_again(model, tmp_path)


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
@pytest.mark.parametrize("position", range(1, 4))
def test_a_neighbor_tree_must_match_its_points(
    algorithm: str, position: int, tmp_path: Path
) -> None:
    model = KNeighborsClassifier(algorithm=algorithm, leaf_size=5, weights="distance").fit(X, y)
    expected = model.predict_proba(X)
    state = list(model._tree.__getstate__())
    state[position] = np.zeros_like(state[position])
    if position == 1:
        state[position] += 10**9
    model._tree.__setstate__(tuple(state))
    assert np.array_equal(load_again(model, tmp_path).predict_proba(X), expected)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
def test_a_sparse_matrix_with_invalid_indices_is_not_loaded(kind: Any, tmp_path: Path) -> None:
    model = SVC().fit(kind(X), y)
    assert np.array_equal(load_again(model, tmp_path).predict(kind(X)), model.predict(kind(X)))
    model.support_vectors_.indices[0] = 10**6
    with pytest.raises(RegistryError, match="indices"):
        load_again(model, tmp_path)
