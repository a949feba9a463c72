"""Restore the code of a run: its commit in a temporary worktree plus its uncommitted changes."""

from __future__ import annotations

import ast
import inspect
import io
import shutil
import subprocess
import tempfile
import tokenize
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tuner.errors import ArgumentError
from tuner.errors.credentials import hide_exact
from tuner.provenance.capture import git, is_commit
from tuner.records import Code
from tuner.search_spaces.parsing import parse_python

_CHECKOUT_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with the code of a run.

    `file` contains the objective under the name `name`. `notes` list parts of the recorded code
    that could not be restored.
    """

    folder: Path
    file: Path
    name: str
    notes: tuple[str, ...] = ()


@contextmanager
def workspace(code: Code, repository: Path) -> Iterator[Workspace]:
    """Provide a folder with the code of a run, restored if the repository has its commit.

    Parameters
    ----------
    code
        The recorded code of the run.
    repository
        A folder of the repository, or the folder to search for the file of the objective.

    Raises
    ------
    ArgumentError
        If neither the files nor the record contain the objective.
    """
    root = Path(git(repository, "rev-parse", "--show-toplevel").strip() or repository).resolve()
    temp_dir = Path(tempfile.mkdtemp(prefix="tuner-replay-"))
    tree = temp_dir / "code"
    made = False
    try:
        notes: tuple[str, ...] = ()
        made = _has_commit(root, code.commit) and _check_out(root, code.commit, tree)
        if made:
            notes = _apply(code.diff, tree, temp_dir)
        elif code.commit:
            notes = (f"commit {code.commit[:12]} is not in {root}: the current code is used",)
        yield _found(code, tree if made else root, root, temp_dir, notes)
    finally:
        if made:
            git(root, "worktree", "remove", "--force", str(tree))
        shutil.rmtree(temp_dir, ignore_errors=True)
        if made:
            git(root, "worktree", "prune")


def _has_commit(root: Path, commit: str) -> bool:
    return is_commit(commit) and git(root, "cat-file", "-t", commit).strip() == "commit"


def _check_out(root: Path, commit: str, tree: Path) -> bool:
    no_hooks = ["-c", "core.hooksPath=/dev/null"]
    add = ["worktree", "add", "--detach", "--quiet", str(tree), commit]
    done = subprocess.run(
        ["git", "-C", str(root), *no_hooks, *add],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=_CHECKOUT_TIMEOUT,
        check=False,
    )
    return done.returncode == 0


def _apply(diff: str, tree: Path, temp_dir: Path) -> tuple[str, ...]:
    """Apply the recorded uncommitted changes; return notes on parts that could not be applied."""
    lines = diff.splitlines(keepends=True)
    untracked = [
        line.removeprefix("# untracked: ").strip()
        for line in lines
        if line.startswith("# untracked: ")
    ]
    notes = []
    if untracked:
        notes.append(f"untracked files were not recorded: {', '.join(untracked[:5])}")
    changes = "".join(line for line in lines if not line.startswith("# "))
    if changes.strip():
        patch = temp_dir / "changes.diff"
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


def _found(code: Code, tree: Path, root: Path, temp_dir: Path, notes: tuple[str, ...]) -> Workspace:
    """Locate the objective: in the worktree, in the current folder, or as recorded source alone.

    Files with the name of its module are searched first, then all files for its definition with the
    recorded source.
    """
    module, name = _split(code.objective)
    if not name or "<" in code.objective:  # lambdas, and functions within functions
        raise ArgumentError(
            f"replay: the objective {code.objective!r} cannot be found by its name; pass it: "
            f"tuner.replay(..., objective=f), or --objective SCRIPT.py:FUNCTION"
        )
    folders = list(dict.fromkeys((tree, root)))
    for looking in (_same_source_by_name, _same_name, _same_source):
        for folder in folders:
            files = looking(code.source, module, name, folder)
            if not files:
                continue
            file = _only(files, folder, code.objective)
            if folder != tree:
                what = file.relative_to(root)
                notes = (*notes, f"{what} is not in the commit: the current file is used")
            return Workspace(folder, file, name, notes)
    if not code.source:
        raise ArgumentError(
            f"replay: {code.objective!r} is not below {root} and its source was not recorded; run "
            f"this in its repository, or pass --objective SCRIPT.py:FUNCTION"
        )
    alone = temp_dir / "objective.py"
    alone.write_text(code.source, encoding="utf-8", errors="surrogateescape")
    notes = (*notes, f"no file below {root} has the objective: its recorded source is used alone")
    return Workspace(temp_dir, alone, name, notes)


def _split(objective: str) -> tuple[str, str]:
    """Split an objective into module and name; both can contain dots.

    Capitalized parts are classes and belong to the name.
    """
    module, _, name = objective.rpartition(".")
    while module and module.rpartition(".")[2][:1].isupper():
        module, _, part = module.rpartition(".")
        name = f"{part}.{name}"
    return module, name


def _same_source_by_name(source: str, module: str, name: str, folder: Path) -> list[Path]:
    return [file for file in _named(module, folder) if _defines(file, name, source)]


def _same_source(source: str, _: str, name: str, folder: Path) -> list[Path]:
    return [file for file in _python_files(folder) if _defines(file, name, source)]


def _same_name(_: str, module: str, name: str, folder: Path) -> list[Path]:
    return [file for file in _named(module, folder) if _defines(file, name)]


def _only(files: list[Path], folder: Path, objective: str) -> Path:
    """Return the highest of several files, if they are copies of each other.

    Raises
    ------
    ArgumentError
        If they differ: each may have another meaning of the names that the objective uses.
    """
    if len({_text(file) for file in files}) > 1:
        names = ", ".join(file.relative_to(folder).as_posix() for file in files[:5])
        raise ArgumentError(
            f"replay: {objective!r} may be in each of the files {names}, which differ; write "
            f"objective='SCRIPT.py:FUNCTION', or --objective SCRIPT.py:FUNCTION"
        )
    return min(files, key=lambda file: len(file.parts))


def _named(module: str, folder: Path) -> list[Path]:
    """Return the files that can define a module."""
    stem = module.removeprefix("script_").replace(".", "/")
    ends = (f"/{stem}.py", f"/{stem}/__init__.py")
    return [file for file in _python_files(folder) if file.as_posix().endswith(ends)]


def _python_files(folder: Path) -> list[Path]:
    """Return the Python files of a repository, or of a folder outside git and its subfolders."""
    listed = git(folder, "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.py")
    if listed:
        return [file for name in listed.splitlines() if (file := folder / name).is_file()]
    return sorted(folder.glob("*.py")) + sorted(folder.glob("*/*.py"))


def _text(file: Path) -> str:
    try:
        with tokenize.open(file) as opened:
            return opened.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""


def _defines(file: Path, name: str, source: str | None = None) -> bool:
    """Return whether a file defines a function or class that its module has under this name.

    Parameters
    ----------
    file
        The file.
    name
        The name, with dots for a member of a class.
    source
        The source of the definition; None for any.
    """
    text = _text(file)
    if source == "" or name.rpartition(".")[2] not in text:
        return False  # without parsing it
    try:
        body: list[ast.stmt] = parse_python(text).body
    except (SyntaxError, ValueError, RecursionError):
        return False
    *classes, last = name.split(".")
    for part in classes:
        found = _definitions(body, part)
        body = [each for node in found if isinstance(node, ast.ClassDef) for each in node.body]
    blocks = (_block(text, node) for node in _definitions(body, last))
    return any(source is None or hide_exact(b).rstrip() == source.rstrip() for b in blocks)


_Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(body: Iterable[ast.stmt], name: str) -> list[_Definition]:
    """Return the definitions that a name may have after these statements: several after an if."""
    found: list[_Definition] = []
    for node in body:
        if isinstance(node, _Definition):
            found = [node] if node.name == name else found
        else:
            parts = (*getattr(node, "handlers", ()), *getattr(node, "cases", ()), node)
            inner = (each for part in parts for each in ast.iter_child_nodes(part))
            found += _definitions((each for each in inner if isinstance(each, ast.stmt)), name)
    return found


def _block(text: str, node: _Definition) -> str:
    """Return the source of a definition, with its decorators, as `inspect.getsource` does."""
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return "".join(inspect.getblock(io.StringIO(text).readlines()[first - 1 :]))
