"""Asks git, where there is one; without git or a repository there is just no answer."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

MAX_DIFF = 1_000_000
"""Characters of a diff that are kept."""

GIT_TIMEOUT = 5.0
"""Seconds that git may take; a repository that is slower goes unrecorded."""


def is_commit(text: str) -> bool:
    """Return whether a text can be a commit's hash; a record may hold anything."""
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) is not None


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints, "" if it fails, is missing or takes too long."""
    # The index is not refreshed, which would lock it: git is only asked, and in passing.
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
