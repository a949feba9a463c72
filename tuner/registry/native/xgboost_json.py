"""The grammar of XGBoost's model in JSON, checked before XGBoost reads it.

XGBoost follows the indices of a model without checks, so that a crafted file could make it read
foreign memory. Here every index is checked. XGBoost then gets the checked values, written again.

See https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.registry.limits import Budget
from tuner.registry.native.forests import (
    check_forest,
    fields,
    integers,
    numbers,
    require,
    whole,
)

_OF_LEARNER = (
    "attributes", "feature_names", "feature_types", "gradient_booster", "learner_model_param",
    "objective",
)  # fmt: skip
_OF_NODES = (
    "base_weights", "default_left", "left_children", "loss_changes", "parents", "right_children",
    "split_conditions", "split_indices", "split_type", "sum_hessian",
)  # fmt: skip
_OF_CATEGORIES = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_CATEGORICAL = 1
_GROUPS_WITHOUT_TREES = 1000
_BYTES_OF_FEATURE = 8  # in the buffer of one thread
_TYPES = ("int", "float", "i", "q", "c", "categorical")


def checked(text: bytes) -> bytes:
    """Return a model in JSON as it was checked; refuses one whose indices are out of range."""
    budget = Budget(len(text))
    budget.spend_json(text)
    model = fields(json.loads(text), "the model", ("learner", "version"))
    learner = fields(
        model["learner"],
        "learner",
        _OF_LEARNER,
    )
    sizes = _Sizes(learner["learner_model_param"])
    budget.spend(_BYTES_OF_FEATURE * sizes.features)
    _check_names(learner, sizes.features)
    _check_objective(learner["objective"], sizes)
    rounds = _check_booster(learner["gradient_booster"], sizes, budget)
    _check_attributes(learner["attributes"], rounds)
    return json.dumps(model).encode()


class _Sizes:
    """The numbers of features and outputs that a model declares."""

    def __init__(self, node: Any) -> None:
        where = "learner_model_param"
        fields(
            node, where, ("base_score", "num_class", "num_feature"),
            ("boost_from_average", "num_target"),
        )  # fmt: skip
        self.features = whole(node["num_feature"], "num_feature")
        self.classes = whole(node["num_class"], "num_class")
        targets = whole(node.get("num_target", "1"), "num_target", 1)
        self.groups = max(self.classes, 1) * targets
        base = node["base_score"]
        require(isinstance(base, str), "base_score is not a text")
        scores = base.strip("[]").split(",")
        require(len(scores) in (1, self.groups), f"base_score has {len(scores)} values")
        [float(score) for score in scores]


def _check_names(learner: Mapping[str, Any], features: int) -> None:
    for name in ("feature_names", "feature_types"):
        names = learner[name]
        require(
            isinstance(names, list)
            and len(names) in (0, features)
            and all(isinstance(each, str) for each in names),
            f"{name} is not a list of {features} texts",
        )
    require(set(learner["feature_types"]) <= set(_TYPES), "feature_types has an unknown type")


def _check_objective(node: Any, sizes: _Sizes) -> None:
    require(isinstance(node, dict) and isinstance(node.get("name"), str), "objective has no name")
    for name, value in node.items():
        if isinstance(value, list):  # such as "ti+" of an unbiased ranking
            numbers(node, name)
            continue
        settings = value if isinstance(value, dict) else {name: value}
        require(
            all(isinstance(each, str) for each in settings.values()),
            f"objective: {name} is no text",
        )
    if node["name"].startswith("multi:"):
        settings = node.get("softmax_multiclass_param")
        declared = whole(fields(settings, "objective", ("num_class",))["num_class"], "num_class", 1)
        require(declared == sizes.classes, "objective has another number of classes than the model")


def _check_attributes(node: Any, rounds: int) -> None:
    require(
        isinstance(node, dict) and all(isinstance(value, str) for value in node.values()),
        "attributes is not a table of texts",
    )
    if "best_iteration" in node:
        whole(node["best_iteration"], "best_iteration", 0, rounds - 1)


def _check_booster(node: Any, sizes: _Sizes, budget: Budget) -> int:
    """Check the booster, and return its number of rounds."""
    require(isinstance(node, dict), "gradient_booster is not a table")
    name = node.get("name")
    if name == "gblinear":
        linear = fields(node, name, ("model", "name"))["model"]
        fields(linear, "model", ("boosted_rounds", "weights"))
        numbers(linear, "weights", (sizes.features + 1) * sizes.groups)
        return whole(linear["boosted_rounds"], "boosted_rounds")
    if name == "dart":
        fields(node, name, ("gbtree", "name", "weight_drop"))
        trees = fields(node["gbtree"], "gbtree", ("model", "name"))
        require(trees["name"] == "gbtree", "a dart model has no trees")
        numbers(
            node, "weight_drop", len(fields(trees["model"], "model", _OF_MODEL, _CATS)["trees"])
        )
        return _check_trees(trees["model"], sizes, budget)
    require(name == "gbtree", f"the booster {name!r:.40} is unknown")
    return _check_trees(fields(node, name, ("model", "name"))["model"], sizes, budget)


_OF_MODEL = ("gbtree_model_param", "iteration_indptr", "tree_info", "trees")
_CATS = ("cats",)  # since XGBoost 3.1


def _check_trees(model: Any, sizes: _Sizes, budget: Budget) -> int:
    fields(model, "model", _OF_MODEL, _CATS)
    trees, param = model["trees"], model["gbtree_model_param"]
    fields(param, "gbtree_model_param", ("num_parallel_tree", "num_trees"))
    whole(param["num_parallel_tree"], "num_parallel_tree")
    require(isinstance(trees, list), "trees is not a list")
    require(
        whole(param["num_trees"], "num_trees") == len(trees), "num_trees is not the number of trees"
    )
    groups = integers(model, "tree_info", len(trees))
    require(
        bool(np.all(groups >= 0) and np.all(groups < sizes.groups))
        and sizes.groups <= max(len(trees), _GROUPS_WITHOUT_TREES),
        "tree_info names an output that the model lacks",
    )
    ends = integers(model, "iteration_indptr")
    require(
        len(ends) > 0 and ends[0] == 0 and ends[-1] == len(trees) and np.all(np.diff(ends) >= 0),
        "iteration_indptr does not divide the trees into rounds",
    )
    _check_categories_of_features(model.get("cats"), sizes.features)
    children, roots, total = [], [], 0
    for index, tree in enumerate(trees):
        found = _checked_tree(tree, index, sizes.features, budget)
        children.append(np.where(found >= 0, found + total, -1))
        roots.append(total)
        total += len(found)
    if not trees:
        return len(ends) - 1
    reached = check_forest(np.concatenate(children), np.array(roots))
    _check_reached(trees, roots, reached, sizes.features)
    return len(ends) - 1


def _checked_tree(tree: Any, index: int, features: int, budget: Budget) -> NDArray[np.int64]:
    """Check the lists of a tree, and return the two children of each node."""
    where = f"tree {index}"
    require(
        isinstance(tree, dict) and isinstance(tree.get("tree_param"), dict),
        f"{where} has no parameters",
    )
    leaf = whole(tree["tree_param"].get("size_leaf_vector"), f"{where}: size_leaf_vector")
    require(leaf <= 1, "its trees have vectors as leaves (multi_strategy='multi_output_tree')")
    fields(tree, where, (*_OF_NODES, *_OF_CATEGORIES, "id", "tree_param"))
    param = fields(
        tree["tree_param"],
        f"{where}: tree_param",
        ("num_deleted", "num_feature", "num_nodes", "size_leaf_vector"),
    )
    require(tree["id"] == index and type(tree["id"]) is int, f"{where} has another id")
    n = whole(param["num_nodes"], f"{where}: num_nodes", 1)
    require(
        whole(param["num_feature"], "num_feature") == features, f"{where} is for other features"
    )
    whole(param["num_deleted"], "num_deleted", 0, n)
    for name in ("base_weights", "loss_changes", "split_conditions", "sum_hessian", "default_left"):
        numbers(tree, name, n)
    left, right = (integers(tree, f"{side}_children", n) for side in ("left", "right"))
    require(
        np.all((left >= 0) == (right >= 0)) and left.min() >= -1 and right.min() >= -1,
        f"{where} has a node with one child",
    )
    require(np.all(left < n) and np.all(right < n), f"{where} has a child that does not exist")
    _check_categories(tree, where, n, budget)
    return np.stack([left, right], axis=1)


def _check_categories(tree: Mapping[str, Any], where: str, n: int, budget: Budget) -> None:
    """Check the sets of categories of a tree, one for each of its categorical nodes."""
    kinds = integers(tree, "split_type", n)
    require(set(np.unique(kinds)) <= {0, _CATEGORICAL}, f"{where} has an unknown type of split")
    nodes = integers(tree, "categories_nodes")
    require(
        np.array_equal(nodes, np.flatnonzero(kinds == _CATEGORICAL)),
        f"{where} has sets of categories for other nodes",
    )
    categories = integers(tree, "categories")
    starts = integers(tree, "categories_segments", len(nodes))
    counts = integers(tree, "categories_sizes", len(nodes))
    require(
        np.all(counts > 0)
        and np.array_equal(starts, np.cumsum(counts) - counts)
        and counts.sum() == len(categories)
        and np.all(categories >= 0),
        f"{where} has sets of categories of other sizes",
    )
    if len(nodes):
        budget.spend(int(np.maximum.reduceat(categories, starts).sum()) // 8)  # one bit for each


def _check_reached(
    trees: Sequence[Mapping[str, Any]], roots: Sequence[int], reached: NDArray[Any], features: int
) -> None:
    """Check the features and parents of the nodes that the roots reach."""
    for tree, root in zip(trees, roots, strict=True):
        left, right = integers(tree, "left_children"), integers(tree, "right_children")
        inner = np.flatnonzero(reached[root : root + len(left)] & (left >= 0))
        used = integers(tree, "split_indices", len(left))[inner]
        require(
            np.all(used >= 0) and np.all(used < features),
            "a node of a tree uses a feature that does not exist",
        )
        parents = integers(tree, "parents", len(left))
        require(
            np.all(parents[left[inner]] == inner) and np.all(parents[right[inner]] == inner),
            "a node of a tree has another parent",
        )


def _check_categories_of_features(node: Any, features: int) -> None:
    """Check the categories of the training data, which XGBoost compares with those of new data."""
    if node is None:
        return
    fields(node, "cats", ("enc", "feature_segments", "sorted_idx"))
    encodings = node["enc"]
    segments, order = integers(node, "feature_segments"), integers(node, "sorted_idx")
    if encodings == [] and not len(segments) and not len(order):
        return
    require(isinstance(encodings, list) and len(encodings) == features, "cats: enc is incomplete")
    counts = np.array([_categories(each) for each in encodings], dtype=np.int64)
    require(
        np.array_equal(segments, np.concatenate([[0], np.cumsum(counts)]))
        and len(order) == counts.sum(),
        "cats: feature_segments is not the number of categories",
    )
    for begin, count in zip(segments, counts, strict=False):
        require(
            np.array_equal(np.sort(order[begin : begin + count]), np.arange(count)),
            "cats: sorted_idx is not an order of the categories",
        )


def _categories(node: Any) -> int:
    """Return the number of categories of a feature: texts by offsets, or numbers."""
    if isinstance(node, dict) and "offsets" in node:
        fields(node, "cats", ("offsets", "values"))
        offsets, values = integers(node, "offsets"), integers(node, "values")
        if not len(offsets):
            require(not len(values), "cats: texts without offsets")
            return 0
        require(
            offsets[0] == 0 and np.all(np.diff(offsets) >= 0) and offsets[-1] == len(values),
            "cats: offsets of texts are out of range",
        )
        return len(offsets) - 1
    fields(node, "cats", ("type", "values"))
    whole(node["type"], "cats: type")
    return len(numbers(node, "values"))
