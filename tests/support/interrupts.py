"""Children that heed Ctrl-C, wherever the tests run."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """Undo what a shell does to processes in the background: they ignore Ctrl-C.

    For the `preexec_fn` of a child.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
