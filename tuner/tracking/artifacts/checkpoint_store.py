"""Checkpoints of running trials: the last one of each open trial, stored and given to retries."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tuner.errors import StoreError
from tuner.records import Checkpoint, CheckpointEnd, CheckpointPart, Job
from tuner.tracking.artifacts.file_failures import of_writing
from tuner.tracking.artifacts.files import open_regular, regular_files, sync_folder
from tuner.tracking.artifacts.folder import safe_name

CHECKPOINTS = "checkpoints"
"""The folder with the checkpoints of all studies, below the artifact folder."""

READ = 2**20
"""Bytes read at a time."""

_NAME = re.compile(r"(\d{6,})-([0-9a-f]{64})-(\d+)")


@dataclass(slots=True)
class _Arriving:
    """A checkpoint of which some parts have arrived."""

    number: int
    folder: Path
    files: set[str] = field(default_factory=set)


class CheckpointStore:
    """Keeps a study's checkpoints, at most one for each trial.

    A checkpoint is a folder below ``<root>/checkpoints/<study>/<trial>/``, with the name
    ``<count>-<sha256>-<size>``, that holds the saved paths. Its parts gather in another folder
    beside it, which is renamed when all parts have arrived and their checksum is the one that was
    sent. A crash therefore leaves a trial with its previous checkpoint until the next one is
    complete, and damage is detected on reading.
    """

    def __init__(self, root: Path, study: str) -> None:
        self._root = root / CHECKPOINTS / safe_name(study)
        self._arriving: dict[str, _Arriving] = {}

    def add(self, trial: int, run: str, part: CheckpointPart) -> None:
        """Append a part to a file of the checkpoint that a run is sending.

        Raises
        ------
        StoreUnavailable
            If it cannot be written at the moment. No byte of the part is kept, so the part can be
            added again.
        StoreReadOnly
            If it cannot be written at all.
        """
        try:
            arriving = self._arriving.get(run)
            if arriving is None or arriving.number != part.number:
                arriving = self._begin(trial, run, part.number)
            target = arriving.folder.joinpath(*part.path.split("/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            arriving.files.add(part.path)
            _append(target, part.data)
        except OSError as error:
            raise self._unwritable(trial, error) from error

    def keep(self, trial: int, run: str, end: CheckpointEnd) -> Checkpoint | None:
        """Make the parts that a run has sent the trial's checkpoint, and return it.

        Return None if the parts are incomplete or their checksum differs.

        Raises
        ------
        StoreUnavailable
            If it cannot be written at the moment; the same call can succeed later.
        StoreReadOnly
            If it cannot be written at all.
        """
        arriving = self._arriving.get(run)
        if arriving is None or arriving.number != end.number:
            self._arriving.pop(run, None)
            return None
        try:
            if checksum(arriving.folder, arriving.files) != end.sha256:
                shutil.rmtree(arriving.folder, ignore_errors=True)
                del self._arriving[run]
                return None
            folder = self._folder(trial)
            before = _kept(folder)
            count = max(before, default=0) + 1
            target = folder / f"{count:06}-{end.sha256}-{end.size}"
            _sync(arriving.folder)
            arriving.folder.rename(target)
            del self._arriving[run]
            sync_folder(folder)
        except OSError as error:
            raise self._unwritable(trial, error) from error
        for former in before.values():
            shutil.rmtree(former, ignore_errors=True)
        return Checkpoint(str(target), end.sha256, end.size)

    def latest(self, trial: int) -> Checkpoint | None:
        """Return the checkpoint from which a trial continues, None if it has saved none."""
        kept = _kept(self._folder(trial))
        if not kept:
            return None
        folder = kept[max(kept)]
        _, sha256, size = folder.name.split("-")
        return Checkpoint(str(folder), sha256, int(size))

    def remove(self, trial: int) -> None:
        """Delete the checkpoints of a trial."""
        shutil.rmtree(self._folder(trial), ignore_errors=True)

    def tidy(self, open_trials: Iterable[int]) -> None:
        """Delete a dead driver's leftovers: partial checkpoints and checkpoints of ended trials."""
        names = {str(number) for number in open_trials}
        with suppress(FileNotFoundError):
            for folder in list(self._root.iterdir()):
                if folder.name not in names:
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                for staged in folder.glob(".new-*"):
                    shutil.rmtree(staged, ignore_errors=True)

    def _begin(self, trial: int, run: str, number: int) -> _Arriving:
        folder = self._folder(trial) / f".new-{safe_name(run)}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._arriving[run] = arriving = _Arriving(number, folder)
        return arriving

    def _folder(self, trial: int) -> Path:
        return self._root / str(trial)

    def _unwritable(self, trial: int, error: OSError) -> StoreError:
        return of_writing(f"the checkpoint of trial {trial}", self._root, error)


