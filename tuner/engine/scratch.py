"""A folder for what a trial needs on the disk while it runs."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

_NAME = re.compile(r"tuner-scratch-(\d+)-.*")


class Scratch:
    """A temporary folder, made when it is first asked for.

    A worker that is killed cannot remove its own: the next one on the same machine does.
    """

    def __init__(self) -> None:
        self._root: Path | None = None
        self._count = 0

    def fresh(self) -> Path:
        """Return a path in it at which there is nothing yet."""
        if self._root is None:
            _remove_left_ones()
            self._root = Path(tempfile.mkdtemp(prefix=f"tuner-scratch-{os.getpid()}-"))
        self._count += 1
        return self._root / str(self._count)

    def remove(self) -> None:
        """Delete the folder."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None


def _remove_left_ones() -> None:
    for path in Path(tempfile.gettempdir()).glob("tuner-scratch-*"):
        match = _NAME.fullmatch(path.name)
        if match and not _is_running(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True
