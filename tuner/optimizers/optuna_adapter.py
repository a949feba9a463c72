"""Adapter for Optuna samplers, and export of trials as an Optuna study."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.errors import ArgumentError, MissingExtra
from tuner.optimizers.base import History, SpaceOptimizer, as_json
from tuner.optimizers.optuna_distributions import OptunaColumn
from tuner.records import Goal, Outcome, Params, State, Trial
from tuner.search_spaces import Space

ATTEMPTS = 50
"""Maximum number of rejected suggestions of a sampler, before a random point replaces them."""

SEQUENCES = frozenset({"QMCSampler", "GridSampler"})
"""Samplers whose points form one sequence; these use one seed for all suggestions."""

_STATES = {
    State.WAITING: TrialState.WAITING,
    State.RUNNING: TrialState.RUNNING,
    State.COMPLETED: TrialState.COMPLETE,
    State.STOPPED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
}


_FAILED, _RUNNING = Outcome(State.FAILED), Outcome(State.RUNNING)


class _EndlessStudy(optuna.Study):  # type: ignore[misc]  # Optuna's classes are Any to mypy
    """A study that samplers cannot stop."""

    def stop(self) -> None:
        """Do nothing: some samplers stop a study after all points were tried."""


class OptunaOptimizer(SpaceOptimizer):
    """Runs an Optuna sampler.

    The sampler sees the space as a define-by-run objective: active parameters are suggested under
    the paths of their columns, parents first. A suggestion that violates a constraint or repeats a
    point is reported to the sampler as failed, and a new one is requested.

    Parameters
    ----------
    sampler
        The name of a class in `optuna.samplers`, a sampler class, or an instance. Given a name or a
        class, a new sampler is created for each suggestion. Its seed derives from the seed of the
        study and the number of trials, so the search is reproducible and a resumed study continues
        as if uninterrupted. An instance is used directly: the caller sets its seed, and its state
        is lost when the study is resumed. CMA-ES, NSGA-II and QMC store additional state beside
        the trials; in a resumed study, this state starts empty.
    options
        Arguments of the class.

    Raises
    ------
    ArgumentError
        If the sampler is unknown or does not accept these options.
    MissingExtra
        By `ask`, if the sampler needs a package that is not installed.

    Examples
    --------
    >>> from tuner.search_spaces import Float
    >>> search = OptunaOptimizer("TPESampler", multivariate=True)
    >>> search.reset(Space({"x": Float(0, 1)}), [Goal()], seed=1)
    >>> len(search.ask(2))
    2
    """

    name = "optuna"
    multi_objective: ClassVar[bool] = True

    def __init__(
        self,
        sampler: str | type[optuna.samplers.BaseSampler] | optuna.samplers.BaseSampler = (
            "TPESampler"
        ),
        **options: Any,
    ) -> None:
        self.options = options
        self._instance: optuna.samplers.BaseSampler | None = None
        if isinstance(sampler, str):
            sampler = _sampler_class(sampler)
        if not isinstance(sampler, type):
            if options:
                raise ArgumentError(
                    f"OptunaOptimizer({sampler!r}, {', '.join(options)}=...): a sampler instance "
                    f"already has its options; pass them to {type(sampler).__name__}"
                )
            self._instance, sampler = sampler, type(sampler)
        if not issubclass(sampler, optuna.samplers.BaseSampler):
            raise ArgumentError(
                f"OptunaOptimizer({sampler.__name__}): not an Optuna sampler; pass a name such as "
                f"'TPESampler', or a subclass of optuna.samplers.BaseSampler"
            )
        self._class = sampler
        if self._instance is None:
            self._make_sampler(0)  # wrong options raise before the first trial

    def describe(self) -> dict[str, Any]:
        """Return the name, the class of the sampler and its options."""
        return {"name": self.name, "sampler": self._class.__name__, **as_json(self.options)}

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Start a study with an empty history; see `Optimizer.reset`."""
        super().reset(space, goals, seed)
        self._columns = [OptunaColumn(column) for column in space.columns]
        self._live = deepcopy(self._instance)
        self._storage = optuna.storages.InMemoryStorage()
        with quiet():
            self._study_id = self._storage.create_new_study(
                [StudyDirection.MINIMIZE] * len(goals), "tuner"
            )
            self._study = _EndlessStudy("tuner", self._storage)
        self._asked: dict[Hashable, list[int]] = {}
        self._unseen: dict[int, tuple[Trial, Outcome]] = {}

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Record an outcome; see `Optimizer.tell`."""
        super().tell(trial, outcome)
        asked = self._asked.get(self.space.key(trial.params))
        if asked:
            with quiet():
                self._finish(asked.pop(0), outcome)
        else:
            self._unseen[trial.number] = (trial, outcome)

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return `n` points; see `Optimizer.ask`."""
        with quiet():
            others = sorted(pending, key=lambda trial: trial.number)
            self._forget_all_but(others)
            self._show(others)
            for _ in range(n):
                number = others[-1].number + 1 if others else 0
                (point,) = super().ask(1, others)
                others.append(Trial(number, point, State.RUNNING))
                self._show(others[-1:])
            return [trial.params for trial in others[len(pending) :]]

    def _forget_all_but(self, pending: Sequence[Trial]) -> None:
        """Report suggestions that did not become trials to the sampler as failed."""
        wanted = {self.space.key(trial.params) for trial in pending}
        for key in self._asked.keys() - wanted:
            for number in self._asked.pop(key):
                self._finish(number, _FAILED)

    def _show(self, pending: Sequence[Trial]) -> None:
        """Add told and pending trials that the sampler did not suggest, by trial number.

        Samplers use the order of trials: TPE weights recent trials more. A rebuilt sampler must
        therefore see finished and pending trials in the order in which they were suggested.
        """
        new = [*self._unseen.values(), *((trial, _RUNNING) for trial in pending)]
        self._unseen.clear()
        for trial, outcome in sorted(new, key=lambda pair: pair[0].number):
            key = self.space.key(trial.params)
            if outcome is not _RUNNING:
                self._add(trial, outcome)
            elif not self._asked.get(key):
                self._asked[key] = [self._add(trial, outcome)]

    def suggest(self, history: History, rng: np.random.Generator) -> Params:  # noqa: ARG002
        """Return the sampler's first feasible, untried point."""
        self._study.sampler = self._live or self._make_sampler(int(rng.integers(2**32)))
        for _ in range(ATTEMPTS):
            try:
                trial = self._study.ask()
                point = self._walk(trial)
            except ModuleNotFoundError as error:
                raise MissingExtra(
                    f"OptunaOptimizer({self._class.__name__!r}): {error}; pip install {error.name}"
                ) from error
            if self.space.feasible(point) and not self.is_repeat(point):
                self._asked.setdefault(self.space.key(point), []).append(trial.number)
                return point
            self._finish(trial.number, _FAILED)
        return dict(self.space.sample(rng))

    def _walk(self, trial: optuna.Trial) -> Params:
        """Let the trial suggest all active parameters, parents first."""
        flat: dict[str, Any] = {}
        for column in self._columns:
            if column.is_active(flat):
                flat[column.path] = column.suggest(trial)
                if trial.params[column.path] != column.to_optuna(flat[column.path]):
                    self._correct(trial.number, column, flat[column.path])
        return self.space.unflatten(flat)

    def _make_sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        options = dict(self.options)
        if "seed" in inspect.signature(self._class).parameters:
            if self._class.__name__ in SEQUENCES:
                seed = getattr(self, "seed", 0)
            options.setdefault("seed", seed % 2**32)
        with quiet():
            try:
                return self._class(**options)
            except (TypeError, ValueError) as error:
                raise ArgumentError(
                    f"OptunaOptimizer({self._class.__name__!r}, ...): {error}; write options "
                    f"accepted by optuna.samplers.{self._class.__name__}"
                ) from error

    def _correct(self, number: int, column: OptunaColumn, value: Any) -> None:
        """Replace a suggested value in the Optuna trial by the value actually tried."""
        d = column.distribution
        self._storage.set_trial_param(
            self._trial_id(number), column.path, d.to_internal_repr(column.to_optuna(value)), d
        )

    def _trial_id(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number))

    def _finish(self, number: int, outcome: Outcome) -> None:
        values = self._values(outcome)
        for key, value in _constraint_attributes(outcome.constraints).items():
            self._storage.set_trial_system_attr(self._trial_id(number), key, value)
        if outcome.state is State.COMPLETED and values:
            self._study.tell(number, values)
            return
        if outcome.state is State.STOPPED and values:
            self._storage.set_trial_intermediate_value(self._trial_id(number), 0, values[0])
        stopped = outcome.state is State.STOPPED
        self._study.tell(number, state=TrialState.PRUNED if stopped else TrialState.FAIL)

    def _values(self, outcome: Outcome) -> list[float]:
        values = self.losses(outcome)
        return [] if math.isnan(values[0]) else values

    def _add(self, trial: Trial, outcome: Outcome) -> int:
        values = self._values(outcome)
        flat = self.space.flatten(trial.params)
        frozen = _frozen(self._columns, flat, outcome.state, values, outcome.constraints)
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=frozen)
        return int(self._storage.get_trial(trial_id).number)


