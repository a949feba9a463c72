"""Checks of the index arrays that compiled code does not check itself.

scikit-learn's compiled code indexes arrays by other attributes of a model without bounds checks, so
a crafted file could make a prediction read or write outside of an array
(https://github.com/scikit-learn/scikit-learn/pull/34558). Here each family of estimators that
reaches such code on predicting or transforming has a check of every array that it indexes.
docs/registry.md lists the families.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
from scipy import sparse

from tuner.registry import soundness_trees as trees
from tuner.registry.soundness_trees import (
    Unsound,
    attributes_of,
    features_of,
    integer,
    require,
    within,
)

__all__ = ["Unsound", "check_model"]

_MOST_THREADS = 1024
_MOST_INT32 = 2**31 - 1
_NOT_PARTS = (type, ModuleType, FunctionType, BuiltinFunctionType)

_Check = Callable[[Any], None]


def check_model(model: Any, trusted: Collection[str] = ()) -> None:
    """Check every part of a model that was loaded and not used yet.

    A tree of neighbors (``KDTree``, ``BallTree``) is rebuilt from its points.

    Parameters
    ----------
    model
        The model.
    trusted
        Full names of estimators whose attributes are trusted without a check; their trees, sparse
        matrices and members are still checked.

    Raises
    ------
    Unsound
        If an index is out of range, or inconsistent with the rest of the model.
    """
    parts = list(_parts(model))
    # Consistency checks between parts require that each part is sound in itself.
    for checks in (_checks_of_parts(), _checks_of_owners()):
        for part in parts:
            kind = type(part)
            if f"{kind.__module__}.{kind.__name__}" in trusted:
                continue
            for family, check in checks:
                if isinstance(part, family):
                    check(part)


def _checks_of_parts() -> list[tuple[type, _Check]]:
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.neighbors import BallTree, KDTree
    from sklearn.tree._tree import Tree

    def check_sparse(part: Any) -> None:
        if sparse.issparse(part) and hasattr(part, "check_format"):
            part.check_format(full_check=True)

    return [
        (Tree, trees.check_tree),
        (TreePredictor, trees.check_predictor),
        (KDTree, build_anew),
        (BallTree, build_anew),
        (object, check_sparse),
    ]


def _checks_of_owners() -> list[tuple[type, _Check]]:
    from sklearn import cluster, feature_extraction, preprocessing, tree
    from sklearn.cluster._kmeans import _BaseKMeans
    from sklearn.ensemble._bagging import BaseBagging
    from sklearn.ensemble._forest import BaseForest
    from sklearn.ensemble._gb import BaseGradientBoosting
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
    from sklearn.neighbors._base import NeighborsBase
    from sklearn.svm._base import BaseLibSVM

    return [
        (tree.BaseDecisionTree, trees.check_tree_owner),
        (BaseForest, trees.check_forest),
        (BaseBagging, trees.check_forest),
        (BaseGradientBoosting, trees.check_gradient_boosting),
        (BaseHistGradientBoosting, trees.check_hist_gradient_boosting),
        (BaseLibSVM, check_support_vectors),
        (NeighborsBase, check_neighbors),
        (_BaseKMeans, check_centers),
        (cluster.HDBSCAN, check_linkage),
        (CountVectorizer, check_vocabulary),
        (feature_extraction.DictVectorizer, check_vocabulary),
        (feature_extraction.FeatureHasher, check_hashing),
        (HashingVectorizer, check_hashing),
        (preprocessing.MultiLabelBinarizer, check_labels),
        (preprocessing.OneHotEncoder, check_one_hot),
    ]


def _parts(model: Any) -> Iterator[Any]:
    """Yield every object that a model consists of, once, including the model itself."""
    seen = {id(model)}
    waiting = [model]
    while waiting:
        part = waiting.pop()
        yield part
        # An array of objects does not report its items to the garbage collector.
        is_array = isinstance(part, np.ndarray) and part.dtype.hasobject
        inner = [*gc.get_referents(part), *(part.ravel().tolist() if is_array else ())]
        for each in inner:
            if id(each) not in seen and not isinstance(each, _NOT_PARTS):
                seen.add(id(each))
                waiting.append(each)


# --- support vectors ----------------------------------------------------------------------------


def check_support_vectors(owner: Any) -> None:
    """Check a model of libsvm: ``SVC``, ``NuSVC``, ``SVR``, ``NuSVR``, ``OneClassSVM``."""
    attributes = attributes_of(owner)
    if "support_vectors_" not in attributes:
        return
    is_sparse, vectors = attributes.get("_sparse"), attributes["support_vectors_"]
    is_classifier = owner._impl in ("c_svc", "nu_svc")
    counts = _vector(attributes, "_n_support", np.int32)
    n_classes = len(counts)
    require(n_classes >= 2 if is_classifier else n_classes == 2, "it has no classes")
    support = _vector(attributes, "support_", np.int32)
    shape = attributes.get("shape_fit_")
    require(isinstance(shape, tuple | list) and len(shape) == 2, "it was fitted to nothing")
    require(
        within(support, integer(shape[0], "it was fitted to nothing")),
        "its support vectors are out of range",
    )
    n_vectors, n_pairs = len(support), n_classes * (n_classes - 1) // 2
    kernel = attributes.get("kernel")
    given = isinstance(kernel, str) and kernel == "precomputed"
    if is_sparse is True:
        _check_csr(vectors, (n_vectors, None))
        coefficients = attributes.get("_dual_coef_")
        _check_csr(coefficients, (n_classes - 1, n_vectors))
        require(
            coefficients.data.size == (n_classes - 1) * n_vectors, "its coefficients are too few"
        )
        require(not given and isinstance(kernel, str), "its kernel is of another kind")
    else:
        require(is_sparse is False, "it is neither sparse nor dense")
        require(isinstance(vectors, np.ndarray) and vectors.ndim == 2, "its vectors are no table")
        coefficients = attributes.get("_dual_coef_")
        require(
            isinstance(coefficients, np.ndarray)
            and coefficients.dtype == np.float64
            and coefficients.shape == (n_classes - 1, n_vectors),
            "its coefficients do not match its vectors",
        )
        of_kernel = given or callable(kernel)
        require(vectors.shape[0] == (0 if of_kernel else n_vectors), "it lacks vectors")
    if not given and not callable(kernel):
        require(vectors.shape[1] == features_of(owner), "its vectors do not match its features")
        require(shape[1] == features_of(owner), "its vectors do not match its features")
    if is_classifier:
        require(bool(np.all(counts >= 0)) and counts.sum() == n_vectors, "its classes lack vectors")
    require(len(_vector(attributes, "_intercept_", np.float64)) == n_pairs, "it lacks intercepts")
    sizes = {len(_vector(attributes, name, np.float64)) for name in ("_probA", "_probB")}
    probable = attributes.get("_effective_probability", attributes.get("probability"))
    allowed = {n_pairs} if probable else {0, n_pairs}
    require(len(sizes) == 1 and sizes <= allowed, "it lacks the numbers of its probabilities")


def _check_csr(matrix: Any, shape: tuple[int, int | None]) -> None:
    sound = sparse.issparse(matrix) and matrix.format == "csr" and matrix.shape[0] == shape[0]
    require(sound and shape[1] in (None, matrix.shape[1]), "its matrix is of another shape")


def _vector(attributes: Any, name: str, dtype: Any) -> Any:
    found = attributes.get(name)
    require(
        isinstance(found, np.ndarray) and found.ndim == 1 and found.dtype == dtype,
        f"its {name} is not a list of numbers",
    )
    return found


# --- neighbors ----------------------------------------------------------------------------------


def build_anew(tree: Any) -> None:
    """Rebuild a ``KDTree`` or ``BallTree`` from its points: its own arrays cannot be trusted."""
    points, _, _, _, leaf_size, *_, metric, weights = tree.__getstate__()
    points = np.asarray(points)
    require(points.ndim == 2 and points.size > 0, "its tree of neighbors has no points")
    built = type(tree)(points, leaf_size, metric=metric, sample_weight=weights)
    tree.__setstate__(built.__getstate__())


def check_neighbors(owner: Any) -> None:
    """Check that the indices of points and classes are in range."""
    attributes = attributes_of(owner)
    if "_fit_X" not in attributes:
        return
    points, method = attributes["_fit_X"], attributes.get("_fit_method")
    n_samples = integer(attributes.get("n_samples_fit_"), "it has no number of points")
    n_features, shape = features_of(owner), getattr(points, "shape", ())
    dense_or_sparse = isinstance(points, np.ndarray) or sparse.issparse(points)
    require(
        dense_or_sparse and shape == (n_samples, n_features) and n_samples > 0,
        "its points are of another shape",
    )
    tree = attributes.get("_tree")
    if method == "brute":
        require(tree is None, "it has a tree that it does not use")
    else:
        kinds = {"kd_tree": "KDTree", "ball_tree": "BallTree"}
        require(type(tree).__name__ == kinds.get(str(method)), "its tree is of another kind")
        require(np.asarray(tree.data).shape == shape, "its tree has other points")
    for params in (attributes.get("metric_params"), attributes.get("effective_metric_params_")):
        for each in (params or {}).values():
            sizes = np.shape(each)
            require(sizes in ((), (n_features,), (n_features, n_features)), "its metric is odd")
    if "_y" in attributes:
        _check_classes_of_neighbors(attributes, n_samples)


def _check_classes_of_neighbors(attributes: Any, n_samples: int) -> None:
    targets = attributes["_y"]
    require(isinstance(targets, np.ndarray) or sparse.issparse(targets), "its targets are no table")
    require(targets.shape[:1] == (n_samples,), "its targets do not match its points")
    if "classes_" not in attributes:
        return
    classes = attributes["classes_"]
    if attributes.get("outputs_2d_"):
        for n, of_output in enumerate(classes):
            require(within(targets[:, n], len(of_output)), "it has targets of no class")
        return
    require(targets.ndim == 1 and targets.dtype.kind in "iu", "its targets are no classes")
    require(within(targets, len(classes)), "it has targets of no class")
    if attributes.get("n_neighbors") is not None:
        n_neighbors = integer(attributes["n_neighbors"], "it has no number of neighbors")
        require(1 <= n_neighbors <= n_samples, "it asks for more neighbors than it has points")


# --- clusters -----------------------------------------------------------------------------------


def check_centers(owner: Any) -> None:
    """Check the centers of ``KMeans``, ``MiniBatchKMeans`` and ``BisectingKMeans``."""
    attributes = attributes_of(owner)
    if "cluster_centers_" not in attributes:
        return
    n_features = features_of(owner)
    n_threads = integer(attributes.get("_n_threads"), "it has no number of threads")
    require(1 <= n_threads <= _MOST_THREADS, f"it asks for {n_threads} threads")
    centers = attributes["cluster_centers_"]
    require(
        isinstance(centers, np.ndarray)
        and centers.ndim == 2
        and len(centers) > 0
        and centers.shape[1] == n_features,
        "its centers do not match its features",
    )
    waiting = [attributes["_bisecting_tree"]] if "_bisecting_tree" in attributes else []
    while waiting:
        node = attributes_of(waiting.pop())
        require(
            np.shape(node.get("center")) == (n_features,), "a center does not match its features"
        )
        children = [child for side in ("left", "right") if (child := node.get(side)) is not None]
        require(len(children) in (0, 2), "a cluster is split into one")
        waiting.extend(children)


def check_linkage(owner: Any) -> None:
    """Check the merges that ``HDBSCAN.dbscan_clustering`` follows."""
    merges = attributes_of(owner).get("_single_linkage_tree_")
    if merges is None:
        return
    names = ("left_node", "right_node")
    sound = isinstance(merges, np.ndarray) and merges.ndim == 1 and merges.dtype.names is not None
    require(sound and set(names) <= set(merges.dtype.names), "its merges are no list")
    bound = len(merges) + 1 + np.arange(len(merges))
    for name in names:
        require(
            bool(np.all(merges[name] >= 0) and np.all(merges[name] < bound)),
            "it merges clusters that are not there",
        )


# --- makers of sparse matrices ------------------------------------------------------------------


def check_vocabulary(owner: Any) -> None:
    """Check the columns that ``CountVectorizer`` and ``DictVectorizer`` assign to words."""
    words = attributes_of(owner).get("vocabulary_")
    if words is not None:
        _check_columns(words, len(words))
    names = attributes_of(owner).get("feature_names_")
    if names is not None:
        require(words is not None and len(names) == len(words), "it has other names than columns")


def check_labels(owner: Any) -> None:
    """Check the columns that ``MultiLabelBinarizer`` assigns to classes."""
    classes = attributes_of(owner).get("classes_")
    if classes is not None:
        # A duplicate class would take a column beyond the last.
        require(len(dict.fromkeys(classes)) == len(classes), "it has a class twice")
    cached = attributes_of(owner).get("_cached_dict")
    if cached is not None:
        _check_columns(cached, len(attributes_of(owner).get("classes_", ())))


def _check_columns(columns: Any, n: int) -> None:
    require(isinstance(columns, dict) and len(columns) == n, "its words have other columns")
    found = [integer(column, "a word has no column") for column in columns.values()]
    require(sorted(found) == list(range(n)), "its words have other columns")


def check_hashing(owner: Any) -> None:
    """Check the number of columns of ``FeatureHasher`` and ``HashingVectorizer``."""
    n_features = integer(attributes_of(owner).get("n_features"), "it has no number of columns")
    require(1 <= n_features <= _MOST_INT32, "it has no number of columns")


def check_one_hot(owner: Any) -> None:
    """Check that each category of ``OneHotEncoder`` has a column."""
    attributes = attributes_of(owner)
    if "categories_" not in attributes:
        return
    categories, n_features = attributes["categories_"], features_of(owner)
    widths, drops = attributes.get("_n_features_outs"), attributes.get("_drop_idx_after_grouping")
    grouped = bool(attributes.get("_infrequent_enabled"))
    mappings = attributes.get("_default_to_infrequent_mappings")
    require(
        isinstance(categories, list | tuple) and isinstance(widths, list | tuple), "it has no table"
    )
    require(
        len(categories) == len(widths) == n_features, "its categories do not match its features"
    )
    for n, of_feature in enumerate(categories):
        require(isinstance(of_feature, np.ndarray) and of_feature.ndim == 1, "it has no categories")
        if of_feature.dtype.kind not in "OUS":
            known = (
                of_feature[~np.isnan(of_feature)] if of_feature.dtype.kind in "fc" else of_feature
            )
            require(
                bool(np.all(known[:-1] <= known[1:]))
                and np.array_equal(known, of_feature[: len(known)]),
                "its categories are not sorted",
            )
        n_columns = len(of_feature)
        mapping = mappings[n] if grouped and mappings is not None else None
        if mapping is not None:
            codes = np.asarray(mapping)
            require(codes.shape == (n_columns,) and codes.dtype.kind in "iu", "its groups are odd")
            n_columns = int(codes.max()) + 1 if len(codes) else 0
            require(within(codes, n_columns), "its groups are odd")
        drop = None if drops is None else drops[n]
        if drop is not None:
            drop = integer(drop, "it drops no category")
            require(0 <= drop < n_columns, "it drops a category that is not there")
            n_columns -= 1
        require(
            integer(widths[n], "it has no columns") == n_columns, "its categories have no columns"
        )
