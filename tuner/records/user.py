"""The user who runs this process."""

from __future__ import annotations

import getpass


def current_user() -> str:
    """Return the name of the user who runs this process, "" if the system has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a UID without a name
        return ""
