from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from support.earlier_schemas import go_back
from tuner.errors import StoreCorrupt, StoreError, StoreVersion
from tuner.records import Code, Goal, Run, State, StudyInfo, Trial
from tuner.registry import Registry
from tuner.tracking import open_store, schema
from tuner.tracking.batch import Batch
from tuner.tracking.database import migrate
from tuner.tracking.database.connections import make_engine
from tuner.tracking.database.location import locate
from tuner.tracking.uuid7 import uuid7


def migrated(store: str | Path) -> None:
    """Make a store by running every migration."""
    engine = make_engine(locate(store))
    with engine.begin() as connection:
        migrate.run_migrations(connection)
    engine.dispose()


def described(store: str | Path) -> dict[str, Any]:
    """Return the reflected schema of a database."""
    engine = make_engine(locate(store))
    with engine.connect() as connection:
        inspector = inspect(connection)
        tables = {
            name: (
                [{**c, "type": repr(c["type"])} for c in inspector.get_columns(name)],
                inspector.get_pk_constraint(name),
                sorted(inspector.get_unique_constraints(name), key=str),
                sorted(inspector.get_foreign_keys(name), key=str),
                sorted(inspector.get_indexes(name), key=str),
                inspector.get_table_options(name),
            )
            for name in sorted(inspector.get_table_names())
        }
    engine.dispose()
    return tables


def test_every_revision_has_a_migration() -> None:
    assert migrate.scripted_revisions() == list(schema.REVISIONS)


def test_a_new_store_equals_the_migrated_schema(tmp_path: Path) -> None:
    (tmp_path / "migrated").mkdir()
    migrated(tmp_path / "migrated")
    open_store(tmp_path / "created").put_code(Code())
    assert described(tmp_path / "created") == described(tmp_path / "migrated")
    assert set(described(tmp_path / "created")) == {*schema.metadata.tables, schema.VERSION_TABLE}


def test_reports_are_kept_without_row_numbers(tmp_path: Path) -> None:
    (tmp_path / "migrated").mkdir()
    migrated(tmp_path / "migrated")
    for folder in ("migrated", "created"):
        open_store(tmp_path / folder).put_code(Code())
        connection = sqlite3.connect(tmp_path / folder / "tuner.db")
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'reports'")
        assert "WITHOUT ROWID" in sql[0]
        connection.close()


def test_the_migrated_schema_equals_the_declared_schema(tmp_path: Path) -> None:
    migrated(tmp_path)
    engine = make_engine(locate(tmp_path))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": schema.VERSION_TABLE}
        )
        assert compare_metadata(context, schema.metadata) == []


def test_a_current_store_is_not_changed(tmp_path: Path) -> None:
    key = open_store(tmp_path).put_code(Code("a"))
    assert migrate.upgrade(tmp_path) == []
    assert open_store(tmp_path).get_code(key) == Code("a")


def go_back_to_0001(store: str | Path) -> None:
    """Downgrade a store to the schema before outcome constraints, warm starts and leases."""
    engine = make_engine(locate(store))
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_trials_best"))
        connection.execute(
            text("CREATE INDEX ix_trials_study_id_state ON trials (study_id, state)")
        )
        go_back(connection, "0001")
    engine.dispose()


def a_store_of_0001_keeps_its_trials(store: str | Path) -> None:
    info = StudyInfo(uuid7(), "old", {}, "0", (Goal(),), 1, 1.5)
    trial = Trial(0, {"x": 1.0}, State.COMPLETED, (2.0,), {"value": 2.0})
    opened = open_store(store)
    opened.create_study(info)
    opened.write(info.uid, Batch([trial]))
    go_back_to_0001(store)
    with pytest.raises(StoreVersion, match="older schema 0001"):
        open_store(store).find_study("old")
    assert migrate.upgrade(store) == list(schema.REVISIONS[1:])
    opened = open_store(store)
    assert opened.find_study("old") == info
    assert list(opened.trials(info.uid)) == [trial]
    limited = replace(trial, number=1, constraints={"latency": 0.5})
    opened.write(info.uid, Batch([limited]))
    assert list(opened.trials(info.uid)) == [trial, limited]


def test_a_store_of_the_first_schema_is_upgraded_with_its_trials(tmp_path: Path) -> None:
    a_store_of_0001_keeps_its_trials(tmp_path)


