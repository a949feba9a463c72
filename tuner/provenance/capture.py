"""Provenance of a run: its code in git, its environment, and fingerprints of its data."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import os
import platform
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tuner.errors import ArgumentError
from tuner.errors.credentials import hide_exact
from tuner.records import Code, Environment
from tuner.tracking.artifacts.files import open_regular

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    Digest: TypeAlias = "hashlib._Hash"

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


__all__ = ["current_code", "current_environment", "fingerprint"]

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


_CHUNK = 1 << 22
"""Bytes of an array that are copied at a time, if a copy is needed."""

_ROWS = 1 << 16
"""Rows of a table that are hashed at a time."""


def fingerprint(data: Any) -> str:
    """Return a hash of the content of `data`, 32 hexadecimal digits.

    Arrays, tables and files are read piece by piece, so a fingerprint needs only a few megabytes of
    memory beside the data.

    Parameters
    ----------
    data
        NumPy arrays and scalars, other array-likes (such as a PyTorch tensor),
        pandas DataFrames, Series and Indexes, tables of Arrow and Polars, SciPy sparse matrices,
        numbers, strings, bytes, None, a `Path` of a file or folder (its content counts, not its
        location), and lists, tuples, sets and dicts of these. The order of a dict does not count.
        A string is hashed as a string: write ``Path("data.csv")`` for a file.

    Raises
    ------
    ArgumentError
        For any other type, or a path that cannot be read.

    Examples
    --------
    >>> fingerprint([1, 2]) == fingerprint([1, 2]), fingerprint([1, 2]) == fingerprint([2, 1])
    (True, False)
    """
    digest = hashlib.sha256()
    _add(digest, data, "data")
    return digest.hexdigest()[:32]


def _add(digest: Digest, data: Any, place: str) -> None:
    """Add a value to the digest, preceded by its type and length."""
    match data:
        case None | bool() | int() | float() | complex() | str():
            _add_bytes(digest, type(data).__name__, repr(data).encode("utf-8", "backslashreplace"))
        case bytes() | bytearray() | memoryview():
            _add_bytes(digest, "bytes", bytes(data))
        case np.ndarray() | np.generic():
            _add_array(digest, np.asarray(data), place)
        case os.PathLike():
            _add_path(digest, Path(data), place)
        case Mapping():
            items = sorted((fingerprint(key), key) for key in data)
            _add_bytes(digest, "dict", str(len(items)).encode())
            for key_print, key in items:
                _add_bytes(digest, "key", key_print.encode())
                _add(digest, data[key], f"{place}[{key!r}]")
        case list() | tuple():
            _add_bytes(digest, type(data).__name__, str(len(data)).encode())
            for i, item in enumerate(data):
                _add(digest, item, f"{place}[{i}]")
        case Set():
            _add_bytes(digest, "set", " ".join(sorted(map(fingerprint, data))).encode())
        case _:
            _add_library_type(digest, data, place)


def _add_library_type(digest: Digest, data: Any, place: str) -> None:
    """Add a value of another library; the library is imported only if the data comes from it."""
    library = type(data).__module__.split(".")[0]
    if library == "pandas" and hasattr(data, "to_frame"):
        _add_frame(digest, data.to_frame(), type(data).__name__, place)
    elif library == "pandas" and hasattr(data, "columns"):
        _add_frame(digest, data, type(data).__name__, place)
    elif library == "scipy" and hasattr(data, "tocoo"):
        matrix = data.tocsr() if data.ndim == 2 else data.tocoo()
        matrix.sum_duplicates()
        coordinates = matrix.tocoo()
        _add_bytes(digest, "sparse", repr(tuple(map(int, data.shape))).encode())
        for axis in coordinates.coords:
            _add_array(digest, np.asarray(axis, dtype=np.int64), place)
        _add_array(digest, coordinates.data, place)
    elif library == "pyarrow" and hasattr(data, "to_pandas") and hasattr(data, "schema"):
        import pyarrow

        is_table = isinstance(data, pyarrow.Table)
        _add_arrow(digest, data if is_table else pyarrow.table(data), place)
    elif library == "polars" and hasattr(data, "to_arrow") and hasattr(data, "columns"):
        _add_arrow(digest, data.to_arrow(), place)
    elif hasattr(data, "__array__"):
        _add_array(digest, np.asarray(data), place)
    else:
        raise ArgumentError(
            f"{place} is a {type(data).__module__}.{type(data).__qualname__}, which has no "
            f"fingerprint; give NumPy arrays, pandas DataFrames or Series, SciPy sparse matrices, "
            f"a pathlib.Path of a file or folder, bytes, text or numbers, or lists, tuples, dicts "
            f"and sets of these"
        )


def _add_array(digest: Digest, array: np.ndarray[Any, Any], place: str) -> None:
    if array.dtype.hasobject:
        _add_bytes(digest, "objects", repr(array.shape).encode())
        for i, item in enumerate(array.flat):
            _add(digest, item, f"{place}.ravel()[{i}]")
        return
    # Little-endian and in C order, independent of the machine and the memory layout.
    order = array.dtype.newbyteorder("<")
    _add_bytes(digest, "array", f"{order.str} {order.names} {array.shape}".encode())
    for block in _blocks(array):
        plain = np.ascontiguousarray(block.astype(order, copy=False))
        digest.update(plain.reshape(-1).view(np.uint8).data)


def _blocks(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield an array in small pieces, in C order."""
    if array.nbytes <= _CHUNK or array.ndim == 0:
        yield array
        return
    rows = max(1, len(array) * _CHUNK // array.nbytes)
    for start in range(0, len(array), rows):
        if rows == 1 and array.ndim > 1:
            yield from _blocks(array[start])
        else:
            yield array[start : start + rows]


def _add_frame(digest: Digest, frame: pd.DataFrame, kind: str, place: str) -> None:
    _add_bytes(digest, kind, f"{frame.shape} {list(map(str, frame.dtypes))}".encode())
    _add(digest, [list(frame.index.names), list(frame.columns)], "columns")
    pieces = (frame.iloc[i : i + _ROWS] for i in range(0, len(frame), _ROWS))
    _add_rows(digest, len(frame), pieces, f"{place}: this {kind}")


def _add_arrow(digest: Digest, table: pa.Table, place: str) -> None:
    _add_bytes(digest, "Table", f"{table.num_rows} {[str(t) for t in table.schema.types]}".encode())
    _add(digest, list(table.column_names), "columns")
    starts = range(0, table.num_rows, _ROWS)
    pieces = (table.slice(i, _ROWS).to_pandas() for i in starts)
    _add_rows(digest, table.num_rows, pieces, f"{place}: this table")


def _add_rows(digest: Digest, count: int, pieces: Iterator[pd.DataFrame], what: str) -> None:
    """Add a hash of each row, as if all rows were one array."""
    import pandas as pd

    _add_bytes(digest, "array", f"<u8 None {(count,)}".encode())
    for piece in pieces:
        try:
            # pandas hashes strings, categories and missing values by content.
            hashes = pd.util.hash_pandas_object(piece, index=True)
        except TypeError as error:
            raise ArgumentError(
                f"{what} has a column that pandas cannot hash ({error}); "
                f"give columns of numbers, times, categories or text"
            ) from error
        digest.update(hashes.to_numpy().astype("<u8", copy=False).tobytes())


def _add_path(digest: Digest, path: Path, place: str) -> None:
    try:
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file())
            _add_bytes(digest, "folder", str(len(files)).encode())
            for file in files:
                _add_bytes(digest, "name", file.relative_to(path).as_posix().encode())
                _add_file(digest, file)
        else:
            _add_file(digest, path)
    except OSError as error:
        raise ArgumentError(f"{place}: {str(path)!r} cannot be read: {error}") from error


def _add_file(digest: Digest, path: Path) -> None:
    with open_regular(path, follow=True) as file:
        _add_bytes(digest, "file", hashlib.file_digest(file, "sha256").digest())


def _add_bytes(digest: Digest, kind: str, content: bytes) -> None:
    digest.update(f"{kind} {len(content)} ".encode())
    digest.update(content)
