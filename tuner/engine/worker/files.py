"""The files of a running trial: its temporary folder, its uploads and its checkpoints."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

from tuner.backends.protocol import Channel
from tuner.errors import ArgumentError
from tuner.records import Checkpoint, CheckpointEnd, CheckpointPart
from tuner.tracking.artifacts.checkpoint_store import checksum, files_below
from tuner.tracking.artifacts.files import NotRegular, open_regular, read_regular, regular_files

if sys.platform != "win32":
    import fcntl

PREFIX = "tuner-scratch-"

LOCK = ".lock"
"""File in each folder; its process locks it, and the kernel releases the lock at process exit."""


class TempDir:
    """A temporary folder, created on first use.

    A killed process cannot remove its folder, so the next process on the same machine does. A lock
    on a file in the folder shows whether its owner is alive. Process ids cannot: a container has
    its own ids, and ids are reused.
    """

    def __init__(self) -> None:
        self._root: Path | None = None
        self._lock: int | None = None
        self._count = 0
        self._owner = os.getpid()

    def fresh(self) -> Path:
        """Return an unused path in the folder."""
        if self._owner != os.getpid():  # a forked child creates a separate folder
            self._owner, self._root = os.getpid(), None
        if self._root is None:
            _remove_abandoned()
            while self._root is None:
                self._create()
        self._count += 1
        return self._root / str(self._count)

    def remove(self) -> None:
        """Delete the folder, unless it belongs to the process from which this one was forked."""
        if self._owner != os.getpid():
            return
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _create(self) -> None:
        root = Path(tempfile.mkdtemp(prefix=PREFIX))
        if sys.platform == "win32":
            self._root = root
            return
        lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = _is_same(lock, root / LOCK)
        except BlockingIOError:
            is_ours = False
        except OSError:  # without file locks, no folder counts as abandoned
            is_ours = True
        # Another process may have deleted the folder before it was locked.
        if is_ours:
            self._root, self._lock = root, lock
        else:
            os.close(lock)


def _remove_abandoned() -> None:
    """Delete this user's folders whose processes have ended."""
    if sys.platform == "win32":
        return
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    found = path.lstat()  # do not follow a link of another user
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while the owner is alive
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _is_same(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


_GROWTH = 2**24
"""Minimum bytes to read: a log may grow, and files in /proc have size 0."""


def read_files(path: Path) -> dict[str, bytes]:
    """Return the content of a file, or of all files below a folder, by relative path.

    Raises
    ------
    ArgumentError
        If `path` does not exist, contains anything but regular files and folders, or is larger
        than the memory of this machine.
    """
    try:
        if path.is_dir():
            found = list(regular_files(path, follow=True))
        else:
            found = [(path.name, path, path.stat().st_size)]
        size, limit = sum(length for _, _, length in found), _memory()
        if size > limit:
            raise ArgumentError(
                f"trial.log_artifact: {path} has {size} bytes, more than the memory of this "
                f"machine ({limit}); leave the file in place, and log a text with its location"
            )
        return {
            name: read_regular(file, max(length, _GROWTH), follow=True)
            for name, file, length in found
        }
    except NotRegular as error:
        raise ArgumentError(
            f"trial.log_artifact: {error}; log regular files and folders of them"
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArgumentError(
            f"trial.log_artifact: {error.filename or path} does not exist"
        ) from error
    except (OSError, ValueError) as error:
        raise ArgumentError(f"trial.log_artifact: {path} cannot be read: {error}") from error


def _memory() -> int:
    """Return the bytes of memory of this machine."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**40


PART = 4 * 2**20
"""Bytes of one part; a worker holds one part of a checkpoint in memory."""


def send_checkpoint(folder: Path, number: int, channel: Channel) -> None:
    """Send the files below a folder as checkpoint `number` of a run.

    Raises
    ------
    ArgumentError
        If the folder is empty or contains anything but regular files and folders.
    """
    try:
        files = files_below(folder)
    except NotRegular as error:
        raise ArgumentError(f"trial.checkpoint: {error}; save only regular files") from error
    if not files:
        raise ArgumentError(
            "trial.checkpoint: the folder is still empty at the end of the block; save at least "
            "one file in it: with trial.checkpoint() as folder: torch.save(state, folder / 'state')"
        )
    size = 0
    for name, path in files.items():
        with open_regular(path, follow=True) as file:
            data = file.read(PART)
            while True:
                size += len(data)
                channel.send(CheckpointPart(number, name, data))
                if not (data := file.read(PART)):
                    break
    channel.send(CheckpointEnd(number, checksum(folder, files), size))


def copy_checkpoint(checkpoint: Checkpoint, target: Path) -> bool:
    """Copy a checkpoint's files to `target`; return whether the copy matches its checksum.

    A damaged checkpoint is not used: the trial starts over, with a warning in its output.
    """
    try:
        found = _copied(Path(checkpoint.folder), target, checkpoint.size)
    except OSError as error:
        why = str(error)
    else:
        if found == checkpoint.sha256:
            return True
        why = f"its checksum is {found[:12]}…, expected {checkpoint.sha256[:12]}…"
    shutil.rmtree(target, ignore_errors=True)
    warnings.warn(
        f"the checkpoint in {checkpoint.folder} cannot be used: {why}; the trial starts over",
        stacklevel=3,
    )
    return False


def _copied(source: Path, target: Path, size: int) -> str:
    """Copy regular files with a total of `size` bytes, and return the checksum of the copy.

    Raises
    ------
    OSError
        If the folder contains anything else, or the total size differs.
    """
    found = list(regular_files(source))
    if (total := sum(length for _, _, length in found)) != size:
        raise OSError(f"it has {total} bytes, expected {size}")
    target.mkdir(parents=True)
    for name, path, length in found:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with open_regular(path) as file, (target / name).open("xb") as copy:
            # The file may grow during the copy.
            while length > 0 and (data := file.read(min(PART, length))):
                copy.write(data)
                length -= len(data)
    return checksum(target, files_below(target))