def test_a_missing_store_cannot_be_upgraded(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="store not found at"):
        migrate.upgrade(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_newer_or_foreign_database_cannot_be_upgraded(tmp_path: Path) -> None:
    open_store(tmp_path / "new").put_code(Code())
    with sqlite3.connect(tmp_path / "new" / "tuner.db") as connection:
        connection.execute("UPDATE tuner_schema SET version_num = '9999'")
    with pytest.raises(StoreVersion, match="newer tuner"):
        migrate.upgrade(tmp_path / "new")
    (tmp_path / "tuner.db").write_text("text", encoding="utf-8")
    with pytest.raises(StoreCorrupt):
        migrate.upgrade(tmp_path)


def test_a_failed_migration_leaves_the_store_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path).put_code(Code())
    before = described(tmp_path)
    # A folder with one more revision, which fails half-way.
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    source = Path(migrate.__file__).with_name("migrations")
    for file in ("env.py", *(f"versions/{file.name}" for file in source.glob("versions/v*.py"))):
        (folder / file).write_text((source / file).read_text("utf-8"), "utf-8")
    (folder / "versions" / "v9999_fails.py").write_text(
        "from alembic import op\n"
        f"revision, down_revision = '9999', '{schema.REVISIONS[-1]}'\n"
        "def upgrade():\n"
        "    op.execute('ALTER TABLE runs ADD COLUMN extra TEXT')\n"
        "    op.execute('INSERT INTO nowhere VALUES (1)')\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(migrate, "__file__", str(tmp_path / "migrate.py"))
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "9999"))
    with pytest.raises(StoreError, match="nowhere"):
        migrate.upgrade(tmp_path)
    assert described(tmp_path) == before
    fixed = folder / "versions" / "v9999_fails.py"
    lines = fixed.read_text("utf-8").splitlines()
    fixed.write_text("\n".join(lines[:-1]), encoding="utf-8")
    assert migrate.upgrade(tmp_path) == ["9999"]
    assert described(tmp_path) != before


def test_a_new_store_equals_the_migrated_schema_on_postgresql(
    new_database: Callable[[], str],
) -> None:
    created, by_migrations = new_database(), new_database()
    migrated(by_migrations)
    open_store(created).put_code(Code())
    assert described(created) == described(by_migrations)
    assert migrate.upgrade(created) == []


def test_a_store_of_the_first_schema_is_upgraded_on_postgresql(
    new_database: Callable[[], str],
) -> None:
    a_store_of_0001_keeps_its_trials(new_database())


def a_store_of_0009_keeps_its_aliases(store: str | Path) -> None:
    info = StudyInfo(uuid7(), "old", {}, "0", (Goal(),), 1, 1.5)
    opened = open_store(store)
    opened.create_study(info)
    registry = Registry(opened)
    for n, value in enumerate((2.0, 1.0, 3.0)):
        trial = Trial(n, {"x": 1.0}, State.COMPLETED, (value,), {"value": value})
        run = Run(uuid7(), n, state=State.COMPLETED)
        opened.write(info.uid, Batch([trial], [run]))
        found = {"study": info, "trial": trial, "run": run, "goal": info.goal, "value": value}
        registry.register("m", artifact=None, **found)
    registry.delete_alias("m", "challenger")
    registry.set_alias("m", "staging", 1)
    before = [replace(version, note="") for version in registry.versions("m")]
    engine = make_engine(locate(store))
    with engine.begin() as connection:
        go_back(connection, "0009")
    engine.dispose()
    assert migrate.upgrade(store) == ["0010", "0011"]
    registry = Registry(open_store(store))
    assert registry.versions("m") == before
    kept = [(e.action, e.alias, e.before, e.after) for e in registry.history("m")]
    assert kept == [("upgrade", "champion", None, 2), ("upgrade", "staging", None, 1)]
    registry.set_alias("m", "champion", 3)
    assert registry.rollback("m").version == 2


def test_a_store_of_0009_is_upgraded_with_its_aliases(tmp_path: Path) -> None:
    a_store_of_0009_keeps_its_aliases(tmp_path)


def test_a_store_of_0009_is_upgraded_on_postgresql(new_database: Callable[[], str]) -> None:
    a_store_of_0009_keeps_its_aliases(new_database())
