"""The settings of one search of a study, checked before it starts, and its session."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.backends import resolve as resolve_backend
from tuner.engine.machine_state import Limits
from tuner.engine.objective import check_formats, wants_trial
from tuner.engine.worker.system_metrics import as_interval
from tuner.errors import ArgumentError, StudyJustCreated
from tuner.errors.notices import warn
from tuner.optimizers import ranking
from tuner.records import Goal, Params
from tuner.registry.names import validate_model_name
from tuner.study.arguments import as_count, as_seconds, lease_seconds

if TYPE_CHECKING:
    from tuner.backends.protocol import Backend
    from tuner.engine.ask_tell import ManualLoop
    from tuner.engine.driver import Session
    from tuner.engine.progress import Progress
    from tuner.optimizers.protocol import Optimizer
    from tuner.schedulers.protocol import Scheduler
    from tuner.search_spaces import Space
    from tuner.study.results import StudyResults

Callback: TypeAlias = Callable[..., None]
"""Called with a study and a trial; may have methods.

These are ``study_ended(study)`` and ``model_registered(study, version)``.

With the attribute ``reads_record = False``, it does not wait until the trial is committed.
"""

DEFAULT_N_TRIALS = 100
"""Number of trials of a search with neither `n_trials` nor `timeout`."""


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """The models that remain after a search.

    `name` is the model name of the best trial, "" for the study's name, None to register nothing.
    `refit` returns a model for the params of the best trial. `keep` is the number of best trials
    that keep their logged models, None for all. `data` is the data to profile, None for none.
    """

    name: str | None
    refit: Callable[[Params], Any] | None = None
    keep: int | None = None
    data: Any = None


@dataclass(frozen=True, slots=True)
class Search:
    """The checked arguments of one call of `Study.optimize`. Times are in seconds."""

    objective: Callable[..., Any]
    wants_trial: bool
    limits: Limits
    models: ModelPolicy
    backend: Backend
    workers: int | None
    resources: Mapping[str, float] | None
    initial: Sequence[Params]
    callbacks: Sequence[Callback]
    system_metrics: float | None
    progress: bool | Progress
    lease: float
    confirm: int | None


def as_search(
    objective: Callable[..., Any],
    goals: Sequence[Goal],
    scheduler: Scheduler | None,
    *,
    n_trials: int | None,
    timeout: float | None,
    trial_timeout: float | None,
    backend: str | Backend | None,
    workers: int | None,
    resources: Mapping[str, float] | None,
    register: str | bool | None,
    refit: Callable[[Params], Any] | None,
    max_retries: int,
    max_identical_failures: int | None,
    deterministic: bool,
    callbacks: Sequence[Callback],
    system_metrics: bool | float | None,
    keep_models: int | None,
    progress: bool | Progress,
    initial: Sequence[Params] = (),
    confirm: int | None = None,
    data: Any = None,
) -> Search:
    """Check the arguments of a search; see `tuner.optimize` for their meaning.

    Raises
    ------
    ArgumentError
        If an argument is invalid; the message names it.
    """
    if deterministic and scheduler is not None:
        raise ArgumentError(
            "deterministic=True: a scheduler's decisions depend on the order of the reports; leave "
            "scheduler out"
        )
    if confirm is not None and len(goals) > 1:
        raise ArgumentError(
            f"confirm={confirm!r}: a search with {len(goals)} goals has no single winner; leave "
            f"confirm out"
        )
    for callback in callbacks:
        if callable(check := getattr(callback, "check_goals", None)):
            check(goals)
    with_trial = wants_trial(objective)
    if with_trial:
        check_formats(objective)
    return Search(
        objective=objective,
        wants_trial=with_trial,
        limits=Limits(
            n_trials=as_count("n_trials", n_trials),
            timeout=as_seconds("timeout", timeout),
            trial_timeout=as_seconds("trial_timeout", trial_timeout),
            max_retries=as_count("max_retries", max_retries, low=0) or 0,
            max_identical_failures=as_count("max_identical_failures", max_identical_failures),
            in_order=deterministic,
        ),
        models=ModelPolicy(
            _registered_name(register, goals), refit, as_count("keep_models", keep_models), data
        ),
        backend=resolve_backend(backend),
        workers=as_count("workers", workers),
        resources=resources,
        initial=initial,
        callbacks=callbacks,
        system_metrics=as_interval(system_metrics),
        progress=progress,
        lease=lease_seconds(),
        confirm=as_count("confirm", confirm),
    )


def limits_of(search: Search, space: Space, optimizer: Optimizer) -> Limits:
    """Return the limits of a search, with the default for a missing `n_trials`.

    Without `n_trials`, an optimizer that ends, such as a grid, decides. For others, a finite space
    is tried once, at most 100 trials unless a timeout is set.
    """
    limits = search.limits
    if limits.n_trials is not None or getattr(optimizer, "ends", False):
        return limits
    n_trials = None if math.isinf(space.size) else int(space.size)
    if limits.timeout is None:
        n_trials = DEFAULT_N_TRIALS if n_trials is None else min(DEFAULT_N_TRIALS, n_trials)
    return replace(limits, n_trials=n_trials)


def session_of(
    search: Search, study: StudyResults, optimizer: Optimizer, scheduler: Scheduler | None
) -> Session:
    """Return the session by which a driver runs a search of `study`."""
    from tuner.engine.clock import SystemClock
    from tuner.engine.driver import POLL, Session
    from tuner.engine.progress import make_progress
    from tuner.engine.worker.loggers import LogSetup
    from tuner.engine.worker.run import ObjectiveWork
    from tuner.provenance.capture import current_code, current_environment

    progress = search.progress
    virtual = getattr(search.backend, "clock", None)
    return Session(
        info=study.info,
        store=study.store,
        optimizer=optimizer,
        backend=search.backend,
        work=ObjectiveWork(
            search.objective,
            search.wants_trial,
            study.goals,
            study.info.constraints,
            search.system_metrics,
            LogSetup.current(),
        ),
        limits=limits_of(search, study.space, optimizer),
        progress=make_progress(progress) if isinstance(progress, bool) else progress,
        scheduler=scheduler,
        workers=search.workers,
        resources=search.resources,
        initial=search.initial or ([] if next(iter(study), None) else _first_points(study)),
        code=current_code(search.objective),
        environment=current_environment(),
        listeners=[partial(callback, study) for callback in search.callbacks],
        listeners_read=any(getattr(each, "reads_record", True) for each in search.callbacks),
        lease=search.lease,
        # Virtual time passes only while the driver waits for events, so it need not poll.
        clock=SystemClock() if virtual is None else virtual,
        poll=POLL if virtual is None else math.inf,
    )


def loop_of(study: StudyResults, optimizer: Optimizer, scheduler: Scheduler | None) -> ManualLoop:
    """Return the loop by which `Study.ask` and `Study.tell` work."""
    from tuner.engine.ask_tell import ManualLoop
    from tuner.engine.clock import SystemClock
    from tuner.provenance.capture import current_environment

    return ManualLoop(
        study.info,
        study.space,
        study.store,
        optimizer,
        SystemClock(),
        scheduler,
        environment=study.store.put_environment(current_environment()),
    )


@contextmanager
def notified(search: Search, study: StudyResults) -> Iterator[None]:
    """Call the method ``study_ended`` of the callbacks at the end of a search that has begun."""
    try:
        yield
    except StudyJustCreated:
        raise
    except BaseException:
        notify(search, "study_ended", study)
        raise
    notify(search, "study_ended", study)


def notify(search: Search, method: str, *arguments: Any) -> None:
    """Call a method of the callbacks that have it."""
    from tuner.engine.worker.forks import exit_forked_children

    for callback in search.callbacks:
        if callable(called := getattr(callback, method, None)):
            with exit_forked_children():
                called(*arguments)


def held_by(search: Search, study: StudyResults) -> bool:
    """Whether a stop rule among the callbacks holds for the record, so that no trial starts."""
    rules = (getattr(callback, "reason_to_stop", None) for callback in search.callbacks)
    return any(callable(rule) and rule(study) is not None for rule in rules)


def say_untried(search: Search, study: StudyResults, n_trials: int) -> None:
    """Warn if a search of a study that has all its trials was given new points."""
    from tuner.engine.history import untried

    left = untried(study.space, search.initial, study) if search.initial else []
    if left:
        points = "1 new point is" if len(left) == 1 else f"{len(left)} new points are"
        warn(
            f"initial: study {study.name!r} has its n_trials={n_trials} trials, so {points} not "
            f"tried; write a larger n_trials"
        )


def _first_points(study: StudyResults) -> list[Params]:
    """Return the defaults of the space and the best of the study's warm-start trials."""
    space = study.space
    defaults = space.defaults()
    points = [] if defaults is None else [defaults]
    if defaults is None and any(column.domain.default is not None for column in space.columns):
        warn(
            f"the defaults of the search space violate {' or '.join(map(str, space.constraints))}, "
            f"so they are not tried first; change a default"
        )
    if len(study.goals) == 1:
        best = ranking.best(study.info.goal, study.info.warm_start_trials)
        points += [] if best is None or best.params in points else [best.params]
    return points


def _registered_name(register: str | bool | None, goals: Sequence[Goal]) -> str | None:
    """Return the model name to register under, "" for the study's name, None for not at all."""
    if register is False or (register is None and len(goals) > 1):
        return None
    if len(goals) > 1:
        raise ArgumentError(
            f"register={register!r}: a search with {len(goals)} goals has no single best trial; "
            f"omit register, then write study.register(..., trial=study.best_trials[0])"
        )
    if register is None or register is True:
        return ""
    if not isinstance(register, str) or not register:
        raise ArgumentError(f"register={register!r}: write a model name, or False")
    return validate_model_name(register)
