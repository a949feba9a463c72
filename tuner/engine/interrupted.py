"""Runs whose driver ended before they did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tuner.records import Failure, Run, State

INTERRUPTED = Failure("Interrupted", "the study's driver ended before this run did")
"""The failure of such a run; a trial or a repeat runs again, as if it had not started."""


def interrupted(runs: Iterable[Run], alive: float) -> list[Run]:
    """Return the unfinished runs among `runs` as failed ones.

    `alive` is the last known date at which their driver was alive.
    """
    return [
        replace(run, state=State.FAILED, error=INTERRUPTED, ended=max(alive, run.started or alive))
        for run in runs
        if not run.state.finished
    ]
