"""A study that searches: `optimize`, ask and tell, and the registration of its best trial."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tuner.engine.messages import End
from tuner.errors import ArgumentError, StudyError
from tuner.errors.boundary import public_methods
from tuner.errors.loading import end_loading
from tuner.errors.notices import raised_late
from tuner.records import ModelVersion, Params, StudyInfo, Trial
from tuner.study.arguments import as_count
from tuner.study.asking import AskTellStudy
from tuner.tracking.references import find_study

if TYPE_CHECKING:
    from tuner.backends.protocol import Backend
    from tuner.engine.progress import Progress
    from tuner.optimizers.protocol import Optimizer
    from tuner.optimizers.winner import Winner
    from tuner.registry import Registry
    from tuner.registry.protocol import ModelFormat
    from tuner.schedulers.protocol import Scheduler
    from tuner.signatures import Signature
    from tuner.study.search import Search
    from tuner.tracking.store import Store


@public_methods
class Study(AskTellStudy):
    """A named, recorded and resumable search.

    Create one with `tuner.optimize` or `tuner.create_study`, or load it with `tuner.load_study`.
    Results are read from the store, so they include the records of other processes.

    A study can be copied and pickled. The copy contains the name, the location of the store, the
    optimizer and the scheduler, and reads the record again. **A pickle contains the URL of the
    store with its password in clear text.**

    Examples
    --------
    >>> import tempfile, tuner
    >>> folder = tempfile.mkdtemp()
    >>> study = tuner.create_study({"x": tuner.Float(-1.0, 1.0)}, store=folder, seed=1)
    >>> for _ in range(5):
    ...     trial = study.ask()
    ...     told = study.tell(trial, trial.params["x"] ** 2)
    >>> len(study.trials)
    5
    """

    # --- search -------------------------------------------------------------------------------

    def optimize(
        self,
        objective: Callable[..., Any],
        *,
        n_trials: int | None = None,
        timeout: float | None = None,
        trial_timeout: float | None = None,
        backend: str | Backend | None = None,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        register: str | bool | None = None,
        refit: Callable[[Params], Any] | None = None,
        max_retries: int = 0,
        max_identical_failures: int | None = 5,
        deterministic: bool = False,
        callbacks: Sequence[Callable[[Study, Trial], None]] = (),
        system_metrics: bool | float | None = None,
        keep_models: int | None = None,
        confirm: int | None = None,
        progress: bool | Progress = True,
    ) -> Study:
        """Run the search until the study has `n_trials` trials, and register the winner.

        The study may have trials of earlier calls, and of `ask` and `tell`; all of them count.
        Points of `enqueue` are tried first. A trial that was asked for and not told is run again
        here, and can no longer be told.

        The parameters have the same meaning as in `tuner.optimize`.

        Returns
        -------
        Study
            This study.

        Raises
        ------
        ArgumentError
            If an argument is invalid; nothing is started.
        StudyBusy
            If this object or another process runs a search of the study.
        StudyTakenOver, BackendError, StoreError, RegistryError, AllTrialsFailed
            As for `tuner.optimize`.

        Examples
        --------
        >>> import tempfile, tuner
        >>> study = tuner.create_study({"x": tuner.Int(0, 9)}, store=tempfile.mkdtemp(), seed=0)
        >>> for total in (3, 10):
        ...     study = study.optimize(
        ...         lambda params: params["x"] ** 2, n_trials=total, backend="serial",
        ...         progress=False,
        ...     )
        >>> len(study.trials), study.best_value
        (10, 0.0)
        """
        from tuner.study.search import as_search

        end_loading("Study.optimize")
        search = as_search(
            objective,
            self.goals,
            self._scheduler,
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
        )
        return self.run(search)

    def confirm(
        self,
        objective: Callable[..., Any],
        runs: int,
        *,
        confidence: float = 0.95,
        tolerance: float | None = None,
        prefer: str | None = None,
        timeout: float | None = None,
        trial_timeout: float | None = None,
        backend: str | Backend | None = None,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        progress: bool | Progress = True,
    ) -> Winner:
        """Run the leading trials again under fresh seeds, until one of them is the best.

        Each further run goes to the leader or to its strongest challenger. Repeats are runs of
        their trials: `best_trial` and the values of the trials do not change. Files and models that
        a repeat logs are not kept.

        Parameters
        ----------
        objective
            The objective of the search. It must draw its randomness from ``trial.seed`` or from
            the global generators, which are seeded by it.
        runs
            Total number of repeats of the study, earlier calls included. A call that was
            interrupted is finished by the same call.
        confidence
            Probability, in (0, 1), that the winner is the best of the leading trials; the race ends
            when it is reached.
        tolerance
            Difference of two true values, in the units of the goal, that does not matter. None
            takes a quarter of the noise of one run.
        prefer
            Cost that decides between trials of which none is worse with `confidence`: the name of a
            metric, or ``"duration"``. None takes the best estimate.
        timeout, trial_timeout, backend, workers, resources, progress
            As for `tuner.optimize`.

        Returns
        -------
        Winner
            The winner, which `register` registers by default.

        Raises
        ------
        ArgumentError
            If an argument is invalid; nothing is started.
        NoCompletedTrial, NoFeasibleTrial, SeveralGoals
            As for `best_trial`.
        StudyBusy, BackendError, StoreError
            As for `tuner.optimize`.

        Examples
        --------
        >>> import random, tempfile, tuner
        >>> def objective(params, trial):
        ...     return params["x"] ** 2 + random.Random(trial.seed).gauss(0, 0.1)
        >>> study = tuner.optimize(
        ...     objective, {"x": tuner.Float(-1, 1)}, n_trials=20, backend="serial", seed=0,
        ...     store=tempfile.mkdtemp(), progress=False,
        ... )
        >>> winner = study.confirm(objective, runs=8, backend="serial", progress=False)
        >>> winner.low < winner.value < winner.high, winner.repeats <= 8
        (True, True)
        """
        from tuner.study.search import as_search
        from tuner.study.winner import as_race, confirm

        end_loading("Study.confirm")
        total = as_count("runs", runs)
        if total is None:
            raise ArgumentError("runs=None: write the number of further runs, such as 10")
        race = as_race(confidence, tolerance, prefer)
        search = as_search(
            objective,
            self.goals,
            None,
            n_trials=None,
            timeout=timeout,
            trial_timeout=trial_timeout,
            backend=backend,
            workers=workers,
            resources=resources,
            register=False,
            refit=None,
            max_retries=0,
            max_identical_failures=None,
            deterministic=False,
            callbacks=(),
            system_metrics=None,
            keep_models=None,
            progress=progress,
        )
        self._check_idle()
        return confirm(self, search, race, total)

    def stop(self, reason: str = "stopped") -> None:
        """End a running search, usually from a callback: running trials finish, none start.

        Parameters
        ----------
        reason
            A short text that the progress display shows at the end.

        Raises
        ------
        StudyError
            If the study is not being optimized by this process.
        """
        from tuner.engine.driver import running_search

        search = running_search(self.store.url, self._info.uid) or self._driver
        if search is None:
            raise StudyError(
                f"study {self.name!r} is not running in this process; stop() ends a running search"
            )
        search.stop(reason)

    def run(self, search: Search) -> Study:
        """Run a checked search and register the winner; `optimize` is the public form.

        Raises
        ------
        StudyBusy
            If this object or another process runs a search of the study.
        StudyJustCreated
            If another process created the study, so that the recorded one has to be loaded.
        """
        from tuner.optimizers.racing import Race
        from tuner.study.failures import warn_of_unsaved
        from tuner.study.search import held_by, limits_of, notified, say_untried
        from tuner.study.winner import confirm

        self._check_idle()
        n_trials = limits_of(search, self.space, self._bound_optimizer()).n_trials
        with raised_late():
            done = sum(trial.state.finished for trial in self)
            if n_trials is not None and done >= n_trials:
                say_untried(search, self, n_trials)
            elif not held_by(search, self):
                with notified(search, self):
                    self._drive(search)
                warn_of_unsaved(self)
            if search.confirm is not None and any(trial.eligible for trial in self):
                confirm(self, search, Race(), search.confirm)
            self._apply(search)
        return self

    def _apply(self, search: Search) -> None:
        """Register the winner, and drop the models that the policy does not keep."""
        from tuner.study.search import notify

        policy = search.models
        if policy.name is not None and any(trial.eligible for trial in self):
            version = self.register(policy.name or None, refit=policy.refit, data=policy.data)
            notify(search, "model_registered", self, version)
        if policy.keep is not None:
            from tuner.tracking.artifacts.retention import collect

            self.keep_models(policy.keep)
            collect(self.store)

    def _drive(self, search: Search) -> None:
        from tuner.engine.driver import Driver
        from tuner.engine.writer import retry_while_unavailable
        from tuner.study.failures import all_failed
        from tuner.study.search import session_of

        optimizer, scheduler = self._bound_optimizer(), self._scheduler
        optimizer.reset(self.space, self.goals, self._info.seed)
        if scheduler is not None:
            scheduler.reset(self.goals)
        self._driver = driver = Driver(session_of(search, self, optimizer, scheduler))
        try:
            end = driver.run()
        finally:
            self._driver = None
            if self._manual is not None:
                self._manual.forget()
        # The store may be unavailable at the end of a search; wait for it to return.
        retry_while_unavailable(partial(self.replace_info, optimizer=driver.describe_optimizer()))
        if end is End.ALL_FAILED and driver.machine.failure is not None:
            raise all_failed(self.name, driver.machine.failure)

    # --- models ---------------------------------------------------------------------------

    def register(
        self,
        name: str | None = None,
        *,
        trial: Trial | int | None = None,
        refit: Callable[[Params], Any] | None = None,
        format: str | ModelFormat | None = None,
        allow_pickle: bool = False,
        example: Any = None,
        signature: Signature | None = None,
        data: Any = None,
        profile: bool = True,
    ) -> ModelVersion:
        """Register a trial as a model version; `optimize` calls this for the winner.

        Parameters
        ----------
        name
            Name of the model. Defaults to the name of the study.
        trial
            A completed trial or its number. Defaults to the winner; see `winner`. The version keeps
            the estimate of its true value if it is one of the leading trials; see
            `ModelVersion.estimate`.
        refit
            A function that takes the params of the trial and returns a model. None takes the model
            that the trial logged; without one, only the params are registered.
        format, allow_pickle
            Format of the model that `refit` returns; see `LiveTrial.log_model`.
        example, signature
            Some rows that the model takes, or its signature; see `LiveTrial.log_model`. It replaces
            the signature that the trial logged and, for an existing version, the present one. The
            outputs are found by the model, which is loaded if `refit` is None.
        data, profile
            The table of the model, a pair of table and labels, or a `tuner.drift.Profile`; without
            it, an `example` of at least 30 rows. The version keeps its profile, with which
            `tuner.drift.check_model` compares new data, unless `profile` is False.

        Returns
        -------
        ModelVersion
            The new version, or the existing version of this run with its new estimate.

        Raises
        ------
        NoCompletedTrial
            If the study has no completed trial.
        RegistryError
            If the model cannot be saved, or `refit` fails.
        """
        from tuner.registry import Registry
        from tuner.study.profiling import profiled
        from tuner.study.registration import completed_trial, register_trial

        end_loading("Study.register")
        registry: Registry = Registry(self.store)
        chosen = None if trial is None else completed_trial(self, trial)
        is_estimated = chosen is None or (len(self.goals) == 1 and chosen.eligible)
        winner = self.winner if is_estimated else None
        if chosen is None:
            assert winner is not None
            chosen = winner.trial
        return register_trial(
            registry,
            self._info,
            chosen,
            name or self.name,
            refit,
            format=format,
            allow_pickle=allow_pickle,
            example=example,
            signature=signature,
            estimate=None if winner is None else winner.estimate_of(chosen),
            data=profiled(data, example) if profile else None,
        )

    def keep_models(self, k: int) -> int:
        """Forget the models of all trials but the `k` best, and return how many were forgotten.

        The models of unfinished trials, of registered versions and, with several goals, of the
        Pareto front are always kept, and all other artifacts. Of a best trial, the run that gave
        its outcome keeps the latest model under each name. ``tuner gc`` deletes the files.

        Raises
        ------
        ArgumentError
            If `k` is not an integer of at least 1.
        """
        from tuner.study.registration import keep_models

        end_loading("Study.keep_models")
        return keep_models(self, k)

    def replace_info(self, **changes: Any) -> None:
        """Update mutable fields of the record of the study: optimizer, data and tags.

        Other fields keep what another process may have recorded in the meantime.
        """
        self._info = dataclasses.replace(self._info, **changes)
        self.store.update_study(self._info, changes)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconnected, (self.store, self._info, self._optimizer, self._scheduler)

    def __repr__(self) -> str:
        goal = self._info.goal
        return f"Study({self.name!r}, {goal.direction} {goal.metric!r}, store={str(self.store)!r})"


def _reconnected(
    store: Store, info: StudyInfo, optimizer: Optimizer | None, scheduler: Scheduler | None
) -> Study:
    """Return a copy of a study; an optimizer and a scheduler serve one study object only."""
    return Study(
        find_study(info.name, store, info.uid),
        store,
        optimizer=copy.deepcopy(optimizer),
        scheduler=copy.deepcopy(scheduler),
    )
