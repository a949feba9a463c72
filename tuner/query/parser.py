"""A tokenizer, and a recursive-descent parser with the grammar of ``docs/find.md``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tuner.errors import QueryError
from tuner.query.syntax import (
    KEYWORDS,
    PART,
    And,
    Comparison,
    Condition,
    Constant,
    Duration,
    Field,
    Key,
    Like,
    Literal,
    Membership,
    Missing,
    Not,
    Operand,
    Operator,
    Or,
    Query,
)

LONGEST = 20_000
"""Maximum length of a query in characters."""

UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
"""Units of time, in seconds."""

DEEPEST = 50
"""Maximum nesting of parentheses and `not`."""

MOST_TESTS = 400
"""Maximum number of tests in a query; SQLite accepts expressions up to 1,000 levels deep."""

MOST_OPTIONS = 5000
"""Maximum number of values in all `in` lists; SQLite accepts 32,766 parameters per statement."""

_LARGEST = 2**63 - 1
_OPERATORS = frozenset(map(str, Operator))


def parse(text: str) -> Query:
    """Parse a query.

    Parameters
    ----------
    text
        Such as ``"metrics.accuracy > 0.95 and params.model == 'svm' order by value limit 20"``;
        an empty text matches everything.

    Raises
    ------
    QueryError
        If `text` is not a valid query; names the position and the expected token.

    Examples
    --------
    >>> parse("value < 0.1 and not params.model = 'svm' limit 5").limit
    5
    """
    return _Parser(text).query()


class _Parser:
    """A parser for one query, with one token of lookahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._at = 0
        self._depth = 0
        self._tests = 0
        self._options = 0

    # query = [ condition ] [ "order" "by" keys ] [ "limit" count ] [ "offset" count ]
    def query(self) -> Query:
        opens = self._is_word("order", "limit", "offset") or self._now.kind is Kind.END
        condition = None if opens else self._condition()
        order = self._keys() if self._take_word("order") else ()
        limit = self._count("limit") if self._take_word("limit") else None
        offset = self._count("offset") if self._take_word("offset") else 0
        if self._now.kind is not Kind.END:
            rest = ["limit"] * (limit is None) + ["offset"] * (not offset)
            if not order and limit is None:
                rest = ["and", "or", "order by", *rest] if condition else ["order by", *rest]
            raise self._wrong(f"expected {_either([*rest, 'the end'])}, found {self._now}")
        return Query(condition, order, limit, offset)

    # condition = conjunction { "or" conjunction }
    def _condition(self) -> Condition:
        conditions = self._chain(self._conjunction, "or")
        return conditions[0] if len(conditions) == 1 else Or(tuple(conditions))

    # conjunction = negation { "and" negation }
    def _conjunction(self) -> Condition:
        conditions = self._chain(self._negation, "and")
        return conditions[0] if len(conditions) == 1 else And(tuple(conditions))

    def _chain(self, rule: Callable[[], Condition], word: str) -> list[Condition]:
        conditions = [rule()]
        while self._take_word(word):
            conditions.append(rule())
        return conditions

    # negation = "not" negation | "(" condition ")" | test
    def _negation(self) -> Condition:
        start = self._now
        if self._take_word("not"):
            with_inner: Callable[[], Condition] = lambda: Not(self._negation())  # noqa: E731
        elif self._take_sign("("):
            with_inner = self._in_parentheses
        else:
            return self._test()
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"more than {DEEPEST} levels of parentheses and not", start)
        condition = with_inner()
        self._depth -= 1
        return condition

    def _in_parentheses(self) -> Condition:
        condition = self._condition()
        if not self._take_sign(")"):
            raise self._wrong(f"expected and, or or ), found {self._now}")
        return condition

    # test = operand operator operand | field [ "not" ] "in" "(" constants ")"
    #      | field [ "not" ] "like" string | field "is" [ "not" ] "null" | field
    def _test(self) -> Condition:
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise self._wrong(f"more than {MOST_TESTS} tests")
        left = self._operand("a field or a value")
        if self._now.kind is Kind.SIGN and self._now.text != "(":
            sign = str(self._now.value)
            if sign in _OPERATORS:
                self._next()
                return Comparison(left, Operator(sign), self._operand(f"a value after {sign}"))
        if isinstance(left, Field):
            return self._test_of(left)
        raise self._wrong(f"expected a comparison such as = or <, found {self._now}")

    def _test_of(self, field: Field) -> Condition:
        if self._take_word("is"):
            negated = self._take_word("not")
            if not self._take_word("null"):
                raise self._wrong(
                    f"expected {'null' if negated else 'null or not null'}, found {self._now}"
                )
            return Missing(field, negated)
        negated = self._take_word("not")
        if self._take_word("in"):
            return Membership(field, self._constants(), negated)
        if self._take_word("like"):
            pattern = self._next()
            if pattern.kind is not Kind.STRING:
                raise self._wrong(f"expected a pattern in quotes, found {pattern}", pattern)
            return Like(field, str(pattern.value), negated)
        if negated:
            raise self._wrong(f"expected in or like after not, found {self._now}")
        closes = self._now.kind is Kind.SIGN and self._now.text == ")"
        ends = self._now.kind is Kind.END or self._is_word("and", "or", "order", "limit", "offset")
        if closes or ends:
            return Comparison(field, Operator.EQUAL, Literal(True, field.position))
        hint = ""
        if self._now.kind is Kind.NAME and len(field.path) > 1:
            words = f"{field.path[-1]} {self._now}"
            hint = f'; if the name has a space, write {Field(field.path[:-1])}."{words}"'
        raise self._wrong(
            f"expected a comparison, in, like or is null after {field}, found {self._now}{hint}"
        )

    def _constants(self) -> tuple[Constant, ...]:
        if not self._take_sign("("):
            raise self._wrong(f"expected ( after in, found {self._now}")
        constants: list[Constant] = []
        while not constants or self._take_sign(","):
            token = self._now
            constant = self._operand("a value")
            if isinstance(constant, Field):
                raise self._wrong(f"expected a value, found {token}; quote strings", token)
            constants.append(constant)
            self._options += 1
            if self._options > MOST_OPTIONS:
                raise self._wrong(f"more than {MOST_OPTIONS} values in lists", token)
        if not self._take_sign(")"):
            raise self._wrong(f"expected , or ), found {self._now}")
        return tuple(constants)

    # keys = field [ "asc" | "desc" ] { "," field [ "asc" | "desc" ] }
    def _keys(self) -> tuple[Key, ...]:
        if not self._take_word("by"):
            raise self._wrong(f"expected by after order, found {self._now}")
        keys: list[Key] = []
        while not keys or self._take_sign(","):
            field = self._operand("a field to order by")
            if not isinstance(field, Field):
                raise self._wrong("expected a field to order by", self._tokens[self._at - 1])
            descending = self._take_word("desc")
            if not descending:
                self._take_word("asc")
            keys.append(Key(field, descending))
        if len(keys) > DEEPEST:
            raise self._wrong(f"more than {DEEPEST} fields to order by")
        return tuple(keys)

    def _count(self, word: str) -> int:
        token = self._next()
        value = token.value
        if token.kind is not Kind.NUMBER or not isinstance(value, int) or value < 0:
            raise self._wrong(f"expected a whole number after {word}, found {token}", token)
        if value > _LARGEST:
            raise self._wrong(f"{word} must be at most {_LARGEST}", token)
        return value

    # operand = field | constant
    def _operand(self, expected: str) -> Operand:
        token = self._next()
        match token.kind, token.value:
            case Kind.NAME, tuple() as path:
                return Field(path, token.position)
            case (Kind.NUMBER, int() | float() as number):
                return Literal(number, token.position)
            case Kind.DURATION, float() as seconds:
                return Duration(seconds, token.position)
            case Kind.STRING, str() as string:
                return Literal(string, token.position)
            case Kind.KEYWORD, ("true" | "false") as word:
                return Literal(word == "true", token.position)
            case Kind.KEYWORD, "null":
                raise self._wrong("null cannot be compared; write is null or is not null", token)
        raise self._wrong(f"expected {expected}, found {token}", token)

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._now
        if token.kind is not Kind.END:
            self._at += 1
        return token

    def _is_word(self, *words: str) -> bool:
        return self._now.kind is Kind.KEYWORD and self._now.value in words

    def _take_word(self, word: str) -> bool:
        if self._is_word(word):
            self._at += 1
            return True
        return False

    def _take_sign(self, sign: str) -> bool:
        if self._now.kind is Kind.SIGN and self._now.text == sign:
            self._at += 1
            return True
        return False

    def _wrong(self, message: str, token: Token | None = None) -> QueryError:
        return QueryError(self._text, (token or self._now).position, message)


