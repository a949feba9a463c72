"""`TunerSearchCV`: a search with the interface of scikit-learn's own searches."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.model_selection import check_cv

# Every search of scikit-learn and of its companions derives from this class.
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import check_random_state, indexable
from sklearn.utils.validation import _check_method_params

from tuner.errors import ArgumentError, StudyError, StudyNotFound
from tuner.optimizers import resolve
from tuner.records import Params, State, Trial
from tuner.sklearn import table as tables
from tuner.sklearn.candidates import as_candidates, check_names
from tuner.sklearn.evaluation import GOAL, CrossValidation, FitsFailed
from tuner.sklearn.scratch import scratch_store
from tuner.study.create import load_study
from tuner.study.optimize import optimize
from tuner.study.study import Study


class TunerSearchCV(BaseSearchCV):  # type: ignore[misc]
    """Search the params of an estimator by cross-validation, and record every candidate.

    A drop-in replacement of ``GridSearchCV``, ``RandomizedSearchCV`` and
    ``HalvingRandomSearchCV``. Each candidate is a trial of a study, and each fold is a step of the
    trial, so that a scheduler stops a bad candidate after few folds.

    Parameters
    ----------
    estimator
        An estimator of scikit-learn or with its interface.
    space
        A dict of parameters, a list of such dicts, or a `tuner.Space`. A parameter is a domain of
        tuner, a list of values or a frozen distribution of SciPy. The parameters of an option of a
        `Choice` have their full names, such as ``svc__gamma``.
    n_trials
        Number of candidates. None tries the whole grid with ``optimizer="grid"``, otherwise 100, or
        the size of the space if that is smaller.
    timeout
        Seconds after which no more candidates are started.
    optimizer, scheduler
        A registered name or an object; see `tuner.optimize`.
    backend
        A registered name or an object. None runs in this process if `n_jobs` is None or 1,
        otherwise in worker processes.
    n_jobs
        Number of candidates that are evaluated at once. -1 uses the whole machine or cluster, and
        so does None with the backend ``"ray"`` or ``"processes"``.
    scoring, refit, cv, error_score, return_train_score
        As for ``RandomizedSearchCV``.
    verbose
        1 shows one progress display, and 2 or more also the fits, as scikit-learn does.
    random_state
        An integer makes a search in one process repeatable.
    study
        Name of the study. An existing name resumes that study, which must have the same data.
    store
        The store of the record; see `tuner.optimize`. None with neither `study` nor the environment
        variable ``TUNER_STORE`` keeps the record in a temporary folder while the process runs.
    callbacks
        Called with ``study, trial`` after each candidate, such as the rules of `tuner.stop`.

    Attributes
    ----------
    study_ : tuner.study.study.Study
        The record. Row i of `cv_results_` is finished trial i.
    cv_results_ : dict
        The table of scikit-learn. The mean of a stopped candidate is over its folds; its other
        folds are NaN, and it ranks behind all candidates that were not stopped.
    best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, refit_time_, \
