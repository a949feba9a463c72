"""Whether this process is the kernel of a notebook, whose cells show HTML and figures."""

from __future__ import annotations

import sys
from collections.abc import Callable


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook; IPython is not imported for it."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def after_cell(action: Callable[[], None]) -> None:
    """Call `action` once, at the end of the running cell of a notebook."""
    from IPython import get_ipython

    events = get_ipython().events

    def call(_: object) -> None:
        events.unregister("post_run_cell", call)
        action()

    events.register("post_run_cell", call)
