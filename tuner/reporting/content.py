"""Content of a study's report as plain values, and its summary for a notebook cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tuner.optimizers import ranking
from tuner.optimizers.estimates import Estimate
from tuner.optimizers.forecast import forecast
from tuner.optimizers.winner import Winner, winner_of
from tuner.plotting.importance_scores import importance_scores
from tuner.plotting.measure import Measure
from tuner.records import (
    Code,
    Environment,
    Goal,
    ModelVersion,
    Report,
    Run,
    State,
    StudyInfo,
    Trial,
)
from tuner.records.html import MANY, block, facts, folded
from tuner.records.numbers import count_text, distinct_texts, moment_text, number_text, seconds_text
from tuner.search_spaces import Space
from tuner.tracking.activity import run_by

if TYPE_CHECKING:
    from tuner.plotting import Plots
    from tuner.tracking.store import Store


class StudyRecord(Protocol):
    """A recorded study, as `tuner.Study` provides it."""

    store: Store

    @property
    def info(self) -> StudyInfo:
        """The study's record."""

    @property
    def name(self) -> str:
        """The name of the study."""

    @property
    def space(self) -> Space:
        """The search space."""

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The goals."""

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""

    @property
    def best_trials(self) -> list[Trial]:
        """The trials with the best value, or the Pareto front."""

    @property
    def plot(self) -> Plots:
        """The plots."""

    def runs(self, trial: int | None = None) -> list[Run]:
        """Return the runs."""

    def reports(self, trial: int | None = None) -> list[tuple[str, Report]]:
        """Return ``(run uid, report)`` by run and step."""

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one flat dict per trial."""


MOST_ROWS = 1000
"""Trials in the table, the best first: a browser sorts as many without a wait."""

LEAD_DIGITS = 3
"""Significant digits of a difference of two values; more of them are rounding error."""


@dataclass(frozen=True, slots=True)
class Importance:
    """The share of the variance of a goal that a parameter explains, and its range.

    `where` names the branch of the parameter, empty for all trials. The range is None if there are
    too few trials.
    """

    where: str
    path: str
    score: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class GoalImportances:
    """The importances for one goal, highest first, and the rest of the variance by name."""

    goal: str
    rows: list[Importance]
    rest: dict[str, float]
    of_logarithm: bool


@dataclass(frozen=True, slots=True)
class Origin:
    """One code and environment of the study's runs, and the number of these runs."""

    code: Code
    environment: Environment | None
    runs: int


def summary_of(study: StudyRecord, trials: Sequence[Trial]) -> dict[str, str]:
    """Return the facts at the top of a report, by name."""
    info = study.info
    states = Counter(t.state.value for t in trials)
    begun = [t.started for t in trials if t.started is not None]
    ended = [t.ended for t in trials if t.ended is not None]
    facts = {
        "Goal": ", ".join(map(str, info.goals)),
        "Trials": f"{len(trials)} ({', '.join(f'{n} {s}' for s, n in sorted(states.items()))})",
        "Parameters": str(len(study.space.columns)),
        "Optimizer": str(info.optimizer.get("name", "unknown")),
        "Created": moment_text(info.created),
    }
    if (owner := run_by(study.store, info.uid, trials)) is not None:
        facts["Run by"] = owner
    if begun and ended:
        busy = sum(t.duration or 0.0 for t in trials)
        facts["From first start to last end"] = seconds_text(max(ended) - min(begun))
        facts["Time in trials"] = seconds_text(busy)
    if info.constraints:
        facts["Constraints"] = ", ".join(map(str, info.constraints))
    if info.tags:
        facts["Tags"] = ", ".join(f"{key}={text}" for key, text in sorted(info.tags.items()))
    return facts


def winner_text(study: StudyRecord, trials: Sequence[Trial]) -> tuple[Winner | None, list[str]]:
    """Return the winner of a study with one goal, and sentences that explain it."""
    if len(study.goals) > 1 or not any(t.eligible for t in trials):
        return None, []
    found = winner_of(study.info, study.space, trials, study.runs())
    if len(found.leaders) == 1:
        return found, ["Only one point has a value, so it cannot be compared."]
    lines = _certainty_text(study, trials, found)
    return found, [*lines, f"{forecast(study.info.goal, trials, found).in_words()}."]


def _certainty_text(study: StudyRecord, trials: Sequence[Trial], found: Winner) -> list[str]:
    """Return sentences about the certainty of a winner of several points."""
    best = ranking.best(study.info.goal, trials)
    assert best is not None
    if not found.noise:
        unknown = (
            "The noise of the values is unknown: no point was tried several times, and there are "
            "too few trials for a model. Run the best few again under other seeds to measure it."
        )
        none = (
            "The params explain all values, so no noise was found. If the objective is random, "
            "confirm the winner by further runs."
        )
        return [_lead_text(*found.leaders[:2]), unknown if found.noise is None else none]
    texts = distinct_texts([found.value, found.low, found.high])
    lines = [
        f"The winner is trial {found.trial.number}. Its true value is estimated as {texts[0]}; the "
        f"95 % interval is {texts[1]} to {texts[2]}.",
        f"One run deviates from the true value of its trial by "
        f"{number_text(found.noise, LEAD_DIGITS)} (standard deviation).",
    ]
    if found.optimism > 0.0:
        lines.append(
            f"The best value, {number_text(best.values[0])} in trial {best.number}, is "
            f"{number_text(found.optimism, LEAD_DIGITS)} better than a new run of its trial is "
            f"expected to be."
        )
    if found.repeats:
        lines.append(f"The leading trials ran again, {found.repeats} times in all.")
    lines.append(
        f"The probability that the winner is the best of the leading {len(found.leaders)} points "
        f"is {in_words(found.confidence)}."
    )
    return lines


