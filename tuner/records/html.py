"""HTML of records for the output of a notebook cell, and the detection of a notebook.

All text of records is escaped, and shown without credentials and without characters that hide or
reorder text. The fragments take text color and background from the page, so that they are readable
in light and dark themes.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from tuner.errors.credentials import hide
from tuner.errors.printable import printable
from tuner.records.numbers import moment_text, number_text, seconds_text, value_text

ROWS = 20
"""Rows of a table of records; of more, the first and the last ten are shown."""

LONG = 200
"""Characters of a text beyond which it is folded."""

CELL = 60
"""Characters of a text in a table, which is cut there."""

MANY = 30
"""Entries of a dict beyond which it is folded."""

_GROUPS = ("params", "metrics", "constraints", "tags")
"""Fields of records that have one column per entry."""

_LAST = ("values", "output", "duration", "started", "ended", "seed", "attempts", "error")
"""Fields of records that follow those groups in a row, or have a column of another name."""

_TIMES = ("created", "started", "ended")

_STYLE = """
.tuner-html{color:inherit;font-size:13px;line-height:1.45;max-width:100%;overflow-x:auto}
.tuner-html table{border-collapse:collapse;margin:.3em 0;font-variant-numeric:tabular-nums}
.tuner-html tr{background:none!important}
.tuner-html th,.tuner-html td{color:inherit;background:none;text-align:left!important;\
vertical-align:top;padding:.15em .9em .15em 0;border:0;\
border-bottom:1px solid rgba(128,128,128,.35);white-space:pre-wrap;max-width:40em}
.tuner-html th{font-weight:600;white-space:nowrap}
.tuner-html td.n{text-align:right!important;white-space:nowrap}
.tuner-html td.l{white-space:nowrap}
.tuner-html pre{color:inherit;background:rgba(128,128,128,.12);padding:.5em;max-height:24em;\
overflow:auto;white-space:pre-wrap}
.tuner-html summary{cursor:pointer}
.tuner-html .soft{opacity:.75}
"""


def safe(value: Any) -> str:
    """Return a value of a record as escaped text.

    Examples
    --------
    >>> safe("<b>"), safe(0.1 + 0.2)
    ('&lt;b&gt;', '0.3')
    """
    return escape(printable(hide(value_text(value)), keep="\n\t"))


def block(title: str, *parts: str, note: str = "") -> str:
    """Return the HTML of a cell's output: a title, a note beside it, and parts that are HTML."""
    beside = f' <span class="soft">{safe(note)}</span>' if note else ""
    return (
        f'<div class="tuner-html"><style>{_STYLE}</style><div><b>{safe(title)}</b>{beside}</div>'
        f"{''.join(parts)}</div>"
    )


