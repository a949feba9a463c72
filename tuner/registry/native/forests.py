"""Checks of trees in files: compiled code follows their indices without looking."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.registry.limits import Refused

_LARGEST = 2**31 - 1


def check_forest(children: NDArray[np.int64], roots: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the nodes that the roots reach; refuses a graph that is not a set of trees.

    Parameters
    ----------
    children
        The two children of each node, numbered over all trees; negative numbers for none. Shape
        (n_nodes, 2).
    roots
        The root of each tree. A node that another root reaches, too, is refused.
    """
    if bool(np.any(children >= len(children))) or bool(np.any(roots >= len(children))):
        raise Refused("a node of a tree has a child that does not exist")
    reached = np.zeros(len(children), dtype=bool)
    level = roots
    while len(level):
        if bool(np.any(reached[level])) or len(np.unique(level)) < len(level):
            raise Refused("a node of a tree is the child of several nodes")
        reached[level] = True
        below = children[level].ravel()
        level = below[below >= 0]
    return reached


def fields(node: Any, where: str, needed: Collection[str], more: Collection[str] = ()) -> Any:
    """Return a table of a file that has the keys `needed`, and no others except `more`."""
    if not isinstance(node, dict):
        raise Refused(f"{where} is not a table")
    if missing := sorted(set(needed) - node.keys()):
        raise Refused(f"{where} lacks {missing[0]!r}")
    if unknown := sorted(node.keys() - set(needed) - set(more)):
        raise Refused(f"{where} has the unknown entry {unknown[0]!r:.60}")
    return node


def whole(text: Any, where: str, least: int = 0, most: int = _LARGEST) -> int:
    """Return an integer that a file keeps as text or number."""
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 12:
        text = int(text)
    if type(text) is not int or not least <= text <= most:
        raise Refused(f"{where} is {text!r:.40}: it must be from {least} to {most}")
    return text


def numbers(node: Mapping[str, Any], name: str, length: int | None = None) -> NDArray[Any]:
    """Return a list of numbers, of a length if one is given."""
    values = node[name]
    if not isinstance(values, list) or not {int, float}.issuperset(map(type, values)):
        raise Refused(f"{name} is not a list of numbers")
    if length is not None and len(values) != length:
        raise Refused(f"{name} has {len(values)} values instead of {length}")
    return np.array(values) if values else np.zeros(0, dtype=np.int64)


def integers(node: Mapping[str, Any], name: str, length: int | None = None) -> NDArray[np.int64]:
    """Return a list of integers of 32 bits, of a length if one is given."""
    found = numbers(node, name, length)
    if found.dtype.kind not in "iu" or bool(np.any(np.abs(found.astype(float)) > _LARGEST + 1)):
        raise Refused(f"{name} is not a list of integers")
    return found.astype(np.int64)


def require(holds: Any, otherwise: str) -> None:
    """Refuse the file unless a condition holds."""
    if not bool(holds):
        raise Refused(otherwise)
