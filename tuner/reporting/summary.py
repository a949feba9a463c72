"""A study as a short HTML summary for the output of a notebook cell."""

from __future__ import annotations

from tuner.records.html import MANY, block, facts, folded
from tuner.records.numbers import count_text, number_text
from tuner.reporting.content import failures_of, summary_of
from tuner.reporting.subject import StudyRecord


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
