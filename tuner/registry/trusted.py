"""The classes and functions that a registered model may consist of, and the place of each.

The list is code: no artifact can add to it. It contains the parts of scikit-learn's fitted
estimators, and a test derives it from them again. `tuner.registry.skops_schema` admits a name only
in a node of its own kind, so loading a model calls nothing of this list, except the constructors of
plain types, arrays, trees and losses, whose arguments are checked first. Functions are admitted
only as the attribute in which scikit-learn keeps them. The attributes that compiled code reads are
checked before the model is returned: see `tuner.registry.soundness`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable

from tuner.errors import ArgumentError

_BY_MODULE = {
    "calibration": "CalibratedClassifierCV",
    "cluster._affinity_propagation": "AffinityPropagation",
    "cluster._agglomerative": "AgglomerativeClustering FeatureAgglomeration",
    "cluster._bicluster": "SpectralBiclustering SpectralCoclustering",
    "cluster._bisect_k_means": "BisectingKMeans",
    "cluster._dbscan": "DBSCAN",
    "cluster._hdbscan.hdbscan": "HDBSCAN",
    "cluster._kmeans": "KMeans MiniBatchKMeans",
    "cluster._mean_shift": "MeanShift",
    "cluster._optics": "OPTICS",
    "cluster._spectral": "SpectralClustering",
    "compose._column_transformer": "ColumnTransformer",
    "compose._target": "TransformedTargetRegressor",
    "covariance._elliptic_envelope": "EllipticEnvelope",
    "covariance._empirical_covariance": "EmpiricalCovariance",
    "covariance._graph_lasso": "GraphicalLasso GraphicalLassoCV",
    "covariance._robust_covariance": "MinCovDet",
    "covariance._shrunk_covariance": "LedoitWolf OAS ShrunkCovariance",
    "cross_decomposition._pls": "CCA PLSCanonical PLSRegression PLSSVD",
    "decomposition._dict_learning": "DictionaryLearning MiniBatchDictionaryLearning SparseCoder",
    "decomposition._factor_analysis": "FactorAnalysis",
    "decomposition._fastica": "FastICA",
    "decomposition._incremental_pca": "IncrementalPCA",
    "decomposition._kernel_pca": "KernelPCA",
    "decomposition._lda": "LatentDirichletAllocation",
    "decomposition._nmf": "MiniBatchNMF NMF",
    "decomposition._pca": "PCA",
    "decomposition._sparse_pca": "MiniBatchSparsePCA SparsePCA",
    "decomposition._truncated_svd": "TruncatedSVD",
    "discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    "dummy": "DummyClassifier DummyRegressor",
    "ensemble._bagging": "BaggingClassifier BaggingRegressor",
    "ensemble._forest": (
        "ExtraTreesClassifier ExtraTreesRegressor RandomForestClassifier RandomForestRegressor "
        "RandomTreesEmbedding"
    ),
    "ensemble._gb": "GradientBoostingClassifier GradientBoostingRegressor",
    "ensemble._hist_gradient_boosting.gradient_boosting": (
        "HistGradientBoostingClassifier HistGradientBoostingRegressor"
    ),
    "ensemble._iforest": "IsolationForest",
    "ensemble._stacking": "StackingClassifier StackingRegressor",
    "ensemble._voting": "VotingClassifier VotingRegressor",
    "ensemble._weight_boosting": "AdaBoostClassifier AdaBoostRegressor",
    "feature_extraction._dict_vectorizer": "DictVectorizer",
    "feature_extraction._hash": "FeatureHasher",
    "feature_extraction.image": "PatchExtractor",
    "feature_extraction.text": "CountVectorizer HashingVectorizer TfidfTransformer TfidfVectorizer",
    "feature_selection._from_model": "SelectFromModel",
    "feature_selection._rfe": "RFE RFECV",
    "feature_selection._sequential": "SequentialFeatureSelector",
    "feature_selection._univariate_selection": (
        "GenericUnivariateSelect SelectFdr SelectFpr SelectFwe SelectKBest SelectPercentile"
    ),
    "feature_selection._variance_threshold": "VarianceThreshold",
    "frozen._frozen": "FrozenEstimator",
    "gaussian_process._gpc": "GaussianProcessClassifier",
    "gaussian_process._gpr": "GaussianProcessRegressor",
    "impute._base": "MissingIndicator SimpleImputer",
    "impute._knn": "KNNImputer",
    "isotonic": "IsotonicRegression",
    "kernel_approximation": (
        "AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler SkewedChi2Sampler"
    ),
    "kernel_ridge": "KernelRidge",
    "linear_model._base": "LinearRegression",
    "linear_model._bayes": "ARDRegression BayesianRidge",
    "linear_model._coordinate_descent": (
        "ElasticNet ElasticNetCV Lasso LassoCV MultiTaskElasticNet MultiTaskElasticNetCV "
        "MultiTaskLasso MultiTaskLassoCV"
    ),
    "linear_model._glm.glm": "GammaRegressor PoissonRegressor TweedieRegressor",
    "linear_model._huber": "HuberRegressor",
    "linear_model._least_angle": "Lars LarsCV LassoLars LassoLarsCV LassoLarsIC",
    "linear_model._logistic": "LogisticRegression LogisticRegressionCV",
    "linear_model._omp": "OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV",
    "linear_model._passive_aggressive": "PassiveAggressiveClassifier PassiveAggressiveRegressor",
    "linear_model._perceptron": "Perceptron",
    "linear_model._quantile": "QuantileRegressor",
    "linear_model._ransac": "RANSACRegressor",
    "linear_model._ridge": "Ridge RidgeCV RidgeClassifier RidgeClassifierCV",
    "linear_model._stochastic_gradient": "SGDClassifier SGDOneClassSVM SGDRegressor",
    "linear_model._theil_sen": "TheilSenRegressor",
    "manifold._classical_mds": "ClassicalMDS",
    "manifold._isomap": "Isomap",
    "manifold._locally_linear": "LocallyLinearEmbedding",
    "manifold._mds": "MDS",
    "manifold._spectral_embedding": "SpectralEmbedding",
    "manifold._t_sne": "TSNE",
    "mixture._bayesian_mixture": "BayesianGaussianMixture",
    "mixture._gaussian_mixture": "GaussianMixture",
    "model_selection._classification_threshold": (
        "FixedThresholdClassifier TunedThresholdClassifierCV"
    ),
    "model_selection._search": "GridSearchCV RandomizedSearchCV",
    "multiclass": "OneVsOneClassifier OneVsRestClassifier OutputCodeClassifier",
    "multioutput": "ClassifierChain MultiOutputClassifier MultiOutputRegressor RegressorChain",
    "naive_bayes": "BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB",
    "neighbors._classification": "KNeighborsClassifier RadiusNeighborsClassifier",
    "neighbors._graph": "KNeighborsTransformer RadiusNeighborsTransformer",
    "neighbors._kde": "KernelDensity",
    "neighbors._lof": "LocalOutlierFactor",
    "neighbors._nca": "NeighborhoodComponentsAnalysis",
    "neighbors._nearest_centroid": "NearestCentroid",
    "neighbors._regression": "KNeighborsRegressor RadiusNeighborsRegressor",
    "neighbors._unsupervised": "NearestNeighbors",
    "neural_network._multilayer_perceptron": "MLPClassifier MLPRegressor",
    "neural_network._rbm": "BernoulliRBM",
    "pipeline": "FeatureUnion Pipeline",
    "preprocessing._data": (
        "Binarizer KernelCenterer MaxAbsScaler MinMaxScaler Normalizer PowerTransformer "
        "QuantileTransformer RobustScaler StandardScaler"
    ),
    "preprocessing._discretization": "KBinsDiscretizer",
    "preprocessing._encoders": "OneHotEncoder OrdinalEncoder",
    "preprocessing._function_transformer": "FunctionTransformer",
    "preprocessing._label": "LabelBinarizer LabelEncoder MultiLabelBinarizer",
    "preprocessing._polynomial": "PolynomialFeatures SplineTransformer",
    "preprocessing._target_encoder": "TargetEncoder",
    "random_projection": "GaussianRandomProjection SparseRandomProjection",
    "semi_supervised._label_propagation": "LabelPropagation LabelSpreading",
    "semi_supervised._self_training": "SelfTrainingClassifier",
    "svm._classes": "LinearSVC LinearSVR NuSVC NuSVR OneClassSVM SVC SVR",
    "tree._classes": (
        "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor"
    ),
}

ESTIMATORS = tuple(
    f"sklearn.{module}.{name}" for module, names in _BY_MODULE.items() for name in names.split()
)
"""Full names of the classes."""


VARIABLE = "TUNER_TRUSTED_TYPES"
"""Environment variable with further types, separated by commas: the operator's configuration."""

