"""The process that runs a study, as far as the record tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.records import State, Trial

if TYPE_CHECKING:
    from tuner.tracking.store import Store


def run_by(store: Store, study: str, trials: Sequence[Trial]) -> str | None:
    """Return which process runs these trials of the study with that uid, None if none does.

    The text starts with ``"nobody"`` if a search has left trials that are recorded as running, but
    its process has ended. Trials of `Study.ask` belong to no process and do not count.
    """
    owner = store.lease_owner(study)
    if owner is not None:
        return str(owner)
    running = [trial.number for trial in trials if trial.state is State.RUNNING]
    if not running:
        return None
    # A worker names its host; a trial of `ask` has none.
    runs = store.runs(study, running)
    left = {run.trial for run in runs if run.host and not run.state.finished}
    if not left:
        return None
    which = "1 trial" if len(left) == 1 else f"{len(left)} trials"
    again = "it" if len(left) == 1 else "them"
    return f"nobody: the process that ran {which} has ended; the next search runs {again} again"
