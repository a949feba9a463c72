"""The alembic environment; `tuner.tracking.database.migrate` provides the connection."""

from __future__ import annotations

from alembic import context

from tuner.tracking.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite changes a column by rebuilding the table.
    render_as_batch=True,
)
context.run_migrations()
