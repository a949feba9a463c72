"""The types that a registered model may be made of.

The list is code: no artifact can add to it. skops itself allows scikit-learn's estimators, their
losses, and NumPy's arrays, numbers and functions of numbers; here is what fitted estimators are
made of besides. Making one of these objects again sets attributes and arrays, and calls nothing
that the file could choose. Where compiled code follows indices in such an array, they are checked
before the model is given out: see `tuner.registry.soundness`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from tuner.errors import ArgumentError

VARIABLE = "TUNER_TRUSTED_TYPES"
"""Environment variable with further types, separated by commas: the operator's configuration."""

_ARRAYS = (
    "numpy.dtype",
    # checked: their indices
    "scipy.sparse._csc.csc_array",
    "scipy.sparse._csc.csc_matrix",
    "scipy.sparse._csr.csr_array",
    "scipy.sparse._csr.csr_matrix",
)

_TREES = (  # checked: their nodes
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)

_NEIGHBOURS = (
    # built anew from their points
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    # two numbers and an array at most; those that call a function of the user are not here
    "sklearn.metrics._dist_metrics.ChebyshevDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
)

_PARTS_OF_ESTIMATORS = (  # Python objects with attributes alone
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.utils._bunch.Bunch",
)

_KERNELS = tuple(
    f"sklearn.gaussian_process.kernels.{name}"
    for name in (
        "CompoundKernel",
        "ConstantKernel",
        "DotProduct",
        "ExpSineSquared",
        "Exponentiation",
        "Matern",
        "Product",
        "RBF",
        "RationalQuadratic",
        "Sum",
        "WhiteKernel",
    )
)

_SPLITS = tuple(
    f"sklearn.model_selection._split.{name}"
    for name in (
        "GroupKFold",
        "KFold",
        "PredefinedSplit",
        "RepeatedKFold",
        "RepeatedStratifiedKFold",
        "ShuffleSplit",
        "StratifiedGroupKFold",
        "StratifiedKFold",
        "StratifiedShuffleSplit",
        "TimeSeriesSplit",
    )
)

_FUNCTIONS = (
    # Binds arguments to a function, which must be one of those that are allowed itself.
    "functools.partial",
    # What they do with arrays is to return others, or numbers.
    "numpy.mean",
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "sklearn.feature_selection._mutual_info.mutual_info_regression",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.utils.validation.check_array",
    # the scores of a search, and the objects that call them on a model's predictions
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.metrics._classification.accuracy_score",
    "sklearn.metrics._classification.balanced_accuracy_score",
    "sklearn.metrics._classification.f1_score",
    "sklearn.metrics._classification.log_loss",
    "sklearn.metrics._ranking.average_precision_score",
    "sklearn.metrics._ranking.roc_auc_score",
    "sklearn.metrics._regression.mean_absolute_error",
    "sklearn.metrics._regression.mean_squared_error",
    "sklearn.metrics._regression.r2_score",
    "sklearn.metrics._regression.root_mean_squared_error",
)

TRUSTED = frozenset(
    (*_ARRAYS, *_TREES, *_NEIGHBOURS, *_PARTS_OF_ESTIMATORS, *_KERNELS, *_SPLITS, *_FUNCTIONS)
)


def trusted_types(more: Iterable[str] = ()) -> frozenset[str]:
    """Return what may be loaded: the list above, the operator's, and the caller's `more`.

    Raises
    ------
    ArgumentError
        If `more` is no list of names.
    """
    names = [more] if isinstance(more, str) else list(more)
    if isinstance(more, str) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f"trusted={more!r}: write a list of full type names, such as ['package.module.Type']"
        )
    configured = (name.strip() for name in os.environ.get(VARIABLE, "").split(","))
    return TRUSTED | {name for name in configured if name} | frozenset(names)
