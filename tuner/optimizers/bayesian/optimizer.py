"""Bayesian optimization: a Gaussian process of the loss and log expected improvement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from tuner.errors import ArgumentError
from tuner.optimizers.base import History, SpaceOptimizer
from tuner.optimizers.bayesian.acquisition import Acquisition, Candidates, Product, maximise
from tuner.optimizers.bayesian.embedding import Bools, Floats
from tuner.optimizers.bayesian.feasibility import condition, learn_condition, margins
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess, Hyperparameters
from tuner.optimizers.bayesian.improvement import LogExpectedImprovement, improvement_of_front
from tuner.optimizers.bayesian.outliers import Outliers, learn_without_outliers
from tuner.optimizers.bayesian.rounding import MEAN_BITS, to_grid
from tuner.optimizers.bayesian.surrogate import Learned, learning_size, loss_model
from tuner.optimizers.bayesian.unit_cube import UnitCube
from tuner.optimizers.bayesian.warping import MILD_DOUBT, MILD_WARPS, WARPS
from tuner.optimizers.ordering import best_first, feasible
from tuner.records import Goal, Params
from tuner.search_spaces import Space
from tuner.search_spaces.priors import SpacePrior


@dataclass(frozen=True, slots=True)
class PriorWeight:
    """The log of the prior density raised to the power `exponent`.

    Hvarfner et al. 2022, "piBO: Augmenting acquisition functions with user beliefs for Bayesian
    optimization", eq. 6, where the exponent is beta / n.
    """

    prior: SpacePrior
    exponent: float

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""
        return self.exponent * self.prior.log(X, active)

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""
        return self(X, active), self.exponent * self.prior.slope(X, active)


MOST_TRIALS = 400
"""Maximum number of trials in the model of the loss; see `representatives`."""

FAR_STARTS, NEAR_STARTS = 300, 200
"""Number of rows scored for each suggestion: over the whole space, and near the best trials."""

FULL_SEARCH = 150
"""Number of trials above which fewer rows are scored, because each row costs more."""

CHECKS = 16
"""Number of points drawn next to a loss that is too good to be true, to try one of them."""

LEADERS = 6
"""Number of best trials around which the near rows are drawn."""

PRIOR_TRIALS = 10.0
"""Number of trials after which a user's prior has the exponent 1; the exponent is this over n."""

NEXT_TO = 0.01
"""Minimum distance to a pending trial in at least one column, as a share of its range."""

LIKELY = math.log(0.5)
"""Log probability of each condition above which a pending trial can be the incumbent."""


