"""Provenance of a run: its code and its environment."""

from __future__ import annotations

import functools
import getpass
import hashlib
import importlib.metadata
import inspect
import platform
import re
import sys
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuner.errors.credentials import hide_exact
from tuner.provenance.fingerprints import fingerprint
from tuner.provenance.git import MAX_DIFF, git
from tuner.records import Code, Environment

__all__ = ["current_code", "current_environment", "current_user", "fingerprint"]

_SITE = {"site-packages", "dist-packages"}
"""Folders that packages are installed in."""


def current_code(objective: Callable[..., Any] | None = None) -> Code:
    """Return the current code: the git commit, the diff to it, and the objective.

    The repository is the one that holds the objective's source file, else the one of the working
    directory. Without git or a repository, commit and diff are empty. Without source, such as for a
    function typed into an interpreter, the source is empty. Passwords in URLs and known secrets are
    hidden in diff and source.

    Parameters
    ----------
    objective
        A function, lambda, partial, method, class or callable object.
    """
    target = _innermost(objective)
    source = _source(target)
    commit, diff = _git_state(_folder(target))
    if not commit:
        commit, diff = _git_state(Path.cwd())
    return Code(
        commit=commit,
        diff=hide_exact(diff),
        objective="" if objective is None else _qualified_name(target),
        source=hide_exact(source),
        source_sha256=hashlib.sha256(_utf8(source)).hexdigest() if source else "",
    )


@functools.cache
def current_environment() -> Environment:
    """Return Python, the platform and the versions of all installed packages.

    Packages that another package bundles in a private folder and adds to the path on import, as Ray
    does, count as parts of that package.
    """
    installed = [p for p in sys.path if not _SITE.intersection(Path(p).parts[:-2])]
    # The first one on the path is the one that is imported.
    found = map(_name_and_version, reversed(list(importlib.metadata.distributions(path=installed))))
    packages = {name: version for name, version in found if name and version}
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        packages=dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    )


def _name_and_version(package: importlib.metadata.Distribution) -> tuple[str, str]:
    """Return the name and version in the first lines of a package's metadata.

    The properties of a distribution parse all metadata on each access, which takes seconds for
    hundreds of packages.
    """
    text = next(filter(None, map(package.read_text, ("METADATA", "PKG-INFO", ""))), "")
    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    said = dict(reversed(re.findall(r"^(Name|Version):[ \t]*(.*?)[ \t\r]*$", head, re.MULTILINE)))
    return said.get("Name", ""), said.get("Version", "")


def current_user() -> str:
    """Return the name of the user who runs this process, "" if the system has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a UID without a name
        return ""


# --- the objective --------------------------------------------------------------------------------


def _innermost(objective: Any) -> Any:
    """Return the object that holds the code: the innermost function, or a class.

    Partials, wrappers and methods are unwrapped.
    """
    while True:
        if isinstance(objective, functools.partial):
            objective = objective.func
        elif inspect.ismethod(objective):
            objective = objective.__func__
        elif hasattr(objective, "__wrapped__"):
            objective = objective.__wrapped__
        else:
            break
    if objective is None or inspect.isroutine(objective) or inspect.isclass(objective):
        return objective
    return type(objective)


def _qualified_name(target: Any) -> str:
    name = getattr(target, "__qualname__", None) or type(target).__qualname__
    return f"{getattr(target, '__module__', None) or '__main__'}.{name}"


def _source(target: Any) -> str:
    try:
        return inspect.getsource(target)
    except (OSError, TypeError, IndexError, SyntaxError, tokenize.TokenError):
        return ""


def _folder(target: Any) -> Path:
    """Return the folder of the objective's source file, else the working directory."""
    try:
        file = Path(inspect.getsourcefile(target) or "") if target is not None else Path()
    except TypeError:
        file = Path()
    # The file of a notebook cell does not exist; an installed package is not the user's code.
    if file.is_file() and not _SITE.intersection(file.parts):
        return file.resolve().parent
    return Path.cwd()


# --- git ------------------------------------------------------------------------------------------


def _git_state(folder: Path) -> tuple[str, str]:
    """Return the commit, and the diff to it, preceded by the names of untracked files."""
    commit = git(folder, "rev-parse", "--verify", "--quiet", "HEAD").strip()
    if not commit:
        return "", ""
    diff = git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--submodule=short")
    others = ["--others", "--exclude-standard", "--exclude=__pycache__/", "--full-name", ":/"]
    untracked = git(folder, "ls-files", *others)
    if untracked:
        names = "".join(f"# untracked: {name}\n" for name in untracked.splitlines())
        diff = f"{names}{diff}"
    if len(diff) > MAX_DIFF:
        diff = f"{diff[:MAX_DIFF]}\n# cut: {len(diff) - MAX_DIFF} more characters\n"
    return commit, diff


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
