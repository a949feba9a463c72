"""The winner of a study, with the estimate of its true value, and its confirmation by repeats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError
from tuner.optimizers.estimates import Estimate, Estimates
from tuner.optimizers.racing import CONFIDENCE, Race, confidence_in, preferred
from tuner.records import Trial
from tuner.records.numbers import distinct_texts, number_text
from tuner.study.arguments import as_count

if TYPE_CHECKING:
    from tuner.study.results import StudyResults
    from tuner.study.search import Search
    from tuner.study.study import Study

NOTE = "winner"
"""Note of a study that has the rule for ties of its last confirmation."""

DURATION = "duration"
"""The cost of a trial in seconds, if `prefer` names it."""


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
        Source of the noise: ``"model"`` of all values, ``"repeats"``, ``"given"`` by the user, or
        ``""`` if it is unknown.
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
        texts = distinct_texts([self.value, self.low, self.high])
        head = f"trial {self.trial.number}, value {texts[0]}"
        if self.noise is None:
            return f"{head} (noise unknown)"
        if self.noise == 0.0:
            return f"{head} (no noise found)"
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        return (
            f"{head} (95 % interval {texts[1]} to {texts[2]}, {runs}; best of the leading "
            f"{len(self.leaders)} with probability {number_text(self.confidence, 2)})"
        )

    def _repr_html_(self) -> str:
        from tuner.records.html import block, table

        rows = [
            {
                "trial": e.trial,
                "runs": e.runs,
                "observed": e.observed,
                "estimate": e.mean,
                "low": e.low,
                "high": e.high,
                "chance": e.chance,
            }
            for e in self.leaders
        ]
        return block("Winner", table(rows), note=self.in_words())


def winner_of(study: StudyResults) -> Winner:
    """Return the winner of a study; see `StudyResults.winner`."""
    from tuner.engine.repeats import estimates_of, repeats_of

    best = study.best_trial  # raises the errors of a study without one
    trials, goals = list(study), study.goals
    repeats = repeats_of(study.runs(), goals)
    noise = known_noise(study)
    estimates = estimates_of(study.space, study.info.goal, trials, repeats, noise)
    by_number = {trial.number: trial for trial in trials}
    rule = study.notes.get(NOTE, {})
    race = Race(1, rule.get("confidence", CONFIDENCE), rule.get("tolerance"))
    if estimates.noise is None:
        chosen = estimates.winner if repeats.count else _of(estimates, best)
    else:
        costs = _costs(rule.get("prefer"), by_number, estimates)
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


def known_noise(study: StudyResults) -> float | None:
    """Return the standard deviation of a value that the user stated for the optimizer, if any."""
    noise = study.info.optimizer.get("noise")
    return float(noise) if isinstance(noise, int | float) else None


def confirm(study: Study, search: Search, race: Race, prefer: str | None) -> Winner:
    """Run the race between the leading trials of a study; see `Study.confirm`."""
    from tuner.engine.repeats import RepeatDriver
    from tuner.optimizers import RandomOptimizer
    from tuner.study.search import session_of

    study.best_trial  # noqa: B018 (raises the errors of a study without one)
    session = session_of(search, study, RandomOptimizer(), None)
    RepeatDriver(session, study.space, race, known_noise(study)).run()
    rule = {"confidence": race.confidence, "tolerance": race.tolerance, "prefer": prefer}
    usual = {"confidence": CONFIDENCE, "tolerance": None, "prefer": None}
    if rule != study.notes.get(NOTE, usual):
        study.set_study_notes({NOTE: None if rule == usual else rule})
    return winner_of(study)


def as_race(
    runs: int | None, confidence: float, tolerance: float | None, prefer: str | None
) -> Race:
    """Check the arguments of a confirmation.

    Raises
    ------
    ArgumentError
        If an argument is invalid; the message names it.
    """
    budget = as_count("runs", runs)
    if budget is None:
        raise ArgumentError("runs=None: write the number of further runs, such as 10")
    if not _is_number(confidence) or not 0.0 < confidence < 1.0:
        raise ArgumentError(f"confidence={confidence!r}: write a number between 0 and 1")
    if tolerance is not None:
        if not _is_number(tolerance) or not 0.0 <= tolerance < math.inf:
            raise ArgumentError(f"tolerance={tolerance!r}: write a number of at least 0, or None")
        tolerance = float(tolerance)
    if prefer is not None and (not isinstance(prefer, str) or not prefer):
        raise ArgumentError(f'prefer={prefer!r}: write "duration" or the name of a metric')
    return Race(budget, float(confidence), tolerance)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _costs(
    prefer: str | None, trials: dict[int, Trial], estimates: Estimates
) -> dict[int, float] | None:
    """Return the costs of the leading trials by the rule for ties; None without a rule."""
    if prefer is None:
        return None
    leading = [trials[e.trial] for e in estimates.leaders]
    found = (t.duration if prefer == DURATION else t.metrics.get(prefer) for t in leading)
    return {t.number: cost for t, cost in zip(leading, found, strict=True) if cost is not None}


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
