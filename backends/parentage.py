"""Sees that a worker does not outlive the process that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
"""See prctl(2): the signal that a process gets when its parent ends."""

INTERVAL = 1.0
"""Seconds between looks at the parent, where the system cannot send a signal."""


def die_with(parent: int) -> None:
    """End this process as soon as its parent, of process id `parent`, has ended.

    When a node of Ray is lost to us because only its raylet died, its workers run on, unnoticed.
    On Linux the kernel ends this one, whatever it does, even if it is frozen or lets no other
    thread run. To be called on a thread that lasts; does nothing if `parent` was never its parent.
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
