"""Content of single nodes of a skops schema: names, plain values, attributes of objects."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tuner.registry import trusted as lists
from tuner.registry.limits import Refused

Node = dict[str, Any]

_READING = frozenset({"BytearrayNode", "BytesNode", "NdArrayNode", "SparseMatrixNode"})

_MOST_INTEGER = 2**62
_OVERRIDDEN = ("positive",)  # a parameter whose default a class of scikit-learn keeps


@lru_cache(maxsize=4096)
def is_name(module: object, name: object) -> bool:
    """Whether this is a module and a name in it; a dotted name could reach other modules."""
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    return name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def name_of(node: Any) -> str:
    """Return the full name of the class or function that a node names."""
    return f"{node.get('__module__')}.{node.get('__class__')}" if isinstance(node, dict) else "?"


def value_of(node: Any) -> Any:
    """Return the plain value of a node, or the node itself if it has another kind of value."""
    if not isinstance(node, dict) or node.get("__loader__") != "JsonNode":
        return node
    return json.loads(node["content"])


def integer_of(node: Any) -> int:
    """Return the integer of a node."""
    value = value_of(node)
    if type(value) is not int or abs(value) > _MOST_INTEGER:
        raise Refused("it has another value where an integer must be")
    return value


def resolve(name: str) -> Any:
    """Return the class or function of that name, or None if it does not exist."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None


def is_none(node: Any) -> bool:
    """Whether a node is None."""
    return isinstance(node, dict) and node.get("content") == "null"


def is_none_or_nones(node: Any) -> bool:
    """Whether a node is None, a list of None, or an array."""
    if isinstance(node, dict) and node.get("__loader__") in ("ListNode", "TupleNode"):
        return all(map(is_none, node["content"]))
    if isinstance(node, dict) and node.get("__loader__") in ("NdArrayNode", "MaskedArrayNode"):
        return True  # the candidates of a search, which are part of its results
    return is_none(node)


def is_empty(node: Node) -> bool:
    """Whether a checked node is None, an empty dict or an empty tuple."""
    if node["__loader__"] in ("DictNode", "TupleNode"):
        return not node["content"]
    return is_none(node)


def is_plain(node: Node) -> bool:
    """Whether a checked node is made of plain values."""
    if node["__loader__"] in ("ListNode", "TupleNode"):
        return all(map(is_plain, node["content"]))
    if node["__loader__"] == "DictNode":
        return all(map(is_plain, node["content"].values()))
    return node["__loader__"] in ("JsonNode", "TypeNode", "DTypeNode") or (
        node["__loader__"] == "NdArrayNode" and node["type"] == "numpy"
    )


class SharedNodes:
    """Check that nodes with one id are equal, because skops uses the first of them for all.

    Parameters
    ----------
    read
        Returns the content of a file of the archive.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._by_id: dict[int, Node] = {}

    def check(self, node: Node) -> None:
        """Compare a node with the earlier one that has its id."""
        identity = node.get("__id__")
        if identity is None:
            return
        if type(identity) is not int or not 0 < identity < 2**64:
            raise Refused(f"a node has the id {identity!r}")
        first = self._by_id.setdefault(identity, node)
        if first is not node and not self._same(first, node):
            raise Refused(f"two different nodes have the id {identity}")

    def _same(self, first: Any, other: Any) -> bool:
        if type(first) is not type(other):
            return False
        if isinstance(first, dict):
            if list(first) != list(other):
                return False
            is_file = first.get("__loader__") in _READING
            return all(
                self._same_file(first[key], other[key])
                if is_file and key == "file"
                else key == "__id__" or self._same(first[key], other[key])
                for key in first
            )
        if isinstance(first, list):
            return len(first) == len(other) and all(map(self._same, first, other))
        return bool(first == other)

    def _same_file(self, first: Any, other: Any) -> bool:
        if first == other:
            return True
        if not isinstance(first, str) or not isinstance(other, str):
            return False
        return self._read(first) == self._read(other)


def check_slice(content: Any, where: str) -> None:
    """Check the bounds of a slice, the value of the attribute `where`."""
    if not isinstance(content, dict) or content.keys() != {"start", "stop", "step"}:
        raise Refused(f"attribute {where!r} has a slice without bounds")
    if not all(v is None or type(v) in (int, str) for v in content.values()):
        raise Refused(f"attribute {where!r} has a slice whose bounds are not plain values")


def check_tuple(name: str, state: Any) -> None:
    """Check the state of an object of compiled code, which reads it without checks."""
    expected = lists.STATES_OF_TUPLES[name]
    if state["__loader__"] != "TupleNode" or len(state["content"]) != len(expected):
        raise Refused(f"a {name} has another state than it writes")
    for part, kind in zip(state["content"], expected, strict=True):
        if kind == "array":
            good = part["__loader__"] == "NdArrayNode" and part["type"] == "numpy"
        elif kind == "array or none":
            good = part["__loader__"] == "NdArrayNode" and part["type"] == "numpy"
            good = good or is_none(part)
        elif kind == "integer":
            good = 0 <= integer_of(part) < 2**31
        elif kind == "number":
            good = type(value_of(part)) in (int, float)
        else:
            good = part["__loader__"] == "ObjectNode" and name_of(part) in lists.METRICS
        if not good:
            raise Refused(f"a {name} has another state than it writes")


REMEDY_OF = {
    "memory": "a model with memory= would read a cache of pickles; set memory=None before saving",
    "input": "a model with input= would open files that its data name; set input='content'",
}


def check_values(name: str, attributes: Node) -> None:
    """Check attributes that could make a model open files or call forbidden functions."""
    for attribute, allowed in lists.ONLY_VALUES.items():
        if attribute in attributes and attributes[attribute].get("content") not in allowed:
            raise Refused(REMEDY_OF[attribute])
    if name not in lists.SCORERS or "_response_method" not in attributes:
        return
    method = attributes["_response_method"]
    methods = method["content"] if method["__loader__"] in ("ListNode", "TupleNode") else [method]
    if not all(value_of(each) in lists.RESPONSES for each in methods):
        raise Refused(f"a {name} calls another method than {', '.join(lists.RESPONSES)}")
    if "_kwargs" in attributes and not is_plain(attributes["_kwargs"]):
        raise Refused(f"a {name} has arguments that are no plain values")
    if attributes.get("_score_func", {}).get("__loader__") != "FunctionNode":
        raise Refused(f"a {name} has no function of scikit-learn's")


@lru_cache(maxsize=4096)
def check_attributes(module: str, name: str, attributes: tuple[str, ...]) -> None:
    """Check that no attribute of an object hides a method or another attribute of its class."""
    own = getattr(importlib.import_module(module), name, None)
    if not isinstance(own, type):
        raise Refused(f"{module}.{name} is not a class")
    for attribute in attributes:
        if attribute not in _OVERRIDDEN and inspect.getattr_static(own, attribute, own) is not own:
            raise Refused(f"{module}.{name} has an attribute {attribute!r} that hides its class's")