def _append(target: Path, data: bytes) -> None:
    """Append all of `data` to a file, or nothing."""
    with target.open("ab", buffering=0) as file:
        start = file.tell()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            with suppress(OSError):
                file.truncate(start)
            raise


def checksum(folder: Path, files: Iterable[str]) -> str:
    """Return the SHA-256 over these files below a folder, their paths and content, in hex.

    The result is the same as with `artifacts.checksum`, but the files are not held in memory.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        target = folder.joinpath(*path.split("/"))
        name = path.encode("utf-8", "surrogatepass")
        with open_regular(target, follow=True) as file:
            rest = os.fstat(file.fileno()).st_size
            digest.update(len(name).to_bytes(8) + name + rest.to_bytes(8))
            while rest > 0 and (data := file.read(min(READ, rest))):
                digest.update(data)
                rest -= len(data)
    return digest.hexdigest()


def files_below(folder: Path) -> Mapping[str, Path]:
    """Return the files below a folder by their relative paths, written with ``/``.

    Raises
    ------
    NotRegular
        If the folder holds a pipe, a socket, a device, or a link that is broken or circular.
    """
    return {name: path for name, path, _ in regular_files(folder, follow=True)}


def _kept(folder: Path) -> dict[int, Path]:
    """Return the complete checkpoints in a trial's folder by their count; usually one."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    return {int(match[1]): folder / name for name in names if (match := _NAME.fullmatch(name))}


def _sync(folder: Path) -> None:
    """Flush everything below a folder to disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            with open(Path(root, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(root))


class CheckpointManager:
    """Manages the checkpoints of a study; remembers which trials have one to avoid disk access.

    Parameters
    ----------
    root
        The artifact folder of the store.
    study
        The study's uid.
    """

    def __init__(self, root: Path, study: str) -> None:
        self._store = CheckpointStore(root, study)
        self._trials: set[int] = set()

    def tidy(self, open_trials: Iterable[int]) -> None:
        """Load checkpoints left by an earlier driver, and delete checkpoints of other trials."""
        numbers = list(open_trials)
        self._store.tidy(numbers)
        self._trials = {number for number in numbers if self._store.latest(number) is not None}

    def add(self, trial: int, run: str, piece: CheckpointPart | CheckpointEnd) -> None:
        """Store a part of a checkpoint; `CheckpointEnd` completes it."""
        self._trials.add(trial)
        if isinstance(piece, CheckpointPart):
            self._store.add(trial, run, piece)
        else:
            self._store.keep(trial, run, piece)

    def provide(self, job: Job) -> Job:
        """Return the job with the last checkpoint of its trial, if any."""
        if not self.has(job.trial.number):
            return job
        return dataclasses.replace(job, checkpoint=self._store.latest(job.trial.number))

    def has(self, trial: int) -> bool:
        """Whether a trial has saved a checkpoint."""
        return trial in self._trials

    def remove(self, trial: int) -> None:
        """Delete the checkpoint of a trial."""
        self._trials.discard(trial)
        self._store.remove(trial)
