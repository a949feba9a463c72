"""Confirmation of the winner of a study by repeats."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from tuner.errors import ArgumentError
from tuner.optimizers.racing import Race
from tuner.optimizers.winner import NOTE, Winner, known_noise, race_of
from tuner.study.arguments import is_number

if TYPE_CHECKING:
    from tuner.study.results import StudyResults
    from tuner.study.search import Search


def confirm(study: StudyResults, search: Search, race: Race, runs: int) -> Winner:
    """Run the race between the leading trials of a study; see `Study.confirm`."""
    from tuner.engine.repeats import RepeatDriver
    from tuner.optimizers import RandomOptimizer
    from tuner.study.search import session_of

    study.best_trial  # noqa: B018 (raises the errors of a study without one)
    session = session_of(search, study, RandomOptimizer(), None)
    RepeatDriver(session, study.space, race, runs, known_noise(study.info)).run()
    if race != race_of(study.info):
        study.set_study_note(NOTE, None if race == Race() else asdict(race))
    return study.winner


def as_race(confidence: float, tolerance: float | None, prefer: str | None) -> Race:
    """Return the checked rules of a confirmation.

    Raises
    ------
    ArgumentError
        If an argument is invalid; the message names it.
    """
    if not is_number(confidence) or not 0.0 < confidence < 1.0:
        raise ArgumentError(f"confidence={confidence!r}: write a number between 0 and 1")
    if tolerance is not None:
        if not is_number(tolerance) or not 0.0 <= tolerance < math.inf:
            raise ArgumentError(f"tolerance={tolerance!r}: write a number of at least 0, or None")
        tolerance = float(tolerance)
    if prefer is not None and (not isinstance(prefer, str) or not prefer):
        raise ArgumentError(f'prefer={prefer!r}: write "duration" or the name of a metric')
    return Race(float(confidence), tolerance, prefer)
