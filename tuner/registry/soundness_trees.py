"""Checks of decision trees and of the estimators that predict with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.registry.trusted import UNFITTED

_NO_CHILD = -1
_CATEGORY_WORDS = 8  # words of 32 bits in a set of 256 categories


class Unsound(ValueError):
    """An array whose indices are out of the range of another array."""


def require(holds: bool, otherwise: str) -> None:
    """Raise `Unsound` unless a condition holds."""
    if not holds:
        raise Unsound(f"{UNFITTED}: {otherwise}")


def within(indices: NDArray[Any], n: int) -> bool:
    """Whether all indices are from 0 to n - 1."""
    return bool(np.all(indices >= 0) and np.all(indices < n))


def integer(value: Any, otherwise: str) -> int:
    """Return an attribute that must be an integer."""
    require(isinstance(value, int | np.integer) and not isinstance(value, bool), otherwise)
    return int(value)


def attributes_of(owner: Any) -> Any:
    """Return the dict of an object's own attributes, without properties of its class."""
    return getattr(owner, "__dict__", {})


def features_of(owner: Any) -> int:
    """Return the number of features that an estimator requires from its caller."""
    return integer(attributes_of(owner).get("n_features_in_"), "it has no number of features")


def check_tree(tree: Any) -> None:
    """Check a ``sklearn.tree._tree.Tree``, whose leaves have the children -1."""
    n_nodes = tree.node_count
    require(0 < n_nodes <= tree.capacity, "it has fewer nodes than it says")
    nodes = tree.__getstate__()["nodes"]
    inner = nodes["left_child"] != _NO_CHILD
    left, right = nodes["left_child"][inner], nodes["right_child"][inner]
    depth = _depth(n_nodes, np.flatnonzero(inner), left, right)
    require(depth <= tree.max_depth < n_nodes, "it is deeper than it says")
    feature = nodes["feature"][inner]
    require(within(feature, tree.n_features), "a node asks for a feature that is not there")


def check_predictor(predictor: Any) -> None:
    """Check a tree of ``HistGradientBoosting...``."""
    nodes = predictor.nodes
    require(nodes.ndim == 1 and len(nodes) > 0, "its nodes are no list")
    inner = nodes["is_leaf"] == 0
    left, right = (nodes[side][inner].astype(np.int64) for side in ("left", "right"))
    _depth(len(nodes), np.flatnonzero(inner), left, right)
    categorical = nodes[inner & (nodes["is_categorical"] != 0)]
    for bits in (predictor.raw_left_cat_bitsets, predictor.binned_left_cat_bitsets):
        require(
            bits.ndim == 2 and bits.shape[1] == _CATEGORY_WORDS,
            "its sets of categories are no sets",
        )
        require(within(categorical["bitset_idx"], len(bits)), "a node asks for a set of nowhere")


