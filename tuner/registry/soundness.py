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

from tuner.registry.soundness_trees import Unsound

__all__ = ["Unsound", "check_model"]

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
    from scipy.sparse import issparse
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.neighbors import BallTree, KDTree
    from sklearn.tree._tree import Tree

    from tuner.registry.soundness_estimators import build_anew
    from tuner.registry.soundness_trees import check_predictor, check_tree

    def check_sparse(part: Any) -> None:
        if issparse(part) and hasattr(part, "check_format"):
            part.check_format(full_check=True)

    return [
        (Tree, check_tree),
        (TreePredictor, check_predictor),
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

    from tuner.registry import soundness_estimators as others
    from tuner.registry import soundness_trees as trees

    return [
        (tree.BaseDecisionTree, trees.check_tree_owner),
        (BaseForest, trees.check_forest),
        (BaseBagging, trees.check_forest),
        (BaseGradientBoosting, trees.check_gradient_boosting),
        (BaseHistGradientBoosting, trees.check_hist_gradient_boosting),
        (BaseLibSVM, others.check_support_vectors),
        (NeighborsBase, others.check_neighbors),
        (_BaseKMeans, others.check_centers),
        (cluster.HDBSCAN, others.check_linkage),
        (CountVectorizer, others.check_vocabulary),
        (feature_extraction.DictVectorizer, others.check_vocabulary),
        (feature_extraction.FeatureHasher, others.check_hashing),
        (HashingVectorizer, others.check_hashing),
        (preprocessing.MultiLabelBinarizer, others.check_labels),
        (preprocessing.OneHotEncoder, others.check_one_hot),
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
