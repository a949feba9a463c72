"""Reads what an objective wants to keep: regular files that fit into memory."""

from __future__ import annotations

import os
from pathlib import Path

from tuner.errors import ArgumentError
from tuner.tracking.artifacts.files import NotRegular, read_regular, regular_files

_GROWTH = 2**24
"""Bytes that are read of a file though its size says less: of a log that grows, or of /proc."""


def files_to_keep(path: Path) -> dict[str, bytes]:
    """Return the content of a file, or of all files below a folder, by relative path.

    Raises
    ------
    ArgumentError
        If there is nothing at `path`, or something else than regular files and folders, or more
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
                f"machine ({limit}); keep the file where it is, and log a text that says where"
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
            f"trial.log_artifact: there is no file or folder at {error.filename or path}"
        ) from error
    except (OSError, ValueError) as error:
        raise ArgumentError(f"trial.log_artifact: {path} cannot be read: {error}") from error


def _memory() -> int:
    """Return the bytes of memory of this machine."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**40
