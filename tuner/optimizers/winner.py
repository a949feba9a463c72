"""The winner of a study, with the estimate of its true value, from its trials and repeats."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from tuner.optimizers import ranking
from tuner.optimizers.estimates import Estimate, Estimates, estimate
from tuner.optimizers.racing import Race, confidence_in, preferred
from tuner.records import Goal, Run, RunPurpose, State, StudyInfo, Trial, ValueEstimate
from tuner.search_spaces import Space

NOTE = "winner.rule"
"""Note of a study that has the rule for ties of its last confirmation."""

DURATION = "duration"
"""The cost of a trial in seconds, if `prefer` names it."""

NOT_COUNTED = ("Interrupted", "WorkerLost")
"""Failures of repeats that say nothing about their trial."""

MAX_FAILED = 2
"""Failed repeats after which a trial leaves the race."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """The finished repeats of a study.

    Attributes
    ----------
    values : mapping
        Values of the first goal, by the number of the trial.
    failed : mapping
        Number of failed repeats, by the number of the trial.
    """

    values: Mapping[int, Sequence[float]]
    failed: Mapping[int, int]

    @property
    def count(self) -> int:
        """Number of repeats that have an outcome of their own."""
        return sum(map(len, self.values.values())) + sum(self.failed.values())

    def in_race(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the trials that did not fail `MAX_FAILED` repeats; all of them if none is left."""
        trials = list(trials)
        kept = [t for t in trials if self.failed.get(t.number, 0) < MAX_FAILED]
        return kept if any(t.eligible for t in kept) else trials


def is_counted(run: Run) -> bool:
    """Whether a run is a repeat that was not lost with its worker or its driver."""
    lost = run.error is not None and run.error.kind in NOT_COUNTED
    return run.purpose is RunPurpose.REPEAT and not lost


def repeats_of(runs: Iterable[Run], goal: Goal) -> Repeats:
    """Return the finished repeats among `runs`, with their values of one goal."""
    values: dict[int, list[float]] = {}
    failed: Counter[int] = Counter()
    for run in runs:
        if not run.state.finished or not is_counted(run):
            continue
        value = run.metrics.get(goal.metric, math.nan)
        if run.state is State.COMPLETED and math.isfinite(value):
            values.setdefault(run.trial, []).append(value)
        else:
            failed[run.trial] += 1
    return Repeats(values, failed)


def estimates_of(
    space: Space, goal: Goal, trials: Sequence[Trial], repeats: Repeats, noise: float | None = None
) -> Estimates:
    """Return the estimates from all trials and repeats of a study."""
    return estimate(space, goal, repeats.in_race(trials), repeats.values, noise=noise)