_SPARSE = (  # checked: their indices
    "scipy.sparse._csc.csc_array",
    "scipy.sparse._csc.csc_matrix",
    "scipy.sparse._csr.csr_array",
    "scipy.sparse._csr.csr_matrix",
)

_TREES = ("sklearn.tree._tree.Tree",)  # checked: their nodes

_NEIGHBORS = (  # rebuilt from their points
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
)

_METRICS = (
    # at most two numbers and an array; metrics that call a user's function are excluded
    "sklearn.metrics._dist_metrics.ChebyshevDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
)

_LOSSES_OF_SGD = tuple(
    f"sklearn.linear_model._sgd_fast.{name}"
    for name in (
        "EpsilonInsensitive",
        "Hinge",
        "ModifiedHuber",
        "SquaredEpsilonInsensitive",
        "SquaredHinge",
    )
)

_LOSS_NAMES = (  # each in Python, and as the compiled class that it wraps
    "AbsoluteError",
    "ExponentialLoss",
    "HalfBinomialLoss",
    "HalfGammaLoss",
    "HalfMultinomialLoss",
    "HalfPoissonLoss",
    "HalfSquaredError",
    "HalfTweedieLoss",
    "HalfTweedieLossIdentity",
    "HuberLoss",
    "PinballLoss",
)

