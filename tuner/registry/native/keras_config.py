"""The grammar of a ``.keras`` file, checked before Keras reads it.

The file is a zip archive with a description of layers in JSON, and weights in HDF5. Keras imports
and calls what the description names. Here it may name the layers, operations and settings of Keras
that compute, and classes of the user that are trusted. Layers that run code of the file or read
other files are refused.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Collection, Iterator
from copy import deepcopy
from typing import Any

from tuner.errors import RegistryError
from tuner.registry.limits import Budget, Refused
from tuner.registry.native.references import resolve_reference
from tuner.registry.zip_members import packed, unpacked

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

_RUN_CODE = ("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper")
_LAMBDA = "__lambda__"
_VALUES = (
    "__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__",
    "__tuple__",
)  # fmt: skip
_PATHS = ("idf_weights", "vocabulary")  # lists, or names of files that Keras would read
_COMPUTING = (
    "DTypePolicy", "Operation", "constraints.Constraint", "initializers.Initializer",
    "regularizers.Regularizer",
)  # fmt: skip


class KerasFile:
    """The checked members of a ``.keras`` file.

    Parameters
    ----------
    content
        The file.
    keras
        The module.
    trusted
        Names of classes of the user that are allowed.

    Attributes
    ----------
    untrusted : list of str
        Names of classes that the file needs and that are not allowed.
    config : dict
        The description of the model, without its optimizer and loss.

    Raises
    ------
    Refused
        If it is not such a file, or needs a layer that runs code of the file.
    """

    def __init__(self, content: bytes, keras: Any, trusted: Collection[str]) -> None:
        self._members = unpacked(content, "the file")
        if self._members.keys() != {CONFIG, METADATA, WEIGHTS}:
            raise Refused(
                f"it has the files {sorted(self._members)!s:.200} instead of {CONFIG}, {METADATA} "
                f"and {WEIGHTS}; a layer with a file of its own, such as a vocabulary, cannot be "
                f"kept"
            )
        self._limit = len(content)
        for name in (CONFIG, METADATA):
            Budget(self._limit).spend_json(self._members[name])
        self.config = json.loads(self._members[CONFIG])
        if not isinstance(self.config, dict) or "class_name" not in self.config:
            raise Refused(f"{CONFIG} does not describe a model")
        self.config.pop("compile_config", None)
        self._classes = {
            str(each): reference
            for node in _dicts(self.config)
            if (reference := _named(node, keras))
            for each in (node["class_name"], node.get("registered_name"))
        }
        names = {reference.replace(":", ".") for reference in self._classes.values()}
        self.untrusted = sorted(names - set(trusted))
        self._check_weights()

    def archive(self) -> bytes:
        """Return a file of the checked members."""
        return packed({**self._members, CONFIG: json.dumps(self.config).encode()})

    def custom_objects(self) -> dict[str, Any]:
        """Import the classes of the user, by the names that the file has for them."""
        trusted = [reference.replace(":", ".") for reference in self._classes.values()]
        return {
            name: resolve_reference(reference, trusted, "create")
            for name, reference in self._classes.items()
        }

    def check_memory(self, keras: Any, custom_objects: dict[str, Any]) -> None:
        """Refuse a model that declares more weights than fit the size of the file.

        The model is built without memory for its weights, in a scope that defers them.
        """
        from keras.src.backend.common import global_state

        waiting = "uninitialized_variables"
        before = global_state.get_global_attribute(waiting)
        global_state.set_global_attribute(waiting, [])
        try:
            with keras.StatelessScope(initialize_variables=False):
                model = keras.saving.deserialize_keras_object(
                    deepcopy(self.config),  # Keras changes it
                    custom_objects=custom_objects,
                    safe_mode=True,
                )
        finally:
            global_state.set_global_attribute(waiting, before)
        budget = Budget(self._limit)
        for variable in model.variables:
            size = 8
            for length in variable.shape:
                size *= length
            budget.spend(size)

    def _check_weights(self) -> None:
        """Check the HDF5 file: plain arrays in groups, within the memory limit, without links."""
        import h5py

        budget = Budget(self._limit)

        def check(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                for each in item:
                    if not isinstance(item.get(each, getlink=True), h5py.HardLink):
                        raise Refused(f"{WEIGHTS} has the link {name}/{each!s:.60}")
            elif not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
                raise Refused(f"{WEIGHTS}: {name!s:.80} has its data in another file")
            elif item.dtype.hasobject:
                raise Refused(f"{WEIGHTS}: {name!s:.80} is not an array of numbers")
            else:
                budget.spend(item.nbytes)

        with h5py.File(io.BytesIO(self._members[WEIGHTS]), "r") as file:
            check("", file)
            file.visititems(check)


def check_layers(model: Any) -> None:
    """Refuse a model with a layer whose code the file would hold; raises `RegistryError`."""
    for layer in model._flatten_layers():
        if type(layer).__name__ in _RUN_CODE:
            raise RegistryError(
                f"its layer {layer.name!r} is a {type(layer).__name__}, whose code would be in the "
                f"file: write a class of keras.layers.Layer at the top of a module instead"
            )


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)


def _named(node: dict[str, Any], keras: Any) -> str:
    """Return the reference to the user's class of a node, "" for one of Keras or a plain value."""
    for name in _PATHS:
        if isinstance(node.get(name), str):
            raise Refused(f"a layer would read the file {node[name]!r:.80} as its {name}")
    if "class_name" not in node:
        return ""
    kind, module = node["class_name"], node.get("module")
    if kind in _RUN_CODE or kind == _LAMBDA:
        raise Refused(
            f"it has a {str(kind).strip('_')} layer, whose code is in the file or in another one; "
            f"Keras would run it, so it is never loaded"
        )
    if kind in _VALUES:
        return ""
    if not isinstance(kind, str) or not isinstance(module, str):
        raise Refused(f"it names {kind!r:.60} without a module")
    if module.partition(".")[0] != "keras":
        return f"{module}:{kind}"
    if not _computes(keras, module, kind) or node.get("registered_name") not in (None, kind):
        raise Refused(f"it names {module}.{kind}, which is not a layer or an operation of Keras")
    return ""


def _computes(keras: Any, module: str, name: str) -> bool:
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, tuple(_bases(keras)))


def _bases(keras: Any) -> Iterator[type]:
    for name in _COMPUTING:
        found: Any = keras
        for part in name.split("."):
            found = getattr(found, part)
        yield found
