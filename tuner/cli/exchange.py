"""Commands that import from other tools, mirror to them, write reports, and clean up."""

from __future__ import annotations

from pathlib import Path

import click

import tuner
from tuner.cli.options import store_option
from tuner.cli.output import echo
from tuner.integrations.importing import Imported


@click.group("import")
def import_() -> None:
    """Import the records of another tool; a repeated import adds only new ones."""


@import_.command("optuna")
@click.argument("storage", metavar="URL")
@click.option("--study", metavar="NAME", help="Which study; all of them if not given.")
@click.option("--name", metavar="NAME", help="What to call it here.  [default: as there]")
@store_option
def import_optuna(storage: str, study: str | None, name: str | None, store: str | None) -> None:
    """Import studies from Optuna's SQLite or PostgreSQL database."""
    from tuner.integrations import import_optuna as run_import

    for done in run_import(storage, study, name=name, store=store):
        _echo_imported(done)


@import_.command("mlflow")
@click.argument("uri", metavar="URI")
@click.option("--experiment", metavar="NAME", required=True, help="The experiment.")
@click.option("--metric", help="The goal; may be left out if the runs have one metric only.")
@click.option(
    "--direction",
    type=click.Choice(["minimize", "maximize"]),
    default="minimize",
    show_default=True,
    help="Which way it gets better.",
)
@click.option(
    "--space",
    metavar="FILE|SCRIPT.py:NAME|MODULE:NAME",
    help="The space of the runs.  [default: what the runs had]",
)
@click.option("--name", metavar="NAME", help="What to call the study.  [default: the experiment's]")
@store_option
def import_mlflow(
    uri: str,
    experiment: str,
    metric: str | None,
    direction: str,
    space: str | None,
    name: str | None,
    store: str | None,
) -> None:
    """Import the runs of an MLflow experiment as the trials of a study."""
    from tuner.cli.scripts import load_space
    from tuner.integrations import import_mlflow as run_import

    done = run_import(
        uri,
        experiment,
        metric=metric,
        direction=direction,
        space=None if space is None else load_space(space, ""),
        name=name,
        store=store,
    )
    _echo_imported(done)


def _echo_imported(done: Imported) -> None:
    echo(
        f"study: {done.study.name}\n"
        f"imported: {done.added} trials, {done.known} were here already, "
        f"{done.unfinished} not finished there"
    )


@click.command()
@click.argument("study")
@click.argument("uri", metavar="URI")
@click.option("--experiment", metavar="NAME", help="The experiment.  [default: the study's name]")
@store_option
def mirror(study: str, uri: str, experiment: str | None, store: str | None) -> None:
    """Send the trials of a study that are missing on an MLflow server."""
    from tuner.integrations import MlflowMirror

    loaded = tuner.load_study(study, store=store)
    echo(f"sent: {MlflowMirror(uri, experiment).catch_up(loaded)} trials")


@click.command()
@click.argument("study")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file.  [default: STUDY-report.html]",
)
@store_option
def report(study: str, output: Path | None, store: str | None) -> None:
    """Write a report on a study as one self-contained HTML file."""
    from tuner.reporting import write_report

    echo(write_report(tuner.load_study(study, store=store), output))


@click.command()
@click.option(
    "--keep-best",
    nargs=2,
    type=(click.IntRange(min=1), str),
    metavar="K STUDY",
    multiple=True,
    help="Forget the models of a study but those of its K best trials; any number of times.",
)
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="MINUTES",
    help="Delete only files that were written longer ago; less is safe only if nobody writes.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted; forget no models.")
@click.option(
    "--alone",
    is_flag=True,
    help="No other store uses these artifacts: also delete what an earlier version kept.",
)
@store_option
def gc(
    keep_best: tuple[tuple[int, str], ...],
    older_than: float,
    dry_run: bool,
    alone: bool,
    store: str | None,
) -> None:
    """Delete the files of artifacts that no record refers to any more."""
    from tuner.study.registration import keep_best as forget_others
    from tuner.tracking import open_store
    from tuner.tracking.artifacts.retention import collect

    for k, name in () if dry_run else keep_best:
        study = tuner.load_study(name, store=store)
        echo(f"forgot: {forget_others(study, k)} models of {name}")
    done = collect(open_store(store), older_than=60 * older_than, dry_run=dry_run, alone=alone)
    would = "would be deleted" if dry_run else "deleted"
    echo(f"{would}: {done.artifacts} artifacts, {done.size} bytes")
    for note in done.notes:
        echo(f"note: {note}", err=True)
