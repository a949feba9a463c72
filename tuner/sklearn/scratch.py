"""The temporary store of searches that keep no record."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from multiprocessing.util import Finalize


def scratch_store() -> str:
    """Return the folder of this process's temporary store, which is removed when it ends."""
    return _folder(os.getpid())


@cache
def _folder(pid: int) -> str:
    folder = tempfile.mkdtemp(prefix=f"tuner-{pid}-")
    # Workers of joblib end without the functions of `atexit`, and a forked child must keep it.
    Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=0)
    return folder
