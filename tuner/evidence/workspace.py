"""The code of a run, put back as it was: its commit in a temporary worktree, its changes on top."""

from __future__ import annotations

import ast
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import ArgumentError
from tuner.records import Code
from tuner.tracking.git import git, is_commit

_CHECKOUT_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with the code of a run.

    `file` holds the objective, `name` is what it is called there, and `notes` say what of the
    recorded code could not be put back.
    """

    folder: Path
    file: Path
    name: str
    notes: tuple[str, ...] = ()


@contextmanager
def workspace(code: Code, repository: Path) -> Iterator[Workspace]:
    """Give a folder with the code of a run, as it was if the repository has its commit.

    Parameters
    ----------
    code
        What the run recorded.
    repository
        A folder of the repository, or the one to look for the objective's file in.

    Raises
    ------
    ArgumentError
        If no file has the objective, nor does the record hold its source.
    """
    root = Path(git(repository, "rev-parse", "--show-toplevel").strip() or repository).resolve()
    scratch = Path(tempfile.mkdtemp(prefix="tuner-replay-"))
    tree = scratch / "code"
    made = False
    try:
        notes: tuple[str, ...] = ()
        made = _has_commit(root, code.commit) and _check_out(root, code.commit, tree)
        if made:
            notes = _apply(code.diff, tree, scratch)
        elif code.commit:
            notes = (f"commit {code.commit[:12]} is not in {root}: the code is what is there now",)
        yield _found(code, tree if made else root, root, scratch, notes)
    finally:
        if made:
            git(root, "worktree", "remove", "--force", str(tree))
        shutil.rmtree(scratch, ignore_errors=True)
        if made:
            git(root, "worktree", "prune")


def _has_commit(root: Path, commit: str) -> bool:
    return is_commit(commit) and git(root, "cat-file", "-t", commit).strip() == "commit"


def _check_out(root: Path, commit: str, tree: Path) -> bool:
    done = subprocess.run(
        ["git", "-C", str(root), "worktree", "add", "--detach", "--quiet", str(tree), commit],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=_CHECKOUT_TIMEOUT,
        check=False,
    )
    return done.returncode == 0


def _apply(diff: str, tree: Path, scratch: Path) -> tuple[str, ...]:
    """Apply the uncommitted changes that were recorded, and say what could not be."""
    lines = diff.splitlines(keepends=True)
    untracked = [
        line.removeprefix("# untracked: ").strip()
        for line in lines
        if line.startswith("# untracked: ")
    ]
    notes = []
    if untracked:
        notes.append(f"files that were not in git are not recorded: {', '.join(untracked[:5])}")
    changes = "".join(line for line in lines if not line.startswith("# "))
    if changes.strip():
        patch = scratch / "changes.diff"
        patch.write_text(changes, encoding="utf-8", errors="surrogateescape")
        done = subprocess.run(
            ["git", "-C", str(tree), "apply", "--whitespace=nowarn", str(patch)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_CHECKOUT_TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["git apply failed"])[0]
            notes.append(f"the uncommitted changes could not be applied ({reason})")
    return tuple(notes)


# --- finding the objective ------------------------------------------------------------------------


def _found(code: Code, tree: Path, root: Path, scratch: Path, notes: tuple[str, ...]) -> Workspace:
    """Return where the objective is: in the worktree, else in the folder as it is now, else alone.

    Looked for first in files of its module's name, and in the end in any file that has its source.
    """
    module, name = _split(code.objective)
    if not name or "<" in name:
        raise ArgumentError(
            f"replay: the objective {code.objective!r} cannot be found again by its name; give it: "
            f"tuner.replay(..., objective=f), or --objective SCRIPT.py:FUNCTION"
        )
    folders = list(dict.fromkeys((tree, root)))
    for looking in (_same_source_by_name, _same_name, _same_source):
        for folder in folders:
            file = looking(code.source, module, name, folder)
            if file is None:
                continue
            if folder != tree:
                what = file.relative_to(root)
                notes = (*notes, f"{what} is not in the commit: it is taken as it is now")
            return Workspace(folder, file, name, notes)
    if not code.source:
        raise ArgumentError(
            f"replay: {code.objective!r} is not below {root} and its source was not recorded; run "
            f"this in its repository, or give --objective SCRIPT.py:FUNCTION"
        )
    alone = scratch / "objective.py"
    alone.write_text(code.source, encoding="utf-8", errors="surrogateescape")
    notes = (*notes, f"no file below {root} has the objective: its recorded source runs alone")
    return Workspace(scratch, alone, name, notes)


def _split(objective: str) -> tuple[str, str]:
    """Return module and name; a name may have dots, and so may a module: classes begin large."""
    module, _, name = objective.rpartition(".")
    while module and module.rpartition(".")[2][:1].isupper():
        module, _, part = module.rpartition(".")
        name = f"{part}.{name}"
    return module, name


def _same_source_by_name(source: str, module: str, _: str, folder: Path) -> Path | None:
    named = _named(module, folder)
    return next((file for file in named if source and source in _text(file)), None)


def _same_source(source: str, _: str, __: str, folder: Path) -> Path | None:
    files = _python_files(folder)
    return next((file for file in files if source and source in _text(file)), None)


def _same_name(_: str, module: str, name: str, folder: Path) -> Path | None:
    first = name.split(".")[0]
    return next((file for file in _named(module, folder) if first in _names(file)), None)


def _named(module: str, folder: Path) -> list[Path]:
    """Return the files that a module of that name can be."""
    stem = module.removeprefix("script_").replace(".", "/")
    ends = (f"/{stem}.py", f"/{stem}/__init__.py")
    return [file for file in _python_files(folder) if file.as_posix().endswith(ends)]


def _python_files(folder: Path) -> list[Path]:
    """Return the Python files of a repository, or of a folder that is none and what is in it."""
    listed = git(folder, "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.py")
    if listed:
        return [file for name in listed.splitlines() if (file := folder / name).is_file()]
    return sorted(folder.glob("*.py")) + sorted(folder.glob("*/*.py"))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _names(file: Path) -> set[str]:
    """Return the functions and classes that a file defines."""
    try:
        body = ast.parse(_text(file)).body
    except (SyntaxError, ValueError):
        return set()
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in body if isinstance(node, kinds)}
