"""Parse Python syntax without executing it: constraints, literals and source files.

Constraints have the form ``"model.svm.C * 2 <= limit or kind in ['a', 'b']"``. Python's parser runs
in one thread at a time, because all threads share its nesting counter. If garbage collection lets
another thread parse in the middle, the parser raises `SystemError`
(https://github.com/python/cpython/issues/106905). Other libraries parse without this lock, so
the parser is called again.
"""

from __future__ import annotations

import ast
import os
import threading
import warnings
from typing import Any

from tuner.errors import SpaceError
from tuner.search_spaces.expressions import Binary, Expression, IsIn, Literal, P, Unary

_lock = threading.RLock()  # a finalizer may parse in the middle of a parse


ATTEMPTS = 100
"""Calls of the parser, which other threads may disturb."""


def parse_python(text: str, file: str = "<unknown>", mode: str = "exec") -> Any:
    """Return the syntax tree of Python source, as `ast.parse` does.

    >>> type(parse_python("1 + 1", mode="eval").body).__name__
    'BinOp'
    """
    with _lock:
        for _ in range(ATTEMPTS - 1):
            try:
                return ast.parse(text, file, mode)
            except SystemError:
                continue
        return ast.parse(text, file, mode)


def literal(text: str) -> Any:
    """Return the value of a Python literal, as `ast.literal_eval` does.

    >>> literal("[1, 'a']")
    [1, 'a']
    """
    return ast.literal_eval(parse_python(text.lstrip(" \t"), mode="eval"))


def _renew_lock() -> None:
    """Replace the lock in a forked child: a thread that the child lacks may hold it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


# --- constraints ----------------------------------------------------------------------------------

_BINARY: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.And: "and",
    ast.Or: "or",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.LtE: "<=",
    ast.GtE: ">=",
    ast.Lt: "<",
    ast.Gt: ">",
}
_UNARY: dict[type[ast.AST], str] = {ast.Not: "not", ast.Invert: "not", ast.USub: "-"}


def parse_constraint(text: str) -> Expression:
    """Parse a constraint in Python syntax.

    Parameters are referenced by path; ``P('my-name')`` references a path that is not a dotted
    identifier. Supported are numbers, strings, ``True``, ``False``, ``None``, tuples,
    ``+ - * / // % **``, comparisons and chains of them, ``and or not``, ``in [...]`` and ``abs()``.
    No code is executed.

    Raises
    ------
    SpaceError
        If the text contains any other syntax; the message names the part.

    Examples
    --------
    >>> parse_constraint("1 < a < model.b and not c in ['x']")
    parse_constraint("1 < a and a < model.b and not c in ['x']")
    """
    try:
        return _Reader(text).read(_parse(text.strip()))
    # Python's parser raises MemoryError if the text is nested too deeply.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(f"constraint {text!r} cannot be parsed: {error}") from None


def _parse(text: str) -> ast.expr:
    """Parse an expression with Python's parser; its warnings become errors."""
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        tree: ast.Expression = parse_python(text, _FILE, "eval")
    for doubt in doubts:  # may include warnings of other threads
        if doubt.filename == _FILE:
            raise SyntaxError(str(doubt.message))
    return tree.body


_FILE = "<constraint>"


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def read(self, node: ast.expr) -> Expression:
        match node:
            case ast.Constant(None | bool() | int() | float() | str()):
                return Literal(node.value)
            case ast.Tuple() | ast.List():
                return Literal(self._values(node))
            case ast.Name() | ast.Attribute():
                return P(self._path(node))
            case ast.BinOp(left, operation, right) if type(operation) in _BINARY:
                return Binary(_BINARY[type(operation)], self.read(left), self.read(right))
            case ast.UnaryOp(operation, operand) if type(operation) in _UNARY:
                return self._unary(_UNARY[type(operation)], self.read(operand))
            case ast.BoolOp(operation, values):
                return self._joined(_BINARY[type(operation)], [self.read(v) for v in values])
            case ast.Compare(left, operations, rights):
                sides = [left, *rights]
                pairs = zip(sides, operations, rights, strict=False)
                return self._joined("and", [self._comparison(*pair) for pair in pairs])
            case ast.Call(ast.Name("abs"), [inner], []):
                return Unary("abs", self.read(inner))
            case ast.Call(ast.Name("P"), [ast.Constant(str() as path)], []):
                return P(path)
        raise self._error(node)

    def _comparison(self, left: ast.expr, operation: ast.cmpop, right: ast.expr) -> Expression:
        match operation:
            case ast.In():
                return IsIn(self.read(left), self._values(right))
            case ast.NotIn():
                return Unary("not", IsIn(self.read(left), self._values(right)))
        if type(operation) not in _BINARY:
            raise self._error(right)
        return Binary(_BINARY[type(operation)], self.read(left), self.read(right))

    def _unary(self, operation: str, inner: Expression) -> Expression:
        if operation == "-" and isinstance(inner, Literal) and isinstance(inner.value, int | float):
            return Literal(-inner.value)
        return Unary(operation, inner)

    def _joined(self, operation: str, parts: list[Expression]) -> Expression:
        first, *others = parts
        for other in others:
            first = Binary(operation, first, other)
        return first

    def _values(self, node: ast.expr) -> tuple[Any, ...]:
        try:
            values = ast.literal_eval(node)
        except ValueError:
            raise self._error(node) from None
        if not isinstance(values, list | tuple):
            raise self._error(node)
        return tuple(values)

    def _path(self, node: ast.expr) -> str:
        match node:
            case ast.Name(name):
                return name
            case ast.Attribute(inner, name):
                return f"{self._path(inner)}.{name}"
        raise self._error(node)

    def _error(self, node: ast.AST) -> SpaceError:
        part = ast.get_source_segment(self._text.strip(), node) or self._text
        return SpaceError(
            f"constraint {self._text!r}: {part!r} is not supported; write parameters, numbers, "
            f"strings, + - * / // % **, comparisons, and, or, not, in [...], abs()"
        )
