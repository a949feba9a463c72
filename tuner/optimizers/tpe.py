"""Tree-structured Parzen estimator, multivariate, aware of conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.optimizers.base import History, SpaceOptimizer
from tuner.records import Params
from tuner.search_spaces import Bool, Choice, Column, Const

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PRIOR_WIDTH = 0.2
"""Kernel width of a single observation, as a share of the range; it shrinks as they get more."""


class TPEOptimizer(SpaceOptimizer):
    """Suggests where good trials are dense and others are not.

    The told trials are split into the best and the rest, each is turned into a density l(x) and
    g(x), and of points drawn from l the one with the largest l(x) / g(x) is suggested, which
    maximises expected improvement under this model (Bergstra et al. 2011, eq. 3). Each trial's
    kernel is a product over all its parameters at once, with the bandwidths that Watanabe (2023,
    arXiv:2304.11127, section 3.3) found to do well. Under a kernel whose trial did not have a
    parameter, that parameter is uniform, so one density covers a space with conditions.

    Pending and failed trials belong to the rest, so that workers spread and stay off failures.

    Parameters
    ----------
    startup
        Trials from a Sobol sequence before the first density is built.
    gamma
        The share of trials that count as best, at most `max_best` of them.
    max_best
        See `gamma`.
    candidates
        Points drawn from l for each suggestion.

    Examples
    --------
    >>> from tuner.records import Goal
    >>> from tuner.search_spaces import Float, Space
    >>> search = TPEOptimizer(startup=5)
    >>> search.reset(Space({"x": Float(0, 1)}), [Goal()], seed=0)
    >>> len(search.ask(3))
    3
    """

    name = "tpe"

    def __init__(
        self,
        startup: int = 10,
        gamma: float = 0.1,
        max_best: int = 25,
        candidates: int = 64,
    ) -> None:
        if startup < 2 or max_best < 1 or candidates < 1 or not 0 < gamma < 1:
            raise ArgumentError(
                f"TPEOptimizer(startup={startup}, gamma={gamma}, max_best={max_best}, "
                f"candidates={candidates}): startup must be at least 2, gamma between 0 and 1, the "
                f"others at least 1"
            )
        self.startup = startup
        self.gamma = gamma
        self.max_best = max_best
        self.candidates = candidates

    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return the candidate with the largest l(x) / g(x)."""
        if history.known < self.startup or np.sum(~history.failed) < 2:
            return self.start(history, rng)
        best = self._best(history.losses)
        columns = [KernelColumn.of(column) for column in self.space.columns]
        good = Density(columns, history.X[best], history.active[best])
        bad = Density(
            columns,
            np.concatenate([history.X[~best], history.pending_X]),
            np.concatenate([history.active[~best], history.pending_active]),
        )
        X, active = self._candidates(good, rng)
        if not len(X):
            return dict(self.space.sample(rng))
        score = good.log_density(X, active) - bad.log_density(X, active)
        (point,) = self.space.decode(X[[int(np.argmax(score))]])
        return point

    def _best(self, losses: Floats) -> Bools:
        """Return which trials are the best; the earlier of equals, never one without a value."""
        n = int(np.isfinite(losses).sum())
        count = min(math.ceil(self.gamma * n), self.max_best)
        order = np.argsort(losses, kind="stable")  # NaN comes last
        best = np.zeros(len(losses), dtype=bool)
        best[order[:count]] = True
        return best

    def _candidates(self, good: Density, rng: np.random.Generator) -> tuple[Floats, Bools]:
        """Return points drawn from `good`, as they are in the space, within the constraints."""
        points = self.space.decode(good.sample(rng, self.candidates))
        return self.space.encode([p for p in points if self.space.feasible(p)])


@dataclass(frozen=True, slots=True)
class KernelColumn:
    """What the kernel of one parameter needs to know.

    `options` is how many there are of a parameter without an order, else 0; `width` is the width
    of one cell of a grid in [0, 1], 0 for a continuum.
    """

    options: int
    width: float

    @classmethod
    def of(cls, column: Column) -> KernelColumn:
        """Return what describes a column of a space."""
        size = column.domain.size
        if isinstance(column.domain, Choice | Bool | Const):
            return cls(int(size), 0.0)
        return cls(0, 0.0 if math.isinf(size) else 1.0 / size)


class Density:
    """A mixture of one kernel per point, and of the uniform density with the weight of one.

    Parameters
    ----------
    columns
        The columns of the space.
    X, active
        The points, shape (n, d); n may be 0.
    """

    def __init__(self, columns: list[KernelColumn], X: Floats, active: Bools) -> None:
        self._columns = columns
        self._X, self._active = X, active
        n, d = X.shape
        # Scott's rule, and the "magic clipping" of Bergstra et al. (2013), in d dimensions at once.
        width = PRIOR_WIDTH * max(n, 1) ** (-1.0 / (d + 4))
        least = 1.0 / min(100.0, 1.0 + n)
        self._widths = [max(width, least, column.width / 2) for column in columns]
        self._n = n

    def sample(self, rng: np.random.Generator, m: int) -> Floats:
        """Return `m` rows of the unit cube; what no kernel speaks of is uniform."""
        from scipy.special import ndtr, ndtri

        d = len(self._columns)
        rows = rng.random((m, d))
        kernel = rng.integers(self._n + 1, size=m)
        own = np.flatnonzero(kernel < self._n)
        chosen = kernel[own]
        for j, column in enumerate(self._columns):
            at = own[self._active[chosen, j]]
            centre = self._X[kernel[at], j]
            u = rows[at, j]
            if column.options:
                stay = u < self._stay(column.options)
                rows[at, j] = np.where(stay, centre, rng.random(len(at)))
            else:
                sigma = self._widths[j]
                low, high = ndtr(-centre / sigma), ndtr((1 - centre) / sigma)
                rows[at, j] = np.clip(centre + sigma * ndtri(low + u * (high - low)), 0.0, 1.0)
        return rows

    def log_density(self, X: Floats, active: Bools) -> Floats:
        """Return the log density at points of shape (m, d); shape (m,)."""
        from scipy.special import logsumexp, ndtr

        m = len(X)
        log_kernels = np.zeros((m, self._n + 1))
        for j, column in enumerate(self._columns):
            x, mu = X[:, j, None], self._X[None, :, j]
            if column.options:
                stay, k = self._stay(column.options), column.options
                same = np.floor(x * k) == np.floor(mu * k)
                kernel = np.log(np.where(same, stay + (1 - stay) / k, (1 - stay) / k))
                uniform = -math.log(k)
            else:
                sigma = self._widths[j]
                mass = ndtr((1 - mu) / sigma) - ndtr(-mu / sigma)
                kernel = -0.5 * ((x - mu) / sigma) ** 2 - np.log(
                    mass * sigma * math.sqrt(2 * math.pi)
                )
                uniform = 0.0
            own = active[:, j, None] & self._active[None, :, j]
            log_kernels[:, :-1] += np.where(own, kernel, np.where(active[:, j, None], uniform, 0.0))
            log_kernels[:, -1] += np.where(active[:, j], uniform, 0.0)
        return np.asarray(logsumexp(log_kernels, axis=1)) - math.log(self._n + 1)

    def _stay(self, options: int) -> float:
        """Return how likely a kernel keeps its option: the more kernels, the surer each is."""
        n = max(self._n, 1)
        return n / (n + options)
