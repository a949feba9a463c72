"""The table of a search, ``cv_results_``, from the record of its study."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import FitFailedWarning

from tuner.records import State, Trial
from tuner.sklearn.evaluation import ERRORS, GOAL

if TYPE_CHECKING:
    from tuner.study.study import Study

Steps: TypeAlias = dict[int, dict[str, float]]
"""The metrics of a trial by fold."""

_PREFIX = "test_"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The finished trials of a study by number, and their metrics by fold."""

    trials: list[Trial]
    steps: list[Steps]

    @property
    def names(self) -> list[str]:
        """The names of the test metrics; only ``"score"`` if every score is a number."""
        found: dict[str, None] = {}
        for steps in self.steps:
            for metrics in steps.values():
                found |= dict.fromkeys(n[len(_PREFIX) :] for n in metrics if n.startswith(_PREFIX))
        # A fit that failed has a plain score in place of those of a function.
        return [name for name in found if name != GOAL] or [GOAL]

    @property
    def stopped(self) -> list[int]:
        """The rows of the trials that a scheduler stopped."""
        return [row for row, trial in enumerate(self.trials) if trial.state is State.STOPPED]

    def fits(
        self, n_splits: int, *, multimetric: bool, train: bool, missing: float
    ) -> Iterator[dict[str, Any]]:
        """Yield a record of each fold of each trial, as scikit-learn's formatter takes them.

        Parameters
        ----------
        n_splits
            Number of folds of a trial that was not stopped.
        multimetric
            Whether the scores of a fold are a dict.
        train
            Whether there are scores of the training part.
        missing
            The score of a fit that failed in place of several ones.
        """
        parts = ("test", "train") if train else ("test",)
        names = self.names
        for trial, steps in zip(self.trials, self.steps, strict=True):
            for fold in range(n_splits):
                metrics = steps.get(fold, {})
                fit: dict[str, Any] = {
                    name: metrics.get(name, np.nan) for name in ("fit_time", "score_time")
                }
                absent = np.nan if trial.state is State.STOPPED else missing
                for part in parts:
                    scores = {name: metrics.get(f"{part}_{name}", absent) for name in names}
                    fit[f"{part}_scores"] = scores if multimetric else scores[GOAL]
                yield fit


def evaluated(study: Study) -> Evaluated:
    """Read the finished trials of a study, with the metrics of their last attempts."""
    trials = [trial for trial in study.trials if trial.state.finished]
    last = {run.trial: run.uid for run in study.runs() if run.is_attempt}
    steps: dict[str, Steps] = {uid: {} for uid in last.values()}
    for uid, report in study.reports():
        if uid in steps:
            steps[uid].setdefault(report.step, {}).update(report.metrics)
    return Evaluated(trials, [steps.get(last.get(trial.number, ""), {}) for trial in trials])


def warn_of_failures(table: Evaluated, n_splits: int, error_score: Any) -> None:
    """Warn of failed fits, or raise if all of them failed, as scikit-learn does.

    Raises
    ------
    ValueError
        If no fit succeeded.
    """
    errors: dict[str, int] = {}
    for trial in table.trials:
        for text, n in trial.notes.get(ERRORS, []):
            errors[text] = errors.get(text, 0) + n
    failed = sum(errors.values())
    if not failed:
        return
    total = sum(len(steps) or n_splits for steps in table.steps)
    line = "-" * 80
    summary = "".join(
        f"\n{line}\n{n} fits failed with the following error:\n{text}" for text, n in errors.items()
    )
    if failed >= total:
        raise ValueError(
            f"All the {total} fits failed. Check the estimator, its fixed params and the data; "
            f"error_score='raise' raises the first error. The errors are:{summary}"
        )
    warnings.warn(
        f"{failed} fits failed out of a total of {total}. Their scores are set to {error_score}; "
        f"error_score='raise' raises the first error. The errors are:{summary}",
        FitFailedWarning,
        stacklevel=5,  # the caller of `fit`, past the wrapper of scikit-learn
    )


def formatted(
    table: Evaluated,
    format_results: Callable[..., dict[str, Any]],
    params: Sequence[Mapping[str, Any]],
    n_splits: int,
    fits: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return ``cv_results_``: the result of scikit-learn's formatter, and stopped candidates.

    The mean of a stopped candidate is over its folds, and it ranks behind all candidates that were
    not stopped. The other folds are NaN.
    """
    stopped = table.stopped
    with warnings.catch_warnings():
        if stopped:
            warnings.filterwarnings("ignore", "One or more of the", UserWarning)
        results = format_results(params, n_splits, fits)
    if not stopped:
        return results
    times = {
        "fit_time": [f["fit_time"] for f in fits],
        "score_time": [f["score_time"] for f in fits],
    }
    for key in [key for key in results if key.startswith("mean_")]:
        name = key.removeprefix("mean_")
        if name in times:
            values = np.array(times[name], dtype=float).reshape(len(params), n_splits)[stopped]
        else:
            columns = [results[f"split{fold}_{name}"][stopped] for fold in range(n_splits)]
            values = np.stack(columns, axis=1)
        for row, seen in zip(stopped, values, strict=True):
            seen = seen[~np.isnan(seen)]
            results[key][row] = seen.mean() if len(seen) else np.nan
            results[f"std_{name}"][row] = seen.std() if len(seen) else np.nan
        if f"rank_{name}" in results:
            results[f"rank_{name}"] = _ranked(results[key], stopped)
    return results


def _ranked(means: Any, stopped: Sequence[int]) -> Any:
    """Return the ranks: completed candidates first, then stopped ones, then those without mean."""
    group = np.zeros(len(means))
    group[list(stopped)] = 1
    group[np.isnan(means)] = 2
    ranks = np.zeros(len(means), dtype=np.int32)
    before = 0
    for each in range(3):
        rows = np.flatnonzero(group == each)
        ranks[rows] = before + rankdata(-np.nan_to_num(means[rows]), method="min")
        before += len(rows)
    return ranks
