"""Commands that compare data with a reference: drift, and the profile of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tuner.cli.arguments import store_option
from tuner.cli.output import echo
from tuner.errors import ExportError

DRIFT_FOUND = 3
"""Exit code if the new data drifted."""

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
    no_record: bool,
    by: str | None,
    store: str | None,
) -> None:
    """Compare the file NEW with a reference: a table, a profile (JSON), or a registered model.

    A table is a CSV or Parquet file. A file of the name of a model is taken first. The exit code
    is 0 without drift, and 3 with drift.

    \b
    Examples:
      tuner drift train.csv today.csv
      tuner drift train.json today.parquet --format json --html drift.html
      tuner drift digits@champion today.parquet --label digit
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    from tuner.drift import check_model, compare

    settings: dict[str, Any] = {
        "alpha": alpha,
        "min_effect": min_effect,
        "joint": not no_joint,
        "ignore": ignore,
        "seed": seed,
    }
    if _is_model(reference):
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
        ctx.exit(DRIFT_FOUND)


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
