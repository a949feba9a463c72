"""Create a study, load one by name, or check that a named one matches the call."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError, StudyExists, StudyMismatch
from tuner.errors.boundary import public
from tuner.errors.loading import is_loading
from tuner.optimizers import describe
from tuner.optimizers import resolve as resolve_optimizer
from tuner.records import Goal, OutcomeConstraint, StudyInfo
from tuner.records.outcome_constraints import as_constraints
from tuner.records.seeds import fresh_seed
from tuner.records.user import current_user
from tuner.schedulers import resolve as resolve_scheduler
from tuner.search_spaces import Space
from tuner.study.arguments import (
    as_count,
    as_goals,
    as_space,
    as_study_name,
    renamed,
)
from tuner.study.plan import StudyPlan, first_warm_start, with_additions
from tuner.study.study import Study
from tuner.tracking.references import find_study

if TYPE_CHECKING:
    from tuner.optimizers.protocol import Optimizer
    from tuner.schedulers.protocol import Scheduler
    from tuner.tracking.store import Store


def as_plan(
    space: Space | Mapping[str, Any],
    *,
    study: str | None,
    direction: str | Sequence[str],
    metric: str | Sequence[str] | None,
    constraints: Sequence[str],
    optimizer: str | Optimizer,
    scheduler: str | Scheduler | None,
    seed: int | None,
    data: Any,
    tags: Mapping[str, str] | None,
    warm_start: Any,
    objective: Any = None,
) -> StudyPlan:
    """Check the settings of a study; see `tuner.optimize` for their meaning.

    Raises
    ------
    ArgumentError, SpaceError
        If a setting is invalid; the message names it.
    """
    from tuner.provenance.capture import fingerprint
    from tuner.tracking.annotation_values import check_tags

    tags = dict(tags or {})
    check_tags(tags)
    return StudyPlan(
        name=_generate_name(objective) if study is None else as_study_name(study),
        space=as_space(space),
        goals=as_goals(direction, metric),
        constraints=as_constraints(constraints),
        optimizer=resolve_optimizer(optimizer),
        scheduler=resolve_scheduler(scheduler),
        seed=as_count("seed", seed, low=0),
        data="" if data is None else fingerprint(data),
        tags=tags,
        warm_start=() if warm_start is None else warm_start,
    )


@public()
@renamed("name", "study")
def create_study(
    space: Space | Mapping[str, Any],
    *,
    study: str | None = None,
    direction: str | Sequence[str] = "minimize",
    metric: str | Sequence[str] | None = None,
    constraints: Sequence[str] = (),
    optimizer: str | Optimizer = "auto",
    scheduler: str | Scheduler | None = None,
    seed: int | None = None,
    store: str | Path | None = None,
    data: Any = None,
    tags: Mapping[str, str] | None = None,
    warm_start: Any = (),
    load_if_exists: bool = False,
) -> Study:
    """Create a study, to run it with `Study.optimize` or with `Study.ask` and `Study.tell`.

    The other parameters have the same meaning as in `optimize`.

    Parameters
    ----------
    load_if_exists
        Whether to return an existing study of that name.

    Raises
    ------
    ArgumentError, SpaceError
        If an argument is invalid.
    StudyExists
        If the study exists and `load_if_exists` is False.
    StudyMismatch
        If `load_if_exists` is True and the study has a different space, direction or seed.

    Examples
    --------
    >>> import tempfile, tuner
    >>> study = tuner.create_study({"x": tuner.Int(1, 9)}, store=tempfile.mkdtemp(), seed=0)
    >>> trial = study.ask()
    >>> told = study.tell(trial, trial.params["x"])
    >>> study = study.optimize(
    ...     lambda params: params["x"], n_trials=9, backend="serial", progress=False
    ... )
    >>> len(study.trials), study.best_value
    (9, 1.0)
    """
    plan = as_plan(
        space,
        study=study,
        direction=direction,
        metric=metric,
        constraints=constraints,
        optimizer=optimizer,
        scheduler=scheduler,
        seed=seed,
        data=data,
        tags=tags,
        warm_start=warm_start,
    )
    if is_loading():
        return _unrecorded(plan, store)
    created = open_study(plan, store, must_be_new=not load_if_exists)
    recorded = created.store.create_study(created.info)
    if recorded.uid == created.info.uid:
        return created
    # Another process has created it in the meantime.
    return open_study(plan, created.store, must_be_new=not load_if_exists)


@public()
@renamed("name", "study")
def load_study(
    study: str,
    *,
    store: str | Path | None = None,
    optimizer: str | Optimizer | None = None,
    scheduler: str | Scheduler | None = None,
) -> Study:
    """Load a study by name.

    Parameters
    ----------
    study, store, scheduler
        As for `optimize`. The record of a study does not contain its scheduler.
    optimizer
        The optimizer for further trials. None uses the recorded one, with its options.

    Raises
    ------
    StudyNotFound
        If the store has no study of that name; the message suggests similar names.
    """
    from tuner.tracking import open_store

    if not isinstance(study, str):
        raise ArgumentError(f"study={study!r}: write the name of a study")
    opened = open_store(store)
    return Study(
        find_study(study, opened),
        opened,
        optimizer=None if optimizer is None else resolve_optimizer(optimizer),
        scheduler=resolve_scheduler(scheduler),
    )


@public()
def list_studies(*, archived: bool = False, store: str | Path | None = None) -> list[StudyInfo]:
    """Return the record of each study in the store, oldest first.

    Parameters
    ----------
    archived
        Whether to include archived studies; see `archive_study`.
    store
        As for `optimize`.
    """
    from tuner.records.lists import RecordList
    from tuner.tracking import open_store

    found = open_store(store).studies()
    return RecordList(info for info in found if archived or info.archived is None)


def open_study(
    plan: StudyPlan, store: str | Path | Store | None = None, *, must_be_new: bool = False
) -> Study:
    """Return the planned study, which is not recorded yet if it is new.

    A failure before the first trial therefore leaves no trace. An existing study gets the tags and
    the earlier trials of the plan that it lacks.

    Raises
    ------
    StudyExists
        If the study exists and `must_be_new` is True.
    StudyMismatch
        If the study exists with a different space, direction or seed.
    ArgumentError
        If the optimizer or the scheduler cannot handle the space or the goals.
    """
    from tuner.tracking import open_store

    seed = fresh_seed() if plan.seed is None else plan.seed
    plan.optimizer.reset(plan.space, plan.goals, seed)
    if plan.scheduler is not None:
        plan.scheduler.reset(plan.goals)
    opened = open_store(store)
    info = opened.find_study(plan.name)
    if info is None:
        info = _new_study(plan, seed, opened)
    elif must_be_new:
        raise StudyExists(
            f"study {plan.name!r} exists in {opened}; write load_if_exists=True to load it, or "
            f"another name"
        )
    else:
        _check_same(info, plan)
        info = with_additions(info, plan, opened)
    return Study(info, opened, optimizer=plan.optimizer, scheduler=plan.scheduler)


def _unrecorded(plan: StudyPlan, store: str | Path | None) -> Study:
    """Return the known or planned study for a file that is loaded for its objective."""
    from tuner.tracking import open_store

    opened = open_store(store)
    info = opened.find_study(plan.name)
    info = info or _new_study(replace(plan, warm_start=()), plan.seed or 0, opened)
    return Study(info, opened, optimizer=plan.optimizer, scheduler=plan.scheduler)


def _new_study(plan: StudyPlan, seed: int, store: Store) -> StudyInfo:
    from tuner.tracking.uuid7 import uuid7

    return StudyInfo(
        uid=uuid7(),
        name=plan.name,
        space=plan.space.to_dict(),
        fingerprint=plan.space.fingerprint,
        goals=plan.goals,
        seed=seed,
        created=time.time(),
        optimizer=describe(plan.optimizer),
        data=plan.data,
        tags=plan.tags,
        constraints=plan.constraints,
        warm_start_trials=first_warm_start(plan, store),
        user=current_user(),
    )


def _check_same(known: StudyInfo, plan: StudyPlan) -> None:
    """Raise `StudyMismatch` if a recorded study differs from the plan."""
    change = ""
    if plan.space.fingerprint != known.fingerprint:
        change = _space_change(Space.from_dict(known.space), plan.space)
    elif plan.goals != known.goals:
        change = f"its goal is {_goals(known.goals)}, this call has {_goals(plan.goals)}"
    elif plan.constraints != known.constraints:
        change = (
            f"its constraints are {_listed(known.constraints)}, "
            f"this call has {_listed(plan.constraints)}"
        )
    elif plan.seed is not None and plan.seed != known.seed:
        change = f"its seed is {known.seed}, this call has {plan.seed}"
    elif plan.data and known.data and plan.data != known.data:
        change = "its data has another fingerprint than the data of this call"
    if change:
        raise StudyMismatch(
            f"study {known.name!r} cannot be resumed: {change}; "
            f"restore the old setting, or pass another study name"
        )


def _space_change(old: Space, new: Space) -> str:
    """Describe the differences between two spaces, naming the first few parameters."""
    before = {c.path: repr(c.domain) for c in old.columns}
    after = {c.path: repr(c.domain) for c in new.columns}
    changes = [f"{p!r} is missing" for p in before if p not in after]
    changes += [f"{p!r} is new" for p in after if p not in before]
    changes += [
        f"{p!r} was {before[p]} and is {after[p]}"
        for p in before
        if p in after and before[p] != after[p]
    ]
    if not changes:
        changes = [f"its constraints were {list(old.constraints)}, are {list(new.constraints)}"]
    more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    return f"the search space has changed: {'; '.join(changes[:3])}{more}"


def _goals(goals: tuple[Goal, ...]) -> str:
    return ", ".join(f"{g.direction} {g.metric!r}" for g in goals)


def _listed(constraints: tuple[OutcomeConstraint, ...]) -> str:
    return ", ".join(map(str, constraints)) or "none"


def _generate_name(objective: Any) -> str:
    """Return a generated study name: objective name, date and time, and random characters."""
    base = getattr(objective, "__name__", "study")
    base = base if base.isidentifier() else "study"
    return f"{base}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