def to_optuna_study(
    space: Space, goals: Sequence[Goal], trials: Iterable[Trial], name: str = "tuner"
) -> optuna.Study:
    """Return trials as an in-memory Optuna study, for Optuna's plots, importances and storages.

    Parameters are named by the paths of their columns: ``model.svm.C``. An `Ordinal` becomes the
    integer index of its value; options that Optuna cannot store (tuples) become strings.

    Parameters
    ----------
    space
        The space of the trials.
    goals
        The goals, which define the directions and the order of the trial values.
    trials
        Trials in any state; gaps in their numbers are closed.
    name
        The name of the Optuna study.

    Examples
    --------
    >>> from tuner.search_spaces import Float
    >>> trials = [Trial(0, {"x": 0.5}, State.COMPLETED, values=(0.25,))]
    >>> study = to_optuna_study(Space({"x": Float(0, 1)}), [Goal()], trials)
    >>> study.best_params, study.best_value
    ({'x': 0.5}, 0.25)
    """
    columns = [OptunaColumn(column) for column in space.columns]
    directions = [StudyDirection[goal.direction.name] for goal in goals]
    with quiet():
        study = optuna.create_study(directions=directions, study_name=name)
        for trial in sorted(trials, key=lambda t: t.number):
            flat = space.flatten(trial.params)
            attributes = {**trial.metrics, "number": trial.number}
            study.add_trial(
                _frozen(columns, flat, trial.state, trial.values, trial.constraints, attributes)
            )
    return study


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Optuna's log messages and warnings of experimental features.

    Optuna's log level is a global setting; the previous level is restored on exit.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _frozen(
    columns: Sequence[OptunaColumn],
    flat: Mapping[str, Any],
    state: State,
    values: Sequence[float],
    constraints: Mapping[str, float],
    attributes: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """Convert a finished or unfinished trial to an Optuna trial."""
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for column in columns:
        if column.path in flat:
            params[column.path] = column.to_optuna(flat[column.path])
            distributions[column.path] = column.distribution
    valued = state is State.COMPLETED
    if valued and not values:
        state, valued = State.FAILED, False
    return optuna.trial.create_trial(
        state=_STATES[state],
        params=params,
        distributions=distributions,
        values=list(values) if valued else None,
        intermediate_values={0: values[0]} if state is State.STOPPED and values else None,
        user_attrs=dict(attributes or {}),
        system_attrs=_constraint_attributes(constraints),
    )


def _constraint_attributes(constraints: Mapping[str, float]) -> dict[str, float]:
    """Return outcome constraints under the attribute keys that Optuna's samplers read."""
    return {f"constraints:{name}": value for name, value in constraints.items()}


def _sampler_class(name: str) -> type[optuna.samplers.BaseSampler]:
    known = [n for n in optuna.samplers.__all__ if n.endswith("Sampler") and n != "BaseSampler"]
    if name not in known:
        raise ArgumentError(
            f"OptunaOptimizer({name!r}): unknown sampler in Optuna {optuna.__version__}; write one "
            f"of {', '.join(sorted(known))}"
        )
    found: type[optuna.samplers.BaseSampler] = getattr(optuna.samplers, name)
    return found