@dataclass(frozen=True, slots=True, repr=False)
class Winner:
    """The trial of a study that is registered, and the estimate of its true value.

    The best value of many noisy ones is partly luck. The estimate is the expected value of a new
    run of the winner.

    Attributes
    ----------
    trial : Trial
        The winner.
    value : float
        The estimate of its true value, in the units of the goal.
    low, high : float
        Bounds of the 95 % interval of the true value; NaN if the noise is unknown.
    runs : int
        Number of values that were observed of the winner, repeats included.
    noise : float or None
        Standard deviation of a value; 0 if no noise was found, None if it is unknown.
    source : str
        Source of the noise: ``"model"`` of all values, ``"repeats"``, ``"folds"``, ``"given"`` by
        the user, or ``""`` if it is unknown.
    confidence : float
        Probability that the winner is the best of the leading trials, up to the tolerance of the
        last confirmation; NaN if the noise is unknown.
    optimism : float
        How much better the best observed value looks than its true value is expected to be.
    repeats : int
        Number of repeats of the study.
    leaders : tuple of Estimate
        The leading trials, the winner first.
    """

    trial: Trial
    value: float
    low: float
    high: float
    runs: int
    noise: float | None
    source: str
    confidence: float
    optimism: float
    repeats: int
    leaders: tuple[Estimate, ...]

    def __repr__(self) -> str:
        return f"<Winner: {self.in_words()}>"

    def in_words(self) -> str:
        """Return the winner, its estimate and its interval as one line."""
        of_winner = self.estimate_of(self.trial)
        assert of_winner is not None
        return f"trial {self.trial.number}, value {of_winner.in_words()}"

    def estimate_of(self, trial: Trial) -> ValueEstimate | None:
        """Return the estimate of a trial as a model version keeps it; None if it does not lead."""
        found = next((e for e in self.leaders if e.trial == trial.number), None)
        if found is None:
            return None
        is_winner = found.trial == self.trial.number
        return ValueEstimate(
            found.mean,
            found.low,
            found.high,
            found.runs,
            self.noise,
            self.source,
            self.confidence if is_winner else found.chance,
            self.optimism,
            len(self.leaders),
            self.repeats,
            "winner" if is_winner else "user",
        )

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the leading trials as rows of a table, the winner first."""
        names = {"mean": "estimate"}
        return [{names.get(k, k): v for k, v in asdict(e).items()} for e in self.leaders]

    def _repr_html_(self) -> str:
        from tuner.records.html import block, table

        return block("Winner", table(self.to_rows()), note=self.in_words())


def winner_of(
    info: StudyInfo, space: Space, trials: Sequence[Trial], runs: Iterable[Run]
) -> Winner:
    """Return the winner of a study with one goal, of which at least one trial is eligible.

    Parameters
    ----------
    info, space
        The study and its space.
    trials
        All trials of the study.
    runs
        Its runs, of which only repeats matter.
    """
    repeats = repeats_of(runs, info.goal)
    estimates = estimates_of(space, info.goal, trials, repeats, known_noise(info))
    by_number = {trial.number: trial for trial in trials}
    race = race_of(info)
    if estimates.noise is None:
        best = ranking.best(info.goal, trials)
        first = None if repeats.count or best is None else _of(estimates, best)
        chosen = first or estimates.winner
    else:
        costs = _costs(race.prefer, by_number, estimates)
        chosen = estimates.winner if costs is None else preferred(race, estimates, costs)
    estimates = _with_first(estimates, chosen)
    known = estimates.noise is not None
    return Winner(
        trial=by_number[chosen.trial],
        value=chosen.mean,
        low=chosen.low,
        high=chosen.high,
        runs=chosen.runs,
        noise=estimates.noise,
        source=estimates.source,
        confidence=confidence_in(estimates, race.margin(estimates)) if known else math.nan,
        optimism=estimates.optimism,
        repeats=repeats.count,
        leaders=estimates.leaders,
    )


def race_of(info: StudyInfo) -> Race:
    """Return the rules of the last confirmation of a study, which decide its ties."""
    noted = info.notes.get(NOTE)
    known = noted if isinstance(noted, dict) else {}
    return Race(**{f.name: known[f.name] for f in fields(Race) if f.name in known})


def known_noise(info: StudyInfo) -> float | None:
    """Return the standard deviation of a value that the user stated for the optimizer, if any."""
    noise = info.optimizer.get("noise")
    return float(noise) if isinstance(noise, int | float) else None


def _costs(
    prefer: str | None, trials: dict[int, Trial], estimates: Estimates
) -> dict[int, float] | None:
    """Return the costs of the leading trials by the rule for ties; None without a rule."""
    if prefer is None:
        return None
    leading = [trials[e.trial] for e in estimates.leaders]
    found = (t.duration if prefer == DURATION else t.metrics.get(prefer) for t in leading)
    return {
        trial.number: cost
        for trial, cost in zip(leading, found, strict=True)
        if cost is not None and not math.isnan(cost)
    }


def _of(estimates: Estimates, trial: Trial) -> Estimate:
    return next((e for e in estimates.leaders if e.trial == trial.number), estimates.winner)


def _with_first(estimates: Estimates, first: Estimate) -> Estimates:
    """Return the estimates with another winner."""
    place = estimates.leaders.index(first)
    order: Sequence[int] = [place, *(i for i in range(len(estimates.leaders)) if i != place)]
    return replace(
        estimates,
        leaders=tuple(estimates.leaders[i] for i in order),
        draws=estimates.draws[:, order],
    )
