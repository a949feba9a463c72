"""Garbage collection of artifacts: unwanted models, and files that no record names.

Several stores may share an artifact root. A file without a record in this database may therefore
have one in another. Only files in the store's own namespace (see `artifacts.namespaces`) are
collected, except those that a SQLite store beside the root names. Files that versions before
namespaces kept may belong to any store. They are collected only if no other store can have written
them: for a SQLite file whose artifact folder is not shared. Otherwise they stay, unless the caller
states that no other store uses the root.

Artifacts that a model version needs, the latest artifacts of a run under each name, and new files
stay. Files are written before their record, so the record of a new file may not be written yet:
only files older than `GRACE` are collected, unless the caller chooses another age.

An artifact that its run has replaced by another one of the same name, such as the best model of
each epoch, is superseded: no reader sees it, and its record is removed with its files.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Connection, and_, delete, or_, select, true

from tuner.errors import StoreReadOnly, StoreUnavailable
from tuner.tracking import schema
from tuner.tracking.artifacts.deleted_studies import checkpoints, forget_unused
from tuner.tracking.artifacts.file_failures import is_passing
from tuner.tracking.artifacts.files import put_in_place
from tuner.tracking.artifacts.folder import CONTENT, STORES, ArtifactFolder
from tuner.tracking.artifacts.namespaces import path_of, paths_of_sibling_stores
from tuner.tracking.artifacts.remote import STAGED, RemoteArtifacts
from tuner.tracking.database.location import DEFAULT_FOLDER
from tuner.tracking.edits import lock_study
from tuner.tracking.queries import FINISHED, in_parts, is_registered, is_superseded
from tuner.tracking.uuid7 import uuid7

if TYPE_CHECKING:
    from tuner.tracking.store import Store

GRACE = 3600.0
"""Seconds for which a file without a record is kept."""

_RUN = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Collected:
    """The number of artifacts without a record that were (or would be) deleted, and their bytes.

    `kept` and `kept_size` count those without a record in this store that stay because another
    store may name them; `notes` give the reason and the remedy.
    """

    artifacts: int = 0
    size: int = 0
    kept: int = 0
    kept_size: int = 0
    notes: tuple[str, ...] = ()


class _Found(Protocol):
    """One artifact's files, with or without a record; `path` has the form that a record has."""

    @property
    def path(self) -> str: ...
    @property
    def modified(self) -> float: ...
    @property
    def size(self) -> int: ...

    def remove(self, cutoff: float) -> bool:
        """Delete it unless it was written after `cutoff`; return whether it was deleted."""


@dataclass(frozen=True, slots=True)
class UnwantedModels:
    """The ids of model records to delete, and the number of models without superseded ones."""

    ids: tuple[int, ...]
    count: int


def forget_models(store: Store, study: str, kept: Collection[int]) -> int:
    """Delete the unwanted model records of a study, and return the number of models.

    The files are deleted by the next `collect`.
    """
    with store.writing() as connection:
        lock_study(connection, study)  # nobody registers a model meanwhile
        unwanted = _unwanted_models(connection, study, kept)
        for part in in_parts(unwanted.ids):
            connection.execute(delete(schema.artifacts).where(schema.artifacts.c.id.in_(part)))
    return unwanted.count


def unwanted_models(store: Store, study: str, kept: Collection[int]) -> UnwantedModels:
    """Return the model records of a study that `forget_models` would delete.

    These are all except for the trials in `kept`. Of a finished trial in `kept`, the latest models
    of the run that gave its outcome stay. Models that a model version was registered from stay, and
    so do the models of unfinished runs.
    """
    with store.reading() as connection:
        return _unwanted_models(connection, study, kept)


def _unwanted_models(connection: Connection, study: str, kept: Collection[int]) -> UnwantedModels:
    a, r, t = schema.artifacts, schema.runs, schema.trials
    found = connection.execute(
        select(
            a.c.id,
            r.c.trial,
            is_superseded().label("superseded"),
            and_(t.c.state.in_(FINISHED), r.c.state != t.c.state).label("of_other_attempt"),
        )
        .join(r, r.c.id == a.c.run_id)
        .join(t, and_(t.c.study_id == r.c.study_id, t.c.number == r.c.trial))
        .join(schema.studies, schema.studies.c.id == r.c.study_id)
        .where(
            schema.studies.c.uid == study,
            a.c.kind == "model",
            r.c.state.in_(FINISHED),
            ~is_registered(),
        )
    ).all()
    gone = [r for r in found if r.superseded or r.of_other_attempt or r.trial not in kept]
    return UnwantedModels(tuple(r.id for r in gone), sum(not r.superseded for r in gone))


