"""Commands that compare data with a reference: drift, and the profile of a table."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

import tuner
from tuner.cli.arguments import load_objective, store_option
from tuner.cli.models import echo_model, open_registry
from tuner.cli.output import echo
from tuner.errors import ArgumentError, ExportError, RegistryError

DRIFT_FOUND = 3
"""Exit code if the new data drifted."""

DATA = "TUNER_DATA"
"""Environment variable with the path of the new data, for the script of --retune."""

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_FILES = (".csv", ".csv.gz", ".parquet", ".pq", ".json")
"""Ends of the names of tables and profiles."""

_DATA_OPTIONS: list[Any] = [
    click.option("--label", "--target", "target", metavar="COLUMN", help="The column of labels."),
    click.option("--ignore", metavar="COLUMN", multiple=True, help="A column to leave out."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of samples."),
]


def _with_data_options(command: Any) -> Any:
    for option in reversed(_DATA_OPTIONS):
        command = option(command)
    return command


@click.command("drift")
@click.argument("reference", metavar="FILE|MODEL[@ALIAS]")
@click.argument("new", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--served",
    metavar="SPAN",
    help="Check the sampled rows that were served in this time, such as 7d or 12h.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Bound of the probability of a false alarm.",
)
@click.option(
    "--min-effect",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.02,
    show_default=True,
    help="Smallest difference that is drift.",
)
@click.option("--no-joint", is_flag=True, help="Test columns only, without the classifier.")
@_with_data_options
@click.option("--format", "to", type=click.Choice(["text", "json"]), default="text")
@click.option("--json", "in_json", is_flag=True, help="Short for --format json.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with plots.")
@click.option(
    "--retune",
    metavar="SCRIPT.py:FUNCTION",
    help="Tune the model again with this objective if it drifted.",
)
@click.option(
    "--n-trials", type=click.IntRange(min=1), default=15, show_default=True, help="Of --retune."
)
@click.option("--backend", metavar="NAME", help="Backend of --retune.  [default: ray]")
@click.option("--no-record", is_flag=True, help="Leave a model's history unchanged.")
@click.option("--by", metavar="USER", help="The acting user for the history.")
@store_option
@click.pass_context
def drift(
    ctx: click.Context,
    reference: str,
    new: Path | None,
    served: str | None,
    alpha: float,
    min_effect: float,
    no_joint: bool,
    target: str | None,
    ignore: tuple[str, ...],
    seed: int,
    to: str,
    in_json: bool,
    html: Path | None,
    retune: str | None,
    n_trials: int,
    backend: str | None,
    no_record: bool,
    by: str | None,
    store: str | None,
) -> None:
    """Compare the file NEW with a reference: a table, a profile (JSON), or a registered model.

    A table is a CSV or Parquet file. A file of the name of a model is taken first. The exit code
    is 0 without drift, and 3 with drift, also after --retune.

    \b
    Examples:
      tuner drift train.csv today.csv
      tuner drift train.json today.parquet --format json --html drift.html
      tuner drift digits@champion today.parquet --label digit
      tuner drift digits@champion --served 7d
      tuner drift digits@champion today.parquet --label digit --retune train.py:objective
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    from tuner.drift import check_model, compare

    in_json = in_json or to == "json"
    settings: dict[str, Any] = {
        "alpha": alpha,
        "min_effect": min_effect,
        "joint": not no_joint,
        "ignore": ignore,
        "seed": seed,
    }
    is_model = _is_model(reference)
    for option, given in (("--retune", retune), ("--served", served)):
        if given is not None and not is_model:
            raise ArgumentError(f"{option}: {reference!r} is a file; name a model, such as digits")
    if (new is None) == (served is None):
        raise click.UsageError("write the file of the new data, or --served")
    if retune is not None and new is None:
        raise click.UsageError("--retune needs a file of new data with labels, not --served")
    data = _side(new) if new is not None else _served(reference, served or "", store)
    if is_model:
        report = check_model(
            reference, data, label=target, record=not no_record, by=by, store=store, **settings
        )
    else:
        report = compare(_side(Path(reference)), data, target=target, **settings)
    echo(report.to_json() if in_json else report)
    if html is not None:
        report.save(html)
    if report.drift:
        if retune is not None and new is not None:
            _retune(reference, new, retune, target, n_trials, backend, store, in_json)
        ctx.exit(DRIFT_FOUND)


def _retune(
    ref: str,
    new: Path,
    objective: str,
    label: str | None,
    n_trials: int,
    backend: str | None,
    store: str | None,
    in_json: bool,
) -> None:
    """Tune a model again on new data; the script finds the path of the data in the environment."""
    from tuner.profiles.tables import labeled_file
    from tuner.registry.names import parse_reference

    os.environ[DATA] = str(new.resolve())
    known = open_registry(store).profile(ref)
    label = label or (None if known is None else known.target)
    study = tuner.retune(
        ref,
        load_objective(objective),
        data=labeled_file(new, label),
        n_trials=n_trials,
        backend=backend,
        store=store,
    )
    echo(f"re-tuned by study {study.name}", err=in_json)
    if any(trial.eligible for trial in study):
        echo_model(study, parse_reference(ref).name, err=in_json)


def _is_model(reference: str) -> bool:
    """Return whether a reference is a model: not a file, and not named like a table or profile."""
    return not Path(reference).is_file() and not reference.endswith(_FILES)


def _served(ref: str, span: str, store: str | None) -> Any:
    """Return the sampled rows that a version was given in a span of time before now."""
    found = re.fullmatch(r"(\d{1,4})([mhdw])", span)
    if found is None:
        raise ArgumentError(f"--served {span!r}: write a number and m, h, d or w, such as 7d")
    registry = open_registry(store)
    version = registry.get(ref)
    since = timedelta(**{_UNITS[found[2]]: int(found[1])})
    rows = registry.served_samples(version.name, since=since, version=version.version)
    if rows.empty:
        raise RegistryError(
            f"model {ref!r}: no rows of version {version.version} were sampled in the last {span}; "
            f"serve it with tuner models serve, or write a longer time"
        )
    return rows


def _side(path: Path) -> Any:
    from tuner.drift import Profile

    return Profile.load(path) if path.suffix == ".json" else path


@click.command("profile")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The JSON file.")
@_with_data_options
def profile(data: Path, to: Path, target: str | None, ignore: tuple[str, ...], seed: int) -> None:
    """Write the profile of a table, to compare new data with it later."""
    from tuner.drift import Profile

    found = Profile.of(data, target=target, ignore=ignore, seed=seed)
    try:
        to.write_text(found.to_json(), encoding="utf-8")
    except OSError as error:
        raise ExportError(
            f"profile: cannot write {str(to)!r}: {error.strerror or error}; give a file in an "
            f"existing folder"
        ) from error
    echo(str(to))
