"""Compile a query to SQLAlchemy expressions.

Values are bound parameters; names are looked up in the fields of the subject. A test on a missing
value is neither true nor false, as in SQL. Negations are pushed down to the tests, so that NULL
can be treated as false.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, case, false, func, literal, not_, or_

from tuner.errors import QueryError
from tuner.query.fields import Subject
from tuner.query.syntax import (
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
    Operator,
    Or,
    Query,
)
from tuner.query.values import Dialect, Expression, Kind, Value, as_number
from tuner.records import State


@dataclass(frozen=True, slots=True)
class Compiler:
    """Compiles one query.

    Parameters
    ----------
    text
        The text of the query, for error messages.
    subject
        The kind of record to search for.
    dialect
        The SQL dialect of the database.
    now
        The reference time of relative times such as ``-7d``, in seconds since the epoch.
    """

    text: str
    subject: Subject
    dialect: Dialect
    now: float

    def select(self, query: Query) -> Select[Any]:
        """Return the SELECT statement of a query."""
        statement = self.subject.rows
        if query.condition is not None:
            statement = statement.where(self.condition(query.condition))
        keys = [
            (key.desc() if descending else key.asc()).nulls_last()
            for each in query.order
            for key, descending in self.keys(each)
        ]
        statement = statement.order_by(*keys, *self.subject.identity)
        if query.limit is not None:
            statement = statement.limit(query.limit)
        elif query.offset:
            # SQLite rejects OFFSET without LIMIT.
            statement = statement.limit(2**63 - 1)
        return statement.offset(query.offset) if query.offset else statement

    # --- conditions ---------------------------------------------------------------------------

    def condition(self, condition: Condition, negated: bool = False) -> Expression:
        """Return the SQL of a condition or of its negation; NULL means neither true nor false."""
        match condition:
            case Not(inner):
                return self.condition(inner, not negated)
            case And(conditions):
                parts = [self.condition(each, negated) for each in conditions]
                return or_(*parts) if negated else and_(*parts)
            case Or(conditions):
                parts = [self.condition(each, negated) for each in conditions]
                return and_(*parts) if negated else or_(*parts)
            case Missing(field, is_not):
                value = self._value(field)
                return value.present if negated != is_not else not_(value.present)
            case Like(field, pattern, is_not):
                return self._like(field, pattern, negated != is_not)
            case Membership(field, options, is_not):
                value = self._value(field)
                equal = [self._equal(value, field, option) for option in options]
                return self._tested(value, or_(*equal), negated != is_not)
            case Comparison(left, operator, right):
                return self._comparison(left, operator, right, negated)

    def _comparison(
        self, left: Field | Constant, operator: Operator, right: Field | Constant, negated: bool
    ) -> Expression:
        if isinstance(left, Field) and isinstance(right, Field):
            return self._between_fields(left, operator.opposite if negated else operator, right)
        if isinstance(right, Field):
            left, operator, right = right, operator.mirrored, left
        if not isinstance(left, Field):
            raise self._wrong(left, "a comparison needs a field on at least one side")
        assert not isinstance(right, Field)
        value = self._value(left)
        if operator in (Operator.EQUAL, Operator.UNEQUAL):
            differs = negated != (operator is Operator.UNEQUAL)
            return self._tested(value, self._equal(value, left, right), differs)
        return self._ordered(value, left, operator, right, negated)

    def _tested(self, value: Value, equal: Expression, differs: bool) -> Expression:
        """Return the test ``value = x``; with `differs`, the test that a present value differs."""
        if value.among is not None:
            equal = value.among(equal)
        if not differs:
            return equal
        return and_(value.present, not_(func.coalesce(equal, false())))

    def _equal(self, value: Value, field: Field, constant: Constant) -> Expression:
        known = self._constant(value, field, constant)
        for kind, expression in value.typed:
            if _is(known, kind):
                return expression == _parameter(known, expression)
        return false()

    def _ordered(
        self, value: Value, field: Field, operator: Operator, constant: Constant, negated: bool
    ) -> Expression:
        known = self._constant(value, field, constant)
        if isinstance(known, bool):
            raise self._wrong(constant, "booleans cannot be ordered; write = or !=")
        if negated and value.among is None:
            operator = operator.opposite
        for kind, expression in value.typed:
            if _is(known, kind):
                side = self.dialect.sorted(expression) if kind is str else expression
                test = _apply(operator, side, _parameter(known, expression))
                if value.among is None:
                    return test
                some = value.among(test)
                return and_(value.present, not_(some)) if negated else some
        return false()

    def _between_fields(self, left: Field, operator: Operator, right: Field) -> Expression:
        a, b = self._value(left), self._value(right)
        for field, value in ((left, a), (right, b)):
            if value.among is not None:
                raise self._wrong(
                    field, f"{field} can have several values; compare it with a constant"
                )
        others = dict(b.typed)
        pairs = [(kind, x, others[kind]) for kind, x in a.typed if kind in others]
        if not pairs:
            problem = f"cannot compare: {left} is {a.kind} and {right} is {b.kind}"
            raise self._wrong(right, problem)
        if operator in (Operator.EQUAL, Operator.UNEQUAL):
            equal = or_(*(x == y for _, x, y in pairs))
            if operator is Operator.EQUAL:
                return equal
            return and_(a.present, b.present, not_(func.coalesce(equal, false())))
        ordered = [
            _apply(operator, self.dialect.sorted(x), self.dialect.sorted(y))
            if kind is str
            else _apply(operator, x, y)
            for kind, x, y in pairs
            if kind is not bool
        ]
        if not ordered:
            raise self._wrong(left, "booleans cannot be ordered; write = or !=")
        return or_(*ordered)

    def _like(self, field: Field, pattern: str, negated: bool) -> Expression:
        value = self._value(field)
        if value.string is None:
            raise self._wrong(field, f"like needs a string, but {field} is {value.kind}")
        matches = self.dialect.matches(value.string, pattern)
        if value.among is not None:
            some = value.among(matches)
            return and_(value.present, not_(some)) if negated else some
        return not_(matches) if negated else matches

    # --- sorting ------------------------------------------------------------------------------

    def keys(self, key: Key) -> Iterable[tuple[Expression, bool]]:
        """Yield sort expressions and whether each descends: numbers, strings, then booleans.

        Final results come before the partial results of trials that have not completed.
        """
        value = self._value(key.field)
        if value.among is not None:
            raise self._wrong(
                key.field, f"{key.field} can have several values; order by another field"
            )
        state = self.subject.states.get(key.field.path[0])
        if state is not None:
            final = and_(state == State.COMPLETED.value, value.present)
            yield case((final, 0), else_=1), False
        for kind, expression in value.typed:
            yield self.dialect.sorted(expression) if kind is str else expression, key.descending

    # --- fields and constants -----------------------------------------------------------------

    def _value(self, field: Field) -> Value:
        first, *rest = field.path
        subject = self.subject
        if first in subject.fields and not rest:
            return subject.fields[first]()
        if first in subject.documents or first in subject.trees:
            if not rest:
                raise self._wrong(field, f"{first} is a group of fields; write {first}.name")
            keys = tuple(rest) if first in subject.trees else (".".join(rest),)
            return self.dialect.value({**subject.trees, **subject.documents}[first], keys)
        if first in subject.fields:
            raise self._wrong(field, f"{first} is a single value; write {first} alone")
        raise self._wrong(field, f"unknown field {first!r}; {subject.close_to(first)}")

    def _constant(self, value: Value, field: Field, constant: Constant) -> float | str | bool:
        """Convert a constant to the type of the field.

        Raises
        ------
        QueryError
            If the field can never have a value of this type.
        """
        if isinstance(constant, Duration):
            return self.now + constant.seconds if value.kind is Kind.TIME else constant.seconds
        known = constant.value
        if value.kind is Kind.TIME and isinstance(known, str):
            return self._time(constant)
        if not any(_is(known, kind) for kind, _ in value.typed):
            raise self._wrong(constant, f"{field} is {value.kind}; {constant} is not")
        if value.options and known not in value.options:
            close = difflib.get_close_matches(str(known), value.options, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            known_options = ", ".join(value.options)
            raise self._wrong(constant, f"{field} must be one of {known_options}{hint}")
        return known

    def _time(self, constant: Literal) -> float:
        try:
            return datetime.fromisoformat(str(constant.value)).timestamp()
        except (ValueError, OverflowError, OSError):
            hint = "write '2026-05-31', '2026-05-31 18:30', or -7d for seven days ago"
            raise self._wrong(constant, f"{constant} cannot be parsed as a time; {hint}") from None

    def _wrong(self, place: Field | Constant, problem: str) -> QueryError:
        return QueryError(self.text, place.position, problem)


def _is(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _parameter(value: float | str | bool, beside: Expression) -> Expression:
    if isinstance(value, bool):
        return literal(int(value))
    return literal(value, beside.type) if isinstance(value, str) else as_number(value, beside)


def _apply(operator: Operator, left: Expression, right: Expression) -> Expression:
    match operator:
        case Operator.LESS:
            return left < right
        case Operator.AT_MOST:
            return left <= right
        case Operator.MORE:
            return left > right
        case Operator.AT_LEAST:
            return left >= right
        case _:
            return left == right
