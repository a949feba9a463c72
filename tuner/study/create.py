"""Create a study, load one by name, or check that a named one matches the call."""

from __future__ import annotations

import difflib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.boundary import public
from tuner.engine.seeds import fresh_seed
from tuner.errors import StudyExists, StudyMismatch, StudyNotFound
from tuner.optimizers import describe
from tuner.optimizers import resolve as resolve_optimizer
from tuner.records import Goal, OutcomeConstraint, StudyInfo
from tuner.schedulers import resolve as resolve_scheduler
from tuner.search_spaces import Space
from tuner.study.arguments import as_constraints, as_count, as_goals, as_space, as_study_name
from tuner.study.study import Study
from tuner.study.warm_start import earlier_trials

if TYPE_CHECKING:
    from tuner.optimizers.protocol import Optimizer
    from tuner.schedulers.protocol import Scheduler


@public()
def create_study(
    space: Space | Mapping[str, Any],
    *,
    name: str | None = None,
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
    """Create a study for a manual loop with `Study.ask` and `Study.tell`.

    The parameters have the same meaning as in `optimize`; `name` corresponds to its `study`.

    Raises
    ------
    StudyExists
        If the study exists and `load_if_exists` is False.
    StudyMismatch
        If `load_if_exists` is True and the study has a different space, direction or seed.
    """
    plan = StudyPlan(
        as_space(space),
        as_goals(direction, metric),
        seed,
        fingerprint_of(data),
        dict(tags or {}),
        as_constraints(constraints),
        warm_start,
    )
    this = open_study(
        made_up_name(None) if name is None else name,
        plan,
        store,
        resolve_optimizer(optimizer),
        resolve_scheduler(scheduler),
        must_be_new=not load_if_exists,
    )
    this.store.create_study(this.info)
    return this


@public()
def load_study(
    name: str, *, store: str | Path | None = None, optimizer: str | Optimizer | None = None
) -> Study:
    """Return the study of that name.

    Parameters
    ----------
    name, store
        As for `optimize`.
    optimizer
        What `Study.ask` goes on with; None takes the one that is recorded, with its options.

    Raises
    ------
    StudyNotFound
        If the store has none; says which names come close.
    """
    from tuner.tracking import open_store

    opened = open_store(store)
    info = opened.find_study(name)
    if info is None:
        known = [s.name for s in opened.studies()]
        close = difflib.get_close_matches(str(name), known, n=3) or known[-3:]
        remedy = f"it has {', '.join(map(repr, close))}" if close else "it has no studies"
        raise StudyNotFound(f"there is no study {name!r} in {opened}; {remedy}")
    chosen = None if optimizer is None else resolve_optimizer(optimizer)
    return Study(info, opened, optimizer=chosen)


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """The settings that a call requests for a study, new or existing."""

    space: Space
    goals: tuple[Goal, ...]
    seed: int | None = None
    data: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    constraints: tuple[OutcomeConstraint, ...] = ()
    warm_start: Any = ()


def open_study(
    name: str,
    plan: StudyPlan,
    store: str | Path | None,
    optimizer: Optimizer,
    scheduler: Scheduler | None,
    *,
    must_be_new: bool = False,
) -> Study:
    """Return the study of that name, bound to `optimizer` and `scheduler`.

    A new study is prepared but not recorded yet, so a failure before the first trial leaves no
    trace.

    Raises
    ------
    StudyExists
        If the study exists and `must_be_new` is True.
    StudyMismatch
        If the study exists with a different space, direction or seed.
    ArgumentError
        If the name is invalid, or the optimizer cannot handle the space.
    """
    from tuner.tracking import open_store
    from tuner.tracking.annotations import check_tags
    from tuner.tracking.provenance import current_user
    from tuner.tracking.uuid7 import uuid7

    name = as_study_name(name)
    check_tags(plan.tags)
    seed = as_count("seed", plan.seed, low=0)
    optimizer.reset(plan.space, plan.goals, fresh_seed() if seed is None else seed)
    opened = open_store(store)
    known = opened.find_study(name)
    if known is None:
        info = StudyInfo(
            uid=uuid7(),
            name=name,
            space=plan.space.to_dict(),
            fingerprint=plan.space.fingerprint,
            goals=plan.goals,
            seed=fresh_seed() if seed is None else seed,
            created=time.time(),
            optimizer=describe(optimizer),
            data=plan.data,
            tags=plan.tags,
            constraints=plan.constraints,
            earlier=earlier_trials(plan.warm_start, plan.space, plan.goals, opened),
            user=current_user(),
        )
    elif must_be_new:
        raise StudyExists(
            f"study {name!r} is in {opened} already; "
            f"write load_if_exists=True to go on with it, or another name"
        )
    else:
        info = known
        _check_same(known, plan, seed)
    optimizer.reset(plan.space, info.goals, info.seed)
    if scheduler is not None:
        scheduler.reset(info.goals)
    return Study(info, opened, optimizer=optimizer, scheduler=scheduler)


def _check_same(known: StudyInfo, plan: StudyPlan, seed: int | None) -> None:
    """Raise `StudyMismatch` if the plan is for another study than the one of that name."""
    change = ""
    if plan.space.fingerprint != known.fingerprint:
        change = _space_change(Space.from_dict(known.space), plan.space)
    elif plan.goals != known.goals:
        change = f"its goal is {_goals(known.goals)}, this call's is {_goals(plan.goals)}"
    elif plan.constraints != known.constraints:
        change = (
            f"its constraints are {_listed(known.constraints)}, "
            f"this call's are {_listed(plan.constraints)}"
        )
    elif seed is not None and seed != known.seed:
        change = f"its seed is {known.seed}, this call's is {seed}"
    elif plan.data and known.data and plan.data != known.data:
        change = "its data has another fingerprint than this call's"
    if change:
        raise StudyMismatch(
            f"study {known.name!r} cannot go on: {change}; "
            f"go back to what it was, or give another study name"
        )


def _space_change(old: Space, new: Space) -> str:
    """Describe the differences between two spaces, naming the first few parameters."""
    before = {c.path: repr(c.domain) for c in old.columns}
    after = {c.path: repr(c.domain) for c in new.columns}
    changes = [f"{p!r} is gone" for p in before if p not in after]
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


def made_up_name(objective: Any) -> str:
    """Return a generated study name: objective name, date and time, and random characters."""
    base = getattr(objective, "__name__", "study")
    base = base if base.isidentifier() else "study"
    return f"{base}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def fingerprint_of(data: Any) -> str:
    """Return the fingerprint of the data that a study is about, "" if none is given."""
    if data is None:
        return ""
    from tuner.tracking.provenance import fingerprint

    return fingerprint(data)
