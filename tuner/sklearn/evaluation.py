"""The objective of a search: the cross-validation of one candidate, with its folds as steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sklearn.base import clone

# Public functions of scikit-learn check and route their arguments again in each call, which takes
# longer than to record the fit.
from sklearn.model_selection._validation import _fit_and_score

from tuner.records import Params
from tuner.sklearn.candidates import Candidates

if TYPE_CHECKING:
    from tuner.engine.worker.trial import LiveTrial

GOAL = "score"
"""The metric that the study maximizes: the mean of the scores so far."""

ERRORS = "fit_errors"
"""The note with the errors of a trial's fits."""

N_ERRORS = 5
"""Maximum number of different errors that are kept of a trial."""

LONGEST_ERROR = 4_000
"""Maximum number of characters that are kept of an error: its end, which names the cause."""


class FitsFailed(Exception):
    """A fit of a candidate failed, or has no finite score; other errors end the search."""


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Fits and scores an estimator on each fold with the params of a point.

    Attributes
    ----------
    estimator
        The estimator, which is cloned for each fit.
    X, y
        The data.
    splits
        The indices of the training and of the test part of each fold.
    options
        Further arguments of scikit-learn's ``_fit_and_score``.
    goal
        The name of the metric to maximize if there are several; otherwise the first one.
    """

    estimator: Any
    X: Any
    y: Any
    splits: Sequence[tuple[Any, Any]]
    candidates: Candidates
    options: Mapping[str, Any]
    goal: str | None

    @property
    def __name__(self) -> str:
        """The beginning of generated names of studies."""
        return type(self.estimator).__name__

    def __call__(self, params: Params, trial: LiveTrial) -> float:
        """Return the mean score of the folds until the scheduler stops the trial.

        After a fold without a finite score, the others are still fitted, as by scikit-learn.

        Raises
        ------
        FitsFailed
            If a fold has no finite score.
        """
        values = self.candidates.params(params)
        folds = trial.folds(self.splits)
        fits: list[dict[str, Any]] = []
        for fold, split in enumerate(folds):
            fits.append(self._fit(values, fold, split))
            score = self._score(fits[-1])
            if not math.isfinite(score):
                trial.log_metrics(_metrics(fits[-1]), step=fold)
                break
            folds.report(score, _metrics(fits[-1]))
        else:
            self._log(fits, trial)
            return folds.mean
        for fold in range(len(fits), len(self.splits)):
            fits.append(self._fit(values, fold, self.splits[fold]))
            trial.log_metrics(_metrics(fits[-1]), step=fold)
        self._log(fits, trial)
        bad = [fold for fold, fit in enumerate(fits) if not math.isfinite(self._score(fit))]
        errors = [fit["fit_error"].strip().splitlines()[-1] for fit in fits if fit["fit_error"]]
        reason = errors[0] if errors else "a score is not finite"
        raise FitsFailed(f"{len(bad)} of {len(fits)} folds, the first is {bad[0]}: {reason}")

    def fit_all(self, params: Params) -> None:
        """Fit and score all folds without a trial; raises what the objective raises."""
        for fold, split in enumerate(self.splits):
            self._fit(self.candidates.params(params), fold, split)

    def _fit(self, values: dict[str, Any], fold: int, split: tuple[Any, Any]) -> dict[str, Any]:
        fitted: dict[str, Any] = _fit_and_score(
            clone(self.estimator),
            self.X,
            self.y,
            train=split[0],
            test=split[1],
            parameters=values,
            split_progress=(fold, len(self.splits)),
            return_times=True,
            **self.options,
        )
        return fitted

    def _score(self, fitted: Mapping[str, Any]) -> float:
        scores = fitted["test_scores"]
        if not isinstance(scores, dict):
            return float(scores)
        return float(scores[self.goal] if self.goal in scores else next(iter(scores.values())))

    def _log(self, fits: Sequence[Mapping[str, Any]], trial: LiveTrial) -> None:
        """Record the means of several metrics, and the errors of fits."""
        scores = [fit["test_scores"] for fit in fits if isinstance(fit["test_scores"], dict)]
        if scores:
            trial.log_metrics(
                {
                    f"mean_test_{name}": sum(float(each[name]) for each in scores) / len(scores)
                    for name in scores[0]
                }
            )
        errors: dict[str, int] = {}
        for fit in fits:
            if fit["fit_error"]:
                text = fit["fit_error"][-LONGEST_ERROR:]
                if len(errors) == N_ERRORS and text not in errors:
                    text = next(iter(errors))  # each failure counts
                errors[text] = errors.get(text, 0) + 1
        if errors:
            trial.set_note(ERRORS, [[text, n] for text, n in errors.items()])


def _metrics(fitted: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores and times of a fit as the metrics of a step."""
    metrics: dict[str, float] = {name: fitted[name] for name in ("fit_time", "score_time")}
    for part in ("test", "train"):
        if (scores := fitted.get(f"{part}_scores")) is not None:
            named = scores if isinstance(scores, dict) else {GOAL: scores}
            metrics |= {f"{part}_{name}": float(score) for name, score in named.items()}
    return metrics
