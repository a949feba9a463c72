"""The trial object that is passed to the objective."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from tuner.backends.protocol import Channel
from tuner.engine.worker.files import TempDir, copy_checkpoint, read_files, send_checkpoint
from tuner.engine.worker.folds import Folds
from tuner.engine.worker.forks import ProcessBoundChannel
from tuner.engine.worker.outcome import (
    BadResult,
    SideResults,
    as_metric,
    checked_metrics,
    not_saved,
)
from tuner.errors import (
    NOT_OUTCOMES,
    ArgumentError,
    BackendError,
    StoreError,
    StudyError,
    TrialStopped,
)
from tuner.records import Goal, Job, Params, Report, Upload
from tuner.records.bounds import as_name, as_step, check_count
from tuner.tracking.annotation_values import check_note_names
from tuner.tracking.artifacts.folder import check_upload

if TYPE_CHECKING:
    from tuner.registry.protocol import ModelFormat
    from tuner.signatures import Signature

_log = logging.getLogger("tuner")

T = TypeVar("T")


class LiveTrial:
    """A running trial, passed to the objective as its second argument.

    Attributes
    ----------
    number : int
        The trial's number in its study, from 0.
    params : dict
        The point to evaluate.
    seed : int
        The trial's own seed in [0, 2**32); the same for every attempt of this trial.
    attempt : int
        1 for the first run of the trial, 2 for the first retry, ...

    Examples
    --------
    >>> def objective(params, trial):
    ...     for epoch in range(10):
    ...         loss = (params["x"] - 3) ** 2 / (epoch + 1)
    ...         trial.report(loss, epoch)
    ...         if trial.should_stop():
    ...             break
    ...     return loss
    """

    def __init__(self, job: Job, goals: Sequence[Goal], channel: Channel) -> None:
        self.number = job.trial.number
        self.params: Params = copy.deepcopy(job.trial.params)
        self.seed = job.trial.seed
        self.attempt = job.attempt
        self.run = job.run
        self._goals = tuple(goals)
        self._channel = ProcessBoundChannel(channel)
        self._last_step = -1
        self._names: set[str] = set()
        self._temp_dir = TempDir()
        self._checkpoint = job.checkpoint
        self._looked = False
        self._restored: Path | None = None
        self._saved = 0
        self.side = SideResults()
        """Everything that the objective has logged."""
        self.stopped = False
        """Whether `should_stop` has returned True, or `stop` was called."""
        self.left = False
        """Whether `stop` was called."""

    def report(self, value: float | Mapping[str, float], step: int) -> None:
        """Report intermediate values at `step`, so that the scheduler can stop the trial.

        NaN and infinities are recorded; the scheduler takes them for the worst value.

        Parameters
        ----------
        value
            The goal's metric so far, or a dict of metrics that contains it.
        step
            Epoch, iteration, fold, ...: an integer from 0 that increases at each call.

        Raises
        ------
        BadResult
            If a value is not a number; the trial fails, naming the metric and the step.
        ArgumentError
            If `step` is negative, does not increase or is not below 2**63, or a name is too long.
        """
        step = as_step(step)
        if step <= self._last_step:
            raise ArgumentError(
                f"trial.report: step {step} follows step {self._last_step}; steps must increase"
            )
        metric = self._goals[0].metric
        values = value if isinstance(value, Mapping) else {metric: value}
        report = Report(step, self._checked(values, step))
        if metric not in report.metrics:
            raise ArgumentError(
                f"trial.report: {metric!r} is missing from {sorted(report.metrics)[:20]}; report "
                f"it, or use trial.log_metrics for other metrics"
            )
        self._channel.send(report)
        # If sending fails in a manual loop, the user can report the same step again.
        self._last_step = step
        self.side.reported.update(report.metrics)

    def should_stop(self) -> bool:
        """Return whether the scheduler stops this trial; if True, return from the objective."""
        self.stopped = self.stopped or self._channel.stop_requested()
        return self.stopped

    def folds(self, splits: Iterable[T]) -> Folds[T]:
        """Return the folds of a cross-validation, which end early if the scheduler says so.

        Each fold is a step of the trial, and its value is the mean of the scores so far. The
        standard error of the mean is recorded as the metric ``<goal>.se``.

        Parameters
        ----------
        splits
            One item per fold, such as ``StratifiedKFold(5).split(X, y)``.

        Examples
        --------
        >>> def objective(params, trial):
        ...     folds = trial.folds(KFold(5, shuffle=True, random_state=trial.seed).split(X))
        ...     for train, test in folds:
        ...         model = Ridge(**params).fit(X[train], y[train])
        ...         folds.report(model.score(X[test], y[test]))
        ...     return folds.mean
        """
        return Folds(self, splits, self._goals[0].metric)

    def stop(self) -> NoReturn:
        """Leave the objective: the trial ends as stopped, with its last reported values.

        A training loop that cannot return, such as a callback of a library, ends this way. The
        objective need not let the exception through: if it catches it, its trial is stopped, too.

        Examples
        --------
        >>> def objective(params, trial):
        ...     def after_epoch(epoch, loss):
        ...         trial.report(loss, epoch)
        ...         if trial.should_stop():
        ...             trial.stop()
        ...     return train(params, callback=after_epoch)

        Raises
        ------
        TrialStopped
            Always.
        """
        self.stopped = self.left = True
        raise TrialStopped(f"trial {self.number} was stopped")

    def report_constraint(self, name: str, value: float) -> None:
        """Report an outcome constraint: the trial is feasible if `value` is 0 or less.

        A positive value is the amount of violation. The last value of a name counts. The best trial
        of a study is a feasible one.

        Raises
        ------
        BadResult
            If `value` is not a finite number; the trial fails.
        ArgumentError
            If `name` is not a string, is empty or is too long.
        """
        if not isinstance(name, str) or not name:
            raise ArgumentError(
                f"trial.report_constraint: name={name!r} must be a non-empty string"
            )
        name = as_name(name, "constraint")
        check_count({*self.side.constraints, name}, "constraint")
        self.side.constraints[name] = as_metric(value, name)

    def log_metric(self, name: str, value: float, step: int | None = None) -> None:
        """Record a metric at a step, or without `step` a final value of the trial.

        NaN and infinities are recorded as they are.

        Raises
        ------
        BadResult
            If `value` is not a number; the trial fails.
        ArgumentError
            If `step` is not an integer from 0 to 2**63 - 1, `name` has more than
            `tuner.records.bounds.LONGEST_NAME` characters, or the trial has too many metrics.
        """
        self.log_metrics({name: value}, step)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record several metrics at once; see `log_metric`."""
        if step is None:
            checked = checked_metrics(metrics)
            self._count(checked)
            self.side.logged.update(checked)
            return
        step = as_step(step)
        self._channel.send(Report(step, self._checked(metrics, step)))

    def set_note(self, name: str, value: Any) -> None:
        """Set a note on the trial, a text or another small JSON value; None removes it.

        Notes are recorded with the outcome. `Study.find` finds them as ``notes.name``. The names
        of Optuna and MLflow, ``set_user_attr`` and ``set_tag``, do the same.

        Examples
        --------
        >>> def objective(params, trial):
        ...     trial.set_note("device", "cuda:0")
        ...     return params["x"] ** 2

        Raises
        ------
        ArgumentError
            If `name` is not a string, is empty or is too long.
        """
        self.set_notes({name: value})

    set_user_attr = set_tag = set_note

    def set_notes(self, notes: Mapping[str, Any]) -> None:
        """Set several notes at once; see `set_note`."""
        check_note_names(notes)
        try:
            self.side.set_notes(notes)
        except Exception:  # of one note; the others are set
            for name, value in notes.items():
                with self._saving(f"note {name:.100}"):
                    self.side.set_notes({name: value})

    def log_artifact(self, path: str | Path, name: str | None = None) -> None:
        """Store a file or a folder with this run under `name` (its own name if None).

        Links are followed, and their targets are stored.

        An artifact that cannot be stored does not fail the trial: the reason is logged, recorded
        with the outcome, and shown at the end of the search. The path may not exist, contain a
        pipe, a device or a circular link, or exceed the memory of this machine, and `name` may be
        too long.
        """
        with self._saving(f"artifact {path if name is None else name!s:.100}"):
            path = Path(path)
            upload = check_upload(Upload(name or path.name, read_files(path)))
            self._channel.send(upload)

    def log_model(
        self,
        model: Any,
        name: str = "model",
        *,
        format: str | ModelFormat | None = None,
        allow_pickle: bool = False,
        example: Any = None,
        signature: Signature | None = None,
    ) -> None:
        """Store a fitted model with this run; the best trial's becomes a model version.

        A model that cannot be stored does not fail the trial: the reason is logged, recorded with
        the outcome, and shown at the end of the search. `check_model` tells before the training
        whether a format accepts the model.

        Parameters
        ----------
        model
            A model of one of the formats, such as an estimator of scikit-learn, XGBoost, LightGBM
            or CatBoost, or a network of PyTorch or Keras.
        name
            Name of the model among the run's artifacts.
        format
            A format or its name; None uses the first one that accepts the model.
        allow_pickle
            Whether to fall back on pickle; loading must allow it too.
        example
            Some rows that the model takes, from which its signature is inferred; see `Signature`. A
            few of them are predicted to find the outputs. ``format="onnx"`` compares the
            predictions of a converted model on all of them.
        signature
            The signature, if it was not inferred from `example`.
        """
        from tuner.registry.formats import save_model
        from tuner.registry.prediction import signature_of

        found = None
        with self._saving(f"signature of model {name!s:.100}"):
            found = signature_of(model, example, signature)
        with self._saving(f"model {name!s:.100}"):
            kind, files = save_model(
                model, format=format, allow_pickle=allow_pickle, example=example
            )
            upload = Upload(name, files, kind="model", format=kind, signature=found)
            self._channel.send(check_upload(upload))

    def check_model(
        self,
        model: Any,
        *,
        format: str | ModelFormat | None = None,
        allow_pickle: bool = False,
        example: Any = None,
    ) -> None:
        """Check before the training that `log_model` has a format for a model.

        Parameters
        ----------
        model
            The model, which need not be fitted.
        format, allow_pickle, example
            As for `log_model`.

        Examples
        --------
        >>> def objective(params, trial):
        ...     model = make_model(params)
        ...     trial.check_model(model)
        ...     ...

        Raises
        ------
        RegistryError
            If no allowed format accepts the model.
        ArgumentError
            If the format's name is unknown, or a registered format cannot be used.
        MissingExtra
            If a library that the format needs is not installed.
        """
        from tuner.registry.formats import check_format

        check_format(model, format=format, allow_pickle=allow_pickle, example=example)

    @contextmanager
    def checkpoint(self) -> Iterator[Path]:
        """Yield an empty folder; at the end of the block its files become the checkpoint.

        If the trial is retried because its worker or the study's driver died, `restore` returns
        the files to the next attempt, on any machine. Only the last checkpoint is kept, until the
        trial has an outcome. If the block raises, the worker dies in it or the files cannot be
        read, the previous checkpoint remains valid.

        Examples
        --------
        >>> import json
        >>> def objective(params, trial):
        ...     state = {"epoch": 0, "loss": 1.0}
        ...     if saved := trial.restore():
        ...         state = json.loads((saved / "state.json").read_text())
        ...     while state["epoch"] < 10:
        ...         state = {"epoch": state["epoch"] + 1, "loss": state["loss"] * params["rate"]}
        ...         with trial.checkpoint() as folder:
        ...             (folder / "state.json").write_text(json.dumps(state))
        ...         trial.report(state["loss"], step=state["epoch"])
        ...     return state["loss"]

        Raises
        ------
        ArgumentError
            If the folder is empty at the end of the block.
        """
        folder = self._temp_dir.fresh()
        folder.mkdir()
        try:
            yield folder
            self._saved += 1
            with self._saving(f"checkpoint {self._saved}", OSError):
                send_checkpoint(folder, self._saved, self._channel)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def restore(self) -> Path | None:
        """Return a folder with the files of the last `checkpoint`, or None.

        The folder is a copy for this attempt, and is deleted at the end of the attempt.
        """
        if not self._looked:
            self._looked = True
            folder = self._temp_dir.fresh()
            found = self._checkpoint is not None and copy_checkpoint(self._checkpoint, folder)
            self._restored = folder if found else None
        return self._restored

    def close(self) -> None:
        """Delete the trial's temporary files."""
        self._temp_dir.remove()

    @contextmanager
    def _saving(self, what: str, errors: type[Exception] = Exception) -> Iterator[None]:
        """Record errors of this block beside the outcome, which does not depend on it."""
        try:
            yield
        except (*NOT_OUTCOMES, BackendError, StoreError, StudyError):
            raise
        except errors as error:
            failure = not_saved(what, error)
            self.side.unsaved.append(failure)
            _log.warning("trial %d: not saved: %s", self.number, failure.message)

    def _checked(self, metrics: Mapping[str, float], step: int) -> dict[str, float]:
        try:
            checked = checked_metrics(metrics)
        except BadResult as error:
            raise BadResult(error.kind, f"at step {step}, {error}") from None
        self._count(checked)
        return checked

    def _count(self, metrics: Mapping[str, float]) -> None:
        """Check that the number of metric names stays within the limit."""
        if not metrics.keys() <= self._names:
            check_count(self._names | metrics.keys(), "metric")
            self._names |= metrics.keys()

    def __repr__(self) -> str:
        return f"LiveTrial(number={self.number}, params={self.params!r}, attempt={self.attempt})"
