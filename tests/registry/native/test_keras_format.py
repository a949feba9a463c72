"""Keras models: equal predictions after loading, and crafted files."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.model_files import forged
from tuner.errors import RegistryError, UntrustedModel
from tuner.registry.formats import check_format, load_files, save_model
from tuner.registry.native.keras_format import FILE, KerasFormat
from tuner.testing import ModelFormatConformance
from tuner.testing.model_formats import Touch

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")]

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


@cache
def fitted() -> list[Any]:
    import keras
    from keras import layers

    net = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(5, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3)),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(2),
        ]
    )
    net.compile("sgd", "mse")
    net.fit(X, X[:, :2], verbose=0)
    start = keras.Input((4,))
    both = layers.Concatenate()([layers.Dense(3)(start), start])
    return [net, keras.Model(start, layers.Dense(1)(keras.ops.relu(both)))]


class TestKerasFormat(ModelFormatConformance):
    def make(self) -> KerasFormat:
        return KerasFormat()

    def models(self) -> list[Any]:
        return fitted()

    def same(self, model: Any, loaded: Any) -> bool:
        return np.array_equal(model.predict(X, verbose=0), loaded.predict(X, verbose=0))


def test_it_is_the_format_of_a_model_of_keras() -> None:
    name, files = save_model(fitted()[0])
    assert name == "keras"
    assert load_files(name, files).predict(X, verbose=0).shape == (8, 2)


def test_a_layer_of_the_user_loads_if_it_is_trusted() -> None:
    import keras

    from support.layers import Doubling

    model = keras.Sequential([keras.Input((4,)), Doubling()])
    name, files = save_model(model)
    with pytest.raises(UntrustedModel, match=r"trusted=\['support\.layers\.Doubling'\]"):
        load_files(name, files)
    loaded = load_files(name, files, trusted=["support.layers.Doubling"])
    assert np.array_equal(loaded.predict(X, verbose=0), 2 * X)


def test_a_layer_with_code_is_known_before_the_training() -> None:
    import keras

    class Local(keras.layers.Layer):
        pass

    lambda_layer = keras.layers.Lambda(lambda x: x, name="odd")
    model = keras.Sequential([keras.Input((4,)), lambda_layer])
    for call in (check_format, save_model):
        with pytest.raises(RegistryError, match="layer 'odd' is a Lambda, whose code"):
            call(model)
    with pytest.raises(RegistryError, match=r"no other program|cannot be kept"):
        save_model(keras.Sequential([keras.Input((4,)), Local()]))


# --- crafted files --------------------------------------------------------------------------------


@cache
def content() -> bytes:
    return save_model(fitted()[0])[1][FILE]


def changed(members: dict[str, bytes | None]) -> bytes:
    """Return the file with other members; None removes one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content())) as old:
        kept = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name, member in (kept | members).items():
            if member is not None:
                new.writestr(name, member)
    return buffer.getvalue()


def config(edit: Callable[[list[Any]], Any]) -> bytes:
    """Return the file after a change of the list of layers."""
    with zipfile.ZipFile(io.BytesIO(content())) as old:
        described = json.loads(old.read("config.json"))
    edit(described["config"]["layers"])
    return changed({"config.json": json.dumps(described).encode()})


def layer(module: str | None, kind: str, /, **options: Any) -> bytes:
    described = {"module": module, "class_name": kind, "config": options, "registered_name": None}
    return config(lambda layers: layers.append(described))


def weights(fill: Callable[[Any], Any]) -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return changed({"model.weights.h5": buffer.getvalue()})


def linked(file: Any) -> None:
    import h5py

    file["layers"] = h5py.ExternalLink("/etc/other.h5", "/x")


CRAFTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a lambda layer": (
        lambda: layer("keras.layers", "Lambda", name="a", function={"class_name": "__lambda__"}),
        "Lambda layer|lambda layer",
    ),
    "a lambda as activation": (
        lambda: config(
            lambda layers: layers[1]["config"].update(activation={"class_name": "__lambda__"})
        ),
        "lambda layer",
    ),
    "a function of a module": (
        lambda: layer("os", "system", command="true"),
        "import os.system, which is not allowed",
    ),
    "a function of Keras": (
        lambda: layer("keras.utils", "get_file", fname="x", origin="http://localhost/x"),
        "get_file, which is not a layer",
    ),
    "the switch of the safe mode": (
        lambda: layer("keras.config", "enable_unsafe_deserialization"),
        "which is not a layer",
    ),
    "a module of PyTorch": (lambda: layer("keras.layers", "TorchModuleWrapper"), "in another one"),
    "a saved model": (lambda: layer("keras.layers", "TFSMLayer", filepath="/x"), "in another one"),
    "a vocabulary of a file": (
        lambda: layer("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
        "would read the file '/etc/passwd'",
    ),
    "a class without a module": (lambda: layer(None, "Dense"), "without a module"),
    "a class of another name": (
        lambda: config(lambda layers: layers[1].update(registered_name="evil>Dense")),
        "not a layer",
    ),
    "a huge layer": (
        lambda: config(lambda layers: layers[-1]["config"].update(units=10**9)),
        "unpacks to more than",
    ),
    "members outside": (lambda: changed({"../../etc/x": b"x"}), "instead of config.json"),
    "no weights": (lambda: changed({"model.weights.h5": None}), "instead of config.json"),
    "a zip bomb": (lambda: changed({"model.weights.h5": bytes(66 * 2**20)}), "unpacks to more"),
    "weights of another file": (lambda: weights(linked), "has the link"),
    "huge weights": (
        lambda: weights(
            lambda f: f.create_dataset("layers/x", (10**6, 10**6), "f4", chunks=(100, 100))
        ),
        "unpacks to more than",
    ),
    "weights of other layers": (lambda: weights(lambda f: f.create_group("layers")), "cannot be"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_model_is_refused(name: str, tmp_path: Path) -> None:
    make, says = CRAFTED[name]
    KerasFormat().save(fitted()[0], tmp_path)
    forged(tmp_path, {FILE: make()})
    with pytest.raises(RegistryError, match=says):
        KerasFormat().load(tmp_path)


def test_a_real_lambda_does_not_run(tmp_path: Path) -> None:
    import keras

    KerasFormat().save(fitted()[0], tmp_path)
    touch = Touch(tmp_path / "trace").__reduce__()
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Lambda(lambda x: touch[0](*touch[1]))]
    )
    model.save(tmp_path / "evil.keras")
    evil = (tmp_path / "evil.keras").read_bytes()
    (tmp_path / "evil.keras").unlink()
    (tmp_path / "trace").rmdir()  # Keras has called the lambda once while the model was made
    forged(tmp_path, {FILE: evil})
    with pytest.raises(RegistryError, match="Lambda layer"):
        KerasFormat().load(tmp_path)
    assert not (tmp_path / "trace").exists()
