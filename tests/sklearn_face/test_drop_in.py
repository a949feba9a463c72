"""`TunerSearchCV` against the searches of scikit-learn: the same table, the same best candidate."""

import copy
import os
import pickle
import warnings

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import tuner
from tuner.errors import ArgumentError, SpaceError
from tuner.sklearn import TunerSearchCV

X, y = load_iris(return_X_y=True)
NEIGHBORS = {"n_neighbors": [1, 3, 5], "weights": ["uniform", "distance"]}
TIMES = {"mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time"}


def grid(estimator, space, **options):
    return TunerSearchCV(estimator, space, optimizer="grid", **{"cv": 2} | options)


def assert_same(ours, theirs):
    """Assert that two fitted searches have equal tables, apart from times."""
    assert ours.cv_results_.keys() == theirs.cv_results_.keys()
    for key, column in theirs.cv_results_.items():
        if key == "params":
            assert [repr(p) for p in ours.cv_results_[key]] == [repr(p) for p in column]
        elif key not in TIMES:
            mine = ours.cv_results_[key]
            assert type(mine) is type(column)
            if column.dtype == object:
                assert [str(a) for a in mine] == [str(a) for a in column]
            else:
                np.testing.assert_allclose(mine, column, rtol=1e-12)
    for name in ("best_index_", "n_splits_", "multimetric_"):
        assert getattr(ours, name) == getattr(theirs, name)


class Fails(ClassifierMixin, BaseEstimator):
    """A classifier that fails for some values of its parameter."""

    def __init__(self, fails=False):
        self.fails = fails

    def fit(self, X, y):
        if self.fails:
            raise ZeroDivisionError("it fails")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


# --- the table ------------------------------------------------------------------------------------


def test_the_table_of_a_grid_is_that_of_grid_search():
    options = {"cv": 3, "return_train_score": True}
    ours = grid(KNeighborsClassifier(), NEIGHBORS, **options).fit(X, y)
    theirs = GridSearchCV(KNeighborsClassifier(), NEIGHBORS, **options).fit(X, y)
    assert_same(ours, theirs)
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_score_ == theirs.best_score_
    assert ours.score(X, y) == theirs.score(X, y)
    assert ours.refit_time_ > 0
    assert list(ours.classes_) == [0, 1, 2]
    assert ours.n_features_in_ == 4


@pytest.mark.parametrize("refit", ["f1_macro", False, lambda table: 1])
def test_several_metrics(refit):
    options = {"scoring": ["accuracy", "f1_macro"], "refit": refit, "cv": 2}
    ours = grid(KNeighborsClassifier(), NEIGHBORS, **options).fit(X, y)
    theirs = GridSearchCV(KNeighborsClassifier(), NEIGHBORS, **options)
    theirs.fit(X, y)
    if refit:
        assert_same(ours, theirs)
    assert ours.scorer_.keys() == theirs.scorer_.keys()
    goal = "accuracy" if refit is not False and callable(refit) else refit or "accuracy"
    means = ours.cv_results_[f"mean_test_{goal}"]
    np.testing.assert_allclose([trial.value for trial in ours.study_.trials], means)


def test_a_function_that_returns_several_metrics():
    def scores(estimator, X, y):
        predicted = estimator.predict(X)
        return {"right": (predicted == y).mean(), "zeros": (predicted == 0).mean()}

    options = {"scoring": scores, "refit": "right", "cv": 2}
    space = {"max_depth": [1, 2], "criterion": ["gini", "entropy"]}
    model = DecisionTreeClassifier(random_state=0)
    assert_same(
        grid(model, space, **options).fit(X, y), GridSearchCV(model, space, **options).fit(X, y)
    )
    with pytest.raises(ValueError, match="multi-metric scoring"):
        grid(model, space, **options | {"refit": True}).fit(X, y)


@pytest.mark.parametrize("error_score", [np.nan, 0.0])
def test_failed_fits(error_score):
    space, options = {"fails": [True, False]}, {"error_score": error_score, "cv": 2}
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 4"):
        ours = grid(Fails(), space, **options).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(ours, GridSearchCV(Fails(), space, **options).fit(X, y))
    failed = ours.study_.trials[0]
    if np.isnan(error_score):
        assert failed.state is tuner.State.FAILED
        assert "2 of 2 folds" in failed.error.message


def test_all_fits_failed():
    with pytest.raises(ValueError, match=r"(?s)All the 2 fits failed.*it fails"):
        grid(Fails(), {"fails": [True]}).fit(X, y)


