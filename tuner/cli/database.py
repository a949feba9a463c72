"""``tuner db``: maintenance of a store's database."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.cli.options import store_option
from tuner.cli.output import echo


@click.group()
def db() -> None:
    """Maintain the database of a store."""


@db.command()
@store_option
def upgrade(store: str | None) -> None:
    """Migrate a store of an older tuner to the current schema. Make a copy first."""
    from tuner.tracking.database.migrate import upgrade as migrate

    steps = migrate(store)
    echo(f"upgraded: {', '.join(steps)}" if steps else "the store is up to date")


@db.command()
@click.option("--no-artifacts", is_flag=True, help="Leave the artifacts' checksums out.")
@store_option
def check(no_artifacts: bool, store: str | None) -> None:
    """Check the integrity of a store, and exit with 1 if it is damaged."""
    from tuner.tracking.database.maintenance import check as problems_of

    found = 0
    for problem in problems_of(store, artifacts=not no_artifacts):
        found += 1
        echo(problem)
    if found:
        raise SystemExit(1)
    echo("the store is whole")


@db.command()
@click.argument("folder", type=click.Path(path_type=Path))
@store_option
def backup(folder: Path, store: str | None) -> None:
    """Copy the database into a new store at FOLDER, while other processes keep writing."""
    from tuner.tracking.database.maintenance import backup as copy

    echo(f"copied to {copy(folder, store)}; artifacts stay where they are")


@db.command()
@store_option
def compact(store: str | None) -> None:
    """Pack the metrics of runs that have ended, and release the free space."""
    from tuner.tracking.database.maintenance import compact as pack

    done = pack(store)
    echo(f"packed {done.values} values; {done.before:,} bytes before, {done.after:,} now")
