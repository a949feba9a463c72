"""Confirmation of the winner of a study by repeats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError
from tuner.optimizers.racing import CONFIDENCE, Race
from tuner.optimizers.winner import NOTE, Winner, known_noise
from tuner.study.arguments import as_count

if TYPE_CHECKING:
    from tuner.study.results import StudyResults
    from tuner.study.search import Search


def confirm(study: StudyResults, search: Search, race: Race, prefer: str | None) -> Winner:
    """Run the race between the leading trials of a study; see `Study.confirm`."""
    from tuner.engine.repeats import RepeatDriver
    from tuner.optimizers import RandomOptimizer
    from tuner.study.search import session_of

    study.best_trial  # noqa: B018 (raises the errors of a study without one)
    session = session_of(search, study, RandomOptimizer(), None)
    RepeatDriver(session, study.space, race, known_noise(study.info)).run()
    rule = {"confidence": race.confidence, "tolerance": race.tolerance, "prefer": prefer}
    usual = {"confidence": CONFIDENCE, "tolerance": None, "prefer": None}
    if rule != study.notes.get(NOTE, usual):
        study.set_study_notes({NOTE: None if rule == usual else rule})
    return study.winner


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
