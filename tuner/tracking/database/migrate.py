"""Migrate a store to the schema of this version of tuner; implements ``tuner db upgrade``."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from tuner.errors import StoreError, StoreVersion
from tuner.tracking import schema
from tuner.tracking.database.connections import WRITING, make_engine
from tuner.tracking.database.failures import as_store_errors
from tuner.tracking.database.init_db import is_there, lock_schema, read_revision
from tuner.tracking.database.location import locate


def upgrade(store: str | Path | None = None) -> list[str]:
    """Migrate a store to the current schema, in one transaction, and return the applied revisions.

    A store that already has the current schema is left unchanged.

    Parameters
    ----------
    store
        As for `tuner.tracking.open_store`.

    Raises
    ------
    StoreError
        If the store does not exist, or cannot be written.
    StoreCorrupt
        If the database belongs to another program.
    StoreVersion
        If a newer tuner has created it.
    """
    location = locate(store)
    engine = make_engine(location)
    try:
        with as_store_errors(location):
            if not is_there(engine, location, any_older=True):
                raise StoreError(f"store not found at {location}; the first write creates it")
            with (
                engine.connect().execution_options(**{WRITING: True}) as connection,
                connection.begin(),
            ):
                # Another process may have upgraded it in the meantime.
                lock_schema(connection)
                before = read_revision(connection)
                if before not in schema.REVISIONS:
                    raise StoreVersion(
                        f"store {location} has the schema {before} of a newer tuner; "
                        f"run: pip install --upgrade tuner"
                    )
                run_migrations(connection)
    finally:
        engine.dispose()
    return list(schema.REVISIONS[schema.REVISIONS.index(before) + 1 :])


def run_migrations(connection: Connection) -> None:
    """Run the missing migrations on a connection that writes."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, schema.REVISIONS[-1])


def scripted_revisions() -> list[str]:
    """Return the revisions that have a migration, oldest first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def _config() -> Config:
    config = Config()
    config.set_main_option("path_separator", "os")
    # A % in the path would be parsed as a reference to another option.
    folder = str(Path(__file__).with_name("migrations")).replace("%", "%%")
    config.set_main_option("script_location", folder)
    return config
