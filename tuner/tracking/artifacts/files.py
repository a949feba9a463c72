"""Operations on files and folders: reads of regular files only, and atomic renames of folders.

A pipe, socket or device in a folder would block its reader forever, and a device such as
``/dev/zero`` never ends. Every file is therefore checked before it is opened, opened without
blocking, and checked again through its descriptor, because another process may have replaced it.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class NotRegular(OSError):
    """The path is not a regular file; the message names the path and its type."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(errno.EINVAL, f"{what}, no regular file", str(path))
        self.path, self.what = path, what

    def __str__(self) -> str:
        return f"{self.path} is {self.what}, and no regular file"


def open_regular(path: Path, *, follow: bool = False) -> BufferedReader:
    """Open a regular file for reading bytes.

    Parameters
    ----------
    path
        The file.
    follow
        Whether a link to a regular file counts as one.

    Raises
    ------
    NotRegular
        If it is not a regular file.
    OSError
        If it cannot be opened.
    """
    check_regular(path, os.stat(path, follow_symlinks=follow).st_mode)
    try:
        descriptor = os.open(path, _FLAGS | _BINARY | (0 if follow else _NOFOLLOW))
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise NotRegular(path, "a link") from error
        raise
    try:
        check_regular(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """Return the content of a regular file, its first `limit` bytes if it has more.

    Raises
    ------
    NotRegular
        If it is not a regular file.
    OSError
        If it cannot be read.
    """
    with open_regular(path, follow=follow) as file:
        content: bytes | None = file.read(limit)
    if content is None:  # such as /proc/kmsg, which has nothing to read at the moment
        raise BlockingIOError(errno.EAGAIN, "would wait for its content", str(path))
    return content


def regular_files(folder: Path, *, follow: bool = False) -> Iterator[tuple[str, Path, int]]:
    """Yield each file below a folder: its relative path with ``/``, its path and its size.

    Parameters
    ----------
    folder
        The folder.
    follow
        Whether links to files and folders are followed.

    Raises
    ------
    NotRegular
        At a pipe, a socket, a device, a broken link, a link to a folder above it, or with `follow`
        off, any link.
    OSError
        If a folder cannot be read.
    """
    yield from _below(folder, "", follow, ())


def _below(
    folder: Path, base: str, follow: bool, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, Path, int]]:
    here = folder.stat()
    if (here.st_dev, here.st_ino) in above:
        raise NotRegular(folder, "a link to a folder above it")
    above = (*above, (here.st_dev, here.st_ino))
    for name in sorted(os.listdir(folder)):
        path = folder / name
        relative = f"{base}{name}"
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) and follow:
            try:
                found = path.stat()
            except OSError as error:
                raise NotRegular(path, f"a link that leads nowhere ({error.strerror})") from error
        if stat.S_ISDIR(found.st_mode):
            yield from _below(path, f"{relative}/", follow, above)
        else:
            check_regular(path, found.st_mode)
            yield relative, path, found.st_size


class HeldFolder:
    """A folder that is kept open, so that its inode number cannot be reused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        if os.name == "posix":
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            with suppress(FileNotFoundError):
                self._descriptor = os.open(path, flags)
                weakref.finalize(self, os.close, self._descriptor)

    def is_in_place(self) -> bool:
        """Return whether the open folder is still the one at its path."""
        if self._descriptor is None:
            return self.path.is_dir()
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except OSError:
            return False


def put_in_place(source: Path, target: Path) -> None:
    """Rename a folder, even while another process removes empty folders above `target`.

    Raises
    ------
    FileExistsError
        If `target` exists.
    OSError
        If `target` cannot be written, or `source` is gone.
    """
    while True:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)  # which never replaces a folder with files in it
            return
        except OSError as error:
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error
            if _is_no_folder(target.parent):
                where = errno.ENOTDIR, os.strerror(errno.ENOTDIR), target.parent
                raise NotADirectoryError(*where) from error
            if error.errno not in _PASSING or not source.exists():
                raise


_PASSING = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY)
"""Error numbers of a folder that appears or disappears at that moment."""


def _is_no_folder(path: Path) -> bool:
    """Return whether a path is taken by something that is not a folder."""
    try:
        return not stat.S_ISDIR(path.lstat().st_mode)  # one call: it may be gone at the next
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_regular(path: Path, mode: int) -> None:
    """Raise `NotRegular` unless the mode denotes a regular file."""
    if not stat.S_ISREG(mode):
        raise NotRegular(path, _KINDS.get(stat.S_IFMT(mode), "a special file"))


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
