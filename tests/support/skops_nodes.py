"""Nodes of a skops schema, written by hand, and files made of them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tuner.registry import skops_library

skops_io = skops_library.skops_io()

Node = dict[str, Any]


def node(loader: str, type_name: str, **fields: Any) -> Node:
    module, _, name = type_name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": name, **fields}


def value(plain: Any) -> Node:
    return node("JsonNode", "builtins.str", content=json.dumps(plain), is_json=True)


def several(*nodes: Node) -> Node:
    return node("TupleNode", "builtins.tuple", content=list(nodes))


def a_list(*nodes: Node) -> Node:
    return node("ListNode", "builtins.list", content=list(nodes))


def of_type(name: str) -> Node:
    return node("TypeNode", name)


def mapping(content: dict[str, Node], *types: Node) -> Node:
    keys = a_list(*(types or [of_type("builtins.str")] * len(content)))
    return node("DictNode", "builtins.dict", key_types=keys, content=content)


def an_object(type_name: str, **attributes: Node) -> Node:
    return node("ObjectNode", type_name, content=mapping(attributes))


def partial(func: Node, *args: Node, **kwds: Node) -> Node:
    content = {
        "func": func,
        "args": several(*args),
        "kwds": mapping(kwds),
        "namespace": value(None),
    }
    return node("PartialNode", "functools.partial", content=content)


def scaler(**attributes: Node) -> Node:
    """An honest-looking estimator around other nodes."""
    return an_object("sklearn.preprocessing._data.StandardScaler", **attributes)


def unpacked(content: bytes) -> tuple[Node, dict[str, bytes]]:
    """Return the schema of a skops file and its other members."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("schema.json")), members


def packed(root: Node, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a skops file; `root` may lack the protocol."""
    schema = {"protocol": 2, "_skops_version": "0.16.0", **root}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("schema.json", json.dumps(schema))
    return buffer.getvalue()


def npy(array: Any, *, pickles: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickles)
    return buffer.getvalue()


def names(root: Any) -> Iterator[str]:
    """Yield every name in a schema, as one who trusts all of it would list them."""
    if isinstance(root, list):
        for each in root:
            yield from names(each)
    elif isinstance(root, dict):
        if "__class__" in root:
            yield f"{root['__module__']}.{root['__class__']}"
        for each in root.values():
            yield from names(each)


def load_trusting_all(content: bytes) -> Any:
    """Load as skops alone does where somebody trusts every name in the file."""
    return skops_io.loads(content, trusted=sorted(set(names(unpacked(content)[0]))))


def changed(content: bytes, change: Callable[[Node], None]) -> bytes:
    """Return the file with its schema changed."""
    root, members = unpacked(content)
    change(root)
    return packed(root, members)
