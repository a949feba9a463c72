"""What running trials have saved to go on from: the last checkpoint of each open trial."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tuner.errors import StoreError
from tuner.records import Checkpoint, CheckpointEnd, CheckpointPart
from tuner.tracking.artifacts import safe_name, sync_folder
from tuner.tracking.file_failures import of_writing

READ = 2**20
"""Bytes read at a time."""

_NAME = re.compile(r"(\d{6,})-([0-9a-f]{64})-(\d+)")


@dataclass(slots=True)
class _Arriving:
    """A checkpoint of which some parts are here."""

    number: int
    folder: Path
    files: set[str] = field(default_factory=set)


class CheckpointShelf:
    """Keeps ``<root>/checkpoints/<study>/<trial>/<count>-<sha256>-<size>/<the saved paths>``.

    Parts gather in a folder beside it, which is renamed when all of them are there and have the
    checksum that they were sent with. So a trial has its former checkpoint until the moment in
    which it has the next one, whatever dies, and what is damaged is found out on reading.
    """

    def __init__(self, root: Path, study: str) -> None:
        self._root = root / "checkpoints" / safe_name(study)
        self._arriving: dict[str, _Arriving] = {}

    def add(self, trial: int, run: str, part: CheckpointPart) -> None:
        """Append a part to a file of the checkpoint that a run is sending.

        Raises
        ------
        StoreUnavailable
            If it cannot be written just now: nothing of the part is kept, so it can be added again.
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
        """Make what a run has sent the trial's checkpoint, None if it is not what was saved.

        Raises
        ------
        StoreUnavailable
            If it cannot be written just now; the same call can succeed later.
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
        """Return the checkpoint from which a trial goes on, None if it has saved none."""
        kept = _kept(self._folder(trial))
        if not kept:
            return None
        folder = kept[max(kept)]
        _, sha256, size = folder.name.split("-")
        return Checkpoint(str(folder), sha256, int(size))

    def remove(self, trial: int) -> None:
        """Delete what a trial saved."""
        shutil.rmtree(self._folder(trial), ignore_errors=True)

    def tidy(self, open_trials: Iterable[int]) -> None:
        """Delete what a driver that died has left: half a checkpoint, and those of ended trials."""
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

    It is what `artifacts.checksum` gives for the same files, without holding them in memory.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        target = folder.joinpath(*path.split("/"))
        name = path.encode("utf-8", "surrogatepass")
        digest.update(len(name).to_bytes(8) + name + target.stat().st_size.to_bytes(8))
        with target.open("rb") as file:
            while data := file.read(READ):
                digest.update(data)
    return digest.hexdigest()


def files_below(folder: Path) -> Mapping[str, Path]:
    """Return the files below a folder by their relative paths, written with ``/``."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def _kept(folder: Path) -> dict[int, Path]:
    """Return the whole checkpoints in a trial's folder by their count; usually there is one."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    return {int(match[1]): folder / name for name in names if (match := _NAME.fullmatch(name))}


def _sync(folder: Path) -> None:
    """See that everything below a folder is on the disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            with open(Path(root, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(root))
