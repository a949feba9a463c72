"""The grammar of LightGBM's text format, checked before LightGBM reads it.

LightGBM reads as many numbers as the text declares, and follows the indices of trees without
checks, so that a crafted text could make it read and write foreign memory. Here every count and
every index is checked, and each line must have the form in which LightGBM writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.registry.limits import Budget, Refused
from tuner.registry.native.forests import check_forest, require, whole

_HEADER = {
    "version": r"v[34]",
    "num_class": r"\d+",
    "num_tree_per_iteration": r"\d+",
    "label_index": r"-?\d+",
    "max_feature_idx": r"\d+",
    "objective": r"[\w:.+ -]*",
    "feature_names": r"[^\n]*",
    "monotone_constraints": r"[-\d ]*",
    "feature_infos": r"[^\n]*",
    "tree_sizes": r"[\d ]*",
}
_OPTIONAL = {"objective", "monotone_constraints"}
_AVERAGE = "average_output"  # a line of its own, of random forests
_OF_INNER = (
    "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
    "internal_value", "internal_weight", "internal_count",
)  # fmt: skip
_OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_OF_CATEGORIES = ("cat_boundaries", "cat_threshold")
_OF_LINEAR = ("leaf_const", "num_features", "leaf_features", "leaf_coeff")
_NUMBERS = re.compile(r"[-+0-9.einfa ]*")
_CATEGORICAL = 1
_DECISIONS = 12  # of 4 bits, with at most 2 for the type of missing values
_BYTES_OF_NUMBER = 16
_END_OF_TREES = "end of trees\n"
_END = "\nend of parameters\n"


def check(content: bytes) -> None:
    """Refuse a model text whose counts or indices are out of range."""
    budget = Budget(len(content))
    budget.spend(_BYTES_OF_NUMBER * content.count(b" "))
    text = content.decode("utf-8")
    require(
        not any(c in text for c in "\r\0\v\f") and text.startswith("tree\n"),
        "it is not a text of LightGBM",
    )
    head, _, rest = text.partition("\nTree=")
    header = _header(head.split("\n")[1:])
    features = whole(header["max_feature_idx"], "max_feature_idx") + 1
    _check_counts(header, features)
    body = f"Tree={rest}" if rest else head[head.find(_END_OF_TREES) :]
    sizes = _integers(header["tree_sizes"], "tree_sizes")
    trees, tail = _divided(body, sizes)
    outputs = whole(header["num_tree_per_iteration"], "num_tree_per_iteration", 1)
    require(
        len(trees) % outputs == 0 and outputs <= max(len(trees), 1),
        "the number of trees is not a multiple of the outputs",
    )
    for index, tree in enumerate(trees):
        _check_tree(tree, index, features)
    _check_tail(tail)


def _header(lines: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        if line in ("", _AVERAGE):
            continue
        if line == _END_OF_TREES.strip():  # a model without trees
            break
        name, equals, value = line.partition("=")
        pattern = _HEADER.get(name)
        require(
            equals and pattern and name not in found and re.fullmatch(pattern, value),
            f"the line {line!r:.60} is not one of LightGBM's",
        )
        found[name] = value
    missing = sorted(_HEADER.keys() - _OPTIONAL - found.keys())
    require(not missing, f"it has no line {missing[:1]}")
    return found


def _check_counts(header: Mapping[str, str], features: int) -> None:
    for name in ("feature_names", "feature_infos"):
        require(len(header[name].split(" ")) == features, f"{name} is not one for each feature")
    constraints = header.get("monotone_constraints")
    if constraints is not None:
        _integers(constraints, "monotone_constraints", features)
    classes = whole(header["num_class"], "num_class", 1)
    outputs = whole(header["num_tree_per_iteration"], "num_tree_per_iteration", 1)
    require(classes == outputs, "num_class is not the number of trees in an iteration")
    declared = re.findall(r"num_class:(\S+)", header.get("objective", ""))
    require(
        all(each == str(classes) for each in declared),
        "the objective has another number of classes than the model",
    )
    if header.get("objective", "").startswith("multiclass"):
        require(len(declared) == 1, "the objective has no number of classes")


def _divided(body: str, sizes: NDArray[np.int64]) -> tuple[list[str], str]:
    """Return the texts of the trees and the text after them, by the sizes that the file has."""
    ends = np.concatenate([[0], np.cumsum(sizes)])
    require(bool(np.all(sizes > 0)) and ends[-1] <= len(body), "tree_sizes is out of range")
    trees = [body[begin:end] for begin, end in pairwise(ends)]
    require(all(tree.isascii() for tree in trees), "a tree is not ASCII text")  # sizes are in bytes
    tail = body[ends[-1] :]
    require(tail.startswith(_END_OF_TREES), "tree_sizes is not the size of the trees")
    return trees, tail


def _check_tree(text: str, index: int, features: int) -> None:
    """Check a tree: its numbers, its children, its features and its sets of categories."""
    where = f"tree {index}"
    first, *lines = text.rstrip("\n").split("\n")
    require(first == f"Tree={index}", f"{where} has another number")
    values: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        require(
            equals and name not in values and _NUMBERS.fullmatch(value),
            f"{where} has the line {line!r:.60}",
        )
        values[name] = value
    known = {"num_leaves", "num_cat", "is_linear", "shrinkage", *_OF_INNER, *_OF_LEAVES}
    linear = values.get("is_linear") == "1"
    sets = whole(values.get("num_cat", "0"), f"{where}: num_cat")
    known |= {*(_OF_LINEAR if linear else ()), *(_OF_CATEGORIES if sets else ())}
    require(values.keys() == known, f"{where} has other lines: {sorted(values.keys() ^ known)}")
    require(values["is_linear"] in ("0", "1"), f"{where}: is_linear is not 0 or 1")
    require(len(_floats(values["shrinkage"], "shrinkage")) == 1, f"{where} has no shrinkage")
    leaves = whole(values["num_leaves"], f"{where}: num_leaves", 1)
    if linear:
        _check_linear(values, leaves, features)
    if leaves == 1:
        require(len(_floats(values["leaf_value"], "leaf_value")) == 1, f"{where} has no value")
        require(not sets, f"{where} has sets of categories without nodes")
        return
    inner = leaves - 1
    for names, count in ((_OF_INNER, inner), (_OF_LEAVES, leaves)):
        for name in names:
            _floats(values[name], f"{where}: {name}", count)
    _check_nodes(values, where, leaves, features, sets)


def _check_nodes(
    values: Mapping[str, str], where: str, leaves: int, features: int, sets: int
) -> None:
    inner = leaves - 1
    children = np.stack(
        [_integers(values[f"{side}_child"], where, inner) for side in ("left", "right")], axis=1
    )
    require(bool(np.all(children < inner)), f"{where} has a child that does not exist")
    below = np.where(children >= 0, children, inner + ~children)  # -1 is leaf 0, -2 is leaf 1
    nodes = np.concatenate([below, np.full((leaves, 2), -1)])
    require(bool(np.all(check_forest(nodes, np.array([0])))), f"{where} has unreachable nodes")
    used = _integers(values["split_feature"], where, inner)
    require(bool(np.all((used >= 0) & (used < features))), f"{where} uses a feature out of range")
    decisions = _integers(values["decision_type"], where, inner)
    require(bool(np.all((decisions >= 0) & (decisions < _DECISIONS))), f"{where}: decision_type")
    chosen = np.array(_floats(values["threshold"], where, inner))[(decisions & _CATEGORICAL) != 0]
    require(
        bool(np.all((chosen >= 0) & (chosen < sets) & (chosen == np.floor(chosen)))),
        f"{where} uses a set of categories out of range",
    )
    if sets:
        words = _integers(values["cat_threshold"], where, most=2**32)
        ends = _integers(values["cat_boundaries"], where, sets + 1)
        require(
            ends[0] == 0 and ends[-1] == len(words) and bool(np.all(np.diff(ends) >= 0)),
            f"{where} has sets of categories out of range",
        )


def _check_linear(values: Mapping[str, str], leaves: int, features: int) -> None:
    counts = _integers(values["num_features"], "num_features", leaves)
    require(bool(np.all(counts >= 0)), "num_features is negative")
    total = int(counts.sum())
    used = _integers(" ".join(values["leaf_features"].split()), "leaf_features", total)
    require(bool(np.all((used >= 0) & (used < features))), "a leaf uses a feature out of range")
    _floats(" ".join(values["leaf_coeff"].split()), "leaf_coeff", total)
    _floats(values["leaf_const"], "leaf_const", leaves)


def _check_tail(text: str) -> None:
    """Check the importances, the parameters, and the categories of the training data."""
    before, end, after = text.partition(_END)
    require(end, "it is truncated")
    importances, parameters, settings = before.removeprefix(_END_OF_TREES).partition(
        "\nparameters:"
    )
    require(parameters and importances.startswith("\nfeature_importances:"), "it has no parameters")
    for line in settings.split("\n"):
        require(re.fullmatch(r"\[\w+: .*\]|", line), f"the parameter {line!r:.60} is unreadable")
    categories = after.strip("\n").removeprefix("pandas_categorical:")
    if after != f"\npandas_categorical:{categories}\n":
        raise Refused("it is truncated")
    lists = json.loads(categories)
    require(
        lists is None or (isinstance(lists, list) and all(map(_are_distinct, lists))),
        "pandas_categorical is not a list of lists of distinct values",
    )


def _are_distinct(values: Any) -> bool:
    """Whether these are categories of a column."""
    scalars = isinstance(values, list) and {str, int, float, bool}.issuperset(map(type, values))
    return scalars and len(set(values)) == len(values)


def _floats(text: str, where: str, count: int | None = None) -> list[float]:
    require(_NUMBERS.fullmatch(text), f"{where} is not a list of numbers")
    found = [float(part) for part in text.split(" ")] if text.strip() else []
    if count is not None:
        require(len(found) == count, f"{where} has {len(found)} numbers instead of {count}")
    return found


def _integers(
    text: str, where: str, count: int | None = None, most: int = 2**31
) -> NDArray[np.int64]:
    require(re.fullmatch(r"[-0-9 ]*", text), f"{where} is not a list of integers")
    found: Any = [int(part) for part in text.split(" ")] if text else []
    require(all(-most <= each < most for each in found), f"{where} has a number out of range")
    if count is not None:
        require(len(found) == count, f"{where} has {len(found)} numbers instead of {count}")
    return np.array(found, dtype=np.int64)