class FailsInItsOwnWay(Fails):
    def fit(self, X, y):
        raise ZeroDivisionError(f"it fails with {X.sum()}")


def test_all_fits_failed_for_many_reasons():
    with pytest.raises(ValueError, match="All the 8 fits failed"):
        grid(FailsInItsOwnWay(), {"fails": [True]}, cv=8).fit(X, y)


def test_the_first_error_is_raised_and_ends_the_search():
    search = grid(Fails(), {"fails": [False, True], "x": [1]}, error_score="raise")
    with pytest.raises(SpaceError, match="'x' is not a parameter"):
        search.fit(X, y)
    search = grid(Fails(), {"fails": [True, False]}, error_score="raise")
    with pytest.raises(ZeroDivisionError, match="it fails"):
        search.fit(X, y)


def test_an_error_outside_of_fits_is_raised():
    pipeline = Pipeline([("model", Ridge())])
    space = [
        {"model": [Ridge()], "model__alpha": [1.0]},
        {"model": [GaussianNB()], "model__x": [1]},
    ]
    with pytest.raises(ValueError, match="Invalid parameter 'x'"):
        grid(pipeline, space).fit(X, y)


# --- data and metadata ----------------------------------------------------------------------------


def test_groups_and_sample_weights():
    groups, weights = np.arange(150) % 5, np.linspace(0, 1, 150)
    options = {"cv": GroupKFold(3)}
    space = {"var_smoothing": [1e-9, 1e-3, 1e-1]}
    fitted = [
        search.fit(X, y, groups=groups, sample_weight=weights)
        for search in (
            grid(GaussianNB(), space, **options),
            GridSearchCV(GaussianNB(), space, **options),
        )
    ]
    assert_same(*fitted)
    np.testing.assert_array_equal(
        fitted[0].best_estimator_.theta_, fitted[1].best_estimator_.theta_
    )


def test_metadata_routing():
    weights = np.linspace(0.1, 1, 150)
    with config_context(enable_metadata_routing=True):
        model = GaussianNB().set_fit_request(sample_weight=True)
        scorer = make_scorer(recall_score, average="macro").set_score_request(sample_weight=True)
        space, options = {"var_smoothing": [1e-9, 1e-1]}, {"cv": GroupKFold(2), "scoring": scorer}
        groups = np.arange(150) % 4
        fitted = [
            search.fit(X, y, sample_weight=weights, groups=groups)
            for search in (grid(model, space, **options), GridSearchCV(model, space, **options))
        ]
        assert_same(*fitted)


def test_frames_keep_their_names():
    frame = load_iris(as_frame=True)
    search = grid(GaussianNB(), {"var_smoothing": [1e-9]}).fit(frame.data, frame.target)
    assert list(search.feature_names_in_) == frame.feature_names


# --- as an estimator ------------------------------------------------------------------------------


def test_it_is_cloned_pickled_and_copied():
    search = grid(GaussianNB(), {"var_smoothing": [1e-9, 1e-2]})
    assert repr(clone(search)) == repr(search)
    search.fit(X, y)
    for other in (pickle.loads(pickle.dumps(search)), copy.deepcopy(search)):
        np.testing.assert_array_equal(other.predict(X), search.predict(X))
        assert other.study_.name == search.study_.name


def test_a_pickle_survives_the_loss_of_its_record(tmp_path, monkeypatch):
    data = pickle.dumps(grid(GaussianNB(), {"var_smoothing": [1e-9]}).fit(X, y))
    monkeypatch.setattr("tuner.sklearn.search.scratch_store", lambda: str(tmp_path))
    search = pickle.loads(data)
    assert search.score(X, y) > 0.9
    with pytest.raises(AttributeError, match="write store= to keep the record"):
        search.study_  # noqa: B018
    with pytest.raises(AttributeError, match="call fit first"):
        clone(search).study_  # noqa: B018


def test_it_is_evaluated_by_cross_validation():
    search = grid(KNeighborsClassifier(), {"n_neighbors": [1, 5]})
    assert cross_val_score(search, X, y, cv=2).min() > 0.9


def test_fit_leaves_the_arguments_unchanged():
    optimizer = tuner.optimizers.RandomOptimizer()
    before = copy.deepcopy(vars(optimizer))
    TunerSearchCV(GaussianNB(), {"var_smoothing": [1e-9]}, optimizer=optimizer).fit(X, y)
    assert vars(optimizer) == before


