"""Child processes that react to Ctrl-C in any test environment."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """Restore Ctrl-C, which shells disable for background processes.

    For the `preexec_fn` of a child.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
