"""What an objective may change in its process, given back after each trial.

The next trial on a worker, and with ``backend="serial"`` the user's own program, must not depend
on what another trial did.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_SIGNALS = [int(number) for number in signal.Signals]
_TIMERS = [
    getattr(signal, name)
    for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
    if hasattr(signal, name)
]


@contextmanager
def given_back(seed: int) -> Iterator[None]:
    """Seed the global generators of Python and NumPy for this block, and then tidy up.

    Their state is put back, as are the working directory, the environment, the module path, the
    filters of warnings, the recursion limit, whether garbage is collected, signal handlers, and
    timers that did not run before.
    """
    with warnings.catch_warnings(), _generators(seed), _signals():
        folder, variables, path = _working_directory(), dict(os.environ), list(sys.path)
        limit, collects = sys.getrecursionlimit(), gc.isenabled()
        try:
            yield
        finally:
            if folder and _working_directory() != folder:
                with contextlib.suppress(OSError):  # it was deleted: then there is none to go to
                    os.chdir(folder)
            if os.environ != variables:
                os.environ.clear()
                os.environ.update(variables)
            sys.path[:] = path
            sys.setrecursionlimit(limit)
            (gc.enable if collects else gc.disable)()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""  # deleted


@contextmanager
def _generators(seed: int) -> Iterator[None]:
    # NumPy's global generator is the one that objectives use, often unawares.
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def _signals() -> Iterator[None]:
    """Put back handlers, which only the main thread can set, and timers that were not running."""
    main = threading.current_thread() is threading.main_thread()
    handlers: dict[int, Any] = {}
    if main:
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    idle = [timer for timer in _TIMERS if not signal.getitimer(timer)[0]]
    try:
        yield
    finally:
        for timer in idle:
            if signal.getitimer(timer)[0]:
                signal.setitimer(timer, 0)
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler and handler is not None:
                signal.signal(number, handler)