def _depth(
    n_nodes: int, parents: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> int:
    """Return the depth of a tree; requires that each node but the root follows its only parent."""
    for children in (left, right):
        require(
            bool(np.all(parents < children) and np.all(children < n_nodes)),
            "a node has a child that is not below it",
        )
    children = np.concatenate([left, right])
    require(
        len(children) == n_nodes - 1 and np.array_equal(np.sort(children), np.arange(1, n_nodes)),
        "a node is the child of none or of several others",
    )
    left_of, right_of = np.full(n_nodes, _NO_CHILD), np.full(n_nodes, _NO_CHILD)
    left_of[parents], right_of[parents] = left, right
    level, depth = np.zeros(1, np.int64), -1
    while len(level):
        depth += 1
        below = np.concatenate([left_of[level], right_of[level]])
        level = below[below >= 0]
    return depth


# --- their owners -------------------------------------------------------------------------------


def check_tree_owner(owner: Any) -> None:
    """Check that a decision tree uses only features that it requires from its caller."""
    tree = attributes_of(owner).get("tree_")
    if tree is not None:
        require(
            type(tree).__name__ == "Tree" and tree.n_features == features_of(owner),
            "it has a tree for other features",
        )


def check_forest(forest: Any) -> None:
    """Check a forest, a bagging or an isolation forest: the features of each member."""
    attributes = attributes_of(forest)
    if "estimators_" not in attributes:
        return
    n_features, subsets = features_of(forest), attributes.get("estimators_features_")
    whole = subsets is None or attributes.get("_max_features") == n_features
    for n, member in enumerate(flat(attributes["estimators_"])):
        if "tree_" not in attributes_of(member):
            continue
        given = n_features if whole else len(np.asarray(subsets[n]))
        if subsets is not None:
            require(len(np.asarray(subsets[n])) in (given, n_features), "its subsets do not fit")
        require(member.tree_.n_features == given, "it has a tree for other features")


def check_gradient_boosting(owner: Any) -> None:
    """Check that every stage has one tree per column of the prediction."""
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.tree._tree import Tree

    attributes = attributes_of(owner)
    if "estimators_" not in attributes:
        return
    stages, n_features = attributes["estimators_"], features_of(owner)
    require(isinstance(stages, np.ndarray) and stages.ndim == 2, "its stages are no table")
    n_trees = integer(attributes.get("n_trees_per_iteration_"), "its stages have no size")
    require(stages.shape[0] > 0 and 0 < n_trees == stages.shape[1], "its stages have another size")
    for member in stages.ravel():
        tree = attributes_of(member).get("tree_")
        require(type(tree) is Tree, "a stage has no tree")
        require(tree.n_features == n_features, "it has a tree for other features")
        require(tree.n_outputs == tree.max_n_classes == 1, "a stage has a tree of several values")
    loss, init = attributes.get("_loss"), attributes.get("init_")
    multiclass = bool(getattr(type(loss), "is_multiclass", False))
    require(loss is not None and (multiclass or n_trees == 1), "its loss is of another size")
    if isinstance(init, str):
        require(init == "zero", "it starts from nothing known")
        return
    require(
        type(init) in (DummyClassifier, DummyRegressor),
        f"it starts from a {type(init).__name__}, whose predictions are not checked; trust the "
        f"class {type(owner).__module__}.{type(owner).__name__} to load it",
    )
    require(attributes_of(init).get("n_outputs_") == 1, "it starts from several outputs")
    if isinstance(init, DummyClassifier):
        prior = np.asarray(attributes_of(init).get("class_prior_"))
        n_classes = n_trees if multiclass else 2
        require(
            init.strategy == "prior"
            and prior.shape == (n_classes,)
            and attributes_of(init).get("n_classes_") == n_classes,
            "it starts from other classes",
        )
    else:
        require(not multiclass and np.size(init.constant_) == 1, "it starts from several values")


def check_hist_gradient_boosting(owner: Any) -> None:
    """Check that trees use only features, categories and bins that exist."""
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    attributes = attributes_of(owner)
    if "_predictors" not in attributes:
        return
    n_features = features_of(owner)
    bins = attributes.get("_bin_mapper")
    require(bins is not None, "it has no bins")
    _check_bins(bins, n_features)
    is_categorical = np.asarray(bins.is_categorical_)
    for predictor in flat(attributes["_predictors"]):
        require(type(predictor) is TreePredictor, "it has a tree of another kind")
        nodes = predictor.nodes[predictor.nodes["is_leaf"] == 0]
        require(
            within(nodes["feature_idx"], n_features), "a node asks for a feature that is not there"
        )
        of_categories = nodes["feature_idx"][nodes["is_categorical"] != 0]
        require(bool(is_categorical[of_categories].all()), "a node takes a number for a category")
    if attributes.get("_preprocessor") is not None:
        _check_preprocessor(attributes["_preprocessor"], n_features)


def _check_bins(bins: Any, n_features: int) -> None:
    is_categorical = np.asarray(bins.is_categorical_)
    require(is_categorical.shape == (n_features,), "its bins do not match its features")
    n_bins = integer(bins.n_bins, "it has no number of bins")
    require(3 <= n_bins <= 256 and bins.missing_values_bin_idx_ == n_bins - 1, "its bins are odd")
    thresholds = bins.bin_thresholds_
    require(
        isinstance(thresholds, list) and len(thresholds) == n_features,
        "its bins do not match its features",
    )
    for threshold in thresholds:
        sound = isinstance(threshold, np.ndarray) and threshold.ndim == 1
        require(sound and len(threshold) < n_bins, "it has more bins than it says")


def _check_preprocessor(columns: Any, n_features: int) -> None:
    """Check the encoder of categories, which must return one column per input column."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder
    from sklearn.utils.validation import check_array

    require(type(columns) is ColumnTransformer, "its categories are encoded in another way")
    attributes, given = attributes_of(columns), features_of(columns)
    require(given == n_features, "its encoder does not match its features")
    transformers = attributes.get("transformers_")
    require(isinstance(transformers, list) and len(transformers) >= 2, "its encoder is odd")
    taken = np.zeros(n_features, np.int64)
    for name, transformer, which in transformers:
        mask = np.asarray(which)
        if isinstance(transformer, str):
            require(transformer == "drop" and not mask.any(), f"its encoder drops {name}")
            continue
        require(mask.shape == (n_features,) and mask.dtype == bool, "its encoder is odd")
        taken += mask
        require(features_of(transformer) == mask.sum(), "its encoder does not match its features")
        if type(transformer) is FunctionTransformer:
            func = transformer.func
            bound = getattr(func, "keywords", {})
            require(
                getattr(func, "func", func) is check_array
                and not getattr(func, "args", ())
                and bound.keys() <= {"dtype", "ensure_all_finite", "force_all_finite"}
                and transformer.kw_args is None,
                "its numbers are changed on their way",
            )
        else:
            require(type(transformer) is OrdinalEncoder, "its encoder is odd")
    require(bool(np.all(taken == 1)), "its encoder leaves features out")


def flat(members: Any) -> Iterator[Any]:
    """Yield the members of nested lists."""
    for member in members:
        if isinstance(member, list | tuple | np.ndarray):
            yield from flat(member)
        else:
            yield member