class BayesianOptimizer(SpaceOptimizer):
    """Bayesian optimization, for objectives that take a second or more per trial.

    After Sobol start-up points, each suggestion maximizes the log expected improvement of a
    Gaussian process (Ament et al. 2023, arXiv:2310.20708). The incumbent is the best posterior
    mean, which is robust to noise. Pending trials are assigned their predicted means ("kriging
    believer", Ginsbourger et al. 2010), so parallel suggestions differ. If trials failed, a second
    model predicts the probability of success, and points that are likely to fail are avoided. Each
    outcome constraint has such a model as well. A stopped trial counts as at best the median.
    Losses that the model cannot explain are ignored; one that is too good only after a trial next
    to it.

    The priors of the domains weight the improvement; their influence decreases with the number of
    trials. With several goals, each goal has a model, and the acquisition function is the expected
    hypervolume improvement.

    Parameters
    ----------
    n_startup
        Number of Sobol points before the first model; None for twice the number of parameters, at
        least 4 and at most 10.
    noise
        Standard deviation of a value of the first goal, in its units, if it is known; 0 for none,
        which also turns off the search for outliers. None learns it from the values.
        `Study.winner` uses the same number.

    Examples
    --------
    >>> from tuner.records import Goal, Outcome, State, Trial
    >>> from tuner.search_spaces import Float, Space
    >>> search = BayesianOptimizer()
    >>> search.reset(Space({"x": Float(0, 1)}), [Goal()], seed=0)
    >>> losses = []
    >>> for number in range(12):
    ...     (params,) = search.ask(1)
    ...     losses.append((params["x"] - 0.3) ** 2)
    ...     outcome = Outcome(State.COMPLETED, {"value": losses[-1]})
    ...     search.tell(Trial(number, params), outcome)
    >>> min(losses) < 0.001
    True
    """

    name = "bayesian"
    multi_objective: ClassVar[bool] = True

    def __init__(self, *, n_startup: int | None = None, noise: float | None = None) -> None:
        if n_startup is not None and n_startup < 1:
            raise ArgumentError(f"n_startup={n_startup} must be at least 1, or None")
        self.n_startup = n_startup
        self.noise = as_noise(noise)

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Start a study with an empty history; see `Optimizer.reset`."""
        super().reset(space, goals, seed)
        self._cube = UnitCube(self.space)
        self._fitted: tuple[tuple[bytes, ...], FittedModels] | None = None

    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return a Sobol point at the start, later the best untried point under the model."""
        k = history.size + len(history.pending_X)
        if k < self._startup or np.sum(~history.failed) < 2:
            point = self.design.point(k)
            return dict(self.space.sample(rng)) if point is None else point
        with _blas().limit(limits=1, user_api="blas"):
            values = np.array([penalised(c, history.stopped) for c in history.values.T]).T
            fitted = self._learn(history, values, margins(history))
            check = self._check(fitted, history)
            if check is not None:
                return check
            candidates = self._candidates(history, values, fitted, rng)
        candidates = exclude_near_pending(candidates, history.pending_X, history.pending_active)
        X = np.concatenate([history.X, history.pending_X])
        active = np.concatenate([history.active, history.pending_active])
        row = first_untried(candidates, X, active)
        if row is None:
            return dict(self.space.sample(rng))
        (found,) = self.space.decode(row[None, :])
        return found

    @property
    def _startup(self) -> int:
        if self.n_startup is not None:
            return self.n_startup
        return max(4, min(2 * len(self.space.columns), 10))

    def _check(self, fitted: FittedModels, history: History) -> Params | None:
        """Return a point next to a loss that is too good to be true, unless one was tried."""
        X = np.concatenate([history.X, history.pending_X])
        active = np.concatenate([history.active, history.pending_active])
        for outliers in fitted.outliers:
            for k in outliers.rows[outliers.too_good]:
                x, on = history.X[k], history.active[k]
                if self._cube.adjoins(x, on, X, active).any():
                    continue
                for row in self._cube.beside(np.random.default_rng(int(k)), x, on, CHECKS):
                    (found,) = self.space.decode(row[None, :])
                    if not self.is_repeat(found):
                        return found
        return None

    def _candidates(
        self, history: History, values: Floats, fitted: FittedModels, rng: np.random.Generator
    ) -> Candidates:
        acquisition, leaders = self._acquisition(history, values, fitted)
        leaders_X, leaders_active = leaders
        share = min(1.0, FULL_SEARCH / min(max(history.n_seen, 1), MOST_TRIALS))
        starts = [
            self._cube.spread(rng, round(share * FAR_STARTS)),
            self._cube.nearby(rng, leaders_X, leaders_active, round(share * NEAR_STARTS)),
        ]
        return maximise(acquisition, self._cube.columns, self._cube.snap, np.concatenate(starts))

    def _acquisition(
        self, history: History, values: Floats, fitted: FittedModels
    ) -> tuple[Acquisition, tuple[Floats, Bools]]:
        """Return the acquisition function, and the best trials, near which the search starts."""
        embedding = self._cube.embedding
        margin = margins(history)
        values = fitted.without_outliers(values)
        kept = representatives(history, MOST_TRIALS)
        X, active = history.X[kept], history.active[kept]
        conditions = [
            found
            for learned, column in zip(fitted.conditions, margin[kept].T, strict=True)
            if (found := condition(learned, embedding, X, active, column)) is not None
        ]
        models = [
            fantasize(loss_model(learned, embedding, X, active, column), history)
            for learned, column in zip(fitted.goals, values[kept].T, strict=True)
        ]

        eligible = feasible(history)[kept]
        if not eligible.any() and not history.violation.any():
            eligible = ~history.failed[kept]  # only early values exist
        X, active = X[eligible], active[eligible]
        if not len(X):  # search for a feasible point first
            nearest = best_first(history, LEADERS)
            return Product(conditions), (history.X[nearest], history.active[nearest])
        likely = np.ones(len(history.pending_X), dtype=bool)
        for found in conditions:
            likely &= found(history.pending_X, history.pending_active) > LIKELY
        X = np.concatenate([X, history.pending_X[likely]])
        active = np.concatenate([active, history.pending_active[likely]])
        means = np.array([model.predict(X, active)[0] for model in models]).T
        expected = to_grid(means, MEAN_BITS)
        improvement: Acquisition
        if len(models) == 1:
            improvement = LogExpectedImprovement(models[0], incumbent=float(expected.min()))
            leaders = np.argsort(expected[:, 0], kind="stable")[:LEADERS]
        else:
            improvement, leaders = improvement_of_front(models, expected)
        factors: list[Acquisition] = [improvement, *conditions]
        if self.space.prior:
            factors.append(PriorWeight(self.space.prior, PRIOR_TRIALS / history.n_seen))
        whole = Product(factors) if len(factors) > 1 else improvement
        return whole, (X[leaders], active[leaders])

    def _learn(self, history: History, values: Floats, margin: Floats) -> FittedModels:
        """Fit warps and hyperparameters to the first trials; cache the last result by its data."""
        m = learning_size(len(values))
        if not np.isfinite(values[:m]).any():
            m = len(values)
        X, active, values, margin = history.X[:m], history.active[:m], values[:m], margin[:m]
        key = tuple(part.tobytes() for part in (X, active, values, margin))
        if self._fitted is None or self._fitted[0] != key:
            warps, doubt = (WARPS, 0.0) if len(self.goals) == 1 else (MILD_WARPS, MILD_DOUBT)
            noises = [self.noise, *[None] * (len(self.goals) - 1)]
            goals, outliers = zip(
                *(
                    learn_without_outliers(self._cube, X, active, column, warps, doubt, noise)
                    for column, noise in zip(values.T, noises, strict=True)
                ),
                strict=True,
            )
            conditions = [
                learn_condition(self._cube.embedding, X, active, column) for column in margin.T
            ]
            fitted = FittedModels(goals, outliers, tuple(conditions))
            self._fitted = key, fitted
        return self._fitted[1]


