"""The types that a registered model may be made of.

The list is code: no artifact can add to it. skops itself allows scikit-learn's estimators and
NumPy's arrays; here are the parts of fitted estimators that it asks about. Each holds data alone:
rebuilding one sets attributes and arrays and calls nothing that the file could choose.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

VARIABLE = "TUNER_TRUSTED_TYPES"
"""Environment variable with further types, separated by commas: the operator's configuration."""

TRUSTED = frozenset(
    {
        "numpy.dtype",
        # trees and boosting
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
        # neighbours
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        # neural networks
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        # models made of models
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.utils._bunch.Bunch",
        # Gaussian processes
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        # scores that select features
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
    }
)


def trusted_types(more: Iterable[str] = ()) -> frozenset[str]:
    """Return what may be loaded: the list above, the operator's, and the caller's `more`."""
    configured = (name.strip() for name in os.environ.get(VARIABLE, "").split(","))
    return TRUSTED | {name for name in configured if name} | frozenset(more)
