"""The syntax tree of a query; ``parse(str(query)) == query`` holds for every query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

_LOGIC = ("and", "or", "not", "in", "like", "is", "null", "true", "false")
_CLAUSES = ("order", "by", "asc", "desc", "limit", "offset")

KEYWORDS = frozenset((*_LOGIC, *_CLAUSES))

PART = r"\w+(?:[-/]\w+)*"
"""A regular expression of a part of a field's name that needs no quotes."""


def quote(text: str) -> str:
    """Quote a string; a quote within it is written twice."""
    return "'" + text.replace("'", "''") + "'"


class Operator(StrEnum):
    """A comparison operator."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="

    @property
    def opposite(self) -> Operator:
        """The negated operator, for values that are present."""
        return _OPPOSITES[self]

    @property
    def mirrored(self) -> Operator:
        """The equivalent operator after swapping the operands."""
        return _MIRRORED.get(self, self)


_OPPOSITES = {
    Operator.EQUAL: Operator.UNEQUAL,
    Operator.UNEQUAL: Operator.EQUAL,
    Operator.LESS: Operator.AT_LEAST,
    Operator.AT_LEAST: Operator.LESS,
    Operator.MORE: Operator.AT_MOST,
    Operator.AT_MOST: Operator.MORE,
}
_MIRRORED = {
    Operator.LESS: Operator.MORE,
    Operator.MORE: Operator.LESS,
    Operator.AT_MOST: Operator.AT_LEAST,
    Operator.AT_LEAST: Operator.AT_MOST,
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field such as ``params.model.svm.C``, and its position in the text."""

    path: tuple[str, ...]
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return ".".join((self.path[0], *map(_name_part, self.path[1:])))


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a string or a boolean."""

    value: int | float | str | bool
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return quote(self.value) if isinstance(self.value, str) else repr(self.value)


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time in seconds, or an offset from now, such as ``-7d``."""

    seconds: float
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.seconds!r}s"


Constant: TypeAlias = Literal | Duration
Operand: TypeAlias = Field | Literal | Duration


@dataclass(frozen=True, slots=True)
class Comparison:
    """``left operator right``."""

    left: Operand
    operator: Operator
    right: Operand

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True, slots=True)
class Membership:
    """``field in (option, ...)``, or ``not in``."""

    field: Field
    options: tuple[Constant, ...]
    negated: bool = False

    def __str__(self) -> str:
        options = ", ".join(map(str, self.options))
        return f"{self.field} {'not ' if self.negated else ''}in ({options})"


@dataclass(frozen=True, slots=True)
class Like:
    """``field like 'pattern'``, or ``not like``; ``%`` matches any string, ``_`` any character."""

    field: Field
    pattern: str
    negated: bool = False

    def __str__(self) -> str:
        return f"{self.field} {'not ' if self.negated else ''}like {quote(self.pattern)}"


@dataclass(frozen=True, slots=True)
class Missing:
    """``field is null``, or ``is not null``."""

    field: Field
    negated: bool = False

    def __str__(self) -> str:
        return f"{self.field} is {'not ' if self.negated else ''}null"


@dataclass(frozen=True, slots=True)
class Not:
    """``not condition``."""

    condition: Condition

    def __str__(self) -> str:
        return f"not ({self.condition})"


@dataclass(frozen=True, slots=True)
class And:
    """A conjunction of two or more conditions."""

    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return " and ".join(
            f"({c})" if isinstance(c, And | Or) else str(c) for c in self.conditions
        )


@dataclass(frozen=True, slots=True)
class Or:
    """A disjunction of two or more conditions."""

    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return " or ".join(f"({c})" if isinstance(c, Or) else str(c) for c in self.conditions)


Condition: TypeAlias = Comparison | Membership | Like | Missing | Not | And | Or


@dataclass(frozen=True, slots=True)
class Key:
    """A sort key; matches without a value come last in either direction."""

    field: Field
    descending: bool = False

    def __str__(self) -> str:
        return f"{self.field}{' desc' if self.descending else ''}"


@dataclass(frozen=True, slots=True)
class Query:
    """A complete query; without a condition it matches everything."""

    condition: Condition | None = None
    order: tuple[Key, ...] = ()
    limit: int | None = None
    offset: int = 0

    @property
    def fields(self) -> tuple[Field, ...]:
        """The distinct fields of the query, in the order of the text."""
        found = [] if self.condition is None else _fields(self.condition)
        return tuple(dict.fromkeys([*found, *(key.field for key in self.order)]))

    @property
    def compared(self) -> tuple[Field, ...]:
        """The distinct fields whose values matter: all but those that are only tested for null."""
        found = [] if self.condition is None else _fields(self.condition, null_tests=False)
        return tuple(dict.fromkeys([*found, *(key.field for key in self.order)]))

    @property
    def equalities(self) -> tuple[tuple[Field, Literal], ...]:
        """The fields that a condition of the query requires to be equal to a constant."""
        return () if self.condition is None else tuple(_equalities(self.condition))

    def __str__(self) -> str:
        parts = [] if self.condition is None else [str(self.condition)]
        if self.order:
            parts.append(f"order by {', '.join(map(str, self.order))}")
        if self.limit is not None:
            parts.append(f"limit {self.limit}")
        if self.offset:
            parts.append(f"offset {self.offset}")
        return " ".join(parts)


def pattern_parts(pattern: str) -> list[tuple[str, str]]:
    r"""Split a pattern into ``(kind, character)``; kinds are ``"any"``, ``"one"`` and ``"exact"``.

    A backslash escapes the character after it.

    Examples
    --------
    >>> pattern_parts(r"a\_%")
    [('exact', 'a'), ('exact', '_'), ('any', '%')]
    """
    kinds = {"%": "any", "_": "one"}
    parts = []
    for escaped, plain in re.findall(r"\\([%_\\])|(.)", pattern, re.DOTALL):
        parts.append(("exact", escaped) if escaped else (kinds.get(plain, "exact"), plain))
    return parts


def _fields(condition: Condition, null_tests: bool = True) -> list[Field]:
    match condition:
        case Comparison(left, _, right):
            return [side for side in (left, right) if isinstance(side, Field)]
        case Missing(field):
            return [field] if null_tests else []
        case Membership(field) | Like(field):
            return [field]
        case Not(inner):
            return _fields(inner, null_tests)
        case And(conditions) | Or(conditions):
            return [field for each in conditions for field in _fields(each, null_tests)]


def _equalities(condition: Condition) -> Iterator[tuple[Field, Literal]]:
    match condition:
        case Comparison(Field() as field, Operator.EQUAL, Literal() as constant):
            yield field, constant
        case Comparison(Literal() as constant, Operator.EQUAL, Field() as field):
            yield field, constant
        case And(conditions) | Or(conditions):
            for each in conditions:
                yield from _equalities(each)


def _name_part(part: str) -> str:
    return part if re.fullmatch(PART, part) and part not in KEYWORDS else quote(part)
