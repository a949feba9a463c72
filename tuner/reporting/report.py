"""The report writer: one self-contained HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import io
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from tuner.errors import ExportError
from tuner.errors.boundary import public
from tuner.errors.credentials import hide
from tuner.errors.printable import printable, well_formed
from tuner.records import State
from tuner.reporting import content
from tuner.reporting.certainty import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tuner.study import Study

TEMPLATE = "report.html.j2"

VECTOR_UP_TO = 2000
"""Trials up to which plots are drawings; beyond, a bitmap is smaller."""

_TITLES = {
    "history": "How the best value came about",
    "pareto_front": "The Pareto front",
    "slice": "Values along the most important parameter",
    "parallel_coordinates": "Which values go together",
    "learning_curves": "Learning curves",
    "timeline": "When trials ran",
}


@public(files=ExportError)
def write_report(study: Study, path: str | Path | None = None) -> Path:
    """Write the report of a study to one HTML file and return its path.

    It contains a summary, the best configuration with its certainty, plots, importances, a
    sortable table, and the provenance of the numbers. It needs no network and no other file, so it
    can be mailed.

    Parameters
    ----------
    study
        The study.
    path
        The file, replaced if it exists; ``<study>-report.html`` in the current folder if None.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    target = Path(path) if path is not None else Path(f"{_file_name(study.name)}-report.html")
    text = render_report(study)
    try:
        target.write_text(well_formed(text), encoding="utf-8")
    except OSError as error:
        raise ExportError(
            f"report: cannot write {str(target)!r}: {error.strerror or error}; "
            f"give a file in an existing folder that you may write to"
        ) from error
    return target


@public(files=ExportError)
def render_report(study: Study) -> str:
    """Return the report of a study as HTML."""
    trials = study.trials
    eligible = [t for t in trials if t.eligible]
    best = study.best_trials if eligible else []
    certainty, sentences = content.certainty_text(study, trials)
    columns, rows, left_out = content.table_of(study, trials)
    template = files("tuner.reporting").joinpath(TEMPLATE).read_text(encoding="utf-8")
    script = files("tuner.reporting").joinpath("sort.js").read_text(encoding="utf-8")
    # Names of studies and parameters, and errors, are text, never markup.
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_safe)
    environment.filters |= {"number": content.number_text, "when": content.when}
    html = environment.from_string(template).render(
        study=study,
        goals=study.goals,
        summary=content.summary_of(study, trials),
        best=best,
        best_columns=[c.path for c in study.space.columns],
        flat=study.space.flatten,
        certainty=certainty,
        sentences=sentences,
        chances=[] if certainty is None else certainty.chances,
        in_words=in_words,
        by_number={t.number: t for t in trials},
        importances=content.importances_of(study, trials),
        importance_method=content.importance_method(study),
        halves=content.HALVES,
        plots=list(_plots(study, len(trials), any(t.state is State.COMPLETED for t in trials))),
        columns=columns,
        rows=rows,
        left_out=left_out,
        failures=content.failures_of(trials),
        origins=content.origins_of(study),
        hosts=content.hosts_of(study),
        models=content.models_of(study),
        now=time.time(),
        version=metadata.version("tuner"),
        script=_Script(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return str(html)


def _safe(value: Any) -> Any:
    """Return a recorded text without credentials, or characters that hide or reorder text."""
    if type(value) is not str:
        return value
    drawing = value.startswith("data:image/")
    return printable(value if drawing else hide(value), keep="\n\t")


class _Script(str):
    """A trusted script of the report, inserted into the page without escaping."""

    def __html__(self) -> str:
        return str(self)


def _plots(study: Study, n_trials: int, any_completed: bool) -> Iterator[tuple[str, str]]:
    """Yield the title and data URL of each plot that has data."""
    if not n_trials:
        return
    draw = study.plot
    chosen: dict[str, Callable[[], Axes]] = {}
    if any_completed:
        if len(study.goals) > 1:
            chosen["pareto_front"] = draw.pareto_front
        chosen["history"] = draw.history
        chosen["slice"] = draw.slice
        if len(study.space.columns) > 1:
            chosen["parallel_coordinates"] = draw.parallel_coordinates
    if next(iter(study.store.reports(study.info.uid)), None) is not None:
        chosen["learning_curves"] = draw.learning_curves
    chosen["timeline"] = draw.timeline
    for kind, plot in chosen.items():
        yield _TITLES[kind], _data_url(plot(), vector=n_trials <= VECTOR_UP_TO)


def _data_url(axes: Axes, *, vector: bool) -> str:
    # An image, so that content of a drawing cannot run in the page.
    figure: Any = axes.get_figure(root=True)
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box is drawn for it
        figure.savefig(
            drawn,
            format="svg" if vector else "png",
            dpi=120,
            bbox_inches="tight",
            metadata={"Date": None} if vector else None,
        )
    kind = "svg+xml" if vector else "png"
    return f"data:image/{kind};base64,{base64.b64encode(drawn.getvalue()).decode()}"


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_. " else "-" for c in name).strip(". ") or "study"
