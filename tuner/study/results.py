"""The results of a study: its trials, runs, artifacts, best trials, tables and plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError, NoCompletedTrial, NoFeasibleTrial, SeveralGoals
from tuner.errors.boundary import public_methods
from tuner.optimizers import ranking
from tuner.records import (
    Artifact,
    Direction,
    Goal,
    Params,
    Report,
    Run,
    RunPurpose,
    State,
    StudyInfo,
    Trial,
)
from tuner.records.lists import RecordList
from tuner.records.numbers import number_text
from tuner.search_spaces import Space
from tuner.study.annotated import AnnotatedStudy
from tuner.study.arguments import as_count, as_number, as_trial_number

if TYPE_CHECKING:
    import pandas as pd

    from tuner.optimizers.forecast import Forecast
    from tuner.optimizers.winner import Winner
    from tuner.plotting import Plots
    from tuner.query import QueryResult
    from tuner.reporting import Report as HtmlReport


@public_methods
class StudyResults(AnnotatedStudy):
    """The results of a study in a store: trials, the best ones, tables and plots."""

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
        """The direction of the first goal."""
        return self._info.goal.direction

    # --- results ------------------------------------------------------------------------------

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number; a notebook shows them as a table."""
        return RecordList(self.store.trials(self._info.uid))

    def runs(self, trial: Trial | int | None = None) -> list[Run]:
        """Return the runs of all trials, or of one trial, by trial and attempt."""
        return RecordList(self.store.runs(self._info.uid, _given(trial)))

    def reports(self, trial: Trial | int | None = None) -> list[tuple[str, Report]]:
        """Return ``(run uid, report)`` of all trials, or of one trial, by run and step."""
        return list(self.store.reports(self._info.uid, _given(trial)))

    def artifacts(
        self, trial: Trial | int | str | None = None, *, run: str | None = None
    ) -> list[Artifact]:
        """Return the artifacts of all trials, of one trial, or of one run, by its uid.

        Of the contents that a run kept under one name, only the latest is returned.

        Parameters
        ----------
        trial
            A trial, or its number; the uid of a run is taken as `run`.
        run
            The uid of a run.
        """
        if isinstance(trial, str):
            trial, run = None, trial
        return RecordList(self.store.artifacts(self._info.uid, run, _given(trial)))

    def download_artifacts(
        self,
        trial: Trial | int,
        *names: str,
        to: str | Path = ".",
        attempt: int | None = None,
    ) -> list[Path]:
        """Write artifacts of a trial to files, after their checksums are verified.

        An artifact of several files becomes a folder of its name.

        Parameters
        ----------
        trial
            The trial, or its number.
        *names
            Names of artifacts; without names, all are written.
        to
            The folder to write to, created if missing. A file of the same content there is kept,
            and one of another content is not overwritten.
        attempt
            The run of the trial, from 1. None takes the last run that is not a replay.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        ArgumentError
            If the trial, the run or an artifact does not exist.
        ChecksumMismatch
            If the stored files differ from the recorded ones.
        ExportError
            If a file cannot be written, or exists with another content.

        Examples
        --------
        >>> import tempfile, tuner
        >>> def objective(params, trial):
        ...     trial.log_model({"x": params["x"]})
        ...     return params["x"]
        >>> study = tuner.optimize(
        ...     objective, {"x": tuner.Int(0, 3)}, n_trials=1, backend="serial",
        ...     store=tempfile.mkdtemp(), progress=False,
        ... )
        >>> [path.name for path in study.download_artifacts(0, "model", to=tempfile.mkdtemp())]
        ['model.json']
        """
        from tuner.study.export import Downloads, write_artifact

        number = as_trial_number(trial)
        of_trial = Downloads(self.name, number, self.runs(number), self.artifacts(number))
        return [
            path
            for artifact in of_trial.chosen(names, attempt)
            for path in write_artifact(self.store, artifact, Path(to))
        ]

    def find(self, query: str = "", *, what: str = "trials") -> QueryResult:
        """Return the trials or runs of this study that match a query; see `tuner.find`.

        The result iterates over `Trial` or `Run` records; ``.dataframe()`` returns a table.
        """
        from tuner.query import search

        return search(self.store, query, what=what, study=self._info.uid)

    @property
    def best_trial(self) -> Trial:
        """The completed, feasible trial with the best value; the first of equal ones.

        Raises
        ------
        NoCompletedTrial
            If no trial has completed.
        NoFeasibleTrial
            If every completed trial violates a constraint.
        SeveralGoals
            If the study has several goals; see `best_trials`.
        """
        infeasible: list[Trial] = []
        if len(self.goals) == 1:
            # An index orders the trials by value, so usually only one row is read.
            with closing(self.store.best_trials(self._info.uid, self.direction)) as trials:
                for trial in trials:
                    if trial.feasible:
                        return trial
                    infeasible.append(trial)
        return best_of(self._info, infeasible)

    @property
    def winner(self) -> Winner:
        """The trial that is registered, with the estimate of its true value and an interval.

        Without noise, it is the best trial. With noise, it is the trial with the best expected
        value given all values of the study, which is usually not the luckiest one. Noise is learned
        from the values and from repeats; with fewer than ten points and no repeats it is unknown,
        and the winner is the best trial. See `Study.confirm`.

        Raises
        ------
        NoCompletedTrial, NoFeasibleTrial, SeveralGoals
            As for `best_trial`.
        """
        return self._winner_of(list(self))

    def _winner_of(self, trials: Sequence[Trial]) -> Winner:
        """Return the winner among all `trials` of the study; see `winner`."""
        from tuner.optimizers.winner import winner_of

        best_of(self._info, trials)  # raises the errors of a study without one
        return winner_of(self._info, self.space, trials, self._repeats())

    def forecast(self, n_trials: int = 20, tolerance: float = 0.0) -> Forecast:
        """Return the gain that `n_trials` further trials are expected to bring, with an interval.

        It is the gain of the winner's true value. The forecast follows from the record alone and
        costs as much as `winner`. See `tuner.stop.when_unlikely_to_improve`.

        Parameters
        ----------
        n_trials
            Number of further trials, at least 1.
        tolerance
            The gain that does not matter, in the units of the goal.

        Raises
        ------
        ArgumentError
            If an argument is invalid.
        NoCompletedTrial, NoFeasibleTrial, SeveralGoals
            As for `best_trial`.

        Examples
        --------
        >>> import tempfile, tuner
        >>> study = tuner.optimize(
        ...     lambda params: params["x"] ** 2, {"x": tuner.Float(-1, 1)}, n_trials=12, seed=0,
        ...     backend="serial", store=tempfile.mkdtemp(), progress=False,
        ... )
        >>> 0.0 <= study.forecast(10, tolerance=0.1).probability < 0.5
        True
        """
        from tuner.optimizers.forecast import forecast

        horizon = as_count("n_trials", n_trials)
        if horizon is None:
            raise ArgumentError("n_trials=None: write an integer of at least 1")
        margin = as_number("tolerance", tolerance, low=0.0)
        trials = list(self)
        return forecast(self._info.goal, trials, self._winner_of(trials), horizon, margin)

    @property
    def best_params(self) -> Params:
        """The params of the best trial; raises the same errors as `best_trial`."""
        return self.best_trial.params

    @property
    def best_value(self) -> float:
        """The value of the best trial; raises the same errors as `best_trial`."""
        return self.best_trial.values[0]

    @property
    def best_trials(self) -> list[Trial]:
        """The Pareto front: the completed, feasible trials that no other trial dominates.

        The trials are ordered by number. Trials with equal values are all included. With one goal,
        these are the trials with the best value.
        """
        completed = self.store.trials(self._info.uid, [State.COMPLETED])
        return RecordList(ranking.front(self.goals, completed))

    def hypervolume(self, reference: Sequence[float] | None = None) -> float:
        """Return the hypervolume that the Pareto front dominates, up to `reference`.

        Parameters
        ----------
        reference
            One value per goal, in the units of the goal; trials that are worse contribute nothing.
            None takes the worst value of each goal among the completed trials, which changes during
            the search. Pass a fixed point to compare searches.

        Raises
        ------
        ArgumentError
            If `reference` does not have one finite number per goal.
        """
        from tuner.optimizers.pareto import hypervolume

        signs = [goal.direction.sign for goal in self.goals]
        if reference is not None and len(reference) != len(signs):
            raise ArgumentError(
                f"reference={list(reference)!r}: pass {len(signs)} numbers, one for each of "
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

    # --- tables and plots ---------------------------------------------------------------------

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
            name=self.name,
            repeats=lambda: list(self._repeats()),
            winner=lambda: self.winner.trial.number,
        )

    def _repeats(self) -> Iterator[Run]:
        return self.store.runs(self._info.uid, purpose=RunPurpose.REPEAT)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one flat dict per trial: number, state, value, params, further metrics."""
        from tuner.study.export import rows

        return rows(self.space, self.goals, self.trials)

    def trials_dataframe(self) -> pd.DataFrame:
        """Return `to_rows` as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.to_rows())

    def export(self, path: str | Path, to: str | None = None) -> Path:
        """Write the table of trials as CSV, Parquet or JSON; `to` defaults to the suffix of `path`.

        Raises
        ------
        ExportError
            If the format is unknown or the file cannot be written.
        """
        from tuner.study.export import write_table

        write_table(self.to_rows(), path, to)
        return Path(path)

    def report(self, save: str | Path | None = None) -> HtmlReport:
        """Return the report on the study; a notebook shows it below the cell.

        The report is one self-contained HTML page with a summary, the best configuration and its
        certainty, interactive charts, importances, a table to sort and filter, and the provenance
        of the numbers.

        Parameters
        ----------
        save
            The HTML file to write, replaced if it exists. None writes no file;
            ``study.report().save()`` writes ``<study>-report.html``.

        Raises
        ------
        ExportError
            If the file cannot be written.
        """
        from tuner.reporting import Report as HtmlReport

        report = HtmlReport.of(self)
        if save is not None:
            report.save(save)
        return report

    def _repr_html_(self) -> str:
        from tuner.reporting.content import study_html

        return study_html(self)

    def __iter__(self) -> Iterator[Trial]:
        return self.store.trials(self._info.uid)


def _given(trial: Trial | int | None) -> int | None:
    return None if trial is None else as_trial_number(trial)


def best_of(info: StudyInfo, trials: Sequence[Trial]) -> Trial:
    """Return the best of the trials; see `StudyResults.best_trial`."""
    if len(info.goals) > 1:
        raise SeveralGoals(
            f"study {info.name!r} has {len(info.goals)} goals "
            f"({', '.join(goal.metric for goal in info.goals)}), so no single trial is the best; "
            f"write study.best_trials"
        )
    completed = [t for t in trials if t.state is State.COMPLETED and t.values]
    best = ranking.best(info.goal, completed)
    if best is not None:
        return best
    if not completed:
        raise NoCompletedTrial(
            f"study {info.name!r} has no completed trial; run more trials, and see study.trials "
            f"for errors"
        )
    least = min(completed, key=lambda t: (ranking.violation(t), t.number))
    violated = [
        f"{name} by {number_text(value)}" for name, value in least.constraints.items() if value > 0
    ]
    raise NoFeasibleTrial(
        f"study {info.name!r}: all {len(completed)} completed trials violate a constraint; trial "
        f"{least.number} has the smallest violation: {', '.join(violated)}"
    )
