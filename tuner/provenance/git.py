"""Query git. Without git or a repository, the results are empty."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

MAX_DIFF = 1_000_000
"""Maximum characters of a diff that are kept."""

GIT_TIMEOUT = 5.0
"""Seconds that git may take; if it takes longer, nothing is recorded."""


def is_commit(text: str) -> bool:
    """Return whether a string is a valid commit hash; a record may hold any string."""
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) is not None


def git(folder: Path, *arguments: str) -> str:
    """Return the output of git, "" if it fails, is missing or takes too long."""
    # Do not refresh the index, which would lock it: these commands only read.
    settings = ("-c", "core.quotePath=false", "-c", "diff.autoRefreshIndex=false")
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", os.fspath(folder), *settings, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=GIT_TIMEOUT,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