@dataclass(frozen=True, slots=True)
class FittedModels:
    """The fitted models: one for the losses of each goal, one for the margin of each condition.

    `outliers` contains the losses of each goal that its model ignores.
    """

    goals: tuple[Learned, ...]
    outliers: tuple[Outliers, ...]
    conditions: tuple[Hyperparameters, ...]

    def without_outliers(self, values: Floats) -> Floats:
        """Return `values` (n, g) with NaN in place of outliers."""
        kept = values.copy()
        for column, outliers in zip(kept.T, self.outliers, strict=True):
            column[outliers.rows] = np.nan
        return kept


def as_noise(noise: float | None) -> float | None:
    """Return the checked option `noise` of an optimizer.

    Raises
    ------
    ArgumentError
        If it is neither None nor a finite number of at least 0.
    """
    if noise is None:
        return None
    number = isinstance(noise, int | float) and not isinstance(noise, bool)
    if not number or not 0.0 <= noise < math.inf:
        raise ArgumentError(
            f"noise={noise!r}: write the standard deviation of a value, 0 for none, or None to "
            f"learn it"
        )
    return float(noise)


def penalised(losses: Floats, stopped: Bools) -> Floats:
    """Raise the losses of stopped trials to at least the median of the completed trials.

    A trial is stopped for bad values, but an early value can look good, such as the training loss
    of a run that later diverges.

    Examples
    --------
    >>> penalised(np.array([1.0, 3.0, 0.5, 9.0]), np.array([False, False, True, True])).tolist()
    [1.0, 3.0, 1.0, 9.0]
    """
    completed = losses[~stopped & np.isfinite(losses)]
    if not completed.size or not stopped.any():
        return losses
    return np.where(stopped, np.maximum(losses, _middle(completed)), losses)


def representatives(history: History, n: int) -> NDArray[np.intp]:
    """Return the ascending indices of at most `n` trials that represent the whole history.

    Half of them are the best trials, a quarter are the most recent, and the rest are drawn at
    random with a fixed seed.
    """
    if history.size <= n:
        return np.arange(history.size)
    best = best_first(history, n // 2)
    rest = np.setdiff1d(np.arange(history.size), best)
    recent, older = rest[-(n // 4) :], rest[: -(n // 4)]
    drawn = np.random.default_rng(0).choice(older, n - len(best) - len(recent), replace=False)
    return np.sort(np.concatenate([best, recent, drawn]))


def fantasize(model: GaussianProcess, history: History) -> GaussianProcess:
    """Condition the model on the predicted mean of each pending point (kriging believer)."""
    if not len(history.pending_X):
        return model
    # Conditioning on a predicted mean leaves all means unchanged, so one step covers all points.
    mean, _ = model.predict(history.pending_X, history.pending_active)
    return model.condition(history.pending_X, history.pending_active, to_grid(mean, MEAN_BITS))


def exclude_near_pending(candidates: Candidates, X: Floats, active: Bools) -> Candidates:
    """Remove candidates close to the pending points `X` (n, d); keep all if all are close.

    If the expected improvement is small everywhere, its maximum is often next to a running trial.
    A second trial there gains almost no information.
    """
    beside = np.zeros(len(candidates.X), dtype=bool)
    for x, on in zip(X, active, strict=True):
        near = np.abs(candidates.X - x).max(axis=1) < NEXT_TO
        beside |= near & (candidates.active == on).all(axis=1)
    return candidates if beside.all() else candidates.take(np.flatnonzero(~beside))


def first_untried(candidates: Candidates, X: Floats, active: Bools) -> Floats | None:
    """Return the best candidate that is not among the points `X` (n, d), or None."""
    tried = {_identity(x, a) for x, a in zip(X, active, strict=True)}
    for x, a in zip(candidates.X, candidates.active, strict=True):
        if _identity(x, a) not in tried:
            return np.asarray(x)
    return None


def _identity(x: Floats, active: Bools) -> bytes:
    return x.tobytes() + active.tobytes()


def _middle(losses: Floats) -> float:
    """Return the lower median; unlike the mean of two middle values, it cannot overflow."""
    return float(np.sort(losses)[(len(losses) - 1) // 2])


@cache
def _blas() -> ThreadpoolController:
    """Return the controller of BLAS threads; suggestions use one thread.

    For matrices of this size, several threads are up to 16 times slower. They also change the
    order of sums, so suggestions would depend on the number of cores.
    """
    return ThreadpoolController()
