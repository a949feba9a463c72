"""The data of a report's interactive charts, as JSON; ``charts.js`` draws it."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.errors.credentials import hide
from tuner.errors.printable import one_line
from tuner.optimizers import ranking
from tuner.plotting.measure import Measure, ValueAxis
from tuner.plotting.parameter_axis import ParameterAxis
from tuner.plotting.repeated import RepeatedTrials
from tuner.records import Goal, Run, RunPurpose, State, Trial
from tuner.records.numbers import value_text
from tuner.reporting.content import StudyRecord

MOST_TRIALS = 3000
"""Trials from which on the charts show a part of them."""

MOST_CURVES = 150
"""Learning curves, evenly many of the trials, and the best one."""

MOST_STEPS = 200
"""Steps of a learning curve."""

DIGITS = 7
"""Significant digits of a number in a chart, more than a screen can show."""


def chart_data(
    study: StudyRecord, trials: Sequence[Trial], first: str = "", winner: int | None = None
) -> str:
    """Return the trials of a study and their learning curves as JSON.

    `first` is the path of the parameter to show first, the most important one. `winner` is the
    number of the winner, None if there is none.
    All texts are without credentials, and without characters that hide or reorder text.
    """
    drawn = _thinned(study.goals, trials)
    best = {t.number for t in study.best_trials} if any(t.eligible for t in trials) else set()
    flat = [study.space.flatten(t.params) for t in drawn]
    axes = [axis for axis in map(ParameterAxis, study.space.columns) if axis.varies]
    places = [_places(axis, flat) for axis in axes]
    runs = study.runs()
    lanes = list(dict.fromkeys(run.worker or "asked" for run in runs if run.started is not None))
    content = {
        "goals": [_goal(goal, k, drawn) for k, goal in enumerate(study.goals)],
        "columns": [_column(axis) for axis in axes],
        "trials": [
            {
                "n": t.number,
                "state": "infeasible" if _infeasible(t) else t.state.value,
                "best": t.number in best,
                "values": [_number(value) for value in t.values],
                "params": [column[i] for column in places],
            }
            for i, t in enumerate(drawn)
        ],
        "curves": _curves(study, trials, runs),
        "lanes": [_text(lane) for lane in lanes],
        "runs": _runs(runs, lanes),
        "repeated": _repeated(study.goals[0], drawn, runs),
        "winner": winner,
        "first": _text(first),
    }
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def _goal(goal: Goal, place: int, trials: Sequence[Trial]) -> dict[str, Any]:
    values = [t.values[place] for t in trials if t.values and math.isfinite(t.values[place])]
    found: dict[str, Any] = {"metric": _text(goal.metric), "direction": goal.direction.value}
    if values:
        axis = ValueAxis.of(Measure.of_goal(goal, place), values)
        found |= {"low": axis.low, "high": axis.high, "log": axis.log}
    return found


def _column(axis: ParameterAxis) -> dict[str, Any]:
    found: dict[str, Any] = {"path": _text(axis.path)}
    if axis.numeric:
        low, high = axis.limits
        return found | {"low": low, "high": high, "log": axis.log}
    return found | {"options": [_text(value_text(option)) for option in axis.options]}


def _places(axis: ParameterAxis, flat: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Return the number, or the place of the option, of each trial; None if it is inactive."""
    active = [i for i, params in enumerate(flat) if axis.path in params]
    places: list[float | None] = [None] * len(flat)
    positions = axis.positions([flat[i][axis.path] for i in active])
    for i, position in zip(active, positions.tolist(), strict=True):
        places[i] = _number(position)
    return places


def _runs(runs: Sequence[Run], lanes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the times of the runs, in seconds since the first start, and their lanes."""
    begun = [run for run in runs if run.started is not None]
    first = min((run.started or 0.0 for run in begun), default=0.0)
    last = max((run.ended or run.started or 0.0 for run in begun), default=0.0)
    every = -(-len(begun) // MOST_TRIALS)
    return [
        {
            "n": run.trial,
            "lane": lanes.index(run.worker or "asked"),
            "state": run.state.value,
            "run": run.title,
            "repeats": not run.is_attempt,
            "start": round((run.started or 0.0) - first, 3),
            "end": round((last if run.ended is None else run.ended) - first, 3),
        }
        for run in begun[:: max(1, every)]
    ]


def _repeated(
    goal: Goal, trials: Sequence[Trial], runs: Sequence[Run]
) -> dict[int, list[float | None]]:
    """Return the mean and the interval of each trial that ran several times, by its number."""
    repeats = [run for run in runs if run.purpose is RunPurpose.REPEAT]
    found = RepeatedTrials.of(Measure.of_goal(goal), trials, repeats)
    rows = zip(found.numbers.tolist(), found.means.tolist(), found.half.tolist(), strict=True)
    return {n: [_number(x) for x in (mean, mean - half, mean + half)] for n, mean, half in rows}


def _curves(
    study: StudyRecord, trials: Sequence[Trial], runs: Sequence[Run]
) -> dict[str, list[list[float | None]]]:
    """Return the (step, value) points of the learning curves by the number of the trial.

    A step that a later attempt reported again has its later value.
    """
    metric = study.goals[0].metric
    order = {run.uid: (run.trial, run.attempt) for run in runs if run.is_attempt}
    curves: dict[int, dict[int, float]] = defaultdict(dict)
    known = [(order[uid], report) for uid, report in study.reports() if uid in order]
    for (trial, _), report in sorted(known, key=lambda pair: (pair[0], pair[1].step)):
        if metric in report.metrics:
            curves[trial][report.step] = report.metrics[metric]
    best = ranking.best(study.goals[0], trials)
    every = -(-len(curves) // MOST_CURVES)
    return {
        str(number): [[step, _number(value)] for step, value in _spread(sorted(points.items()))]
        for i, (number, points) in enumerate(curves.items())
        if i % max(1, every) == 0 or (best is not None and number == best.number)
    }


def _spread(points: list[Any]) -> list[Any]:
    every = -(-len(points) // MOST_STEPS)
    return [p for i, p in enumerate(points) if i % every == 0 or i == len(points) - 1]


def _thinned(goals: Sequence[Goal], trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials to draw: the best, those that improved on all before, and evenly others."""
    if len(trials) <= MOST_TRIALS:
        return list(trials)
    eligible = [t for t in trials if t.eligible]
    kept = {t.number for t in ranking.front(goals, eligible)[: MOST_TRIALS // 4]}
    for place, goal in enumerate(goals):
        best: float | None = None
        for trial in eligible:
            if best is None or goal.direction.better(trial.values[place], best):
                best = trial.values[place]
                kept.add(trial.number)
    every = -(-len(trials) // (MOST_TRIALS // 2))
    kept |= {t.number for t in trials[::every]}
    return [t for t in trials if t.number in kept]


def _infeasible(trial: Trial) -> bool:
    return trial.state is State.COMPLETED and not trial.feasible


def _number(value: float) -> float | None:
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _text(text: str) -> str:
    return one_line(hide(text))
