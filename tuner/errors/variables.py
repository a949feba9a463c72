"""The environment variables of the process."""

from __future__ import annotations

import os
from typing import Any


def variables() -> dict[Any, Any]:
    """Return a copy of the environment variables as the process keeps them, to compare with.

    On POSIX these are bytes. `os.environ` decodes each of them at each reading, which takes a
    hundred times as long and is done for each trial.

    Examples
    --------
    >>> variables() == variables()
    True
    """
    return dict(getattr(os.environ, "_data", os.environ))