def _either(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


# --- tokens -------------------------------------------------------------------------------------


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


_QUOTED = r"""'(?:[^']|'')*'|"(?:[^"]|"")*\""""
_TOKEN = re.compile(
    rf"""
      (?P<space>\s+)
    | (?P<name>[^\W\d]\w*(?:[-/]\w+)*(?:\.(?:{PART}|{_QUOTED}))*)
    | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?P<unit>[^\W\d_]*)
    | (?P<string>{_QUOTED})
    | (?P<sign>==|!=|<>|<=|>=|[=<>(),])
    """,
    re.VERBOSE,
)
_NAME_PART = re.compile(rf"(?P<quoted>{_QUOTED})|(?P<bare>{PART})")
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


_OTHER_QUOTES = re.compile(
    r"""\.?`(?P<ticks>[^`]*)`?|\.?\[(?P<item>'[^']*'|"[^"]*"|[^\[\]'"]*)\]"""
)
"""A quoted part of a name as in SQL of MySQL and in pandas, or an item of a dict as in Python."""


def _quoted_name(before: str, match: re.Match[str]) -> str:
    """Return a hint of how to write a name that is quoted as in another language."""
    name = (match["ticks"] or match["item"] or "name").strip("'\"")
    group = re.search(r"[\w.]+$", before)
    if group is None and "." in name:
        first, _, name = name.partition(".")
    elif group is None:
        return "quote with ' or \""
    else:
        first = group[0].rstrip(".")
    doubled = name.replace('"', '""')
    return f'write {first}."{doubled}"'


def _why_not(text: str, position: int) -> str:
    character = text[position]
    if character in "'\"":
        return "this quote is not closed; write a quote within a string twice"
    if match := _OTHER_QUOTES.match(text, position):
        return f"unexpected {character!r}; {_quoted_name(text[:position], match)}"
    hint = {
        "!": "; write != or not",
        "&": "; write and",
        "|": "; write or",
        "%": "; write a pattern in quotes",
        ".": "; a name must start with a letter",
    }.get(character, "")
    return f"unexpected {character!r}{hint}"