def facts(values: Mapping[str, Any]) -> str:
    """Return a table of one named value per row."""
    rows = "".join(
        f"<tr><th scope='row'>{safe(name)}</th><td>{safe(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{rows}</table>" if rows else ""


def folded(summary: str, content: str, *, is_open: bool = False) -> str:
    """Return HTML that a click on its summary unfolds."""
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{safe(summary)}</summary>{content}</details>"


def preformatted(text: str) -> str:
    """Return a text of several lines, such as a traceback."""
    return f"<pre>{safe(text)}</pre>"


def table(rows: Sequence[Mapping[str, Any]], left_out: int = 0, *, width: int = CELL) -> str:
    """Return rows as a table, without the columns that are empty.

    Parameters
    ----------
    rows
        One mapping per row; a missing key is an empty cell.
    left_out
        Number of rows that were left out in the middle, for the line that says so.
    width
        Characters of a text that are shown.
    """
    names = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if any(row.get(name) not in (None, "") for row in rows)
    ]
    head = "".join(f"<th scope='col'>{safe(name)}</th>" for name in names)
    lines = [
        f"<tr>{''.join(_cell(name, row.get(name), width) for name in names)}</tr>" for row in rows
    ]
    if left_out:
        gap = f"<tr><td colspan='{max(1, len(names))}'>… {left_out} more …</td></tr>"
        lines.insert(len(lines) // 2, gap)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _cell(name: str, value: Any, width: int) -> str:
    if value is None:
        return "<td></td>"
    text = _shown(name, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"<td class='n'>{safe(text)}</td>"
    text = " ".join(hide(text).split())  # hidden first: half a secret is not recognized
    cut = f"{text[:width]}…" if len(text) > width else text
    return f"<td class='{'l' if len(cut) <= CELL + 1 else ''}'>{safe(cut)}</td>"


def _shown(name: str, value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name in _TIMES:
            return moment_text(value)
        return seconds_text(value) if name == "duration" else number_text(value)
    return value_text(value)


# --- records ----------------------------------------------------------------------------------


def record_html(record: Any) -> str:
    """Return a record, a frozen dataclass, as facts; long fields are folded."""
    short: dict[str, Any] = {}
    parts: list[str] = []
    for name, value in _fields(record):
        if isinstance(value, dict):
            flat = flat_params(value) if name == "params" else value
            content = facts(flat)
            is_open = len(flat) <= MANY and name in ("params", "metrics", "constraints", "notes")
            parts.append(folded(f"{name} ({len(flat)})", content, is_open=is_open))
        elif isinstance(value, str) and (len(value) > LONG or "\n" in value):
            parts.append(folded(name, preformatted(value)))
        elif name == "values":
            short["value"] = ", ".join(map(number_text, value))
        elif name == "error":
            short[name] = str(value)
            parts += [folded("traceback", preformatted(t)) for t in [value.traceback] if t]
        else:
            short[name] = _field_text(name, value)
    if (seconds := getattr(record, "duration", None)) is not None:
        short["duration"] = seconds_text(seconds)
    return block(type(record).__name__, facts(short), *parts)


def records_html(title: str, records: Sequence[Any]) -> str:
    """Return records of one type as a table; the fields of their params and metrics are columns."""
    if not records:
        return block(title, note="none")
    left_out = max(0, len(records) - ROWS)
    shown = [*records[: ROWS // 2], *records[len(records) - ROWS // 2 :]] if left_out else records
    rows = [record_row(record) for record in shown]
    return block(title, table(rows, left_out), note=f"{len(records)} in all")


def record_row(record: Any) -> dict[str, Any]:
    """Return a record as one row; params and metrics are columns, named as in queries."""
    fields = dict(_fields(record))
    if (seconds := getattr(record, "duration", None)) is not None:
        fields["duration"] = seconds
    row = {
        name: value if isinstance(value, int | float) else _field_text(name, value)
        for name, value in fields.items()
        if not isinstance(value, dict) and name not in _LAST
    }
    if len(values := fields.get("values", ())) == 1:
        row["value"] = values[0]
    elif values:
        row["values"] = ", ".join(map(number_text, values))
    for group in _GROUPS:
        content = fields.get(group, {})
        flat = flat_params(content) if group == "params" else content
        row |= {f"{group}.{name}": value for name, value in flat.items()}
    for name in _LAST:
        if name in fields and name not in ("values", "output"):
            row[name] = _field_text(name, fields[name])
    return row


def _fields(record: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a record that are not empty."""
    for f in dataclasses.fields(record):
        value = getattr(record, f.name)
        if value is not None and value != "" and value != () and value != {}:
            yield f.name, value


def _field_text(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_field_text(name, item) for item in value)
    return str(value) if dataclasses.is_dataclass(value) else _shown(name, value)


def flat_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return params by path; a branch is a pair of its option and its own params.

    Examples
    --------
    >>> flat_params({"x": 1, "model": ("svm", {"C": 2.0})})
    {'x': 1, 'model': 'svm', 'model.svm.C': 2.0}
    """
    return dict(_flat(params, ""))


def _flat(params: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in params.items():
        if type(value) is tuple and len(value) == 2 and isinstance(value[1], dict):
            option, inner = value
            yield f"{prefix}{name}", option
            yield from _flat(inner, f"{prefix}{name}.{option}.")
        else:
            yield f"{prefix}{name}", value


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook; IPython is not imported for it."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def after_cell(action: Callable[[], None]) -> None:
    """Call `action` once, at the end of the running cell of a notebook."""
    from IPython import get_ipython

    events = get_ipython().events

    def call(_: object) -> None:
        events.unregister("post_run_cell", call)
        action()

    events.register("post_run_cell", call)
