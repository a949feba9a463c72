"""Models whose arrays do not fit together are not loaded, as compiled code would follow them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn import cluster, ensemble, linear_model, neighbors, preprocessing, svm
from sklearn.datasets import load_iris
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer

from tuner.errors import RegistryError
from tuner.registry import skops_library
from tuner.registry.skops_format import FILE, SkopsFormat

skops_io = skops_library.skops_io()

X, y = load_iris(return_X_y=True)


def again(model: Any, folder: Path) -> Any:
    """Load a model without the check on saving."""
    (folder / FILE).write_bytes(skops_io.dumps(model))
    return SkopsFormat().load(folder)


def put(name: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Return a change of one attribute."""
    return lambda model: setattr(model, name, change(getattr(model, name)))


def four_trees(model: Any) -> None:
    model.estimators_ = np.repeat(model.estimators_, 4, axis=1)


def no_start(model: Any) -> None:
    model.init_ = linear_model.LinearRegression()
    model.init_.coef_, model.init_.intercept_ = np.zeros((0, 4)), np.zeros(0)
    model.init_.n_features_in_ = 4


def several_values(model: Any) -> None:
    model.estimators_[0, 0].tree_ = ensemble.RandomForestClassifier(1).fit(X, y)[0].tree_


def other_word(model: Any) -> None:
    model.vocabulary_[next(iter(model.vocabulary_))] = 10**6


def boosting() -> Any:
    return ensemble.GradientBoostingRegressor(n_estimators=2).fit(X, y)


def histograms() -> Any:
    return ensemble.HistGradientBoostingClassifier(max_iter=2).fit(X, y)


def brute() -> Any:
    return neighbors.KNeighborsClassifier(3, algorithm="brute").fit(X, y)


def one_hot() -> Any:
    return preprocessing.OneHotEncoder(drop="first").fit(np.round(X))


def short(array: Any) -> Any:
    return np.ascontiguousarray(array[:-1])


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "four trees a stage": (boosting, four_trees),
    "start without columns": (boosting, no_start),
    "tree of several values": (boosting, several_values),
    "trees an iteration": (boosting, put("n_trees_per_iteration_", lambda _: 4)),
    "no bins": (histograms, put("_bin_mapper", lambda _: None)),
    "fewer neighbors": (brute, put("n_samples_fit_", lambda n: n - 50)),
    "more neighbors": (brute, put("n_samples_fit_", lambda n: n + 50)),
    "class beyond": (brute, put("_y", lambda a: a + 10**6)),
    "negative class": (brute, put("_y", lambda a: a - 5)),
    "targets of fewer points": (brute, put("_y", short)),
    "fewer classes": (brute, put("classes_", lambda a: a[:1])),
    "many neighbors": (brute, put("n_neighbors", lambda _: 10**6)),
    "points of fewer features": (brute, put("_fit_X", lambda a: np.ascontiguousarray(a[:, :2]))),
    "odd metric": (brute, put("effective_metric_params_", lambda _: {"w": np.ones(1)})),
    "centers of fewer features": (
        lambda: cluster.KMeans(3, n_init=1).fit(X),
        put("cluster_centers_", lambda a: np.ascontiguousarray(a[:, :2])),
    ),
    "no centers": (
        lambda: cluster.KMeans(3, n_init=1).fit(X),
        put("cluster_centers_", lambda a: a[:0]),
    ),
    "threads": (lambda: cluster.KMeans(3, n_init=1).fit(X), put("_n_threads", lambda _: 10**9)),
    "bisected center": (
        lambda: cluster.BisectingKMeans(3).fit(X),
        lambda m: setattr(m._bisecting_tree.left, "center", np.zeros(1)),
    ),
    "word beyond": (lambda: CountVectorizer().fit(["a bb cc", "dd ee"]), other_word),
    "key beyond": (lambda: DictVectorizer().fit([{"a": 1, "b": 2}]), other_word),
    "no hashes": (lambda: FeatureHasher(8), put("n_features", lambda _: 0)),
    "negative hashes": (lambda: FeatureHasher(8), put("n_features", lambda _: -5)),
    "class twice": (
        lambda: preprocessing.MultiLabelBinarizer().fit([[1, 2], [3]]),
        put("classes_", lambda a: np.concatenate([a, a])),
    ),
    "label beyond": (
        lambda: preprocessing.MultiLabelBinarizer().fit([[1, 2], [3]]),
        lambda m: setattr(m, "_cached_dict", {1: 0, 2: 1, 3: 10**6}),
    ),
    "fewer columns": (one_hot, put("_n_features_outs", lambda w: [1 for _ in w])),
    "unsorted categories": (one_hot, put("categories_", lambda c: [a[::-1].copy() for a in c])),
    "dropped beyond": (one_hot, put("_drop_idx_after_grouping", lambda d: d - 5)),
}  # fmt: skip