def collect(
    store: Store,
    *,
    older_than: float = GRACE,
    dry_run: bool = False,
    now: float | None = None,
    alone: bool = False,
    forgotten: Collection[int] = (),
) -> Collected:
    """Delete the files of artifacts that no record names, and return their number and size.

    Superseded artifacts of this store count among them, and checkpoints of deleted studies. Code
    and environments that nothing needs are deleted, too. Artifacts of other stores in the same root
    stay.

    Parameters
    ----------
    store
        The store.
    older_than
        The minimum age in seconds. Less than the default is safe only if no process writes.
    dry_run
        Only count.
    now
        The time, in seconds since the epoch.
    alone
        The caller knows that no other store, and no copy of this one, uses the root: also collect
        files that might belong to another store. SQLite stores beside the root are checked even
        then.
    forgotten
        With `dry_run`, ids of records to count as deleted; see `unwanted_models`.

    Raises
    ------
    StoreReadOnly
        If the files cannot be deleted.
    StoreUnavailable
        If they cannot be deleted at the moment.
    """
    cutoff = (time.time() if now is None else now) - older_than
    files = store.files
    namespaces = store.namespace.uids()
    n = size = kept = kept_size = 0
    notes: list[str] = []
    try:
        found: list[tuple[bool, _Found]] = []
        if namespaces.current is not None:
            found.extend((True, each) for each in _below(files, path_of(namespaces.current)))
        for base in (*map(path_of, namespaces.earlier), ""):
            found.extend((False, each) for each in _below(files, base))
        # A copy of this database may have a study that was deleted here.
        found.extend((not namespaces.earlier, each) for each in checkpoints(store))
        # Query records after listing the files: a record that is written meanwhile is seen.
        old = [(is_own, f) for is_own, f in found if f.modified < cutoff]
        paths = [f.path for _, f in old]
        if not dry_run:
            _forget_superseded(store, paths)
        recorded = _recorded(store, paths, set(forgotten) if dry_run else None)
        silent = False
        if isinstance(files, ArtifactFolder):
            beside = paths_of_sibling_stores(files.root, store.file, paths)
            recorded |= beside.paths
            silent = bool(beside.silent)
            if silent:
                notes.append(_SILENT.format(", ".join(map(str, beside.silent)), files.root))
            alone = alone or (beside.stores == 0 and not silent and _is_alone(store, files.root))
        for is_own, each in old:
            if each.path in recorded:
                continue
            if silent or not (is_own or alone):
                kept, kept_size = kept + 1, kept_size + each.size
            elif dry_run or each.remove(cutoff):
                n, size = n + 1, size + each.size
    except OSError as error:
        if is_passing(error):
            raise StoreUnavailable(
                f"artifacts of {store} cannot be collected just now: {error}; run the call again"
            ) from error
        raise StoreReadOnly(f"artifacts of {store} cannot be collected: {error}") from error
    if not dry_run:
        forget_unused(store, cutoff)
    if kept and not silent:
        notes.append(_KEPT.format(kept, kept_size))
    return Collected(n, size, kept, kept_size, tuple(notes))


_KEPT = (
    "{} artifacts, {} bytes, that this store does not name were kept, as they were written before "
    "it had its own namespace, or before it was copied or moved: another store may name them; if "
    "none does, run: tuner gc --alone"
)

_SILENT = (
    "nothing was deleted: {} cannot be read, and may be a store that names files in {}; repair the "
    "file or move it away, and run the call again"
)


def _is_alone(store: Store, root: Path) -> bool:
    """Return whether a store without a SQLite store beside it is the only user of its folder.

    PostgreSQL stores use `DEFAULT_FOLDER`, or the value of TUNER_ARTIFACTS. Stores that have or had
    a namespace are detected by it. Stores that never had one are not, so the default folder counts
    as shared.
    """
    if store.file is None or root.is_symlink() or root.parent.name == DEFAULT_FOLDER:
        return False
    given = os.environ.get("TUNER_ARTIFACTS")
    if given and os.path.realpath(given) == os.path.realpath(root):
        return False
    namespaces = store.namespace.uids()
    return {p.name for p in _subfolders(root / STORES)} <= {namespaces.current, *namespaces.earlier}


