"""A model card as Markdown; texts of users are escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tuner.errors.credentials import hide
from tuner.errors.printable import one_line, printable
from tuner.records.numbers import count_text, distinct_texts, seconds_text, value_text

_SPECIAL = re.compile(r"[\\`*_{}\[\]<>|~$!#&]")
_MARKER = re.compile(r"^([-+=:]|\d+[.)])")
"""The beginning of a line that would be a list, a heading or a table."""


def markdown(card: Mapping[str, Any]) -> str:
    """Return the fields of a `ModelCard` as Markdown."""
    return "\n\n".join(_parts(card)) + "\n"


def _parts(card: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {escaped(card['title'])}"
    if card["description"].strip():
        yield _paragraphs(card["description"])
    yield _facts(card["summary"])
    yield from _section("Quality", _facts(_quality(card["quality"])))
    yield from _section("Metrics", _facts(card["metrics"]))
    yield from _section("Signature", _facts(card["signature"]))
    yield from _section("Params", _facts(card["params"]))
    yield from _section("Data", _facts(card["data"]))
    yield from _section("Code", _facts(card["code"]))
    yield from _section("Environment", _facts(card["environment"]))
    if card["packages"]:
        yield _folded(count_text(len(card["packages"]), "package"), _facts(card["packages"]))
    lineage = dict(card["lineage"])
    if "duration" in lineage:
        lineage["duration"] = seconds_text(lineage["duration"])
    yield from _section("Lineage", _facts(lineage))
    yield from _section("Tags", _facts(card["tags"]))
    yield from _section("History", _table(card["history"]))
    yield from _section("File", _facts(card["file"]))
    yield from _section("Loading", _code(card["loading"]))


def _section(title: str, content: str) -> list[str]:
    return [f"## {title}", content] if content else []


def _quality(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the estimate with its interval in one line, with as many digits as it needs."""
    shown = dict(facts)
    if "estimate" in shown and shown["noise"] is None:
        for unknown in ("low", "high", "noise", "probability of being the best", "luck"):
            del shown[unknown]
    elif "estimate" in shown:
        texts = distinct_texts([shown["estimate"], shown.pop("low"), shown.pop("high")])
        shown["estimate"] = f"{texts[0]} (95 % interval {texts[1]} to {texts[2]})"
    return shown


def _facts(facts: Mapping[str, Any]) -> str:
    if not facts:
        return ""
    rows = (f"| {escaped(name)} | {escaped(value)} |" for name, value in facts.items())
    return "\n".join(["| | |", "|---|---|", *rows])


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    names = list(rows[0])
    lines = ["| " + " | ".join(map(escaped, names)) + " |", "|---" * len(names) + "|"]
    lines += ("| " + " | ".join(escaped(row[name]) for name in names) + " |" for row in rows)
    return "\n".join(lines)


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _code(text: str) -> str:
    """Return a block of Python code; its fence is longer than any in the code."""
    text = printable(hide(text), keep="\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}python\n{text}\n{fence}"


def _paragraphs(text: str) -> str:
    """Return text of several lines; an empty line begins a paragraph."""
    lines = (_line(line) for line in hide(text).splitlines())
    return "\n".join(lines).strip("\n")


def _line(text: str) -> str:
    shown = _SPECIAL.sub(_escape, one_line(text))
    return _MARKER.sub(lambda m: f"{m[1][:-1]}\\{m[1][-1]}", shown)


def escaped(value: Any) -> str:
    r"""Return a value as text of one line without an effect in Markdown and HTML.

    Examples
    --------
    >>> print(escaped("a|b <script> [x](y)"))
    a\|b &lt;script&gt; \[x\](y)
    """
    text = "" if value is None else value_text(value)
    return _SPECIAL.sub(_escape, one_line(hide(text)))


def _escape(match: re.Match[str]) -> str:
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(match[0], f"\\{match[0]}")
