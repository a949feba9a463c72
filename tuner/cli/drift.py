"""Commands that compare data with a reference: drift, and the profile of a table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

import tuner
from tuner.cli.arguments import load_objective, store_option
from tuner.cli.models import echo_model, open_registry
from tuner.cli.output import echo
from tuner.errors import ArgumentError, ExportError

DRIFT_FOUND = 3
"""Exit code if the new data drifted."""

DATA = "TUNER_DATA"
"""Environment variable with the path of the new data, for the script of --retune."""

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
@click.argument("new", metavar="FILE", type=click.Path(path_type=Path))
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
    new: Path,
    alpha: float,
    min_effect: float,
    no_joint: bool,
    target: str | None,
    ignore: tuple[str, ...],
    seed: int,
    to: str,
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
      tuner drift digits@champion today.parquet --label digit --retune train.py:objective
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    from tuner.drift import check_model, compare

    settings: dict[str, Any] = {
        "alpha": alpha,
        "min_effect": min_effect,
        "joint": not no_joint,
        "ignore": ignore,
        "seed": seed,
    }
    is_model = _is_model(reference)
    if retune is not None and not is_model:
        raise ArgumentError(f"--retune: {reference!r} is a file; name a model, such as digits")
    if is_model:
        report = check_model(
            reference, _side(new), label=target, record=not no_record, by=by, store=store,
            **settings,
        )  # fmt: skip
    else:
        report = compare(_side(Path(reference)), _side(new), target=target, **settings)
    echo(report.to_json() if to == "json" else report)
    if html is not None:
        report.save(html)
    if report.drift:
        if retune is not None:
            _retune(reference, new, retune, target, n_trials, backend, store, to == "json")
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
    return not Path(reference).exists() and not reference.endswith(_FILES)


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
