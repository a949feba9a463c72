"""End a worker together with the process that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
"""See prctl(2): the signal sent to a process when its parent ends."""

INTERVAL = 1.0
"""Seconds between checks of the parent on systems that cannot send a signal."""


def die_with(parent: int) -> None:
    """End this process as soon as its parent, of process id `parent`, has ended.

    If only the raylet of a Ray node dies, its workers would continue unnoticed. On Linux the
    kernel ends this process in every state, even if it is frozen or blocks all other threads.
    Call this on a persistent thread; it does nothing if `parent` was never the parent.
    """
    if os.getppid() != parent:
        return
    if sys.platform != "linux" or ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        threading.Thread(target=_watch, args=(parent,), name="tuner-parent", daemon=True).start()
    elif os.getppid() != parent:
        os._exit(1)  # it ended just before


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    os._exit(1)
