"""Which artifacts go: models that nobody wants to keep, and files that no record names.

What a model version needs, what a run that has not ended has kept, and what is young stays. Files
are written before their record, so a file without one may be one whose record comes in a moment:
only what was written longer ago than `GRACE` is collected, unless the caller says otherwise.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import delete, select

from tuner.errors import StoreReadOnly, StoreUnavailable
from tuner.records import State
from tuner.tracking import schema
from tuner.tracking.artifacts import CONTENT, ArtifactFolder, put_in_place
from tuner.tracking.file_failures import is_passing
from tuner.tracking.queries import in_parts
from tuner.tracking.remote_artifacts import STAGED, RemoteArtifacts
from tuner.tracking.uuid7 import uuid7

if TYPE_CHECKING:
    from tuner.tracking.sql_store import SqlStore

GRACE = 3600.0
"""Seconds for which a file without a record is left alone."""

_RUN = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Collected:
    """How many artifacts without a record were deleted, or would be, and their size in bytes."""

    artifacts: int = 0
    size: int = 0


class _Found(Protocol):
    """One artifact's files, whether a record names them or not; `path` as a record would."""

    @property
    def path(self) -> str: ...
    @property
    def modified(self) -> float: ...
    @property
    def size(self) -> int: ...

    def remove(self, cutoff: float) -> bool:
        """Delete it unless it was written after `cutoff` meanwhile; return whether it is gone."""


def forget_models(store: SqlStore, study: str, kept: Collection[int]) -> int:
    """Delete the records of a study's models but those of the trials `kept`; return how many.

    What a model version was registered from stays, and so does what a run that has not ended has
    kept. The files go with the next `collect`.
    """
    a, r = schema.artifacts, schema.runs
    unfinished = [s.value for s in State if not s.finished]
    with store.writing() as connection:
        found = connection.execute(
            select(a.c.id, r.c.trial)
            .join(r, r.c.id == a.c.run_id)
            .join(schema.studies, schema.studies.c.id == r.c.study_id)
            .where(
                schema.studies.c.uid == study,
                a.c.kind == "model",
                r.c.state.not_in(unfinished),
                ~select(schema.model_versions.c.id)
                .where(schema.model_versions.c.artifact_id == a.c.id)
                .exists(),
            )
        ).all()
        gone = [row.id for row in found if row.trial not in kept]
        for part in in_parts(gone):
            connection.execute(delete(a).where(a.c.id.in_(part)))
    return len(gone)


def collect(
    store: SqlStore, *, older_than: float = GRACE, dry_run: bool = False, now: float | None = None
) -> Collected:
    """Delete the files of artifacts that no record names, and return what that was.

    Parameters
    ----------
    store
        The store.
    older_than
        Seconds since they were written. Less than the default is safe only if nobody writes.
    dry_run
        Only count.
    now
        The time, in seconds since the epoch.

    Raises
    ------
    StoreReadOnly
        If the files cannot be deleted.
    """
    cutoff = (time.time() if now is None else now) - older_than
    files = store.files
    n = size = 0
    try:
        found: list[_Found] = []
        found.extend(_local(files) if isinstance(files, ArtifactFolder) else _remote(files))
        # Asked after looking: what is recorded meanwhile is known.
        old = [f for f in found if f.modified < cutoff]
        recorded = _recorded(store, [f.path for f in old])
        for each in old:
            if each.path not in recorded and (dry_run or each.remove(cutoff)):
                n, size = n + 1, size + each.size
    except OSError as error:
        if is_passing(error):
            raise StoreUnavailable(
                f"artifacts of {store} cannot be collected just now: {error}; run the call again"
            ) from error
        raise StoreReadOnly(f"artifacts of {store} cannot be collected: {error}") from error
    return Collected(n, size)


def _recorded(store: SqlStore, paths: list[str]) -> set[str]:
    known: set[str] = set()
    column = schema.artifacts.c.path
    with store.reading() as connection:
        for part in in_parts(paths):
            known |= set(connection.execute(select(column).where(column.in_(part))).scalars())
    return known


# --- a folder -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Folder:
    root: Path
    path: str
    modified: float
    size: int

    def remove(self, cutoff: float) -> bool:
        target = self.root / self.path
        aside = self.root / CONTENT / f".new-{uuid7()}"
        aside.parent.mkdir(exist_ok=True)
        try:
            if target.stat().st_mtime >= cutoff:
                return False
            # Who keeps the same content now either made it young before this, or finds it gone.
            target.rename(aside)
        except FileNotFoundError:
            return False
        gone = aside.stat().st_mtime < cutoff
        if not gone:
            with suppress(FileExistsError):  # another one has been written in its place
                put_in_place(aside, target)
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # not empty, or gone
            for parent in (target.parent, target.parent.parent):
                if parent not in (self.root, self.root / CONTENT):
                    parent.rmdir()
        return gone


def _local(files: ArtifactFolder) -> Iterator[_Folder]:
    """Yield all artifacts in a folder, and what was left half written."""
    root = files.root
    places = [
        *root.glob(f"{CONTENT}/[0-9a-f][0-9a-f]/*/*"),
        *root.glob(f"{CONTENT}/.new-*"),
        *(
            place
            for run in _subfolders(root)
            if _RUN.fullmatch(run.name)
            for place in run.iterdir()
        ),
    ]
    for place in places:
        try:
            modified = place.stat().st_mtime
        except FileNotFoundError:
            continue
        yield _Folder(root, place.relative_to(root).as_posix(), modified, _size(place))


def _subfolders(root: Path) -> list[Path]:
    return [p for p in root.iterdir() if p.is_dir()] if root.is_dir() else []


def _size(folder: Path) -> int:
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(os.path.join(place, name)).st_size
    return size


# --- a URL ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Objects:
    files: RemoteArtifacts
    path: str
    modified: float
    size: int
    names: tuple[str, ...]

    def remove(self, cutoff: float) -> bool:
        for name in self.names:
            if (self.files.modified(name) or cutoff) >= cutoff:
                return False
        for name in self.names:
            self.files.fs.rm_file(name)
        return True


def _remote(files: RemoteArtifacts) -> Iterator[_Objects]:
    """Yield all artifacts below a URL; one whose age nobody knows counts as new."""
    files.fs.invalidate_cache()
    groups: dict[str, list[tuple[str, int]]] = {}
    for name, details in files.fs.find(files.root, detail=True).items():
        path = name[len(files.root) :].lstrip("/")
        parts = path.split("/")
        if parts[0] == CONTENT and len(parts) > 4:
            groups.setdefault("/".join(parts[:4]), []).append((name, details["size"] or 0))
        elif parts[0] == STAGED:
            groups.setdefault(path, []).append((name, details["size"] or 0))
    for path, members in groups.items():
        modified = [files.modified(name) for name, _ in members]
        youngest = max((time.time() if m is None else m) for m in modified)
        names = tuple(name for name, _ in members)
        yield _Objects(files, path, youngest, sum(size for _, size in members), names)
