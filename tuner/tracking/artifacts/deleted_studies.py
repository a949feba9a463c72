"""What deleted studies leave behind besides artifacts: checkpoints, code and environments."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, delete, func, select

from tuner.tracking import schema
from tuner.tracking.artifacts.checkpoint_store import CHECKPOINTS
from tuner.tracking.artifacts.folder import safe_name

if TYPE_CHECKING:
    from tuner.tracking.store import Store


@dataclass(frozen=True, slots=True)
class TrialCheckpoint:
    """The checkpoints of one trial of a deleted study, as garbage collection sees files."""

    root: Path
    path: str
    modified: float
    size: int

    def remove(self, cutoff: float) -> bool:
        """Delete them unless one was written after `cutoff`; return whether they were deleted."""
        folder = self.root / self.path
        if _latest(folder) >= cutoff:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # the study has others
            folder.parent.rmdir()
        return not folder.exists()


def checkpoints(store: Store) -> Iterator[TrialCheckpoint]:
    """Yield the checkpoints of the deleted studies of a store."""
    top = store.artifact_root / CHECKPOINTS
    if not top.is_dir():
        return
    studies = schema.studies
    with store.reading() as connection:
        uids = list(
            connection.execute(
                select(studies.c.uid).where(studies.c.deleted.is_not(None))
            ).scalars()
        )
    for uid in uids:
        folder = top / safe_name(uid)
        for trial in folder.iterdir() if folder.is_dir() else ():
            size = sum(p.stat().st_size for p in trial.rglob("*") if p.is_file())
            path = trial.relative_to(store.artifact_root).as_posix()
            yield TrialCheckpoint(store.artifact_root, path, _latest(trial), size)


def _latest(folder: Path) -> float:
    return max((p.stat().st_mtime for p in (folder, *folder.rglob("*"))), default=0.0)


def forget_unused(store: Store, cutoff: float) -> int:
    """Delete the code and environments that no run or version needs; return their number.

    Those that a process has recorded after `cutoff` stay: it may be about to record a run of them.
    """
    with store.reading() as connection:
        if not any(_unused_keys(connection, cutoff)):
            return 0
    with store.writing() as connection:
        return sum(
            connection.execute(delete(table).where(*_unused(table_name, cutoff))).rowcount
            for table_name, table in _TABLES.items()
        )


_TABLES = {"code": schema.codes, "environment": schema.environments}


def _unused_keys(connection: Connection, cutoff: float) -> Iterator[str]:
    for name, table in _TABLES.items():
        yield from connection.execute(
            select(table.c.key).where(*_unused(name, cutoff)).limit(1)
        ).scalars()


def _unused(name: str, cutoff: float) -> list[ColumnElement[bool]]:
    table, of_run = _TABLES[name], schema.runs.c[f"{name}_id"]
    return [
        func.coalesce(table.c.used, 0.0) < cutoff,
        table.c.id.not_in(select(of_run).where(of_run.is_not(None))),
        table.c.key.not_in(select(schema.model_versions.c[name])),
    ]
