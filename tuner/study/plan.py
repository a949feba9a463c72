"""The settings that a call requests for a study, and their additions to an existing one."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError, StoreError, StudyNotFound
from tuner.errors.credentials import hide_exact
from tuner.errors.notices import warn
from tuner.records import Goal, OutcomeConstraint, StudyInfo, Trial
from tuner.search_spaces import Space
from tuner.study.warm_start import SourceTrials, none_fits, numbered_before, warm_start_trials

if TYPE_CHECKING:
    from tuner.optimizers.protocol import Optimizer
    from tuner.schedulers.protocol import Scheduler
    from tuner.tracking.store import Store


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """The checked settings that a call requests for a study, new or existing."""

    name: str
    space: Space
    goals: tuple[Goal, ...]
    constraints: tuple[OutcomeConstraint, ...]
    optimizer: Optimizer
    scheduler: Scheduler | None
    seed: int | None
    data: str
    tags: dict[str, str]
    warm_start: Any


def first_warm_start(plan: StudyPlan, store: Store) -> tuple[Trial, ...]:
    """Return the earlier trials of a new study.

    Raises
    ------
    ArgumentError
        If a source is invalid, or no trial of the sources fits.
    StudyNotFound
        If a source does not exist.
    """
    if isinstance(plan.warm_start, list | tuple) and not plan.warm_start:
        return ()
    found = _read(plan, store)
    if not found.trials:
        raise ArgumentError(
            f"warm_start: {none_fits(found)}; omit warm_start, or pass other trials"
        )
    found.say_left_out()
    return found.trials


def with_additions(info: StudyInfo, plan: StudyPlan, store: Store) -> StudyInfo:
    """Add the tags, data and earlier trials of a call to a recorded study; return its record.

    New tags are set. Earlier trials that the study lacks are added, and a fingerprint of the data
    if the study has none. The call that created the study adds nothing.

    Raises
    ------
    ArgumentError
        If a source of earlier trials is invalid.
    StudyNotFound
        If a source does not exist, and the study has no earlier trials that may be from it.
    """
    from tuner.tracking.edits import add_warm_start_trials, set_tags

    plan = replace(plan, warm_start=_other_sources(info, plan))
    found = _read_again(info, plan, store)
    tags = {name: hide_exact(text) for name, text in plan.tags.items()}
    if changed := {name: text for name, text in tags.items() if info.tags.get(name) != text}:
        info = replace(info, tags=set_tags(store, info.uid, changed))
    if plan.data and not info.data:
        info = replace(info, data=plan.data)
        store.update_study(info, ["data"])
    if found:

        def add(known: tuple[Trial, ...]) -> tuple[Trial, ...]:
            have = {_identity(plan.space, trial) for trial in known}
            new = [t for t in found if _identity(plan.space, t) not in have]
            return (*numbered_before(new, -len(known)), *known)

        if len(add(info.warm_start_trials)) > len(info.warm_start_trials):
            info = add_warm_start_trials(store, info, add)
    return info


def _read(plan: StudyPlan, store: Store) -> SourceTrials:
    return warm_start_trials(plan.warm_start, plan.space, plan.goals, store, plan.constraints)


def _read_again(info: StudyInfo, plan: StudyPlan, store: Store) -> list[Trial]:
    """Return the earlier trials that a call gives an existing study, source by source.

    The study keeps its earlier trials, so it continues without sources that are gone.
    """
    recorded = len(info.warm_start_trials)
    if not recorded:
        return list(first_warm_start(plan, store))
    trials: list[Trial] = []
    for source in plan.warm_start:
        problem = ""
        try:
            found = _read(replace(plan, warm_start=[source]), store)
        except (StudyNotFound, StoreError) as error:
            problem = str(error)
        else:
            found.say_left_out()
            trials += found.trials
            if not found.seen:
                problem = f"warm_start: {none_fits(found)}"
        if problem:
            warn(f"{problem}; study {info.name!r} continues with its {recorded} earlier trials")
    return trials


def _other_sources(info: StudyInfo, plan: StudyPlan) -> list[Any]:
    """Return the sources of earlier trials, without the study itself."""
    given = plan.warm_start
    listed = list(given) if isinstance(given, list | tuple) else [given]
    others = [
        source
        for source in listed
        if not (isinstance(source, str) and source == info.name)
        and getattr(getattr(source, "info", None), "uid", None) != info.uid
    ]
    if len(others) < len(listed):
        warn(f"warm_start: study {info.name!r} knows its own trials already; name another study")
    return others


def _identity(space: Space, trial: Trial) -> Hashable:
    """Return a key that is equal for the same outcome at the same point."""
    return space.key(trial.params), trial.values
