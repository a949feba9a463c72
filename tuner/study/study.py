"""A study: its trials, their results, and a manual ask/tell loop."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from tuner import ranking
from tuner.boundary import public_methods
from tuner.engine.messages import End
from tuner.errors import (
    AllTrialsFailed,
    ArgumentError,
    NoCompletedTrial,
    NoFeasibleTrial,
    SeveralGoals,
    StudyBusy,
    StudyError,
    UnknownOptimizer,
)
from tuner.provenance.references import find_study
from tuner.records import (
    Artifact,
    Direction,
    Goal,
    ModelVersion,
    Params,
    Report,
    Run,
    State,
    StudyInfo,
    Trial,
)
from tuner.search_spaces import Space

if TYPE_CHECKING:
    import pandas as pd

    from tuner.backends.protocol import Backend
    from tuner.engine.ask_tell import ManualLoop
    from tuner.engine.driver import Driver
    from tuner.engine.worker.trial import LiveTrial
    from tuner.optimizers.protocol import Optimizer
    from tuner.plotting import Plots
    from tuner.progress import Progress
    from tuner.query import QueryResult
    from tuner.registry import Registry
    from tuner.registry.protocol import ModelFormat
    from tuner.schedulers.protocol import Scheduler
    from tuner.study.search import Search
    from tuner.tracking.store import Store


@public_methods
class Study:
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

    def __init__(
        self,
        info: StudyInfo,
        store: Store,
        *,
        optimizer: Optimizer | None = None,
        scheduler: Scheduler | None = None,
    ) -> None:
        self._info = info
        self.store = store
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._manual: ManualLoop | None = None
        self._driver: Driver | None = None

    # --- properties ---------------------------------------------------------------------------

    @property
    def info(self) -> StudyInfo:
        """The study's record."""
        return self._info

    @property
    def name(self) -> str:
        """The name of the study in its store."""
        return self._info.name

    @cached_property
    def space(self) -> Space:
        """The search space."""
        return Space.from_dict(self._info.space)

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The metrics that are optimized, with their directions."""
        return self._info.goals

    @property
    def direction(self) -> Direction:
        """The first goal's direction."""
        return self._info.goal.direction

    # --- results ------------------------------------------------------------------------------

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return list(self.store.trials(self._info.uid))

    def runs(self, trial: int | None = None) -> list[Run]:
        """Return all runs, or those of one trial, by trial and attempt."""
        return list(self.store.runs(self._info.uid, trial))

    def reports(self, trial: int | None = None) -> list[tuple[str, Report]]:
        """Return ``(run uid, report)`` for all runs, or those of one trial, by run and step."""
        return list(self.store.reports(self._info.uid, trial))

    def artifacts(self, run: str | None = None) -> list[Artifact]:
        """Return the artifacts of all runs, or of one."""
        return list(self.store.artifacts(self._info.uid, run))

    def find(self, query: str = "", *, what: str = "trials") -> QueryResult:
        """Return the trials, or runs, of this study that a query finds; see `tuner.find`.

        Going through it gives each `Trial` or `Run`; ``.dataframe()`` gives a table.
        """
        from tuner.query import search

        return search(self.store, query, what=what, study=self._info.uid)

    @property
    def best_trial(self) -> Trial:
        """The completed, feasible trial with the best value, the earliest of equals.

        Raises
        ------
        NoCompletedTrial
            If none has completed; `NoFeasibleTrial` if each that has breaks a constraint.
        SeveralGoals
            If the study has several goals; see `best_trials`.
        """
        infeasible: list[Trial] = []
        if len(self.goals) == 1:
            # By the order of an index: of a million trials one is read.
            with closing(self.store.best_trials(self._info.uid, self.direction)) as trials:
                for trial in trials:
                    if trial.feasible:
                        return trial
                    infeasible.append(trial)
        return best_of(self._info, infeasible)

    @property
    def best_params(self) -> Params:
        """The params of the best trial; raises `NoCompletedTrial` if there is none."""
        return self.best_trial.params

    @property
    def best_value(self) -> float:
        """The value of the best trial; raises `NoCompletedTrial` if there is none."""
        return self.best_trial.values[0]

    @property
    def best_trials(self) -> list[Trial]:
        """The Pareto front: completed, feasible trials that no other beats in every goal.

        By number; those with equal values are all there. With one goal, the best trials.
        """
        return ranking.front(self.goals, self.store.trials(self._info.uid, [State.COMPLETED]))

    def hypervolume(self, reference: Sequence[float] | None = None) -> float:
        """Return the volume of what the Pareto front dominates, within `reference`.

        Parameters
        ----------
        reference
            One value a goal, in their units: what is worse counts for nothing. None takes the
            worst value of any completed trial, which changes as the search goes on; give your own
            to compare searches.

        Raises
        ------
        ArgumentError
            If `reference` is not one finite number a goal.
        """
        from tuner.optimizers.pareto import hypervolume

        signs = [goal.direction.sign for goal in self.goals]
        if reference is not None and len(reference) != len(signs):
            raise ArgumentError(
                f"reference={list(reference)!r}: write {len(signs)} numbers, one for each of "
                f"{', '.join(repr(goal.metric) for goal in self.goals)}"
            )
        completed = self.store.trials(self._info.uid, [State.COMPLETED])
        trials = [trial for trial in completed if trial.values]
        front = [trial for trial in trials if trial.feasible]
        if not front:
            return 0.0
        if reference is None:
            corner = ranking.losses(self.goals, trials).max(axis=0)
        else:
            corner = [sign * value for sign, value in zip(signs, reference, strict=True)]
        return hypervolume(ranking.losses(self.goals, front), corner)

    # --- tags and notes -----------------------------------------------------------------------

    def set_tag(self, name: str, value: str | None) -> None:
        """Set a tag of the study, a short text; None takes it away."""
        self.set_tags({name: value})

    def set_tags(self, tags: Mapping[str, str | None]) -> None:
        """Set several tags at once; those that are None are taken away, others stay."""
        from tuner.tracking.annotations import set_tags

        known = set_tags(self.store, self._info.uid, tags)
        self._info = dataclasses.replace(self._info, tags=known)

    def set_note(self, trial: Trial | int, name: str, value: Any) -> None:
        """Set a note on a trial that has ended, a small JSON value; None takes it away."""
        self.set_notes(trial, {name: value})

    def set_notes(self, trial: Trial | int, notes: Mapping[str, Any]) -> dict[str, Any]:
        """Set several notes on a trial that has ended, and return all that it has.

        Raises
        ------
        ArgumentError
            If the study has no such trial, or it has no outcome yet.
        """
        from tuner.tracking.annotations import set_notes

        number = trial if isinstance(trial, int) else trial.number
        return set_notes(self.store, self._info.uid, number, notes)

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
        deterministic: bool = False,
        callbacks: Sequence[Callable[[Study, Trial], None]] = (),
        system_metrics: bool | float | None = None,
        keep_models: int | None = None,
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
            deterministic=deterministic,
            callbacks=callbacks,
            system_metrics=system_metrics,
            keep_models=keep_models,
            progress=progress,
        )
        return self.run(search)

    # --- ask and tell -------------------------------------------------------------------------

    @overload
    def ask(self, n: None = None) -> LiveTrial: ...
    @overload
    def ask(self, n: int) -> list[LiveTrial]: ...
    def ask(self, n: int | None = None) -> LiveTrial | list[LiveTrial]:
        """Return a trial to evaluate, or a list of `n`.

        The trial is recorded as running. Its outcome can be told at any later time, also by another
        process. Any number of processes may ask and tell in one study.

        Raises
        ------
        StudyBusy
            If a search of the study is running.
        """
        from tuner.study.arguments import as_count

        trials = self._loop().ask(as_count("n", n) or 1)
        return trials[0] if n is None else trials

    def tell(
        self,
        trial: LiveTrial | Trial | int,
        value: float | Mapping[str, float] | Sequence[float] | None = None,
        *,
        state: State | str | None = None,
    ) -> Trial:
        """Record the outcome of a trial that `ask` returned, and return the trial.

        Parameters
        ----------
        trial
            The trial, or its number.
        value
            The return value of an objective: the goal's value, or a dict of metrics. A value that
            is not a finite number fails the trial, as it does in `optimize`.
        state
            ``"failed"`` or ``"stopped"`` for a trial that has no value, or only an early one.

        Raises
        ------
        TrialFinished
            If the trial has an outcome already, or another process took it over.
        StudyBusy
            If a search of the study is running.
        ArgumentError
            If there is no such trial, or neither a value nor a state is given.
        """
        if state is not None:
            state = _as_outcome_state(state)
        elif value is None:
            raise ArgumentError(
                f"study {self.name!r}: tell was given no value; "
                f'write tell(trial, value), or tell(trial, state="failed")'
            )
        number = trial if isinstance(trial, int) else trial.number
        return self._loop().tell(number, value, state, getattr(trial, "run", None))

    def enqueue(self, params: Params) -> None:
        """Queue a point that `ask` returns before any other.

        Raises
        ------
        InvalidParams
            If the params are not a point of the space.
        """
        self._loop().enqueue([self.space.validate(params)])

    def stop(self) -> None:
        """End a running search, usually from a callback: running trials finish, none start.

        Raises
        ------
        StudyError
            If the study is not being optimized by this process.
        """
        if self._driver is None:
            raise StudyError(f"study {self.name!r} is not running here; there is nothing to stop")
        self._driver.stop()

    def run(self, search: Search) -> Study:
        """Run a checked search and register the winner; `optimize` is the public form.

        Raises
        ------
        StudyBusy
            If this object or another process runs a search of the study.
        """
        from tuner.study.search import apply_policy, limits_of, notify_ended

        self._check_idle()
        n_trials = limits_of(search, self.space).n_trials
        if n_trials is None or sum(trial.state.finished for trial in self) < n_trials:
            try:
                self._drive(search)
            finally:
                notify_ended(search, self)
        apply_policy(search.models, self)
        return self

    def _drive(self, search: Search) -> None:
        from tuner.engine.driver import Driver
        from tuner.engine.writer import retry_while_unavailable
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
        failure = driver.machine.failure
        if end is End.ALL_FAILED and failure is not None:
            place = f" ({failure.place})" if failure.place else ""
            error = AllTrialsFailed(
                f"study {self.name!r}: every trial so far failed for the same reason: "
                f"{failure}{place}; fix the objective and call again"
            )
            if failure.traceback:
                error.add_note(failure.traceback)
            raise error

    def _check_idle(self) -> None:
        if self._driver is not None:
            raise StudyBusy(
                f"study {self.name!r} is being optimized by this process; wait until that ends, or "
                f"write study.stop()"
            )

    def _bound_optimizer(self) -> Optimizer:
        """Return the optimizer of this object; by default the recorded one."""
        if self._optimizer is None:
            from tuner.optimizers import restore

            try:
                self._optimizer = restore(self._info.optimizer)
            except UnknownOptimizer as error:
                raise UnknownOptimizer(
                    f"study {self.name!r}: its optimizer has no registered name; "
                    f"write tuner.load_study({self.name!r}, optimizer=...)"
                ) from error
        return self._optimizer

    def _loop(self) -> ManualLoop:
        self._check_idle()
        if self._manual is None:
            from tuner.engine.ask_tell import ManualLoop
            from tuner.engine.clock import SystemClock
            from tuner.provenance.capture import current_environment

            self._manual = ManualLoop(
                self._info,
                self.space,
                self.store,
                self._bound_optimizer(),
                SystemClock(),
                self._scheduler,
                environment=self.store.put_environment(current_environment()),
            )
        return self._manual

    # --- faces --------------------------------------------------------------------------------

    @property
    def plot(self) -> Plots:
        """The plots: ``study.plot.history()``, ``study.plot.importances(save="i.png")``, ..."""
        from tuner.plotting import Plots

        return Plots(
            self.space,
            self.goals,
            lambda: self.trials,
            runs=lambda: self.runs(),
            reports=lambda: self.reports(),
        )

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one flat dict a trial: number, state, value, params, further metrics."""
        from tuner.study.export import rows

        return rows(self.space, self.goals, self.trials)

    def trials_dataframe(self) -> pd.DataFrame:
        """Return `to_rows` as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.to_rows())

    def export(self, path: str | Path, to: str | None = None) -> Path:
        """Write the table of trials as csv, parquet or json, by `to` or the path's ending.

        Raises
        ------
        ExportError
            If the format is unknown or the file cannot be written.
        """
        from tuner.study.export import write_table

        write_table(self.to_rows(), path, to)
        return Path(path)

    # --- the winner ---------------------------------------------------------------------------

    def register(
        self,
        name: str | None = None,
        *,
        trial: Trial | None = None,
        refit: Callable[[Params], Any] | None = None,
        format: str | ModelFormat | None = None,
        allow_pickle: bool = False,
    ) -> ModelVersion:
        """Register the best trial as a model version; `tuner.optimize` does so by itself.

        Parameters
        ----------
        name
            The model's name; None takes the study's.
        trial
            Another completed trial than the best, such as one of `best_trials`.
        refit
            Makes the model from the best params. None takes the model that the best trial
            logged, and if it logged none, registers its configuration alone.
        format, allow_pickle
            How to keep what `refit` makes; see `LiveTrial.log_model`.

        Returns
        -------
        ModelVersion
            The new version, or the one that this run was registered as before.

        Raises
        ------
        NoCompletedTrial
            If there is nothing to register.
        RegistryError
            If the model cannot be kept, or `refit` failed.
        """
        from tuner.registry import Registry
        from tuner.study.registration import register_winner

        if trial is not None and trial.state is not State.COMPLETED:
            raise ArgumentError(
                f"study {self.name!r}: trial {trial.number} is {trial.state.value}; "
                f"register a completed one"
            )
        registry: Registry = Registry(self.store)
        return register_winner(
            registry,
            self._info,
            self.best_trial if trial is None else trial,
            name or self.name,
            refit,
            format=format,
            allow_pickle=allow_pickle,
        )

    def keep_models(self, k: int) -> int:
        """Forget the models of all trials but the `k` best, and return how many were forgotten.

        The models of unfinished trials, of registered versions and, with several goals, of the
        Pareto front are always kept. Other artifacts stay. ``tuner gc`` deletes the files.

        Raises
        ------
        ArgumentError
            If `k` is not an integer of at least 1.
        """
        from tuner.study.registration import keep_best

        return keep_best(self, k)

    def replace_info(self, **changes: Any) -> None:
        """Change what may change about the study's record: optimizer, data and tags."""
        self._info = dataclasses.replace(self._info, **changes)
        self.store.update_study(self._info)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconnected, (self.store, self.name, self._optimizer, self._scheduler)

    def __iter__(self) -> Iterator[Trial]:
        return self.store.trials(self._info.uid)

    def __repr__(self) -> str:
        goal = self._info.goal
        return f"Study({self.name!r}, {goal.direction} {goal.metric!r}, store={str(self.store)!r})"