VECTORS: dict[str, Callable[[Any], None]] = {
    "counts": put("_n_support", lambda a: a + 1),
    "negative counts": put("_n_support", lambda a: np.array([-5, *a[1:]], np.int32)),
    "one count": put("_n_support", lambda a: a[:1]),
    "short support": put("support_", short),
    "support beyond": put("support_", lambda a: a + 10**6),
    "short coefficients": put("_dual_coef_", short),
    "narrow coefficients": put("_dual_coef_", lambda a: a[:, :-1].copy()),
    "few vectors": put("support_vectors_", short),
    "narrow vectors": put("support_vectors_", lambda a: a[:, :1].copy()),
    "no vectors": put("support_vectors_", lambda a: a[:0]),
    "no intercepts": put("_intercept_", lambda a: a[:0]),
    "odd probabilities": put("_probA", lambda _: np.zeros(1)),
    "promised probabilities": put("_effective_probability", lambda _: True),
    "other kernel": put("kernel", lambda _: "precomputed"),
    "features": put("n_features_in_", lambda _: 2),
}
CHANGES |= {
    f"{kind.__name__}: {name}": (lambda kind=kind: kind().fit(X, y), change)
    for kind in (svm.SVC, svm.NuSVC, svm.SVR, svm.OneClassSVM)
    for name, change in VECTORS.items()
    if not (kind in (svm.SVR, svm.OneClassSVM) and name in ("counts", "negative counts"))
}
CHANGES |= {
    f"sparse: {name}": (lambda: svm.SVC().fit(sparse.csr_matrix(X), y), VECTORS[name])
    for name in ("counts", "short support", "one count", "no intercepts", "promised probabilities")
}


@pytest.mark.parametrize(("make", "change"), CHANGES.values(), ids=CHANGES.keys())
def test_a_model_whose_arrays_do_not_fit_is_not_loaded(
    make: Callable[[], Any], change: Callable[[Any], None], tmp_path: Path
) -> None:
    model = make()
    again(model, tmp_path)
    change(model)
    with pytest.raises(RegistryError):
        again(model, tmp_path)


@pytest.mark.parametrize("make", [neighbors.KernelDensity, lambda: cluster.BisectingKMeans(3)])
def test_models_with_nested_trees_load(make: Callable[[], Any], tmp_path: Path) -> None:
    model = make().fit(X)
    SkopsFormat().save(model, tmp_path)
    loaded = SkopsFormat().load(tmp_path)
    method = "score_samples" if hasattr(model, "score_samples") else "predict"
    assert np.array_equal(getattr(loaded, method)(X), getattr(model, method)(X))


def test_a_model_that_would_not_load_is_not_saved(tmp_path: Path) -> None:
    model = boosting()
    four_trees(model)
    with pytest.raises(RegistryError, match=r"would not load again.*format='pickle'"):
        SkopsFormat().save(model, tmp_path)
    assert not (tmp_path / FILE).exists()


def test_an_unchecked_init_estimator_can_be_trusted(tmp_path: Path) -> None:
    model = ensemble.GradientBoostingRegressor(
        n_estimators=2, init=linear_model.LinearRegression()
    ).fit(X, y)
    name = "sklearn.ensemble._gb.GradientBoostingRegressor"
    with pytest.raises(RegistryError, match=f"trust the class {name}"):
        SkopsFormat().save(model, tmp_path)
    trusting = SkopsFormat([name])
    trusting.save(model, tmp_path)
    assert np.array_equal(trusting.load(tmp_path).predict(X), model.predict(X))
