"""Optimize an objective in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.backends import resolve as resolve_backend
from tuner.boundary import public
from tuner.engine.objective import wants_trial
from tuner.engine.worker.system_metrics import as_interval
from tuner.errors import ArgumentError
from tuner.optimizers import resolve as resolve_optimizer
from tuner.records import Goal, Params, Trial
from tuner.registry.names import validate_model_name
from tuner.schedulers import resolve as resolve_scheduler
from tuner.study.arguments import (
    as_constraints,
    as_count,
    as_goals,
    as_seconds,
    as_space,
    lease_seconds,
)
from tuner.study.create import StudyPlan, fingerprint_of, made_up_name, open_study
from tuner.study.study import Study, best_of

if TYPE_CHECKING:
    from tuner.backends.protocol import Backend
    from tuner.optimizers.protocol import Optimizer
    from tuner.progress import Progress
    from tuner.schedulers.protocol import Scheduler
    from tuner.search_spaces import Space

DEFAULT_N_TRIALS = 100
"""Trials of a search that was given neither `n_trials` nor `timeout`."""


@public()
def optimize(
    objective: Callable[..., Any],
    space: Space | Mapping[str, Any],
    *,
    direction: str | Sequence[str] = "minimize",
    metric: str | Sequence[str] | None = None,
    constraints: Sequence[str] = (),
    n_trials: int | None = None,
    timeout: float | None = None,
    trial_timeout: float | None = None,
    optimizer: str | Optimizer = "auto",
    scheduler: str | Scheduler | None = None,
    backend: str | Backend | None = None,
    workers: int | None = None,
    resources: Mapping[str, float] | None = None,
    seed: int | None = None,
    study: str | None = None,
    store: str | Path | None = None,
    register: str | bool | None = None,
    refit: Callable[[Params], Any] | None = None,
    data: Any = None,
    initial: Sequence[Params] = (),
    warm_start: Any = (),
    max_retries: int = 0,
    deterministic: bool = False,
    callbacks: Sequence[Callable[[Study, Trial], None]] = (),
    tags: Mapping[str, str] | None = None,
    system_metrics: bool | float | None = None,
    keep_models: int | None = None,
    progress: bool | Progress = True,
) -> Study:
    """Optimize `objective` over `space`, record every trial and register the best one.

    Parameters
    ----------
    objective
        A function of ``params``, or of ``params, trial``. It returns a number, or a dict of
        metrics that contains the goal. An exception, None, NaN or infinity fails the trial.
    space
        A dict of domains, or a `Space`.
    direction
        ``"minimize"`` or ``"maximize"``. Pass a list for several goals; the objective then returns
        one value per goal, and `Study.best_trials` is the Pareto front.
    metric
        Name of the goal if the objective returns a dict. Defaults to ``"value"``. Pass a list for
        several goals.
    constraints
        Constraints that a trial's metrics must satisfy, such as ``["latency <= 0.1"]``. The best
        trial is a feasible one. `LiveTrial.report_constraint` reports further constraints.
    n_trials
        Total number of trials of the study, including trials of earlier calls. Without `n_trials`
        and `timeout`, it is 100, or the size of the space if that is smaller.
    timeout
        Seconds after which this call starts no more trials. Running trials finish.
    trial_timeout
        Time limit of one attempt of a trial, in seconds. An attempt that exceeds it is ended and
        fails.
    optimizer
        A registered name, such as ``"tpe"``, or an `Optimizer`.
    scheduler
        A registered name, such as ``"asha"``, a `Scheduler`, or None to let every trial run to its
        end.
    backend
        A registered name, such as ``"serial"``, a `Backend`, or None for ``"ray"``.
    workers
        Number of concurrent trials. None uses the whole machine or cluster.
    resources
        Resources of each trial, such as ``{"cpu": 0.5, "gpu": 1}``. Defaults to one CPU.
    seed
        A non-negative integer. A serial search with the same seed repeats exactly.
    study
        Name of the study. An existing name resumes that study. By default a new name is generated.
    store
        An SQLAlchemy URL, a folder, or None for ``./.tuner`` (the environment variable
        ``TUNER_STORE`` overrides None).
    register
        Model name for the winner. Defaults to the study's name; False registers nothing.
        A search with several goals has no single winner: see `Study.register`.
    refit
        A function that takes the best params and returns the model to register.
    data
        Arrays, DataFrames, files or folders. The study records their fingerprint.
    initial
        Points to try first. If empty, any defaults of the domains are tried first.
    warm_start
        Earlier trials for the optimizer to begin with: a study's name in this store, a `Study`, a
        study of Optuna, a DataFrame like `Study.trials_dataframe` gives, or a list of these. Their
        values must be of the same goals. They are kept with the study, do not count as its trials,
        and the best of them is tried first.
    max_retries
        Number of retries after the objective fails. A trial whose worker is lost is retried up to
        three times regardless.
    deterministic
        Make a parallel search repeatable: with the same seed and as many workers, suggestion k sees
        the outcomes of trials up to k - workers, whatever the timing. Workers wait for slow trials.
    callbacks
        Called with ``study, trial`` after each trial that has its outcome; see `Study.stop`. One
        with a method ``study_ended(study)`` has that called when the search ends, however it does.
    tags
        Short texts to keep with the study.
    system_metrics
        Whether to sample each run's CPU, memory and GPUs, as metrics over steps called
        ``system/...``: True for every five seconds, or the seconds between two samples. None takes
        what the environment variable ``TUNER_SYSTEM_METRICS`` says.
    keep_models
        How many of the best trials keep the models that they logged when the search ends; None
        keeps all. Registered models are always kept; see `tuner.study.registration.keep_best`.
    progress
        Whether to show one progress display.

    Returns
    -------
    Study

    Raises
    ------
    ArgumentError, SpaceError
        For a wrong call, before anything is started.
    StudyMismatch
        If the study exists with a different space, direction or seed.
    StudyBusy
        If another process is running the study. The message names the process and its host.
    StudyTakenOver
        If the lease expired and another process took over the study.
    BackendError, StoreError, RegistryError
        If the workers, the store or the registry fail.
    AllTrialsFailed
        If all of the first trials failed for the same reason.

    Examples
    --------
    >>> import tempfile, tuner
    >>> study = tuner.optimize(
    ...     lambda params: (params["x"] - 1) ** 2,
    ...     {"x": tuner.Float(-10, 10)},
    ...     n_trials=20, backend="serial", seed=0, store=tempfile.mkdtemp(), progress=False,
    ... )
    >>> study.best_value < 1
    True
    """
    space = as_space(space)
    goals = as_goals(direction, metric)
    limits_on_metrics = as_constraints(constraints)
    chosen = resolve_optimizer(optimizer)
    chosen_scheduler = resolve_scheduler(scheduler)
    chosen_backend = resolve_backend(backend)
    takes_trial = wants_trial(objective)
    n_trials = as_count("n_trials", n_trials)
    timeout = as_seconds("timeout", timeout)
    trial_timeout = as_seconds("trial_timeout", trial_timeout)
    workers = as_count("workers", workers)
    keep_models = as_count("keep_models", keep_models)
    retries = as_count("max_retries", max_retries, low=0) or 0
    interval = as_interval(system_metrics)
    if deterministic and chosen_scheduler is not None:
        raise ArgumentError(
            "deterministic=True: what a scheduler stops depends on which report comes first; leave "
            "scheduler out"
        )
    lease = lease_seconds()
    points = [space.validate(p) for p in initial]
    registered_name = _registered_name(register, goals)
    if n_trials is None:
        n_trials = _default_budget(space, timeout)

    plan = StudyPlan(
        space, goals, seed, fingerprint_of(data), dict(tags or {}), limits_on_metrics, warm_start
    )
    this = open_study(
        made_up_name(objective) if study is None else study, plan, store, chosen, chosen_scheduler
    )
    done = sum(trial.state.finished for trial in this)
    if n_trials is None or done < n_trials:
        from tuner.engine.clock import SystemClock
        from tuner.engine.driver import POLL, Driver, Session
        from tuner.engine.limits import Limits
        from tuner.engine.worker.forks import children_end
        from tuner.engine.worker.run import ObjectiveWork
        from tuner.progress import make_progress
        from tuner.tracking.provenance import current_code, current_environment

        virtual = getattr(chosen_backend, "clock", None)
        session = Session(
            info=this.info,
            store=this.store,
            optimizer=chosen,
            backend=chosen_backend,
            work=ObjectiveWork(objective, takes_trial, goals, limits_on_metrics, interval),
            limits=Limits(
                n_trials, timeout, trial_timeout, max_retries=retries, in_order=deterministic
            ),
            progress=make_progress(progress) if isinstance(progress, bool) else progress,
            scheduler=chosen_scheduler,
            workers=workers,
            resources=resources,
            initial=points or _first_points(this, space),
            code=current_code(objective),
            environment=current_environment(),
            listeners=[partial(call, this) for call in callbacks],
            lease=lease,
            # Where time passes only while the study waits, nothing else can happen meanwhile.
            clock=SystemClock() if virtual is None else virtual,
            poll=POLL if virtual is None else math.inf,
        )
        try:
            this.run(Driver(session))
        finally:
            for callback in callbacks:
                if callable(ended := getattr(callback, "study_ended", None)):
                    with children_end():
                        ended(this)
    if registered_name is not None and any(trial.eligible for trial in this):
        this.register(registered_name or None, refit=refit)
    if keep_models is not None:
        from tuner.study.registration import keep_best
        from tuner.tracking.artifacts.retention import collect

        keep_best(this, keep_models)
        collect(this.store)
    return this


def _default_budget(space: Space, timeout: float | None) -> int | None:
    """Return how many trials a call without `n_trials` makes: a finite space is tried once."""
    size = None if math.isinf(space.size) else int(space.size)
    if timeout is not None:
        return size
    return DEFAULT_N_TRIALS if size is None else min(DEFAULT_N_TRIALS, size)


def _first_points(study: Study, space: Space) -> list[Params]:
    """Return the defaults, and the best of the earlier trials, which this study has not tried."""
    defaults = space.defaults()
    points = [] if defaults is None else [defaults]
    eligible = [trial for trial in study.info.earlier if trial.eligible]
    if eligible and len(study.goals) == 1:
        best = best_of(study.info, eligible).params
        points += [] if best in points else [best]
    return points


def _registered_name(register: str | bool | None, goals: Sequence[Goal]) -> str | None:
    """Return the model name to register under, "" for the study's name, None for not at all."""
    if register is False or (register is None and len(goals) > 1):
        return None
    if len(goals) > 1:
        raise ArgumentError(
            f"register={register!r}: a search with {len(goals)} goals has no single winner; leave "
            f"register out, then write study.register(..., trial=study.best_trials[0])"
        )
    if register is None or register is True:
        return ""
    if not isinstance(register, str) or not register:
        raise ArgumentError(f"register={register!r}: write a model name, or False")
    return validate_model_name(register)