def _reconnected(
    store: Store, name: str, optimizer: Optimizer | None, scheduler: Scheduler | None
) -> Study:
    """Return a copy of a study; an optimizer and a scheduler serve one study object only."""
    return Study(
        find_study(name, store),
        store,
        optimizer=copy.deepcopy(optimizer),
        scheduler=copy.deepcopy(scheduler),
    )


def best_of(info: StudyInfo, trials: Iterator[Trial] | Sequence[Trial]) -> Trial:
    """Return the completed, feasible trial with the best value, the earliest of equals.

    Raises
    ------
    NoCompletedTrial
        If none has completed; `NoFeasibleTrial` if each that has breaks a constraint.
    SeveralGoals
        If the study has several goals.
    """
    if len(info.goals) > 1:
        raise SeveralGoals(
            f"study {info.name!r} has {len(info.goals)} goals "
            f"({', '.join(goal.metric for goal in info.goals)}), so no trial need be the best in "
            f"all; write study.best_trials"
        )
    completed = [t for t in trials if t.state is State.COMPLETED and t.values]
    best = ranking.best(info.goal, completed)
    if best is None and completed:
        least = min(completed, key=lambda t: (ranking.violation(t), t.number))
        broken = [
            f"{name} by {value:.6g}" for name, value in least.constraints.items() if value > 0
        ]
        raise NoFeasibleTrial(
            f"study {info.name!r}: each of the {len(completed)} completed trials breaks a "
            f"constraint; trial {least.number} does so least: {', '.join(broken)}"
        )
    if best is None:
        raise NoCompletedTrial(
            f"study {info.name!r} has no completed trial, so there is no best one yet"
        )
    return best


def _as_outcome_state(state: State | str) -> State:
    try:
        as_state = State(state)
    except ValueError:
        as_state = State.WAITING
    if not as_state.finished:
        raise ArgumentError(f'tell: state={state!r}: write "completed", "stopped" or "failed"')
    return as_state
