"""Shares of the variance of a value that parameters explain: a functional ANOVA, out of bag.

A forest of regression trees predicts the value of a trial from its parameters. The first-order
effect of a parameter at a point follows fANOVA (Hutter et al., ICML 2014): the mean prediction over
the space with this parameter held, minus the mean over the whole space. The space is the unit cube
of `Space.encode`, so a logarithmic parameter counts on its log scale.

fANOVA divides the variance of the forest. A forest follows noise, so a parameter without any effect
gets a share, and nothing is left unexplained. Here, each effect comes from the trees that were
grown without the trial, and its share is the covariance with the measured values,
``Cov(y, effect) / Var(y)`` (Li et al. 2010, "Global sensitivity analysis for systems with
independent and/or correlated inputs"). Noise is uncorrelated with the effects of trees that have
not seen it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.intp]

TREES = 64
"""Number of trees of a forest; a trial is out of bag in more than a third of them."""

LEAF_SIZES = (1, 3, 8)
"""Minimum numbers of trials in a leaf; the forest that predicts best out of bag is used."""


@dataclass(frozen=True, slots=True)
class Effects:
    """Out-of-bag effects of d parameters on n trials.

    `first_order` has shape (n, d). `prediction`, shape (n,), is relative to the mean. Both are
    scaled by the slope of the values over the prediction, because a mean of trees is too flat, and
    too steep where it follows noise. `leaf` is the minimum number of trials in a leaf.
    """

    first_order: Floats
    prediction: Floats
    leaf: int


def effects(
    X: Floats, y: Floats, copies: Integers, trees: int = TREES, leaf: int | None = None
) -> Effects:
    """Fit a forest to values at points of the unit cube, and return its effects.

    Parameters
    ----------
    X, y
        The points, shape (n, d), and their values, shape (n,).
    copies
        A number for each trial, shape (n,). Trials of one number are drawn together, so that no
        tree predicts a trial from its copy.
    trees
        The number of trees.
    leaf
        The minimum number of trials in a leaf; None selects it.
    """
    sizes = [size for size in LEAF_SIZES if size == 1 or 4 * size <= len(X)]
    with skipping_validation():
        forests = [
            _forest(X, y, copies, trees, size) for size in (sizes if leaf is None else [leaf])
        ]
    centered = y - y.mean()

    def error(found: Effects) -> float:
        return float(np.square(centered - found.prediction + found.prediction.mean()).sum())

    best = min(forests, key=error)
    spread = best.prediction - best.prediction.mean()
    power = float(spread @ spread)
    slope = max(0.0, float(centered @ spread) / power) if power > 0 else 0.0
    return Effects(slope * best.first_order, slope * best.prediction, best.leaf)


def skipping_validation() -> AbstractContextManager[None]:
    """Return a context in which scikit-learn does not validate, which takes longer than a fit."""
    import sklearn

    context: AbstractContextManager[None] = sklearn.config_context(
        assume_finite=True, skip_parameter_validation=True
    )
    return context


def _forest(X: Floats, y: Floats, copies: Integers, trees: int, leaf: int) -> Effects:
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(0)
    _, point = np.unique(copies, return_inverse=True)
    n_points = int(point.max()) + 1
    first_order, prediction, times = np.zeros(X.shape), np.zeros(len(X)), np.zeros(len(X))
    for _ in range(trees):
        drawn = np.bincount(rng.integers(n_points, size=n_points), minlength=n_points)[point]
        out = drawn == 0
        if not out.any():
            continue
        tree = DecisionTreeRegressor(
            min_samples_leaf=leaf, random_state=int(rng.integers(2**31))
        )  # fmt: skip
        tree.fit(X[~out], y[~out], sample_weight=drawn[~out].astype(float))
        boxes = _Boxes.of(tree.tree_)
        first_order[out] += boxes.first_order(X[out])
        prediction[out] += tree.predict(X[out]) - boxes.mean
        times[out] += 1
    times = np.maximum(times, 1)
    return Effects(first_order / times[:, None], prediction / times, leaf)


@dataclass(frozen=True, slots=True)
class _Boxes:
    """The leaves of a tree as boxes of the unit cube: values, lower and upper corners."""

    values: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, tree: Any) -> _Boxes:
        low = np.full((tree.node_count, tree.n_features), -np.inf)
        high = np.full((tree.node_count, tree.n_features), np.inf)
        leaf = tree.children_left < 0
        nodes = np.flatnonzero([not leaf[0]])
        while nodes.size:  # one level of the tree
            left, right = tree.children_left[nodes], tree.children_right[nodes]
            for child in (left, right):
                low[child], high[child] = low[nodes], high[nodes]
            feature, threshold = tree.feature[nodes], tree.threshold[nodes]
            high[left, feature] = low[right, feature] = threshold
            children = np.concatenate([left, right])
            nodes = children[~leaf[children]]
        return cls(tree.value[leaf, 0, 0], low[leaf], high[leaf])

    @property
    def sides(self) -> Floats:
        """The lengths of the sides within the unit cube, shape (leaves, d)."""
        return np.minimum(self.high, 1.0) - np.maximum(self.low, 0.0)

    @property
    def mean(self) -> float:
        """The mean over the unit cube."""
        return float(self.values @ self.sides.prod(axis=1))

    def first_order(self, X: Floats) -> Floats:
        """Return the first-order effects at the rows of `X`."""
        sides = self.sides
        weighted = self.values * sides.prod(axis=1)
        found = np.empty(X.shape)
        for k in range(X.shape[1]):
            at = X[:, k, None]
            within = (at > self.low[:, k]) & (at <= self.high[:, k])
            found[:, k] = within @ (weighted / sides[:, k])
        return np.asarray(found - weighted.sum())
