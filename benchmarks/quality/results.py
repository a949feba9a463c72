"""The results of searches, cached so that only changed searches run again.

One file per contestant and fingerprint; one line per search: problem, seed, workers, the noise-free
loss of each trial, the observed loss if it differs, the seconds per suggestion, and, with noise,
the winner at each budget, before and after a confirmation.
"""

from __future__ import annotations

import heapq
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.quality.contestants import begin, fingerprint
from benchmarks.quality.problem import Problem
from tuner.records import Params, State, Trial

FOLDER = Path(".build/quality/results")

BUDGETS = (25, 50, 100, 200)

CONFIRMATION = 0.2
"""Runs of a confirmation, as a part of the trials."""


@dataclass(frozen=True)
class Result:
    """One search."""

    problem: str
    seed: int
    workers: int
    losses: list[float]
    observed: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    winners: dict[str, int] = field(default_factory=dict)
    confirmed: dict[str, int] = field(default_factory=dict)

    def chosen(self, choice: str, budget: int) -> float:
        """Return the noise-free loss of the trial that is chosen after `budget` trials.

        `choice` is ``"looks best"``, ``"winner"`` (the contestant's own choice, if it has one, else
        the same), ``"confirmed"`` (the same after a confirmation) or ``"best tried"``.
        """
        if choice == "best tried":
            return min(self.losses[:budget])
        if choice == "confirmed" and str(budget) in self.confirmed:
            return self.losses[self.confirmed[str(budget)]]
        if choice in ("winner", "confirmed") and str(budget) in self.winners:
            return self.losses[self.winners[str(budget)]]
        return float(self.incumbents()[budget - 1])

    def incumbents(self) -> np.ndarray:
        """Return the noise-free loss of the best trial as observed, after each trial; (n,)."""
        seen = np.asarray(self.observed or self.losses)
        best = np.minimum.accumulate(seen)
        changed = np.concatenate([[True], best[1:] < best[:-1]])
        place = np.maximum.accumulate(np.where(changed, np.arange(len(seen)), 0))
        return np.asarray(np.asarray(self.losses)[place])


class Results:
    """The stored searches of one contestant in its current version."""

    def __init__(self, contestant: str) -> None:
        self.contestant = contestant
        self.path = FOLDER / f"{contestant}-{fingerprint(contestant)}.jsonl"
        self._known = {(r.problem, r.seed, r.workers): r for r in _read(self.path)}

    def get(self, problem: Problem, seed: int, n_trials: int, workers: int = 1) -> Result:
        """Return a search of at least `n_trials`, run now if it is not known."""
        key = (problem.name, seed, workers)
        known = self._known.get(key)
        if known is None or len(known.losses) < n_trials:
            known = run(self.contestant, problem, seed, n_trials, workers)
            self._known[key] = known
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(known)) + "\n")
        return known

    def has(self, problem: Problem, seed: int, n_trials: int, workers: int = 1) -> bool:
        """Whether a search of at least `n_trials` is known."""
        known = self._known.get((problem.name, seed, workers))
        return known is not None and len(known.losses) >= n_trials


def run(contestant: str, problem: Problem, seed: int, n_trials: int, workers: int = 1) -> Result:
    """Run one search; with several workers, trials end in the order of random durations.

    Winners are chosen in noisy searches by one worker.
    """
    base = problem.name.partition("@")[0]  # problems of one seed must not share their noise
    rng = np.random.default_rng([seed, 1, zlib.crc32(base.encode())])
    of_repeats = np.random.default_rng([seed, 2, zlib.crc32(base.encode())])
    losses, observed, seconds = [0.0] * n_trials, [0.0] * n_trials, [0.0] * n_trials
    winners: dict[str, int] = {}
    confirmed: dict[str, int] = {}
    budgets = BUDGETS if problem.observe is not None and workers == 1 else ()
    ends: list[tuple[float, int]] = []
    running: dict[int, Trial] = {}
    told: list[Trial] = []
    clock = 0.0
    with begin(contestant, problem, seed, n_trials) as search:

        def repeat(trial: Trial) -> float:
            return _observe(problem, trial.params, losses[trial.number], of_repeats)

        def end_one() -> None:
            nonlocal clock
            clock, ended = heapq.heappop(ends)
            search.tell(running.pop(ended), observed[ended])
            told.append(Trial(ended, params_of[ended], State.COMPLETED, (observed[ended],)))
            if len(told) in budgets:
                runs = int(CONFIRMATION * len(told))
                if (chosen := search.choose(told)) is not None:
                    winners[str(len(told))] = chosen
                if (chosen := search.confirm(told, repeat, runs)) is not None:
                    confirmed[str(len(told))] = chosen

        params_of: list[Params] = []
        for number in range(n_trials):
            if len(running) == workers:
                end_one()
            params, seconds[number] = search.ask(list(running.values()))
            params_of.append(params)
            losses[number] = problem.loss(params)
            observed[number] = _observe(problem, params, losses[number], rng)
            running[number] = Trial(number, params, State.RUNNING)
            heapq.heappush(ends, (clock + rng.uniform(0.5, 1.5), number))
        while running:
            end_one()
    rounded = [round(s, 6) for s in seconds]
    seen = observed if problem.observe else []
    return Result(problem.name, seed, workers, losses, seen, rounded, winners, confirmed)


def _observe(problem: Problem, params: Params, loss: float, rng: np.random.Generator) -> float:
    return loss if problem.observe is None else problem.observe(params, rng)


def _read(path: Path) -> Iterator[Result]:
    if path.exists():
        for line in path.read_text().splitlines():
            with suppress(json.JSONDecodeError):  # a run was ended while it wrote
                yield Result(**json.loads(line))
