"""How well the winner of a noisy study is chosen, and how honest its interval is.

Studies are simulated on functions of one to six parameters whose true values are known. Each study
has 50 trials: 15 random ones, then mostly small steps from one of the three best so far, as a
search would take. Normal noise has a deviation of `LEVELS` times the median of the true values less
their minimum. Four ways to choose are compared on the same studies:

- ``best value``: the trial with the best observed value, as other tools register it;
- ``winner``: `tuner.optimizers.estimates`, without further runs;
- ``top three``: the further runs are shared by the three best values, and the best mean wins;
- ``confirmed``: the race of `tuner.optimizers.racing` with the same number of runs or fewer.

Reported are the regret of the chosen trial's true value, as a part of the same scale; how often it
is worse than the best of the leading candidates by more than half a deviation of the noise; how
often the 95 % interval of the winner holds its true value; and the luck of the best value, true and
estimated.

With ``--rough SHARE``, the true values have waves that are too short for a model to learn, as the
loss of a learner has; their deviation is this share of the same scale.

    python -m benchmarks.winner --studies 1000
    python -m benchmarks.winner --studies 1000 --rough 0.03
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS = (0.02, 0.05, 0.1, 0.2)
TRIALS = 50
EXTRA = 10
"""Further runs: 20 % of the trials."""

TOLERATED = 0.5
"""Difference to the best candidate that is no mistake, in deviations of the noise."""


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one study; regrets and luck as a part of the scale of the problem."""

    best_value: float
    winner: float
    top_three: float
    confirmed: float
    wrong_best_value: bool
    wrong_winner: bool
    wrong_top_three: bool
    wrong_confirmed: bool
    covered: bool
    covered_confirmed: bool
    luck: float
    luck_estimated: float
    runs: int


def problem(rng: np.random.Generator, d: int) -> Callable[[Floats], Floats]:
    """Return a function of points (n, d) in the unit cube."""
    center, weight = rng.random(d), rng.lognormal(0.0, 0.8, d)
    kind = rng.integers(4)
    if kind == 0:  # a bowl
        return lambda X: np.sum((X - center) ** 2 * weight, axis=1)
    if kind == 1:  # a hole in a plain
        return lambda X: 1.0 - np.exp(-np.sum((X - center) ** 2 * weight * 4.0, axis=1))
    if kind == 2:  # waves
        slopes = 4.0 * rng.normal(size=(20, d)) * np.sqrt(weight)
        shift, height = 2.0 * np.pi * rng.random(20), rng.normal(size=20) / 4.0
        return lambda X: np.cos(X @ slopes.T + shift) @ height
    # a cone with ripples
    return lambda X: (
        np.sqrt(np.sum((X - center) ** 2 * weight, axis=1) + 0.01)
        + 0.05 * np.sum(np.cos(12.0 * X), axis=1)
    )


def waves(rng: np.random.Generator, d: int, n: int = 8) -> Callable[[Floats], Floats]:
    """Return a function of points (n, d) with deviation 1 whose waves are short."""
    frequency = rng.lognormal(5.0, 1.0, (d, n))
    shift = rng.uniform(0.0, 2.0 * np.pi, (d, n))

    def of(X: Floats) -> Floats:
        heights = np.sin(X[:, :, None] * frequency + shift)
        return np.asarray(heights.sum(axis=(1, 2)) / np.sqrt(0.5 * d * n))

    return of


def history(
    true: Callable[[Floats], Floats], d: int, noise: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return the points (n, d) and observed values (n,) of one study."""
    X = rng.random((15, d))
    y = true(X) + noise * rng.standard_normal(15)
    while len(X) < TRIALS:
        near = X[np.argsort(y)[:3]][rng.integers(3)]
        step = 10.0 ** rng.uniform(-2.0, -0.3) * rng.standard_normal(d)
        x = np.clip(near + step, 0.0, 1.0) if rng.random() < 0.8 else rng.random(d)
        X = np.vstack([X, x])
        y = np.append(y, true(x[None])[0] + noise * rng.standard_normal())
    return X, y


def one_study(seed: int, rough: float = 0.0) -> Result:
    """Simulate a study; its level of noise follows from its seed."""
    from tuner.optimizers.estimates import estimate
    from tuner.optimizers.racing import Race, is_decided, next_repeats
    from tuner.records import Goal, State, Trial
    from tuner.search_spaces import Float, Space

    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 7))
    smooth = problem(rng, d)
    everywhere = smooth(rng.random((5000, d)))
    scale = float(np.median(everywhere) - np.min(everywhere))
    short = waves(np.random.default_rng([seed, 1]), d)

    def true(X: Floats) -> Floats:
        return smooth(X) + rough * scale * short(X)

    noise = LEVELS[seed % len(LEVELS)] * scale
    X, y = history(true, d, noise, rng)
    truth = true(X)
    space = Space({f"x{j}": Float(0, 1) for j in range(d)})
    trials = [
        Trial(i, {f"x{j}": float(v) for j, v in enumerate(x)}, State.COMPLETED, (float(value),))
        for i, (x, value) in enumerate(zip(X, y, strict=True))
    ]
    race, repeats, done = Race(), {}, 0
    before = after = estimate(space, Goal(), trials)
    while done < EXTRA and not is_decided(race, after, done):
        (number,) = next_repeats(race, after, {}, 1)
        value = float(truth[number] + noise * rng.standard_normal())
        repeats.setdefault(number, []).append(value)
        done += 1
        after = estimate(space, Goal(), trials, repeats)
    three = np.argsort(y)[:3]
    means = [
        np.mean([y[i], *(truth[i] + noise * rng.standard_normal(len(share)))])
        for i, share in zip(three, np.array_split(np.arange(done), 3), strict=True)
    ]
    chosen = [
        before.best_observed.trial,
        before.winner.trial,
        int(three[int(np.argmin(means))]),
        after.winner.trial,
    ]
    bar = min(truth[e.trial] for e in before.leaders) + TOLERATED * noise
    return Result(
        *((truth[i] - truth.min()) / scale for i in chosen),
        *(bool(truth[i] > bar) for i in chosen),
        *(e.low <= truth[e.trial] <= e.high for e in (before.winner, after.winner)),
        (truth[chosen[0]] - before.best_observed.observed) / scale,
        before.optimism / scale,
        done,
    )


def main() -> None:
    """Print a table, one row for each level of noise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200, help="number of studies")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--rough", type=float, default=0.0, help="deviation of short waves")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.studies)
    with ProcessPoolExecutor(options.jobs) as pool:
        results = list(pool.map(partial(one_study, rough=options.rough), seeds, chunksize=10))
    names = [field.name for field in fields(Result)]
    print("noise  " + "  ".join(names))
    levels = np.array([LEVELS[seed % len(LEVELS)] for seed in seeds])
    table = np.array([astuple(r) for r in results], dtype=float)
    for level in (*LEVELS, None):
        rows = table if level is None else table[levels == level]
        cells = (f"{x:{len(n)}.4f}" for n, x in zip(names, rows.mean(axis=0), strict=True))
        print(f"{'all' if level is None else level:<7}" + "  ".join(cells))


if __name__ == "__main__":
    main()