_LOSSES = (
    *_LOSSES_OF_SGD,
    *(f"sklearn._loss._loss.Cy{name}" for name in _LOSS_NAMES),
)

_LINKS = tuple(
    f"sklearn._loss.link.{name}"
    for name in ("HalfLogitLink", "IdentityLink", "LogLink", "LogitLink", "MultinomialLogit")
)

_PARTS_OF_ESTIMATORS = (  # Python objects with attributes only
    *_LINKS,
    "sklearn._loss.link.Interval",
    *(f"sklearn._loss.loss.{name}" for name in _LOSS_NAMES),
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.cluster._bisect_k_means._BisectingTree",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
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
        "GroupShuffleSplit",
        "KFold",
        "LeaveOneGroupOut",
        "LeaveOneOut",
        "LeavePGroupsOut",
        "LeavePOut",
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

_SCORERS = (  # they call one of `RESPONSES` of a model, and one function of `_SCORES`
    "sklearn.metrics._scorer._CurveScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
)

_SCORES = tuple(
    f"sklearn.metrics.{module}.{name}"
    for module, names in {
        "_classification": (
            "accuracy_score balanced_accuracy_score brier_score_loss d2_brier_score "
            "d2_log_loss_score f1_score jaccard_score log_loss matthews_corrcoef precision_score "
            "recall_score"
        ),
        "_ranking": "average_precision_score roc_auc_score top_k_accuracy_score",
        "_regression": (
            "d2_absolute_error_score explained_variance_score max_error mean_absolute_error "
            "mean_absolute_percentage_error mean_gamma_deviance mean_poisson_deviance "
            "mean_squared_error mean_squared_log_error median_absolute_error r2_score "
            "root_mean_squared_error root_mean_squared_log_error"
        ),
        "_scorer": "negative_likelihood_ratio positive_likelihood_ratio",
        "cluster._supervised": (
            "adjusted_mutual_info_score adjusted_rand_score completeness_score "
            "fowlkes_mallows_score homogeneity_score mutual_info_score "
            "normalized_mutual_info_score rand_score v_measure_score"
        ),
    }.items()
    for name in names.split()
)

_FUNCTIONS_AT: dict[str, frozenset[str]] = {
    "_kmeans_single": frozenset(
        f"sklearn.cluster._kmeans._kmeans_single_{name}" for name in ("elkan", "lloyd")
    ),
    "_score_func": frozenset(_SCORES),
    "func of partial": frozenset({"sklearn.utils.validation.check_array"}),
    "pooling_func": frozenset({"numpy.mean"}),
    "score_func": frozenset(
        {
            "sklearn.feature_selection._mutual_info.mutual_info_classif",
            "sklearn.feature_selection._mutual_info.mutual_info_regression",
            "sklearn.feature_selection._univariate_selection.chi2",
            "sklearn.feature_selection._univariate_selection.f_classif",
            "sklearn.feature_selection._univariate_selection.f_regression",
        }
    ),
}
"""Functions by the one attribute that may hold them. Functions of numbers may stand anywhere."""

_OBJECTS = frozenset(
    (*ESTIMATORS, *_PARTS_OF_ESTIMATORS, *_NEIGHBORS, *_METRICS, *_KERNELS, *_SPLITS)
)
_WITH_SCORERS = _OBJECTS | frozenset(_SCORERS)
_PLACES_OF_SCORERS = frozenset({"_curve_scorer", "_scorer", "owner", "scorer_", "scoring"})

TRUSTED = (
    _OBJECTS.union(_SPARSE, _TREES, _LOSSES, _SCORERS, *_FUNCTIONS_AT.values())
    | {"numpy.dtype", "sklearn.utils._bunch.Bunch"}
)  # fmt: skip
"""Every name on the list, besides plain types, numbers and functions of numbers."""

# --- the places of names ------------------------------------------------------------------------

SPARSE, TREES, LOSSES = frozenset(_SPARSE), frozenset(_TREES), frozenset(_LOSSES)
METRICS, SCORERS = frozenset(_METRICS), frozenset(_SCORERS)
RESPONSES = ("predict", "predict_proba", "decision_function")
"""Methods that a scorer may call."""

DICTS = frozenset({"builtins.dict", "sklearn.utils._bunch.Bunch"})

_NUMPY = (
    "bool", "bool_", "float16", "float32", "float64", "int16", "int32", "int64", "int8", "str_",
    "uint16", "uint32", "uint64", "uint8",
)  # fmt: skip
NUMBERS = frozenset(f"numpy.{name}" for name in _NUMPY)
"""Types of NumPy's scalars."""

NAME_TYPES = frozenset({"builtins.str"})
KEY_TYPES = NUMBERS | NAME_TYPES | {"builtins.bool", "builtins.float", "builtins.int"}
PLAIN_TYPES = KEY_TYPES | {"builtins.object"}
"""Types that may stand as a value, such as ``dtype=numpy.float64``."""

_TREE_OF_NEIGHBORS = (
    *["array"] * 4, *["integer"] * 7, "metric", "array or none",
)  # fmt: skip
STATES_OF_TUPLES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_NEIGHBORS, _TREE_OF_NEIGHBORS),
    **dict.fromkeys(_METRICS, ("number", "array", "array")),
}
"""States of compiled objects, which read them without looking."""

