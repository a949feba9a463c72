"""The folds of a cross-validation as the steps of a trial."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sized
from statistics import fmean, variance
from typing import Any, Generic, Protocol, TypeVar

from tuner.engine.worker.outcome import as_metric
from tuner.errors import ArgumentError
from tuner.records.estimate import STANDARD_ERROR

T = TypeVar("T")


class SteppedTrial(Protocol):
    """The part of a running trial that its folds use; see `LiveTrial`."""

    def report(self, value: float | Mapping[str, float], step: int) -> None:
        """Report the value after a step, or a dict of metrics that contains it."""

    def log_metric(self, name: str, value: float) -> None:
        """Record a final value of the trial."""

    def should_stop(self) -> bool:
        """Return whether the scheduler stops the trial."""


class Folds(Generic[T]):
    """Iterates over the folds of a trial, and ends early if the scheduler stops the trial.

    Parameters
    ----------
    trial
        The running trial.
    splits
        One item per fold, such as pairs of the indices for training and for testing.
    name
        Name of the metric.
    """

    def __init__(self, trial: SteppedTrial, splits: Iterable[T], name: str) -> None:
        self._trial = trial
        self._splits = splits
        self._name = name
        self._scores: list[float] = []
        self._ratios: list[float] = []

    def __iter__(self) -> Iterator[T]:
        for place, split in enumerate(self._splits):
            if len(self._scores) != place:
                raise ArgumentError(
                    f"trial.folds: {len(self._scores)} scores were reported in {place} folds; call "
                    f"folds.report(score) once in each fold"
                )
            if self._scores and self._trial.should_stop():
                return
            self._ratios.append(_ratio(split))
            yield split

    def report(self, score: float, metrics: Mapping[str, float] | None = None) -> float:
        """Add the score of a fold, report the mean of all so far as a step, and return it.

        Parameters
        ----------
        score
            The score, a finite number.
        metrics
            Further metrics of the fold, recorded at its step.

        Raises
        ------
        BadResult
            If the score is not a finite number; the trial fails.
        ArgumentError
            If the fold already has a score.
        """
        if len(self._scores) >= len(self._ratios):
            raise ArgumentError(
                f"trial.folds: fold {len(self._ratios)} already has a score; call "
                f"folds.report(score) once in each fold, within the loop"
            )
        self._scores.append(as_metric(score, self._name))
        self._trial.report({**(metrics or {}), self._name: self.mean}, len(self._scores) - 1)
        if math.isfinite(error := self.standard_error):
            self._trial.log_metric(f"{self._name}{STANDARD_ERROR}", error)
        return self.mean

    @property
    def mean(self) -> float:
        """The mean of the scores so far; NaN before the first."""
        k = len(self._scores)
        if not k:
            return math.nan
        try:
            return fmean(self._scores)
        except OverflowError:
            return math.fsum(score / k for score in self._scores)

    @property
    def standard_error(self) -> float:
        """The standard error of the mean; NaN with fewer than two scores, and beyond 1e154.

        Folds share training data, so the plain standard error is too small. The factor is the
        correction of Nadeau and Bengio (2003, "Inference for the generalization error", Machine
        Learning 52): 1/k plus the ratio of the sizes of the test and the training part.
        """
        k = len(self._scores)
        if k < 2:
            return math.nan
        ratios = self._ratios[:k]
        ratio = fmean(ratios) if all(map(math.isfinite, ratios)) else 1.0 / (k - 1)
        try:
            return math.sqrt(variance(self._scores) * (1.0 / k + ratio))
        except OverflowError:  # scores beyond 1e154
            return math.nan


def _ratio(split: Any) -> float:
    """Return the size of the test part relative to the training part; NaN if it is not known."""
    if isinstance(split, tuple) and len(split) == 2:
        train, test = split
        if isinstance(train, Sized) and isinstance(test, Sized) and len(train):
            return len(test) / len(train)
    return math.nan
