"""Differences between two records: packages, text and code."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from tuner.provenance.git import MAX_DIFF, git, is_commit
from tuner.records import Code

UNKNOWN = "not recorded"


def package_changes(
    before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    """Return the packages with different versions and both versions; None if not installed.

    Examples
    --------
    >>> package_changes({"numpy": "2.0", "six": "1"}, {"numpy": "2.1", "six": "1"})
    {'numpy': ('2.0', '2.1')}
    """
    names = sorted({*before, *after}, key=str.lower)
    both = {name: (before.get(name), after.get(name)) for name in names}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


def unified(before: str, after: str, names: tuple[str, str]) -> str:
    """Return the unified diff of two texts; "" if they are equal."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), names[0], names[1], lineterm=""
    )
    return "\n".join(lines)


def code_diff(before: Code, after: Code, names: tuple[str, str], repository: Path) -> str:
    """Return the diff of the code of two runs; "" if they are equal.

    The diff consists of the git diff of the commits, if both are in `repository`, and the unified
    diffs of the uncommitted changes and of the source of the objective.
    """
    parts = []
    if before.commit != after.commit:
        parts.append(f"# commit {before.commit or UNKNOWN} and {after.commit or UNKNOWN}")
        if is_commit(before.commit) and is_commit(after.commit):
            parts.append(git(repository, "diff", "--no-color", before.commit, after.commit))
    parts.append(
        unified(before.diff, after.diff, (f"{names[0]} uncommitted", f"{names[1]} uncommitted"))
    )
    objectives = (f"{names[0]} {before.objective}", f"{names[1]} {after.objective}")
    parts.append(unified(before.source, after.source, objectives))
    text = "\n".join(part.rstrip("\n") for part in parts if part)
    return text if len(text) <= MAX_DIFF else f"{text[:MAX_DIFF]}\n# cut"
