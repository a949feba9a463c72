"""Optimize an objective in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import StudyJustCreated
from tuner.errors.boundary import public
from tuner.errors.loading import end_loading
from tuner.records import Params, Trial
from tuner.schedulers import resolve as resolve_scheduler
from tuner.study.arguments import as_goals, as_space, renamed
from tuner.study.create import as_plan, open_study
from tuner.study.search import as_search
from tuner.study.study import Study

if TYPE_CHECKING:
    from tuner.backends.protocol import Backend
    from tuner.engine.progress import Progress
    from tuner.optimizers.protocol import Optimizer
    from tuner.schedulers.protocol import Scheduler
    from tuner.search_spaces import Space


@public()
@renamed("name", "study")
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
    profile: bool = True,
    initial: Sequence[Params] = (),
    warm_start: Any = (),
    max_retries: int = 0,
    max_identical_failures: int | None = 5,
    deterministic: bool = False,
    callbacks: Sequence[Callable[[Study, Trial], None]] = (),
    tags: Mapping[str, str] | None = None,
    system_metrics: bool | float | None = None,
    keep_models: int | None = None,
    confirm: int | None = None,
    progress: bool | Progress = True,
) -> Study:
    """Optimize `objective` over `space`, record every trial and register the winner.

    This is the one-call form of `create_study` and `Study.optimize`.

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
        and `timeout`, it is 100, or the size of the space if that is smaller. ``"grid"`` tries the
        whole grid.
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
        A registered name, such as ``"processes"`` or ``"serial"``, a `Backend`, or None for
        ``"ray"``.
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
        Model name for the winner, see `Study.winner`. Defaults to the study's name; False registers
        nothing. A search with several goals does not register a model; see `Study.register`.
    refit
        A function that takes the best params and returns the model to register.
    data
        Arrays, DataFrames, files or folders. The study records their fingerprint.
    profile
        Whether the registered version keeps a profile of `data`, if this is a table or a pair of a
        table and its labels. The profile holds up to 5,000 of the rows, see `tuner.drift`. If the
        model is an estimator of scikit-learn and labels are given, copies of it are fitted to
        predict rows that they have not seen, unless its trial took more than 30 seconds.
    initial
        Points to try first, unless the study has trials of them. A new study without such points
        tries the defaults of the domains, if any.
    warm_start
        Earlier trials for the optimizer: a study's name in this store, a `Study`, an Optuna study,
        a DataFrame like the one of `Study.trials_dataframe`, or a list of these. They must have
        values of the same goals. The study records them and does not count them as its trials. A
        new study tries the best of them first, and an existing one adds those that it lacks. A
        warning states how many trials do not fit, and why.
    max_retries
        Number of retries after the objective fails. A trial whose worker is lost is retried up to
        three times regardless.
    max_identical_failures
        If this many first trials of this call all fail for the same reason, such as an exception
        in one line, the call ends with `AllTrialsFailed`. None goes on, for a space of which a part
        fails by its nature.
    deterministic
        Make a parallel search repeatable: with the same seed and as many workers, suggestion k sees
        the outcomes of trials up to k - workers only. Workers wait for slow trials.
    callbacks
        Called with ``study, trial`` once an outcome is recorded; see `Study.stop`,
        `Study.enqueue` and the rules of `tuner.stop`. If a callback has a method
        ``study_ended(study)``, it is called when the search ends, also after an error;
        ``model_registered(study, version)`` is called when the winner is registered.
    tags
        Short texts to keep with the study. An existing study keeps its other tags.
    system_metrics
        Whether to sample each run's CPU, memory and GPUs, as metrics over steps called
        ``system/...``: True for every five seconds, or the seconds between two samples. None uses
        the environment variable ``TUNER_SYSTEM_METRICS``.
    keep_models
        Number of best trials that keep their logged models when the search ends; None keeps all.
        Registered models are always kept; see `Study.keep_models`.
    confirm
        Number of further runs of the leading trials before the winner is registered, those of
        earlier calls included; see `Study.confirm`. None runs each trial once.
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
        If the first `max_identical_failures` trials of this call failed for the same reason.

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
    end_loading("tuner.optimize")
    space, scheduler = as_space(space), resolve_scheduler(scheduler)
    search = as_search(
        objective,
        as_goals(direction, metric),
        scheduler,
        n_trials=n_trials,
        timeout=timeout,
        trial_timeout=trial_timeout,
        backend=backend,
        workers=workers,
        resources=resources,
        register=register,
        refit=refit,
        max_retries=max_retries,
        max_identical_failures=max_identical_failures,
        deterministic=deterministic,
        callbacks=callbacks,
        system_metrics=system_metrics,
        keep_models=keep_models,
        confirm=confirm,
        progress=progress,
        data=data if profile else None,
        initial=[space.validate(point) for point in initial],
    )
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
        objective=objective,
    )
    try:
        return open_study(plan, store).run(search)
    except StudyJustCreated:
        return open_study(plan, store).run(search)
