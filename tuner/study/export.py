"""Tables of trials, runs and reports as CSV, JSON or Parquet, and artifacts of trials as files."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.errors import ArgumentError, ExportError, StoreCorrupt
from tuner.errors.boundary import public
from tuner.errors.printable import well_formed
from tuner.records import Artifact, Goal, Report, Run, Trial, Upload
from tuner.records.attempts import last_attempt
from tuner.search_spaces import Space
from tuner.tracking.artifacts.folder import check_paths, safe_name
from tuner.tracking.uuid7 import uuid7

if TYPE_CHECKING:
    from tuner.tracking.store import Store

Row: TypeAlias = dict[str, Any]
"""A row by column name; a missing value is None."""

FORMATS = ("csv", "json", "parquet")
"""Formats of `write_table`."""

_ESCAPED = "backslashreplace"
"""Error handler for lone surrogates, which UTF-8 cannot encode: JSON escapes of the same value."""


def rows(space: Space, goals: Sequence[Goal], trials: Iterable[Trial]) -> list[Row]:
    """Return one row per trial; all rows have the same columns in the same order.

    The columns are ``number``, ``state``, the value (``value`` for a single goal, else one column
    per goal, named by its metric), ``duration`` in seconds, all parameters in the order of the
    space (``model``, ``model.svm.C``), the other metrics, the outcome constraints (0 or less if
    satisfied), the notes, and ``error``. An inactive parameter is None. A name that an earlier
    column has gets a prefix: ``params.<name>``, ``metrics.<name>``, ``constraints.<name>`` or
    ``notes.<name>``.

    Parameters
    ----------
    space
        The space of the study.
    goals
        The goals of the study, in the order of `Trial.values`.
    trials
        The trials, in the order of the rows.
    """
    trials = list(trials)
    value_names = ["value"] if len(goals) == 1 else [goal.metric for goal in goals]
    taken = {"number", "state", "duration", "error", *value_names}
    params = _column_names([column.path for column in space.columns], "params", taken)
    goal_metrics = {goal.metric for goal in goals}
    others = sorted({name for trial in trials for name in trial.metrics} - goal_metrics)
    metrics = _column_names(others, "metrics", taken | set(params.values()))

    taken |= {*params.values(), *metrics.values()}
    limits = sorted({name for trial in trials for name in trial.constraints})
    constraints = _column_names(limits, "constraints", taken)

    taken |= {*constraints.values()}
    notes = _column_names(sorted({n for t in trials for n in t.notes}), "notes", taken)

    table = []
    for trial in trials:
        flat = space.flatten(trial.params)
        values = trial.values or (None,) * len(goals)
        if len(values) != len(goals):
            raise StoreCorrupt(
                f"trial {trial.number} has {len(values)} values, its study {len(goals)} goals; "
                f"restore the store from a copy"
            )
        row: Row = {"number": trial.number, "state": trial.state.value}
        row.update(zip(value_names, values, strict=True))
        row["duration"] = trial.duration
        row.update((column, flat.get(path)) for path, column in params.items())
        row.update((column, trial.metrics.get(name)) for name, column in metrics.items())
        row.update((column, trial.constraints.get(name)) for name, column in constraints.items())
        row.update((column, trial.notes.get(name)) for name, column in notes.items())
        row["error"] = None if trial.error is None else str(trial.error)
        table.append(row)
    return table


def run_rows(runs: Iterable[Run]) -> list[Row]:
    """Return one row per run: trial, worker, host, times, metrics and error."""
    runs = list(runs)
    fixed = (
        "trial",
        "attempt",
        "purpose",
        "state",
        "worker",
        "host",
        "pid",
        "started",
        "ended",
        "uid",
    )
    taken = {*fixed, "duration", "error"}
    names = _column_names(sorted({n for r in runs for n in r.metrics}), "metrics", taken)
    table = []
    for run in runs:
        row: Row = {name: getattr(run, name) for name in fixed}
        row["purpose"], row["state"] = run.purpose.value, run.state.value
        row["duration"] = run.duration
        row.update((column, run.metrics.get(name)) for name, column in names.items())
        row["error"] = None if run.error is None else str(run.error)
        table.append(row)
    return table


def report_rows(runs: Iterable[Run], reports: Iterable[tuple[str, Report]]) -> list[Row]:
    """Return one row per reported value: trial, attempt, purpose, step, metric, value."""
    known = {run.uid: run for run in runs}
    return [
        {
            "trial": known[uid].trial,
            "attempt": known[uid].attempt,
            "purpose": known[uid].purpose.value,
            "step": report.step,
            "metric": metric,
            "value": value,
        }
        for uid, report in reports
        if uid in known
        for metric, value in report.metrics.items()
    ]


@public(files=ExportError)
def write_table(table: Sequence[Row], path: str | os.PathLike[str], to: str | None = None) -> Path:
    """Write a table to a file and return its path.

    Parameters
    ----------
    table
        Rows with the same columns, as `rows` returns them.
    path
        The file; an existing one is replaced.
    to
        ``"csv"``, ``"json"`` or ``"parquet"``; None takes the format from the file's suffix.

    Raises
    ------
    ExportError
        If the format is unknown, or the file cannot be written.

    See Also
    --------
    format_table : the encoding of values in each format.
    """
    path = Path(path)
    if to is None and path.suffix.lower().lstrip(".") not in FORMATS:
        raise ExportError(
            f"export: cannot tell the format from {str(path)!r}: "
            f"use the suffix {_formats('.')}, or pass to=..."
        )
    content = format_table(table, to or path.suffix.lower().lstrip("."))
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ExportError(
            f"export: cannot write {str(path)!r}: {error.strerror or error}; "
            "pass a path in a writable folder"
        ) from error
    return path


@public(files=ExportError)
def format_table(table: Sequence[Row], to: str) -> bytes:
    r"""Return a table as the content of a file. Numbers are exact in every format.

    ``"json"``
        A list of objects. NaN and infinities are the strings ``"NaN"``, ``"Infinity"`` and
        ``"-Infinity"``, since JSON cannot represent them as numbers.
    ``"csv"``
        A header and one line per row. None is an empty cell; a list or tuple is JSON. A string
        that a spreadsheet would run as a formula (it starts with ``=``, ``+``, ``-``, ``@``, tab
        or return, and is not a number) gets the prefix ``'``; other formats do not change it.
    ``"parquet"``
        Columns of integers, floats, booleans or strings; a column of mixed types is JSON.

    A lone surrogate, which results from bytes that are not UTF-8, is written as an escape
    (``\udc80``); JSON restores it when it is read.

    Raises
    ------
    ExportError
        If the format is unknown, or pyarrow is not installed for Parquet.
    """
    writers = {"csv": _as_csv, "json": _as_json, "parquet": _as_parquet}
    if to not in writers:
        raise ExportError(f"export: unknown format {to!r}; choose {_formats()}")
    return writers[to](table)


# --- Formats --------------------------------------------------------------------------------------


def _as_json(table: Sequence[Row]) -> bytes:
    content = [{name: _json_value(value) for name, value in row.items()} for row in table]
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(
        "utf-8", _ESCAPED
    )


def _as_csv(table: Sequence[Row]) -> bytes:
    if not table:
        return b""
    names = list(table[0])
    lines = [_csv_line(names), *(_csv_line([row[name] for name in names]) for row in table)]
    return "".join(lines).encode("utf-8", _ESCAPED)


def _csv_line(cells: Sequence[Any]) -> str:
    line = io.StringIO(newline="")
    # Python up to 3.12 quotes a carriage return only if lines end in one; readers split at any.
    csv.writer(line, lineterminator="\r\n").writerow([_csv_cell(cell) for cell in cells])
    return line.getvalue().removesuffix("\r\n") + "\n"


def _as_parquet(table: Sequence[Row]) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ExportError(
            "export: parquet needs pyarrow; run `pip install pyarrow`, or choose csv or json"
        ) from error
    names = list(table[0]) if table else []
    columns = {
        well_formed(name): pa.array([_utf8(v) for v in _uniform([row[name] for row in table])])
        for name in names
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _utf8(value: Any) -> Any:
    return well_formed(value) if isinstance(value, str) else value


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    return value


def _csv_cell(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        value = _json_text(value)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value if _is_number(value) else f"'{value}"
    return value


def _uniform(values: list[Any]) -> list[Any]:
    """Return the values unchanged if Parquet has a type for all of them, else as JSON."""
    kinds = {type(value) for value in values} - {type(None)}
    too_large = int in kinds and any(
        isinstance(value, int) and not -(2**63) <= value < 2**63 for value in values
    )
    if len(kinds) <= 1 and kinds <= {int, float, bool, str} and not too_large:
        return values
    return [None if value is None else _json_text(value) for value in values]


def _json_text(value: Any) -> str:
    return json.dumps(_json_value(value), ensure_ascii=False)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column_names(names: Iterable[str], group: str, taken: set[str]) -> dict[str, str]:
    """Map names to columns; a name in `taken` gets the group as a prefix."""
    return {name: f"{group}.{name}" if name in taken else name for name in names}


def _formats(prefix: str = "") -> str:
    *others, last = (prefix + name for name in FORMATS)
    return f"{', '.join(others)} or {last}"


@dataclass(frozen=True, slots=True)
class Downloads:
    """The runs and artifacts of one trial of the study called `study`."""

    study: str
    trial: int
    runs: Sequence[Run]
    artifacts: Sequence[Artifact]

    def chosen(self, names: Sequence[str], attempt: int | None) -> list[Artifact]:
        """Return artifacts of a run; see `StudyResults.download_artifacts`."""
        run = self._run(attempt)
        found = {artifact.name: artifact for artifact in self.artifacts if artifact.run == run.uid}
        for name in names:
            if name not in found:
                raise ArgumentError(self._missing(run, name, list(found)))
        return [found[name] for name in names] if names else list(found.values())

    def _run(self, attempt: int | None) -> Run:
        if attempt is None:
            found = last_attempt(self.runs)
        else:
            found = next((run for run in self.runs if run.attempt == attempt), None)
        if found is not None:
            return found
        if attempt is not None and self.runs:
            raise ArgumentError(
                f"study {self.study!r}: trial {self.trial} has {len(self.runs)} runs, which are "
                f"numbered from 1, and no run {attempt}"
            )
        raise ArgumentError(f"study {self.study!r} has no trial {self.trial} that has run")

    def _missing(self, run: Run, name: str, known: list[str]) -> str:
        """Return the message for an artifact that a run does not have."""
        close = difflib.get_close_matches(name, known) or known[:5]
        has = f"it has {', '.join(map(repr, close))}" if close else "it has none"
        uids = {artifact.run for artifact in self.artifacts if artifact.name == name}
        others = [str(other.attempt) for other in self.runs if other.uid in uids]
        elsewhere = f"; run {', '.join(others)} of the trial has it" if others else ""
        return (
            f"study {self.study!r}: run {run.attempt} of trial {self.trial} has no artifact "
            f"{name!r}; {has}{elsewhere}"
        )


def write_artifact(store: Store, artifact: Artifact, folder: Path) -> Iterator[Path]:
    """Write the files of an artifact below a folder, and yield their paths."""
    files = store.read_artifact(artifact)
    check_paths(Upload(artifact.name, files))
    target = folder.joinpath(*_parts(artifact.name))
    # A file that was logged under its own name is not put into a folder of that name.
    is_file = list(files) == [target.name]
    for name, content in files.items():
        path = target if is_file else target.joinpath(*name.split("/"))
        try:
            if path.is_file() and path.read_bytes() != content:
                raise ExportError(
                    f"artifact {artifact.name!r}: {path} exists with another content; remove it, "
                    f"or give another folder"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.{uuid7()}")
            part.write_bytes(content)
            part.replace(path)
        except OSError as error:
            raise ExportError(
                f"artifact {artifact.name!r}: {path} cannot be written: {error.strerror}"
            ) from error
        yield path


def _parts(name: str) -> list[str]:
    """Return the path of an artifact's name, or one safe part if it would lead elsewhere."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        return [safe_name(name)]
    return parts
