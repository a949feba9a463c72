"""Commands that import from other tools, and write studies as tables, reports and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import tuner
from tuner.cli.arguments import store_option
from tuner.cli.output import echo, write_rows
from tuner.errors import ExportError
from tuner.integrations.importing import Imported
from tuner.plotting.kinds import COMPARING, KINDS, OF_FRONTS
from tuner.study.export import FORMATS, report_rows, run_rows

FOLDERS = ("tensorboard", "dvc")
"""Formats of other tools that `export` writes into a folder."""


@click.group("import")
def import_() -> None:
    """Import the records of another tool; a repeated import adds only new ones."""


@import_.command("optuna")
@click.argument("storage", metavar="STORAGE")
@click.option("--study", metavar="NAME", help="Optuna study to import.  [default: all]")
@click.option(
    "--name", metavar="NAME", help="Name of the new study.  [default: its name in Optuna]"
)
@store_option
def import_optuna(storage: str, study: str | None, name: str | None, store: str | None) -> None:
    """Import studies from Optuna: a database URL, or a SQLite or journal file."""
    from tuner.integrations import import_optuna as run_import

    for done in run_import(storage, study, name=name, store=store):
        _echo_imported(done)


@import_.command("mlflow")
@click.argument("uri", metavar="URI")
@click.option("--experiment", metavar="NAME", required=True, help="Name of the experiment.")
@click.option("--metric", help="Metric to optimize; required if the runs have several metrics.")
@click.option(
    "--direction",
    type=click.Choice(["minimize", "maximize"]),
    default="minimize",
    show_default=True,
    help="Direction of the metric.",
)
@click.option(
    "--space",
    metavar="FILE|SCRIPT.py:NAME|MODULE:NAME",
    help="Search space of the runs.  [default: inferred from the runs]",
)
@click.option(
    "--study",
    "--name",
    "study",
    metavar="NAME",
    help="Name of the new study.  [default: the experiment]",
)
@store_option
def import_mlflow(
    uri: str,
    experiment: str,
    metric: str | None,
    direction: str,
    space: str | None,
    study: str | None,
    store: str | None,
) -> None:
    """Import the runs of an MLflow experiment as the trials of a study."""
    from tuner.cli.arguments import load_space
    from tuner.integrations import import_mlflow as run_import

    done = run_import(
        uri,
        experiment,
        metric=metric,
        direction=direction,
        space=None if space is None else load_space(space, ""),
        study=study,
        store=store,
    )
    _echo_imported(done)


def _echo_imported(done: Imported) -> None:
    echo(
        f"study: {done.study.name}\n"
        f"imported: {done.added} trials; {done.known} were imported before, "
        f"{done.unfinished} are not finished"
    )


@click.command()
@click.argument("study")
@click.argument("uri", metavar="URI")
@click.option("--experiment", metavar="NAME", help="The experiment.  [default: the study's name]")
@store_option
def mirror(study: str, uri: str, experiment: str | None, store: str | None) -> None:
    """Copy the trials of a study to an MLflow server, except those that it has."""
    from tuner.integrations import MlflowMirror

    loaded = tuner.load_study(study, store=store)
    echo(f"sent: {MlflowMirror(uri, experiment).catch_up(loaded)} trials")


@click.command()
@click.argument("study")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Path of the file.  [default: STUDY-report.html]",
)
@store_option
def report(study: str, output: Path | None, store: str | None) -> None:
    """Write a report on a study as one self-contained HTML file."""
    echo(tuner.load_study(study, store=store).report().save(output))


@click.command()
@click.argument("study")
@click.option("--to", type=click.Choice([*FORMATS, *FOLDERS]), default="csv", show_default=True)
@click.option(
    "--what",
    type=click.Choice(["trials", "runs", "reports"]),
    default="trials",
    show_default=True,
    help="Rows of the table.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="File to write, or folder for tensorboard and dvc.  [default: standard output]",
)
@store_option
def export(study: str, to: str, what: str, output: Path | None, store: str | None) -> None:
    """Write a study as a table, as TensorBoard event files, or as DVC files."""
    loaded = tuner.load_study(study, store=store)
    if to in FOLDERS:
        if what != "trials" or output is None:
            raise click.UsageError(f"--to {to} takes --output FOLDER and no --what")
        from tuner.integrations import export_dvc, export_tensorboard

        if to == "dvc":
            for path in export_dvc(loaded, output):
                echo(path)
        else:
            echo(export_tensorboard(loaded, output))
        return
    if what == "reports":
        rows = report_rows(loaded.runs(), loaded.reports())
    else:
        rows = run_rows(loaded.runs()) if what == "runs" else loaded.to_rows()
    write_rows(rows, to, output)


@click.command()
@click.argument("study")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="Plot to draw; repeatable.  [default: all]",
)
@click.option(
    "--param",
    "params",
    metavar="PATH",
    multiple=True,
    help="Parameter of slice, parallel_coordinates, contour (two) or rank (two); repeatable.  "
    "[default: the most important]",
)
@click.option(
    "--goal", metavar="NAME|INDEX", help="Goal of the plots.  [default: the first one, 0]"
)
@click.option("--metric", metavar="NAME", help="Recorded metric to show in place of the goal.")
@click.option(
    "--with",
    "others",
    metavar="STUDY",
    multiple=True,
    help=f"Another study for the same plot: {', '.join(sorted(COMPARING))}; repeatable.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder of the files, created if missing.  [default: the current folder]",
)
@click.option("--format", "suffix", default="png", help="png, svg, pdf, ...", show_default=True)
@store_option
def plot(
    study: str,
    kinds: tuple[str, ...],
    params: tuple[str, ...],
    goal: str | None,
    metric: str | None,
    others: tuple[str, ...],
    folder: Path,
    suffix: str,
    store: str | None,
) -> None:
    """Draw the plots of a study into a folder; without --kind, those that have data."""
    from tuner.plotting.style import save_figure, shows_nothing

    loaded = tuner.load_study(study, store=store)
    compared = [tuner.load_study(name, store=store) for name in others]
    names = [one.metric for one in loaded.goals]
    fronts = len(names) > 1 and (metric is None or metric in names)
    every = [k for k in KINDS if (fronts or k not in OF_FRONTS) and (not others or k in COMPARING)]
    given = {"goal": _selector(loaded, goal), "metric": metric}
    asked = params if kinds else ()
    chosen = {name: given | _chosen_params(name, asked) for name in kinds or every}
    if others:
        chosen = {name: args | _compared(name, compared) for name, args in chosen.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"plot: cannot create the folder {folder}: {error.strerror}") from None
    for name, args in chosen.items():
        ax = getattr(loaded.plot, name)(**args)
        if shows_nothing(ax) and not kinds:
            echo(f"{name}: left out, as it has nothing to show", err=True)
            continue
        path = folder / f"{study}-{name.replace('_', '-')}.{suffix}"
        save_figure(ax, path)
        echo(path)


def _selector(study: tuner.Study, goal: str | None) -> int | str | None:
    """Return a goal's name or index."""
    if goal is None or goal in [one.metric for one in study.goals] or not goal.isdecimal():
        return goal
    return int(goal)


def _compared(kind: str, studies: list[tuner.Study]) -> dict[str, Any]:
    if kind not in COMPARING:
        raise click.UsageError(
            f"--kind {kind} shows one study; --with is for {', '.join(sorted(COMPARING))}"
        )
    return {"compare": studies}


def _chosen_params(kind: str, params: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments that name the parameters of a plot."""
    limits = {"slice": 1, "contour": 2, "rank": 2, "parallel_coordinates": len(params)}
    allowed = limits.get(kind, 0)
    if len(params) > allowed:
        raise click.UsageError(f"--kind {kind} takes --param {allowed} times at most")
    if kind in ("contour", "rank"):
        return dict(zip(("x", "y"), params, strict=False))
    if kind == "slice":
        return {"param": params[0]} if params else {}
    return {"params": list(params)} if params else {}
