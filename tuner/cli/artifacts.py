"""``tuner artifacts``: list, download and delete the artifacts of trials."""

from __future__ import annotations

from pathlib import Path

import click

import tuner
from tuner.cli.arguments import as_trial, store_option
from tuner.cli.output import echo, write_table
from tuner.tracking import open_store
from tuner.tracking.references import Subject, resolve


@click.group()
def artifacts() -> None:
    """List, download and delete the files and models that trials have kept."""


@artifacts.command("list")
@click.argument("ref", metavar="STUDY[/TRIAL[/RUN]]")
@store_option
def list_artifacts(ref: str, store: str | None) -> None:
    """List the artifacts of a study, a trial or a run.

    \b
    Examples:
      tuner artifacts list digits
      tuner artifacts list digits/17
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    subject = resolve(ref, open_store(store))
    study = tuner.load_study(subject.info.name, store=store)
    number = None if subject.whole_study or subject.trial is None else subject.trial.number
    runs = {run.uid: run for run in study.runs(number)}
    attempt = _attempt(ref, subject)
    rows = [
        {
            "trial": runs[each.run].trial,
            "run": runs[each.run].attempt,
            "name": each.name,
            "kind": each.kind,
            "format": each.format,
            "bytes": each.size,
            "sha256": each.sha256[:12],
        }
        for each in study.artifacts(number)
    ]
    write_table(
        [row for row in rows if attempt is None or row["run"] == attempt], nothing="no artifacts"
    )


@artifacts.command()
@click.argument("ref", metavar="STUDY[/TRIAL[/RUN]]")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder of the files, created if missing.  [default: the current folder]",
)
@store_option
def get(ref: str, names: tuple[str, ...], folder: Path, store: str | None) -> None:
    """Download artifacts of a trial, all if none is named, and print the paths of the files.

    A study is represented by its best trial, and a trial by its last run. An existing file of
    another content is not overwritten.

    \b
    Examples:
      tuner artifacts get digits/17 best.bin
      tuner artifacts get digits --to winner
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    subject = resolve(ref, open_store(store))
    study = tuner.load_study(subject.info.name, store=store)
    number = study.best_trial.number if subject.trial is None else subject.trial.number
    written = study.download_artifacts(number, *names, to=folder, attempt=_attempt(ref, subject))
    for path in written:
        echo(path)
    if not written:
        echo("no artifacts", err=True)


@artifacts.command("delete")
@click.argument("trial", metavar="STUDY/TRIAL")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@store_option
def delete_artifacts(trial: str, names: tuple[str, ...], store: str | None) -> None:
    """Delete artifacts of a finished trial, all without NAME.

    Artifacts of registered models stay. `tuner gc` frees the files.
    """
    name, number = as_trial(trial)
    gone = tuner.load_study(name, store=store).delete_artifacts(number, *names)
    for artifact in gone:
        echo(f"deleted: {artifact.name}, {artifact.size} bytes")
    if not gone:
        echo("nothing to delete", err=True)


def _attempt(ref: str, subject: Subject) -> int | None:
    """Return the number of the run that a reference names, None if it names none."""
    return subject.run.attempt if ref.count("/") == 2 and subject.run is not None else None
