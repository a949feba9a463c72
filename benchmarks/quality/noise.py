"""Noisy observations of problems whose noise-free loss is known.

The level of the noise is a part of the scale of the problem: the median loss of random points less
the known best.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.quality.problem import Problem
from tuner.records import Params

LEVELS = (0.02, 0.05, 0.1, 0.2)

OUTLIERS, OUTLIER = 0.05, 3.0
"""The share of draws that are far off, and how far at most, in units of the scale."""


def gaussian(loss: float, level: float, rng: np.random.Generator) -> float:
    """Add normal noise of the deviation `level`."""
    return loss + level * rng.standard_normal()


def growing(loss: float, level: float, rng: np.random.Generator) -> float:
    """Add normal noise whose deviation grows with the loss, `level` at the median."""
    return loss + level * (0.25 + 0.75 * max(loss, 0.0)) * rng.standard_normal()


def outliers(loss: float, level: float, rng: np.random.Generator) -> float:
    """Add normal noise, and let 5 % of the draws be far off in either direction."""
    if rng.random() < OUTLIERS:
        return loss + rng.uniform(-OUTLIER, OUTLIER) * 10.0 * level
    return gaussian(loss, level, rng)


def rounded(loss: float, level: float, rng: np.random.Generator) -> float:  # noqa: ARG001
    """Round to multiples of `level`, as an accuracy on a small test set is."""
    return round(loss / level) * level


def plateau(loss: float, level: float, rng: np.random.Generator) -> float:  # noqa: ARG001
    """Clip all losses above ``1 - level`` of the median: most random points look the same."""
    return min(loss, 1.0 - level)


KINDS = {f.__name__: f for f in (gaussian, growing, outliers, rounded, plateau)}


def noisy(problem: Problem, level: float, kind: str = "gaussian") -> Problem:
    """Return a problem that is observed with noise.

    Parameters
    ----------
    problem
        A problem; its own noise, if any, is replaced.
    level
        Size of the noise in units of normalised regret.
    kind
        A name of `KINDS`.
    """
    scale = problem.random_median - problem.known_best

    def observe(params: Params, rng: np.random.Generator) -> float:
        normalised = (problem.loss(params) - problem.known_best) / scale
        return problem.known_best + scale * KINDS[kind](normalised, level, rng)

    return replace(problem, name=f"{problem.name}@{kind}-{level:g}", observe=observe)


def noisy_by_name(name: str, known: dict[str, Problem]) -> Problem:
    """Return a problem by the name that `noisy` gave it, or any other known one."""
    base, at, how = name.rpartition("@")
    if not at or name in known:
        return known[name]
    kind, _, level = how.partition("-")
    return noisy(known[base], float(level), kind)
