"""The report of a study: one self-contained HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import ExportError
from tuner.errors.boundary import public
from tuner.errors.printable import well_formed
from tuner.plotting.style import detached_figures, shows_nothing
from tuner.records import State, Trial
from tuner.reporting import content
from tuner.reporting.charts import MOST_TRIALS, chart_data
from tuner.reporting.content import StudyRecord
from tuner.reporting.page import Trusted, data_url, environment, text_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCRIPTS = ("vendor/echarts/echarts.min.js", "charts.js", "table.js")

VECTOR_UP_TO = 500
"""Trials up to which images are drawings; beyond, a bitmap is smaller."""

_TITLES = {
    "history": "How the best value came about",
    "pareto_front": "The Pareto front",
    "slice": "Values along a parameter",
    "parallel_coordinates": "Which values go together",
    "learning_curves": "Learning curves",
    "timeline": "When trials ran",
}


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """A report of a study; a notebook shows it below the cell.

    Attributes
    ----------
    study : str
        The name of the study.
    html : str
        The page, which needs no other file.
    """

    study: str
    html: str

    @classmethod
    def of(cls, study: StudyRecord) -> Report:
        """Return the report of a study."""
        return cls(study.name, render_report(study))

    @public(files=ExportError)
    def save(self, path: str | Path | None = None) -> Path:
        """Write the page to a file, replaced if it exists, and return its path.

        Parameters
        ----------
        path
            The file; ``<study>-report.html`` in the current folder if None.

        Raises
        ------
        ExportError
            If the file cannot be written.
        """
        target = Path(path) if path is not None else Path(f"{_file_name(self.study)}-report.html")
        try:
            target.write_text(well_formed(self.html), encoding="utf-8")
        except OSError as error:
            raise ExportError(
                f"report: cannot write {str(target)!r}: {error.strerror or error}; "
                f"give a file in an existing folder that you may write to"
            ) from error
        return target

    def __repr__(self) -> str:
        return f"<Report of study {self.study!r}; save() writes it as an HTML file>"

    def _repr_html_(self) -> str:
        # Its own document, so that neither the styles nor the scripts of the two pages meet.
        page = escape(well_formed(self.html))
        return (
            f'<iframe title="Report" sandbox="allow-scripts" srcdoc="{page}" '
            f'style="width: 100%; height: 44rem; border: 1px solid rgba(128,128,128,.35)"></iframe>'
        )


@public(files=ExportError)
def write_report(study: StudyRecord, path: str | Path | None = None) -> Path:
    """Write the report of a study to one HTML file and return its path.

    It contains a summary, the best configuration with its certainty, interactive charts,
    importances, a table to sort and filter, and the provenance of the numbers. It needs no network
    and no other file, so it can be mailed.

    Parameters
    ----------
    study
        The study.
    path
        See `Report.save`.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    return Report.of(study).save(path)


@public(files=ExportError)
def render_report(study: StudyRecord) -> str:
    """Return the report of a study as HTML."""
    trials = study.trials
    best = study.best_trials if any(t.eligible for t in trials) else []
    winner, sentences = content.winner_text(study, trials)
    columns, rows, left_out = content.table_of(study, trials)
    importances = content.importances_of(study, trials)
    first = importances[0].rows[0].path if importances else ""
    number = None if winner is None else winner.trial.number
    script = _script()
    html = (
        environment()
        .from_string(text_of("report.html.j2"))
        .render(
            study=study,
            goals=study.goals,
            summary=content.summary_of(study, trials),
            best=best,
            flat=study.space.flatten,
            winner=winner,
            sentences=sentences,
            in_words=content.in_words,
            by_number={t.number: t for t in trials},
            importances=importances,
            plots=list(_plots(study, trials, number)),
            chart_data=chart_data(study, trials, first, number),
            most_drawn=MOST_TRIALS,
            columns=columns,
            rows=rows,
            left_out=left_out,
            failures=content.failures_of(trials),
            origins=content.origins_of(study),
            hosts=content.hosts_of(study),
            models=content.models_of(study),
            now=time.time(),
            version=metadata.version("tuner"),
            style=Trusted(text_of("report.css")),
            script=Trusted(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    return str(html)


@cache
def _script() -> str:
    return "\n".join(map(text_of, SCRIPTS))


def _plots(
    study: StudyRecord, trials: Sequence[Trial], winner: int | None
) -> Iterator[tuple[str, str, str]]:
    """Yield the kind, title and data URL of each plot that has something to show."""
    draw = study.plot.with_winner(winner)
    chosen: dict[str, Callable[[], Axes]] = {}
    if sum(t.state is State.COMPLETED for t in trials) > 1:  # one point shows no relation
        if len(study.goals) > 1:
            chosen["pareto_front"] = draw.pareto_front
        chosen["history"] = draw.history
        varying = sum(column.domain.size > 1 for column in study.space.columns)
        if varying:
            chosen["slice"] = draw.slice
        if varying > 1:
            chosen["parallel_coordinates"] = draw.parallel_coordinates
    chosen["learning_curves"] = draw.learning_curves
    chosen["timeline"] = draw.timeline
    for kind, plot in chosen.items():
        with detached_figures():
            axes = plot()
        if not shows_nothing(axes):
            yield kind, _TITLES[kind], data_url(axes, vector=len(trials) <= VECTOR_UP_TO)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_. " else "-" for c in name).strip(". ") or "study"