def test_it_prints_nothing_and_leaves_no_folder(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNER_STORE", raising=False)
    grid(GaussianNB(), {"var_smoothing": [1e-9]}).fit(X, y)
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"refit": 3}, ValueError),
        ({"n_trials": 0}, ArgumentError),
        ({"n_jobs": -2}, ArgumentError),
        ({"optimizer": "best"}, ArgumentError),
        ({"backend": "threads"}, ArgumentError),
        ({"cv": []}, ValueError),
    ],
)
def test_wrong_arguments_are_refused_before_the_first_fit(change, error):
    search = TunerSearchCV(Fails(True), {"fails": [True, False]}, error_score="raise")
    with pytest.raises(error):
        search.set_params(**change).fit(X, y)


# --- the study ------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["random", "tpe", "auto"])
def test_the_same_seed_gives_the_same_search(optimizer):
    model = DecisionTreeClassifier()  # random_state=None draws from the global generator
    space = {"max_features": [1, 2, 3, 4], "ccp_alpha": loguniform(1e-4, 1)}
    one, other = (
        TunerSearchCV(model, space, n_trials=6, optimizer=optimizer, cv=2, random_state=5).fit(X, y)
        for _ in range(2)
    )
    assert_same(one, other)


def test_the_own_params_of_the_estimator_are_tried_first():
    model = KNeighborsClassifier(n_neighbors=7)
    search = TunerSearchCV(model, {"n_neighbors": tuner.Int(1, 20)}, n_trials=2, cv=2).fit(X, y)
    assert search.cv_results_["params"][0] == {"n_neighbors": 7}


def test_a_named_study_is_resumed(tmp_path):
    options = {"n_trials": 3, "study": "iris", "store": tmp_path, "optimizer": "random", "cv": 2}
    space = {"var_smoothing": loguniform(1e-9, 1)}
    first = TunerSearchCV(GaussianNB(), space, **options).fit(X, y)
    second = TunerSearchCV(GaussianNB(), space, **options | {"n_trials": 5}).fit(X, y)
    assert len(second.cv_results_["params"]) == 5
    assert second.cv_results_["params"][:3] == first.cv_results_["params"]
    assert tuner.load_study("iris", store=tmp_path).best_value == second.best_score_
    with pytest.raises(tuner.errors.StudyMismatch, match="data"):
        TunerSearchCV(GaussianNB(), space, **options).fit(X[:100], y[:100])


class ByParam(ClassifierMixin, BaseEstimator):
    """A classifier that predicts a share of the labels correctly; `quality` says which."""

    def __init__(self, quality=1.0):
        self.quality = quality

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[np.zeros(len(X), dtype=int)]

    def score(self, X, y):
        return self.quality


def test_a_scheduler_stops_bad_candidates_which_then_cannot_win():
    class StopsHalf:
        """Stops candidates with an even quality after two folds."""

        def reset(self, goals):
            pass

        def on_report(self, trial, report):
            decision = tuner.schedulers.protocol.Decision
            stops = trial.params["quality"] % 2 == 0 and report.step == 1
            return decision.STOP if stops else decision.CONTINUE

        def on_finish(self, trial, outcome):
            pass

    space = {"quality": [1, 2, 3, 4]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search = grid(ByParam(), space, scheduler=StopsHalf(), cv=4).fit(X, y)
    table = search.cv_results_
    assert table["mean_test_score"].tolist() == [1, 2, 3, 4]
    assert table["rank_test_score"].tolist() == [2, 4, 1, 3]
    assert np.isnan(table["split2_test_score"]).tolist() == [False, True, False, True]
    assert search.best_params_ == {"quality": 3}
    assert search.study_.best_trial.params == {"quality": 3}
    assert np.isfinite(table["mean_fit_time"]).all()


@pytest.mark.process
def test_worker_processes_give_the_same_table():
    space = [{"scaler": [StandardScaler(), MinMaxScaler()], "model__n_neighbors": [1, 5]}]
    pipeline = Pipeline([("scaler", StandardScaler()), ("model", KNeighborsClassifier())])
    ours = grid(pipeline, space, n_jobs=2).fit(X, y)
    assert_same(ours, GridSearchCV(pipeline, space, cv=2).fit(X, y))


def test_dummy_scores_of_a_search_without_refit():
    search = grid(DummyClassifier(), {"strategy": ["prior"]}, refit=False).fit(X, y)
    assert search.best_params_ == {"strategy": "prior"}
    assert not hasattr(search, "best_estimator_")
    assert not hasattr(search, "predict")


def test_the_regularization_of_a_regression_is_found():
    search = TunerSearchCV(
        LogisticRegression(max_iter=50, tol=0.1), {"C": loguniform(1e-4, 10)}, n_trials=5, cv=2
    ).fit(X, y)
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
