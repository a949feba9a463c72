"""Content of a study's report as plain values, without markup or files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.optimizers import ranking
from tuner.plotting.importance_scores import chosen_method, importance_scores
from tuner.records import Code, Environment, ModelVersion, State, Trial
from tuner.reporting.certainty import Certainty, certainty_of, in_words
from tuner.study.activity import run_by

if TYPE_CHECKING:
    from tuner.study import Study

MOST_ROWS = 1000
"""Trials in the table, the best first: a browser sorts as many without a wait."""

HALVES = 6
"""Random halves of the trials that the importances are computed on again."""

FEWEST_FOR_HALVES = 20
"""Completed trials below which half of them say nothing about importances."""

IMPORTANCE_TRIALS = 100
"""Trials that the importances are computed from, at most."""


@dataclass(frozen=True, slots=True)
class Importance:
    """Importance of a parameter, from 0 to 1, and its range over random halves of the trials.

    `where` names the branch whose trials it was computed on, empty for all; scores are comparable
    only within one branch.
    """

    where: str
    path: str
    score: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """One code and environment of the study's runs, and the number of these runs."""

    code: Code
    environment: Environment | None
    runs: int


def summary_of(study: Study, trials: Sequence[Trial]) -> dict[str, str]:
    """Return the facts at the top of a report, by name."""
    info = study.info
    states = Counter(t.state.value for t in trials)
    begun = [t.started for t in trials if t.started is not None]
    ended = [t.ended for t in trials if t.ended is not None]
    facts = {
        "Goal": ", ".join(f"{g.direction} {g.metric}" for g in info.goals),
        "Trials": f"{len(trials)} ({', '.join(f'{n} {s}' for s, n in sorted(states.items()))})",
        "Parameters": str(len(study.space.columns)),
        "Optimizer": str(info.optimizer.get("name", "unknown")),
        "Created": when(info.created),
    }
    if (owner := run_by(study, trials)) is not None:
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


def certainty_text(study: Study, trials: Sequence[Trial]) -> tuple[Certainty | None, list[str]]:
    """Return the certainty of the winner, and sentences that explain it."""
    if len(study.goals) > 1 or not any(t.eligible for t in trials):
        return None, []
    found = certainty_of(study.space, study.goals[0], trials)
    if found.lead is None:
        return found, ["Only one point has a value, so it cannot be compared."]
    lines = [
        f"Trial {found.winner} is better than the runner-up, trial {found.runner_up}, by "
        f"{number_text(found.lead)}."
    ]
    if found.noise is None:
        lines.append(
            "How noisy the values are is not known: no point was tried several times, and there "
            "are too few trials for a model. Run the best few again under other seeds to know."
        )
        return found, lines
    if found.method == "repeats":
        lines.append(
            f"The same point measured again gives values that deviate by "
            f"{number_text(found.noise)} (standard deviation, pooled over {found.n} values of "
            f"points that were tried more than once)."
        )
    elif found.noise == 0.0:
        lines.append(
            f"A Gaussian process fitted to the best {found.n} points explains their values by "
            f"their params, up to what it cannot tell from no noise at all. If the objective is "
            f"random all the same, run the best few again under other seeds."
        )
        return found, lines
    else:
        lines.append(
            f"What a Gaussian process fitted to the best {found.n} points cannot explain by their "
            f"params deviates by {number_text(found.noise)}; it is taken for noise."
        )
    assert found.chance is not None
    lines.append(
        f"With that noise, the winner is truly the best of the leading {len(found.chances)} "
        f"points with a chance of {in_words(found.chance)}."
    )
    rivals = [n for n, chance in found.chances[1:] if chance >= 0.1]
    if rivals:
        lines.append(
            f"Close to it: trial {', '.join(map(str, rivals))}. Run these and the winner again "
            f"under other seeds before much depends on the choice."
        )
    return found, lines


def importances_of(study: Study, trials: Sequence[Trial]) -> list[Importance]:
    """Return the importances, highest first, with ranges over random halves where possible.

    Importances over all trials come first, then importances within branches.
    """
    done = [t for t in trials if t.state is State.COMPLETED and t.values]
    rng = np.random.default_rng(0)
    if len(done) > IMPORTANCE_TRIALS:
        chosen = rng.choice(len(done), IMPORTANCE_TRIALS, replace=False)
        done = [done[i] for i in sorted(chosen)]

    def scores(some: Sequence[Trial]) -> dict[tuple[str, str], float]:
        groups = importance_scores(study.space, study.goals[0], some)
        return {
            (", ".join(f"{path} = {option}" for path, option in group.where), path): score
            for group in groups
            for path, score in group.scores.items()
        }

    whole = scores(done)
    ranges: dict[tuple[str, str], list[float]] = {place: [] for place in whole}
    if len(done) >= FEWEST_FOR_HALVES:
        for _ in range(HALVES):
            half = rng.choice(len(done), len(done) // 2, replace=False)
            found = scores([done[i] for i in sorted(half)])
            for place, values in ranges.items():
                if place in found:
                    values.append(found[place])
    return [
        Importance(
            *place, score, min(ranges[place], default=None), max(ranges[place], default=None)
        )
        for place, score in sorted(whole.items(), key=lambda item: (item[0][0], -item[1]))
    ]


def importance_method(study: Study) -> str:
    """Return the meaning of the importances as a sentence."""
    if chosen_method(study.space, None) == "fanova":
        return (
            "fANOVA: the share of the variance of the value that a parameter explains alone, over "
            "all that was tried, or over the trials of its branch."
        )
    return "PED-ANOVA: what sets the best tenth of the trials apart from the others; shares of 1."


def origins_of(study: Study) -> list[Origin]:
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


def hosts_of(study: Study) -> list[str]:
    """Return the hosts of the trials."""
    return sorted({run.host for run in study.runs() if run.host})


def models_of(study: Study) -> list[ModelVersion]:
    """Return the model versions that were registered from the study."""
    from tuner.registry import Registry

    registry = Registry(study.store)
    return [
        version
        for name in registry.models()
        for version in registry.versions(name)
        if version.study in (study.name, study.info.uid)
    ]


def table_of(study: Study, trials: Sequence[Trial]) -> tuple[list[str], list[list[Any]], int]:
    """Return the columns and rows of the table, best first, and the number of omitted trials."""
    from tuner.study.export import rows

    chosen = ranking.best_first(study.info.goal, trials)[:MOST_ROWS]
    # One line gives the reason; the report shows tracebacks elsewhere.
    short = [
        t if t.error is None else replace(t, error=replace(t.error, traceback="")) for t in chosen
    ]
    table = rows(study.space, study.goals, short)
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


def number_text(value: Any) -> str:
    """Return a value as readable text: numbers to six digits, lists without quotes."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def when(seconds: float) -> str:
    """Return a time in UTC, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def seconds_text(seconds: float) -> str:
    """Return a duration in units that fit.

    Examples
    --------
    >>> seconds_text(0.25), seconds_text(75), seconds_text(7300)
    ('0.25 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