WITHOUT_STATE = frozenset(_LINKS)

ONLY_VALUES: dict[str, tuple[str, ...]] = {"memory": ("null",), "input": ('"content"',)}
"""Attributes that may have these JSON values alone, as others make a model open files."""


UNFITTED = "not a model that was fitted"

_TYPES_AT = {
    "cv": PLAIN_TYPES.union(
        f"sklearn.model_selection._split.{name}" for name in ("KFold", "StratifiedKFold")
    )
}


def types_at(attribute: str) -> Collection[str]:
    """Return the types that an attribute may hold as its value."""
    return _TYPES_AT.get(attribute, PLAIN_TYPES)


def functions_at(attribute: str) -> Collection[str]:
    """Return the functions that an attribute may hold, besides functions of numbers."""
    return _FUNCTIONS_AT.get(attribute, ())


def objects_at(attribute: str) -> Collection[str]:
    """Return the classes that the value of an attribute may have."""
    return _WITH_SCORERS if attribute in _PLACES_OF_SCORERS else _OBJECTS


def is_function_of_numbers(module: str, name: str) -> bool:
    """Whether this is a ufunc of NumPy or SciPy; never imports a module that the file names."""
    import numpy as np
    import scipy.special  # noqa: F401 (so that it is among the modules)

    if module.split(".")[0] != "numpy" and not module.startswith("scipy.special"):
        return False
    return type(getattr(sys.modules.get(module), name, None)) is np.ufunc


def more_types(more: Iterable[str] = ()) -> frozenset[str]:
    """Return the names that the operator and the caller trust in addition to the list.

    Raises
    ------
    ArgumentError
        If `more` is not a list of names.
    """
    names = [more] if isinstance(more, str) else list(more)
    if isinstance(more, str) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f"trusted={more!r}: write a list of full type names, such as ['package.module.Type']"
        )
    configured = (name.strip() for name in os.environ.get(VARIABLE, "").split(","))
    return frozenset({name for name in configured if name}.union(names))
