"""ONNX models as given, conversions with a comparison of predictions, crafted files."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from support.model_files import forged
from tuner.errors import ArgumentError, RegistryError
from tuner.registry.formats import check_format, load_files, save_model
from tuner.registry.native.onnx_format import FILE, OnnxFormat
from tuner.testing import ModelFormatConformance

pytestmark = pytest.mark.slow

X, y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "é"])[y]


@cache
def proto() -> Any:
    """A graph that multiplies its input by two."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in ("X", "Y")]
    two = numpy_helper.from_array(np.array([2, 2], np.float32), "two")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["X", "two"], ["Y"])], "double", value[:1], value[1:], [two]
    )
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@cache
def forest() -> Any:
    return RandomForestClassifier(5, random_state=0).fit(X, NAMES)


class TestOnnxFormat(ModelFormatConformance):
    def make(self) -> OnnxFormat:
        return OnnxFormat()

    def models(self) -> list[Any]:
        return [proto(), proto().SerializeToString()]

    def same(self, model: Any, loaded: Any) -> bool:
        content = model if isinstance(model, bytes) else model.SerializeToString()
        return loaded.content == content and loaded.predict([[1, 2]]).tolist() == [[2, 4]]


def test_an_onnx_model_is_saved_as_it_is(tmp_path: Path) -> None:
    name, files = save_model(proto())
    assert name == "onnx"
    loaded = load_files(name, files)
    assert loaded.predict({"X": [[1, 2]]}).tolist() == [[2, 4]]
    assert loaded.predict(pd.DataFrame([[1, 2]])).tolist() == [[2, 4]]
    assert pickle.loads(pickle.dumps(loaded)).predict([[3, 4]]).tolist() == [[6, 8]]
    assert save_model(loaded)[1][FILE] == files[FILE]
    with pytest.raises(ArgumentError, match="has the outputs Y and no 'probabilities'"):
        loaded.predict_proba([[1, 2]])
    with pytest.raises(ArgumentError, match="the data have no 'X'"):
        loaded.predict({"Z": [[1, 2]]})


def test_a_file_whose_data_are_beside_it_is_saved_with_them(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "m.onnx"
    copy = onnx.ModelProto()
    copy.CopyFrom(proto())
    onnx.save(copy, path, save_as_external_data=True, location="weights", size_threshold=0)
    assert (tmp_path / "weights").exists()
    name, files = save_model(path, format="onnx")
    assert load_files(name, files).predict([[1, 2]]).tolist() == [[2, 4]]


def test_a_model_of_scikit_learn_is_converted_and_compared() -> None:
    table = pd.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 3, "x", "y")})
    from sklearn.compose import make_column_transformer

    columns = make_column_transformer((OneHotEncoder(), ["b"]), (StandardScaler(), ["a"]))
    for model, data in [
        (forest(), X),
        (LinearRegression().fit(X, y), X),
        (make_pipeline(columns, LogisticRegression()).fit(table, NAMES), table),
    ]:
        check_format(model, format="onnx", example=data)
        name, files = save_model(model, format="onnx", example=data)
        loaded = load_files(name, files)
        assert name == "onnx"
        expected = model.predict(data)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(loaded.predict(data), expected, rtol=1e-4, atol=1e-5)
        else:
            assert np.array_equal(loaded.predict(data), expected)
            np.testing.assert_allclose(
                loaded.predict_proba(data), model.predict_proba(data), rtol=1e-4, atol=1e-5
            )
    assert save_model(forest())[0] == "skops"


def test_a_conversion_that_predicts_otherwise_is_refused() -> None:
    model = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(X, y)
    says = r"probabilities of ONNX differ in \d+ of 150 rows of the example, by up to .*: row"
    with pytest.raises(RegistryError, match=says):
        save_model(model, format="onnx", example=X)


def test_a_conversion_needs_an_example() -> None:
    for call in (check_format, save_model):
        with pytest.raises(RegistryError, match=r"OnnxFormat\(example=X\)"):
            call(forest(), format="onnx")


# --- crafted files --------------------------------------------------------------------------------


def external(location: str) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location

    return edit


def within_a_node(model: Any) -> None:
    """Move the outside tensor into an attribute of a node."""
    external("../../etc/passwd")(model)
    node = model.graph.node.add()
    node.op_type, attribute = "Constant", node.attribute.add()
    node.output.append("z")
    attribute.name, attribute.type = "value", 4
    attribute.t.CopyFrom(model.graph.initializer[0])
    del model.graph.initializer[:]


def huge(model: Any) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([10**6, 10**6])


def negative(model: Any) -> None:
    model.graph.initializer[0].dims[0] = -1


def operator(domain: str, name: str) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        model.graph.node[0].domain, model.graph.node[0].op_type = domain, name
        model.opset_import.add(domain=domain, version=1)

    return edit


CRAFTED: dict[str, tuple[Callable[[Any], None], str]] = {
    "data elsewhere": (external("weights.bin"), "has its data in another file"),
    "data outside": (external("../../../etc/passwd"), "data in another file.*passwd"),
    "absolute data": (external("/etc/passwd"), "data in another file.*passwd"),
    "data of an attribute": (within_a_node, "data in another file"),
    "a huge tensor": (huge, "declares 1000000000000 items"),
    "a negative size": (negative, "negative size"),
    "an operator of others": (operator("evil", "Run"), "the operator 'Run' of the domain 'evil'"),
    "an operator with a file": (operator("com.microsoft", "EPContext"), "reads another file"),
    "an unknown operator": (operator("", "NoSuch"), "NoSuch"),
    "no graph": (lambda model: model.ClearField("graph"), "no graph"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_model_is_refused(name: str, tmp_path: Path) -> None:
    import onnx

    edit, says = CRAFTED[name]
    OnnxFormat().save(proto(), tmp_path)
    crafted = onnx.ModelProto()
    crafted.CopyFrom(proto())
    edit(crafted)
    forged(tmp_path, {FILE: crafted.SerializeToString()})
    with pytest.raises(RegistryError, match=says):
        OnnxFormat().load(tmp_path)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("nodes_truenodeids", 0),
        ("nodes_truenodeids", 10**6),
        ("nodes_featureids", -(10**9)),
        ("nodes_featureids", 10**9),
        ("class_ids", 10**8),
    ],
)
def test_crafted_trees_end_in_errors(attribute: str, value: int, tmp_path: Path) -> None:
    import onnx

    _, files = save_model(forest(), format="onnx", example=X)
    crafted = onnx.ModelProto()
    crafted.ParseFromString(files[FILE])
    trees = next(n for n in crafted.graph.node if n.op_type.startswith("TreeEnsemble"))
    numbers = next(a.ints for a in trees.attribute if a.name == attribute)
    numbers[:] = [value] * len(numbers)
    OnnxFormat().save(proto(), tmp_path)
    forged(tmp_path, {FILE: crafted.SerializeToString()})
    with pytest.raises(Exception, match=r"tree_ensemble|TreeEnsemble"):  # of ONNX Runtime
        OnnxFormat().load(tmp_path).predict(X)
