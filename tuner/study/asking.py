"""A study whose trials the caller evaluates: ask and tell, queued points, retries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, overload

from tuner.errors import ArgumentError, StudyBusy, StudyError, UnknownOptimizer
from tuner.errors.boundary import public_methods
from tuner.errors.loading import end_loading
from tuner.records import Params, State, StudyInfo, Trial
from tuner.study.arguments import as_count, as_outcome_state, as_trial_number
from tuner.study.results import StudyResults

if TYPE_CHECKING:
    from tuner.engine.ask_tell import ManualLoop
    from tuner.engine.driver import Driver
    from tuner.engine.worker.trial import LiveTrial
    from tuner.optimizers.protocol import Optimizer
    from tuner.schedulers.protocol import Scheduler
    from tuner.tracking.store import Store


@public_methods
class AskTellStudy(StudyResults):
    """A study with an optimizer, which suggests trials to the caller."""

    def __init__(
        self,
        info: StudyInfo,
        store: Store,
        *,
        optimizer: Optimizer | None = None,
        scheduler: Scheduler | None = None,
    ) -> None:
        super().__init__(info, store)
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._manual: ManualLoop | None = None
        self._driver: Driver | None = None

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
        StudyError
            If the optimizer has suggested every point, as ``"grid"`` does at the end. With `n`, the
            list then has fewer trials.
        """
        trials = self._loop().ask(as_count("n", n) or 1)
        if n is not None:
            return trials
        if not trials:
            raise StudyError(
                f"study {self.name!r}: the optimizer has suggested all of its points; write "
                f"study.ask(1), which returns an empty list then"
            )
        return trials[0]

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
            ``"failed"`` for a trial without a value, ``"stopped"`` for one with an early value.

        Raises
        ------
        TrialFinished
            If the trial has an outcome already, or another process took it over.
        StudyBusy
            If a search of the study is running.
        ArgumentError
            If the trial does not exist, or neither a value nor a state is given.
        """
        if state is not None:
            state = as_outcome_state(state)
        elif value is None:
            raise ArgumentError(
                f"study {self.name!r}: tell was given no value; "
                f'write tell(trial, value), or tell(trial, state="failed")'
            )
        number = as_trial_number(trial)
        return self._loop().tell(number, value, state, getattr(trial, "run", None))

    def enqueue(self, params: Params) -> None:
        """Queue a point that `ask`, or a search, tries before any other.

        In a callback, the running search tries it after the trials that it has already launched.

        Raises
        ------
        InvalidParams
            If the params are not a point of the space.
        StudyBusy
            If another process runs a search of the study.
        """
        from tuner.engine.driver import running_search

        point = self.space.validate(params)
        search = running_search(self.store.url, self._info.uid)
        if search is None:
            self._loop().enqueue([point])
        else:
            search.enqueue(point)

    def retry(
        self, trials: Sequence[Trial | int] | Trial | int = (), *, failed: bool = False
    ) -> list[Trial]:
        """Let failed trials run again under their numbers, and return them.

        They no longer count for `n_trials`: the next search, such as the same call again, or `ask`
        runs them first. Their failed runs stay in the record. `trials` are failed trials or their
        numbers, or one of them; ``failed=True`` chooses all failed ones.

        Raises
        ------
        ArgumentError, StudyBusy
            If no failed trials are given, or if a search of the study is running.
        """
        from tuner.study.failures import retry

        self._check_idle()
        if self._manual is not None:
            self._manual.forget()
        return retry(self, trials, failed=failed)

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
                    f"study {self.name!r}: its optimizer is not registered by name; "
                    f"write tuner.load_study({self.name!r}, optimizer=...)"
                ) from error
        return self._optimizer

    def _loop(self) -> ManualLoop:
        end_loading("Study.ask")
        self._check_idle()
        if self._manual is None:
            from tuner.study.search import loop_of

            self._manual = loop_of(self, self._bound_optimizer(), self._scheduler)
        return self._manual
