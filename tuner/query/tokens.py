"""Split a query into tokens: names, numbers, strings, keywords and signs, with their positions."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum, auto

from tuner.errors import QueryError

LONGEST = 20_000
"""Maximum length of a query in characters."""

_LOGIC = ("and", "or", "not", "in", "like", "is", "null", "true", "false")
_CLAUSES = ("order", "by", "asc", "desc", "limit", "offset")

KEYWORDS = frozenset((*_LOGIC, *_CLAUSES))

UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
"""Units of time, in seconds."""


class Kind(Enum):
    """The kind of a token."""

    NAME = auto()
    KEYWORD = auto()
    NUMBER = auto()
    DURATION = auto()
    STRING = auto()
    SIGN = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `value` holds the parts of a name, a number, seconds, a string, a word or a sign."""

    kind: Kind
    text: str
    position: int
    value: tuple[str, ...] | float | int | str = ""

    def __str__(self) -> str:
        return "the end of the query" if self.kind is Kind.END else self.text


_PART = r"\w+(?:[-/]\w+)*"
_QUOTED = r"""'(?:[^']|'')*'|"(?:[^"]|"")*\""""
_TOKEN = re.compile(
    rf"""
      (?P<space>\s+)
    | (?P<name>[^\W\d]\w*(?:[-/]\w+)*(?:\.(?:{_PART}|{_QUOTED}))*)
    | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?P<unit>[^\W\d_]*)
    | (?P<string>{_QUOTED})
    | (?P<sign>==|!=|<>|<=|>=|[=<>(),])
    """,
    re.VERBOSE,
)
_NAME_PART = re.compile(rf"(?P<quoted>{_QUOTED})|(?P<bare>{_PART})")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def tokenize(text: str) -> list[Token]:
    """Return the tokens of a query; the last token marks its end.

    Raises
    ------
    QueryError
        If the query has an unknown character, an invalid string, or a number out of range.
    """
    if len(text) > LONGEST:
        raise QueryError(
            text, LONGEST, f"the query has {len(text)} characters; the maximum is {LONGEST}"
        )
    if bad := _UNSTORABLE.search(text):
        raise QueryError(text, bad.start(), f"a query cannot contain {bad[0]!r}; remove it")
    tokens, position = list[Token](), 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise QueryError(text, position, _why_not(text, position))
        if not match["space"]:
            tokens.append(_token(text, match))
        position = match.end()
    return [*tokens, Token(Kind.END, "", len(text))]


def unquote(text: str) -> str:
    """Return the content of a quoted string; a quote within it is written twice."""
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)


def quote(text: str) -> str:
    """Quote a string; the inverse of `unquote`."""
    return "'" + text.replace("'", "''") + "'"


def _token(query: str, match: re.Match[str]) -> Token:
    text, position = match[0], match.start()
    if name := match["name"]:
        if name.lower() in KEYWORDS:
            return Token(Kind.KEYWORD, text, position, name.lower())
        return Token(Kind.NAME, text, position, _name_parts(name))
    if match["number"]:
        return _number(query, match)
    if match["string"]:
        return Token(Kind.STRING, text, position, unquote(text))
    return Token(Kind.SIGN, text, position, {"==": "=", "<>": "!="}.get(text, text))


def _name_parts(name: str) -> tuple[str, ...]:
    return tuple(
        unquote(match["quoted"]) if match["quoted"] else match["bare"]
        for match in _NAME_PART.finditer(name)
    )


def _number(query: str, match: re.Match[str]) -> Token:
    text, unit, position = match["number"], match["unit"], match.start()
    whole = text.lstrip("+-").isdecimal()
    # Python rejects integers of thousands of digits; they exceed the range of doubles anyway.
    value = int(text) if whole and len(text) < 300 else float(text)
    if not math.isfinite(value):
        raise QueryError(query, position, f"the number {text:.30} is too large")
    if not unit:
        return Token(Kind.NUMBER, match[0], position, value)
    if unit not in UNITS:
        raise QueryError(
            query,
            match.start("unit"),
            f"unknown unit of time {unit!r}; write {', '.join(UNITS)}, or a quoted string",
        )
    seconds = value * UNITS[unit]
    if not math.isfinite(seconds):
        raise QueryError(query, position, f"the duration {match[0]:.30} is too long")
    return Token(Kind.DURATION, match[0], position, seconds)


def _why_not(text: str, position: int) -> str:
    character = text[position]
    if character in "'\"":
        return "this quote is not closed; write a quote within a string twice"
    hint = {
        "!": "; write != or not",
        "&": "; write and",
        "|": "; write or",
        "%": "; write a pattern in quotes",
        ".": "; a name must start with a letter",
        "`": "; quote with ' or \"",
    }.get(character, "")
    return f"unexpected {character!r}{hint}"
