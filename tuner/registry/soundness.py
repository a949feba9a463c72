"""Checks of the arrays that compiled code follows without checking them itself.

scikit-learn's trees hold indices of nodes and of features, and its predictions follow them blindly:
a file that was made up could make them read, or write, outside of their arrays
(https://github.com/scikit-learn/scikit-learn/pull/34558). skops therefore does not trust these
types. We do, and look at what is in them before anything uses them.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NOT_PARTS = (type, ModuleType, FunctionType, BuiltinFunctionType)


class Unsound(ValueError):
    """An array that leads outside of another one."""


def check_model(model: Any) -> None:
    """Check every tree and sparse matrix in a model that was just read and not used yet.

    A tree of neighbours (``KDTree``, ``BallTree``) is built anew from its points.

    Raises
    ------
    Unsound
        If an index leads nowhere, or does not fit the model around it.
    """
    from scipy import sparse
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.neighbors import BallTree, KDTree
    from sklearn.tree._tree import Tree

    parts = list(_parts(model))
    for part in parts:
        if isinstance(part, Tree):
            _check_tree(part)
        elif isinstance(part, TreePredictor):
            _check_predictor(part)
        elif isinstance(part, KDTree | BallTree):
            _build_anew(part)
        elif sparse.issparse(part) and hasattr(part, "check_format"):
            part.check_format(full_check=True)
    # What fits together is asked once each part is known to be sound in itself.
    for part in parts:
        _check_owner(part)


def _parts(model: Any) -> Iterator[Any]:
    """Yield every object that a model is made of, once, itself included."""
    seen = {id(model)}
    waiting = [model]
    while waiting:
        part = waiting.pop()
        yield part
        # An array of objects does not tell the garbage collector what is in it.
        is_array = isinstance(part, np.ndarray) and part.dtype.hasobject
        inner = [*gc.get_referents(part), *(part.ravel().tolist() if is_array else ())]
        for each in inner:
            if id(each) not in seen and not isinstance(each, _NOT_PARTS):
                seen.add(id(each))
                waiting.append(each)


def _check_tree(tree: Any) -> None:
    """Check a ``sklearn.tree._tree.Tree``, whose leaves have the children -1."""
    n_nodes = tree.node_count
    _require(0 < n_nodes <= tree.capacity, "it has fewer nodes than it says")
    nodes = tree.__getstate__()["nodes"]
    inner = nodes["left_child"] != -1
    left, right = nodes["left_child"][inner], nodes["right_child"][inner]
    depth = _depth(n_nodes, np.flatnonzero(inner), left, right)
    _require(depth <= tree.max_depth, "it is deeper than it says")
    feature = nodes["feature"][inner]
    _require(_within(feature, tree.n_features), "a node asks for a feature that is not there")


def _check_predictor(predictor: Any) -> None:
    """Check a tree of ``HistGradientBoosting...``."""
    nodes = predictor.nodes
    _require(nodes.ndim == 1 and len(nodes) > 0, "its nodes are no list")
    inner = nodes["is_leaf"] == 0
    left, right = (nodes[side][inner].astype(np.int64) for side in ("left", "right"))
    _depth(len(nodes), np.flatnonzero(inner), left, right)
    categorical = nodes[inner & (nodes["is_categorical"] != 0)]
    for bits in (predictor.raw_left_cat_bitsets, predictor.binned_left_cat_bitsets):
        _require(bits.ndim == 2 and bits.shape[1] == 8, "its sets of categories are no sets")
        _require(_within(categorical["bitset_idx"], len(bits)), "a node asks for a set of nowhere")


def _depth(
    n_nodes: int, parents: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> int:
    """Return how deep a tree is; children come after their parent, so every way down ends."""
    for children in (left, right):
        _require(
            bool(np.all(parents < children) and np.all(children < n_nodes)),
            "a node has a child that is not below it",
        )
    # Ways down from each node, level by level: a made-up tree may reach a node in several ways.
    left_of, right_of = np.full(n_nodes, -1), np.full(n_nodes, -1)
    left_of[parents], right_of[parents] = left, right
    level, depth = np.zeros(1, np.int64), -1
    while len(level):
        depth += 1
        below = np.unique(np.concatenate([left_of[level], right_of[level]]))
        level = below[below >= 0]
    return depth


def _build_anew(tree: Any) -> None:
    points, _, _, _, leaf_size, *_, metric, weights = tree.__getstate__()
    built = type(tree)(np.asarray(points), leaf_size, metric=metric, sample_weight=weights)
    tree.__setstate__(built.__getstate__())


def _check_owner(owner: Any) -> None:
    """Check that an estimator's trees ask for no more features than it asks its caller for."""
    attributes = getattr(owner, "__dict__", {})
    n_features = attributes.get("n_features_in_", -1)
    if (tree := attributes.get("tree_")) is not None:
        _require(tree.n_features == n_features, "it has a tree for other features")
    for predictor in _flat(attributes.get("_predictors", ())):
        _check_features(predictor, attributes["_bin_mapper"], n_features)
    subsets = attributes.get("estimators_features_")
    for n, member in enumerate(_flat(attributes.get("estimators_", ()))):
        if "tree_" in getattr(member, "__dict__", {}):
            given = n_features if subsets is None else len(subsets[n])
            _require(member.tree_.n_features == given, "it has a tree for other features")


def _check_features(predictor: Any, bin_mapper: Any, n_features: int) -> None:
    nodes = predictor.nodes[predictor.nodes["is_leaf"] == 0]
    _require(
        _within(nodes["feature_idx"], n_features), "a node asks for a feature that is not there"
    )
    is_categorical = np.asarray(bin_mapper.is_categorical_)
    _require(is_categorical.shape == (n_features,), "its bins are of other features")
    of_categories = nodes["feature_idx"][nodes["is_categorical"] != 0]
    _require(bool(is_categorical[of_categories].all()), "a node takes a number for a category")


def _flat(members: Any) -> Iterator[Any]:
    for member in members:
        if isinstance(member, list | tuple | np.ndarray):
            yield from _flat(member)
        else:
            yield member


def _within(indices: NDArray[Any], n: int) -> bool:
    return bool(np.all(indices >= 0) and np.all(indices < n))


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Unsound(f"not a model that was fitted: {otherwise}")
