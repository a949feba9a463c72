"""Bayesian optimization: a Gaussian process of the loss, searched by log expected improvement."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from tuner.errors import ArgumentError
from tuner.optimizers.acquisition import Candidates, LogExpectedImprovement, maximise
from tuner.optimizers.base import History, SpaceOptimizer
from tuner.optimizers.embedding import Bools, Floats
from tuner.optimizers.gaussian_process import GaussianProcess
from tuner.optimizers.surrogate import Learned, learn, learning_size, loss_model, success_model
from tuner.optimizers.unit_cube import UnitCube
from tuner.records import Goal, Params
from tuner.search_spaces import Space

MOST_TRIALS = 500
"""A longer history is modelled by this many of its trials; see `representatives`."""

FAR_STARTS, NEAR_STARTS = 600, 400
"""Rows scored all over the space and near the best trials, for each suggestion."""

LEADERS = 6
"""How many of the best trials the near rows are made from."""


class BayesianOptimizer(SpaceOptimizer):
    """Few, well chosen trials, for objectives that take seconds or more each.

    After a Sobol start, each point is where a Gaussian process expects the largest improvement
    (by its logarithm: Ament et al. 2023, arXiv:2310.20708) on its own estimate of the best trial
    so far, which a lucky draw of a noisy objective cannot fool. Pending trials count as if they
    had the value that the model expects of them ("kriging believer", Ginsbourger et al. 2010), so
    that parallel suggestions spread. Where trials failed, the probability of success is modelled
    too and points that would fail are avoided. A stopped trial counts as no better than the
    median.

    Parameters
    ----------
    n_startup
        How many Sobol points come before the model; None for twice the number of parameters,
        but at least 4 and at most 10.

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

    def __init__(self, *, n_startup: int | None = None) -> None:
        if n_startup is not None and n_startup < 1:
            raise ArgumentError(f"n_startup={n_startup} must be at least 1, or None")
        self.n_startup = n_startup

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Begin a study with an empty history; see `Optimizer.reset`."""
        super().reset(space, goals, seed)
        self._cube = UnitCube(self.space)
        self._learned: tuple[tuple[bytes, ...], Learned] | None = None

    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return a Sobol point at the start, later the best point that the model knows."""
        k = history.size + len(history.pending_X)
        if k < self._startup or np.isfinite(history.losses).sum() < 2:
            point = self.design.point(k)
            return dict(self.space.sample(rng)) if point is None else point
        with _blas().limit(limits=1, user_api="blas"):
            candidates = self._candidates(history, rng)
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

    def _candidates(self, history: History, rng: np.random.Generator) -> Candidates:
        losses = penalised(history.losses, history.stopped)
        learned = self._learn(history.X, history.active, losses)
        chosen = representatives(losses, MOST_TRIALS)
        observed = history.X[chosen], history.active[chosen], losses[chosen]
        model = loss_model(learned, self._cube.embedding, *observed)
        if len(history.pending_X):
            model = believe(model, history.pending_X, history.pending_active)
        expected, _ = model.predict(model.X, model.active)
        acquisition = LogExpectedImprovement(
            model,
            incumbent=float(expected.min()),
            success=success_model(learned, self._cube.embedding, *observed),
        )
        leaders = np.argsort(expected, kind="stable")[:LEADERS]
        starts = [
            self._cube.spread(rng, FAR_STARTS),
            self._cube.nearby(rng, model.X[leaders], model.active[leaders], NEAR_STARTS),
        ]
        return maximise(acquisition, self._cube.columns, self._cube.snap, np.concatenate(starts))

    def _learn(self, X: Floats, active: Bools, losses: Floats) -> Learned:
        """Return what the first trials teach; the last answer is kept with what it came from."""
        m = learning_size(len(losses))
        if not np.isfinite(losses[:m]).any():
            m = len(losses)
        X, active, losses = X[:m], active[:m], losses[:m]
        key = (X.tobytes(), active.tobytes(), losses.tobytes())
        if self._learned is None or self._learned[0] != key:
            self._learned = key, learn(self._cube.embedding, X, active, losses)
        return self._learned[1]


def penalised(losses: Floats, stopped: Bools) -> Floats:
    """Return losses in which no stopped trial is better than the median of the completed ones.

    A trial was stopped because it did badly, but an early value of it may look good, such as the
    training loss of a run that was about to diverge.

    Examples
    --------
    >>> penalised(np.array([1.0, 3.0, 0.5, 9.0]), np.array([False, False, True, True])).tolist()
    [1.0, 3.0, 1.0, 9.0]
    """
    completed = losses[~stopped & np.isfinite(losses)]
    if not completed.size or not stopped.any():
        return losses
    return np.where(stopped, np.maximum(losses, _middle(completed)), losses)


def representatives(losses: Floats, n: int) -> NDArray[np.intp]:
    """Return indices, rising, of at most `n` trials that stand for all.

    The best half, the most recent quarter, and others drawn at random with a fixed seed.
    """
    if len(losses) <= n:
        return np.arange(len(losses))
    order = np.argsort(losses, kind="stable")  # NaN, a failure, is last
    best, rest = order[: n // 2], np.sort(order[n // 2 :])
    recent, older = rest[-(n // 4) :], rest[: -(n // 4)]
    drawn = np.random.default_rng(0).choice(older, n - len(best) - len(recent), replace=False)
    return np.sort(np.concatenate([best, recent, drawn]))


def believe(model: GaussianProcess, X: Floats, active: Bools) -> GaussianProcess:
    """Return the posterior as if each pending point, in turn, had the value expected of it."""
    # Believing a mean leaves every mean as it was, so all of them can be believed at once.
    mean, _ = model.predict(X, active)
    return model.condition(X, active, mean)


def first_untried(candidates: Candidates, X: Floats, active: Bools) -> Floats | None:
    """Return the best candidate that is none of the points `X` (n, d), None if there is none."""
    tried = {_identity(x, a) for x, a in zip(X, active, strict=True)}
    for x, a in zip(candidates.X, candidates.active, strict=True):
        if _identity(x, a) not in tried:
            return np.asarray(x)
    return None


def _identity(x: Floats, active: Bools) -> bytes:
    return x.tobytes() + active.tobytes()


def _middle(losses: Floats) -> float:
    """Return the lower median, which unlike the mean of two middle ones cannot overflow."""
    return float(np.sort(losses)[(len(losses) - 1) // 2])


@cache
def _blas() -> ThreadpoolController:
    """Return the switch of the linear algebra's threads, of which suggestions use one.

    For matrices of this size several are up to 16 times slower, and sums in another order would
    make suggestions depend on the number of cores.
    """
    return ThreadpoolController()