def _below(files: ArtifactFolder | RemoteArtifacts, base: str) -> Iterator[_Found]:
    """Yield the artifacts in a namespace; with an empty base, artifacts of earlier versions."""
    return _local(files, base) if isinstance(files, ArtifactFolder) else _remote(files, base)


def _recorded(store: Store, paths: list[str], forgotten: set[int] | None) -> set[str]:
    """Return the paths that records name, without superseded and `forgotten` ones if given."""
    known: set[str] = set()
    a = schema.artifacts
    counts = true() if forgotten is None else or_(~is_superseded(), is_registered())
    with store.reading() as connection:
        for part in in_parts(paths):
            query = select(a.c.id, a.c.path).where(a.c.path.in_(part), counts)
            rows = connection.execute(query)
            known |= {row.path for row in rows if row.id not in (forgotten or ())}
    return known


def _forget_superseded(store: Store, paths: list[str]) -> None:
    """Delete the records of superseded artifacts at these paths."""
    a = schema.artifacts
    unneeded = is_superseded(), ~is_registered()
    with store.reading() as connection:
        queries = (select(a.c.id).where(a.c.path.in_(p), *unneeded) for p in in_parts(paths))
        ids = [i for query in queries for i in connection.execute(query).scalars()]
    for part in in_parts(ids):
        with store.writing() as connection:  # checked again: one may have been registered just now
            connection.execute(delete(a).where(a.c.id.in_(part), *unneeded))


# --- a folder -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Folder:
    root: Path
    base: str
    path: str
    modified: float
    size: int

    def remove(self, cutoff: float) -> bool:
        target = self.root / self.path
        content = self.root / self.base / CONTENT
        aside = content / f".new-{uuid7()}"
        aside.parent.mkdir(exist_ok=True)
        try:
            if target.stat().st_mtime >= cutoff:
                return False
            # A writer of the same content has either renewed the time before this, or finds it
            # gone.
            target.rename(aside)
        except FileNotFoundError:
            return False
        gone = aside.stat().st_mtime < cutoff
        if not gone:
            with suppress(FileExistsError):  # the same content has been written again meanwhile
                put_in_place(aside, target)
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # not empty, or gone
            for parent in (target.parent, target.parent.parent):
                if parent not in (self.root, content):
                    parent.rmdir()
        return gone


def _local(files: ArtifactFolder, base: str) -> Iterator[_Folder]:
    """Yield all artifacts below `base` in a folder, and partially written leftovers."""
    root = files.root
    top = root / base
    places = [*top.glob(f"{CONTENT}/[0-9a-f][0-9a-f]/*/*"), *top.glob(f"{CONTENT}/.new-*")]
    if not base:
        runs = [run for run in _subfolders(root) if _RUN.fullmatch(run.name)]
        places += [place for run in runs for place in run.iterdir()]
    for place in places:
        try:
            modified = place.stat().st_mtime
        except FileNotFoundError:
            continue
        yield _Folder(root, base, place.relative_to(root).as_posix(), modified, _size(place))


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


def _remote(files: RemoteArtifacts, base: str) -> Iterator[_Objects]:
    """Yield all artifacts below `base` at a URL; one of unknown age counts as new."""
    files.fs.invalidate_cache()
    groups: dict[str, list[tuple[str, int]]] = {}
    n = base.count("/") + 1 if base else 0
    for kind in (CONTENT, STAGED):
        top = posixpath.join(files.root, base, kind)
        for name, details in files.fs.find(top, detail=True).items():
            path = name[len(files.root) :].lstrip("/")
            parts = path.split("/")
            if parts[n] == CONTENT and len(parts) > n + 4:
                path = "/".join(parts[: n + 4])
            elif parts[n] != STAGED:
                continue
            groups.setdefault(path, []).append((name, details["size"] or 0))
    for path, members in groups.items():
        modified = [files.modified(name) for name, _ in members]
        youngest = max((time.time() if m is None else m) for m in modified)
        names = tuple(name for name, _ in members)
        yield _Objects(files, path, youngest, sum(size for _, size in members), names)