def _lead_text(winner: Estimate, runner_up: Estimate) -> str:
    """Return the sentence about the lead of the winner over the runner-up."""
    lead = abs(winner.observed - runner_up.observed)
    if not lead > 0:
        return (
            f"Trial {winner.trial} and the runner-up, trial {runner_up.trial}, have the same "
            f"value, {number_text(winner.observed)}; the earlier one counts as the best."
        )
    texts = distinct_texts([winner.observed, runner_up.observed])
    return (
        f"Trial {winner.trial} is better than the runner-up, trial {runner_up.trial}, by "
        f"{number_text(lead, LEAD_DIGITS)}: {texts[0]} against {texts[1]}."
    )


def in_words(chance: float) -> str:
    """Return a probability as text, rounded to a meaningful precision.

    Examples
    --------
    >>> in_words(0.997), in_words(0.63), in_words(0.01)
    ('more than 95%', 'about 65%', 'less than 5%')
    """
    if chance > 0.95:
        return "more than 95%"
    if chance < 0.05:
        return "less than 5%"
    return f"about {5 * round(20 * chance)}%"


def importances_of(study: StudyRecord, trials: Sequence[Trial]) -> list[GoalImportances]:
    """Return the importances for each goal that has enough completed trials."""
    found = []
    for place, goal in enumerate(study.goals):
        scores = importance_scores(study.space, Measure.of_goal(goal, place), trials, ranges=True)
        rows = [
            Importance(
                ", ".join(map(str, group.where)),
                path,
                score,
                *group.ranges.get(path, ()),
            )
            for group in scores.groups
            for path, score in group.scores.items()
        ]
        rows.sort(key=lambda row: -row.score)
        rest = {"interactions": scores.together, "unexplained": scores.unexplained}
        if rows:
            found.append(GoalImportances(goal.metric, rows, rest, scores.log))
    return found


def origins_of(study: StudyRecord) -> list[Origin]:
    """Return the codes and environments of the runs, the most frequent first."""
    counts = Counter((run.code, run.environment) for run in study.runs())
    return [
        Origin(
            study.store.get_code(code) if code else Code(),
            study.store.get_environment(environment) if environment else None,
            n,
        )
        for (code, environment), n in counts.most_common()
    ]


def hosts_of(study: StudyRecord) -> list[str]:
    """Return the hosts of the trials."""
    return sorted({run.host for run in study.runs() if run.host})


def models_of(study: StudyRecord) -> list[ModelVersion]:
    """Return the model versions that were registered from the study."""
    from tuner.registry import Registry

    registry = Registry(study.store)
    return [
        version
        for name in registry.models()
        for version in registry.versions(name)
        if version.study in (study.name, study.info.uid)
    ]


def table_of(study: StudyRecord, trials: Sequence[Trial]) -> tuple[list[str], list[list[Any]], int]:
    """Return the columns and rows of the table, best first, and the number of omitted trials."""
    chosen = ranking.best_first(study.info.goal, trials)[:MOST_ROWS]
    rows = {row["number"]: row for row in study.to_rows()}
    table = [rows[trial.number] for trial in chosen if trial.number in rows]
    columns = list(table[0]) if table else []
    used = [c for c in columns if any(row[c] is not None for row in table)]
    return used, [[row[c] for c in used] for row in table], len(trials) - len(chosen)


def failures_of(trials: Sequence[Trial]) -> list[tuple[int, str, int]]:
    """Return the count of each failure reason, the reason, and its first trial."""
    failed = [t for t in trials if t.state is State.FAILED and t.error is not None]
    reasons = Counter(t.error.reason for t in failed if t.error)
    found = []
    for reason, n in reasons.most_common(5):
        first = next(t for t in failed if t.error and t.error.reason == reason)
        found.append((n, str(first.error), first.number))
    return found


def study_html(study: StudyRecord) -> str:
    """Return a study's goal, progress and best trial as HTML."""
    trials = study.trials
    lines = summary_of(study, trials)
    parts = []
    if not any(trial.eligible for trial in trials):
        lines["Best"] = "no completed, feasible trial yet"
    elif len(study.goals) > 1:
        front = study.best_trials
        lines["Pareto front"] = count_text(len(front), "trial")
    else:
        best = study.best_trials[0]
        lines["Best"] = f"{number_text(best.values[0])} in trial {best.number}"
        params = study.space.flatten(best.params)
        parts.append(folded("Best params", facts(params), is_open=len(params) <= MANY))
    lines["Store"] = str(study.store)
    for times, reason, number in failures_of(trials):
        lines[f"Failed {times}x"] = f"{reason} (first in trial {number})"
    return block(f"Study {study.name}", facts(lines), *parts)
