"""Read the files of an artifact: regular files that fit into memory."""

from __future__ import annotations

import os
from pathlib import Path

from tuner.errors import ArgumentError
from tuner.tracking.artifacts.regular_files import NotRegular, read_regular, regular_files

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