multimetric_, classes_, n_features_in_, feature_names_in_
        As for ``RandomizedSearchCV``.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from tuner.sklearn import TunerSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> search = TunerSearchCV(SVC(), {"C": loguniform(0.01, 100)}, n_trials=5, random_state=0)
    >>> bool(search.fit(X, y).best_score_ > 0.9)
    True
    >>> len(search.study_.trials)
    5
    """

    def __init__(
        self,
        estimator: Any,
        space: Any,
        *,
        n_trials: int | None = None,
        timeout: float | None = None,
        optimizer: Any = "auto",
        scheduler: Any = None,
        backend: Any = None,
        n_jobs: int | None = None,
        scoring: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        random_state: Any = None,
        study: str | None = None,
        store: Any = None,
        callbacks: Sequence[Any] = (),
    ) -> None:
        super().__init__(
            estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.space = space
        self.n_trials = n_trials
        self.timeout = timeout
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.backend = backend
        self.random_state = random_state
        self.study = study
        self.store = store
        self.callbacks = callbacks

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, **params: Any) -> TunerSearchCV:
        """Evaluate the candidates, and fit the best one on all data.

        Parameters
        ----------
        X, y
            The data, as for the estimator.
        **params
            Arguments of the estimator's ``fit``, of the scorer and of the splitter, such as
            ``sample_weight`` and ``groups``.

        Raises
        ------
        ArgumentError, SpaceError, StudyMismatch
            If an argument is invalid, before the first fit.
        ValueError
            If all fits failed.
        """
        candidates = as_candidates(self.space)
        check_names(candidates, self.estimator)
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        splits = self._split(X, y, routed.splitter.split)
        objective = CrossValidation(
            clone(self.estimator),
            X,
            y,
            splits,
            candidates,
            {
                "scorer": scorers,
                "fit_params": routed.estimator.fit,
                "score_params": routed.scorer.score,
                "return_train_score": self.return_train_score,
                "error_score": self.error_score,
                "verbose": self.verbose,
            },
            self.refit if isinstance(self.refit, str) else None,
        )
        self._study = self._search(objective)
        self._study_name = self._study.name
        self._tabulate(objective, refit_metric)
        if self.refit:
            self._refit(X, y, routed.estimator.fit)
        # A search with several scorers has a dict of them.
        self.scorer_ = getattr(scorers, "_scorers", scorers)
        return self

    @property
    def study_(self) -> Study:
        """The study: its trials are the candidates.

        A copy, such as an unpickled search, opens the record again.

        Raises
        ------
        AttributeError
            If the search is not fitted, or its record is gone.
        """
        study: Study | None = self.__dict__.get("_study")
        if study is None:
            name = self.__dict__.get("_study_name")
            if name is None:
                raise AttributeError(f"{type(self).__name__} is not fitted; call fit first")
            try:
                study = self._study = load_study(name, store=self._record_store())
            except StudyNotFound as error:
                raise AttributeError(
                    f"study_: the record of study {name!r} is not in {self._record_store()}; "
                    f"write store= to keep the record of a search"
                ) from error
        return study

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        # A model is loaded also where its record is not.
        return {name: value for name, value in state.items() if name != "_study"}

    @property
    def _is_kept(self) -> bool:
        """Whether the user asks for a record that lasts."""
        named = self.store is not None or self.study is not None
        return named or bool(os.environ.get("TUNER_STORE"))

    def _record_store(self) -> Any:
        return self.store if self._is_kept else scratch_store()

    def _split(self, X: Any, y: Any, params: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        """Return the indices of the folds, which are the same for all candidates."""
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, **params))
        self.n_splits_ = cv.get_n_splits(X, y, **params)
        if len(splits) != self.n_splits_ or not splits:
            raise ValueError(
                f"cv={self.cv!r}: get_n_splits() is {self.n_splits_}, and split() has "
                f"{len(splits)} splits; give both the same positive number"
            )
        return splits

    def _search(self, objective: CrossValidation) -> Study:
        """Run the study, and raise the first error that is not a failed fit."""
        backend, workers = self._backend_and_workers()
        # A study changes its optimizer, and `fit` must not change an argument.
        optimizer = copy.deepcopy(resolve(self.optimizer))
        seed = self.random_state
        if seed is not None:
            seed = int(check_random_state(seed).randint(2**31 - 1))
        errors = _StopAtError()
        study = optimize(
            objective,
            objective.candidates.space,
            direction="maximize",
            metric=GOAL,
            n_trials=self.n_trials,
            timeout=self.timeout,
            optimizer=optimizer,
            scheduler=copy.deepcopy(self.scheduler),
            backend=backend,
            workers=workers,
            seed=seed,
            study=self.study,
            store=self._record_store(),
            register=False,
            data=_known_data(objective.X, objective.y) if self._is_kept else None,
            initial=[] if getattr(optimizer, "ends", False) else self._own_params(objective),
            max_identical_failures=None,
            callbacks=[errors, *self.callbacks],
            progress=self.verbose > 0,
        )
        if errors.trial is not None:
            objective.fit_all(errors.trial.params)  # raises the error itself
            raise StudyError(
                f"study {study.name!r}, trial {errors.trial.number}: {errors.trial.error}; its "
                f"fits did not fail when they were repeated in this process"
            )
        return study

    def _backend_and_workers(self) -> tuple[Any, int | None]:
        """Return the backend and its number of workers."""
        jobs = self.n_jobs
        if jobs is not None and jobs < -1:
            raise ArgumentError(f"n_jobs={jobs}: write a positive number, -1 or None")
        workers = None if jobs in (None, -1) else int(jobs)
        if self.backend is not None:
            return self.backend, workers
        return ("serial", None) if jobs in (None, 1) else ("processes", workers)

    def _own_params(self, objective: CrossValidation) -> list[Params]:
        """Return the point of the estimator's own params, to try it first.

        A parameter whose value is not in its domain takes the central value. Spaces with branches
        and declared defaults have none.
        """
        space = objective.candidates.space
        domains = space.params
        if any(domain.branches or domain.default is not None for domain in domains.values()):
            return []
        own = objective.estimator.get_params(deep=True)
        known = {name: own[name] for name, d in domains.items() if d.contains(own.get(name))}
        point = {name: d.middle for name, d in domains.items()} | known
        return [point] if known and space.contains(point) else []

    def _tabulate(self, objective: CrossValidation, refit_metric: str) -> None:
        """Set the attributes that depend on the record: the table and the best candidate."""
        table = tables.evaluated(self.study_)
        if not table.trials:
            raise ValueError("No fits were performed: no candidate ended before the timeout")
        tables.warn_of_failures(table, self.n_splits_, self.error_score)
        names = table.names
        self.multimetric_ = not (self.scoring is None or isinstance(self.scoring, str))
        if callable(self.scoring):
            self.multimetric_ = names != [GOAL]
            if self.multimetric_:
                self._check_refit_for_multimetric(dict.fromkeys(names))
                refit_metric = self.refit
        missing = np.nan if self.error_score == "raise" else self.error_score
        fits = table.fits(
            self.n_splits_,
            multimetric=self.multimetric_,
            train=self.return_train_score,
            missing=missing,
        )
        candidates = [objective.candidates.params(trial.params) for trial in table.trials]
        self.cv_results_ = results = tables.formatted(
            table, self._format_results, candidates, self.n_splits_, list(fits)
        )
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]

    def _refit(self, X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:
        """Fit the best candidate on all data."""
        best = clone(self.best_params_, safe=False)  # a param may be an estimator
        self.best_estimator_ = clone(self.estimator).set_params(**best)
        data = (X,) if y is None else (X, y)
        began = time.monotonic()
        self.best_estimator_.fit(*data, **fit_params)
        self.refit_time_ = time.monotonic() - began
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_


class _StopAtError:
    """A callback that stops the search at an error other than a failed fit."""

    reads_record = False

    def __init__(self) -> None:
        self.trial: Trial | None = None

    def __call__(self, study: Study, trial: Trial) -> None:
        error = trial.error if trial.state is State.FAILED else None
        if error is not None and error.kind not in (FitsFailed.__name__, "WorkerLost"):
            self.trial = self.trial or trial
            study.stop("an error")


def _known_data(X: Any, y: Any) -> Any:
    """Return the data if it has a fingerprint; None otherwise, such as for objects of a user."""
    from tuner.provenance.capture import fingerprint

    try:
        fingerprint((X, y))
    except ArgumentError:
        return None
    return X, y
