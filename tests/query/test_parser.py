"""The syntax of queries, and the errors for invalid queries."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.query_strategies import queries
from support.effort import examples
from tuner.errors import ArgumentError, QueryError
from tuner.query import parse
from tuner.query.compiler import Compiler
from tuner.query.fields import SUBJECTS, subject
from tuner.query.parser import DEEPEST, MOST_OPTIONS, MOST_TESTS
from tuner.query.syntax import And, Comparison, Duration, Field, Like, Literal, Missing, Not, Or
from tuner.query.values import dialect_of


def test_operators_have_their_precedence() -> None:
    a, b, c = (Comparison(Field((n,)), "=", Literal(1)) for n in "abc")
    assert parse("a = 1 or b = 1 and c = 1").condition == Or((a, And((b, c))))
    assert parse("(a = 1 or b == 1) AND c = 1").condition == And((Or((a, b)), c))
    assert parse("not a = 1 and b = 1").condition == And((Not(a), b))
    assert parse("a = 1 and b = 1 and c = 1").condition == And((a, b, c))


def test_names_and_values() -> None:
    assert (
        parse("params.model.svm.C > 1").condition == parse('params."model"."svm"."C" > 1').condition
    )
    assert parse("metrics.'a b' is null").condition == Missing(Field(("metrics", "a b")))
    assert parse("metrics.val/loss-2 is null").condition == Missing(
        Field(("metrics", "val/loss-2"))
    )
    assert parse("params.layer.0 is null").condition == Missing(Field(("params", "layer", "0")))
    assert parse("x = 'it''s'").condition == Comparison(Field(("x",)), "=", Literal("it's"))
    assert parse('x <> "a"').condition == Comparison(Field(("x",)), "!=", Literal("a"))
    assert parse("x>-7d").condition == Comparison(Field(("x",)), ">", Duration(-604800.0))
    assert parse("x not like '%'").condition == Like(Field(("x",)), "%", negated=True)
    assert parse("feasible").condition == Comparison(Field(("feasible",)), "=", Literal(True))
    assert parse("1e3 < x").condition == Comparison(Literal(1000.0), "<", Field(("x",)))


def test_ordering_and_limits() -> None:
    query = parse("order by value desc, params.x ASC limit 3 offset 2")
    assert (query.condition, query.limit, query.offset) == (None, 3, 2)
    assert [(str(key.field), key.descending) for key in query.order] == [
        ("value", True), ("params.x", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("value >", 7, "expected a value after >, found the end"),
        ("value = = 3", 8, "expected a value after =, found ="),
        ("(value = 1", 10, "expected and, or or )"),
        ("value = 1)", 9, "expected and, or, order by, limit, offset or the end"),
        ("value = null", 8, "write is null"),
        ("value ! 1", 6, "write != or not"),
        ("value = 1 & x = 2", 10, "write and"),
        ("x = 'a", 4, "not closed"),
        ("x = 3y", 5, "unknown unit of time 'y'"),
        ("x = 1e999", 4, "the number 1e999 is too large"),
        ("value < 1 limit x", 16, "expected a whole number after limit"),
        ("value < 1 limit 2.5", 16, "expected a whole number"),
        ("value < 1 order value", 16, "expected by after order"),
        ("order by 3", 9, "expected a field to order by"),
        ("x in 1", 5, "expected ( after in"),
        ("x in ()", 6, "expected a value"),
        ("x in (1, y)", 9, "expected a value, found y; quote strings"),
        ("x like 3", 7, "a pattern in quotes"),
        ("x is 3", 5, "expected null or not null"),
        ("x not 3", 6, "expected in or like"),
        ("'a'", 3, "expected a comparison"),
        ("x y", 2, "expected a comparison, in, like or is null after x, found y"),
        ("x = '\x00'", 5, r"a query cannot contain '\x00'"),
        ("x = '\ud800'", 5, r"a query cannot contain '\ud800'"),
        (f"limit {2**63}", 6, "must be at most"),
    ],
)
def test_an_error_names_the_position_and_the_expected_token(
    text: str, position: int, says: str
) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert caught.value.position == position
    assert says in str(caught.value)
    shown, caret = str(caught.value).splitlines()[-2:]
    assert len(shown[: caret.index("^")]) == position + 2


def test_a_query_that_is_too_large_is_refused() -> None:
    for text in (
        "(" * (DEEPEST + 1),
        "not " * 3000 + "x = 1",
        " or ".join(["x = 1"] * (MOST_TESTS + 1)),
        f"x in ({','.join('1' * (MOST_OPTIONS + 1))})",
        "x = '" + "a" * 30_000 + "'",
        "x = 1" + "0" * 5000,
    ):
        with pytest.raises(QueryError):
            parse(text)


def compile_for(what: str, text: str) -> None:
    for name in ("sqlite", "postgresql"):
        dialect = dialect_of(name)
        Compiler(text, subject(what, dialect), dialect, 0.0).select(parse(text))


@pytest.mark.parametrize(
    ("what", "text", "says"),
    [
        ("trials", "vlaue > 3", "did you mean value"),
        ("trials", "lr > 3", "write params.lr or metrics.lr"),
        ("trials", "param.lr > 3", "did you mean params"),
        ("trials", "params > 3", "write params.name"),
        ("trials", "value.x > 3", "write value alone"),
        ("trials", "state = 'complete'", "did you mean 'completed'"),
        ("trials", "state = completed", "unknown field 'completed'"),
        ("trials", "value = 'high'", "value is a number; 'high' is not"),
        ("trials", "feasible > true", "booleans cannot be ordered"),
        ("trials", "params.x < true", "booleans cannot be ordered"),
        ("trials", "value like '1%'", "like needs a string, but value is a number"),
        ("trials", "1 = 1", "needs a field on at least one side"),
        ("trials", "started > 'yesterday'", "write '2026-05-31'"),
        ("trials", "value > study", "study is a string"),
        ("models", "order by alias", "order by another field"),
        ("models", "alias = name", "compare it with a constant"),
        ("studies", "params.x = 1", "unknown field 'params'"),
    ],
)
def test_a_query_with_an_impossible_comparison_is_refused(what: str, text: str, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        compile_for(what, text)
    assert says in str(caught.value)


def test_a_misspelled_subject_is_refused() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'trials'"):
        subject("trial", dialect_of("sqlite"))


@pytest.mark.slow
@given(st.sampled_from(["trials", "runs", "studies"]).flatmap(queries))
def test_a_parsed_query_is_shown_as_written(query) -> None:
    assert parse(str(query)) == query


PIECES = r"""
    value params.x metrics.'a b' state alias = < != ( ) , and or not in like is null 'a' " ' 3 -7d
    1e400 order by desc limit offset ; -- /* DROP TABLE trials % \
"""
pieces = st.sampled_from([*PIECES.split(), "\0", "\ud800"])


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(pieces | st.text(max_size=5), max_size=12).map(" ".join) | st.text(max_size=40),
    st.sampled_from(SUBJECTS),
)
def test_any_text_parses_or_raises_a_query_error(text: str, what: str) -> None:
    problem = None
    try:
        compile_for(what, text)
    except QueryError as error:
        problem = error
    assert problem is None or (0 <= problem.position <= len(text) and "^" in str(problem))


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30))
def test_user_text_is_passed_as_a_bound_parameter(text: str) -> None:
    from sqlalchemy.dialects import postgresql, sqlite

    quoted = text.replace("'", "''")
    query = f"params.'{quoted}' = '{quoted}' and study like '{quoted}' and tags.a in ('{quoted}')"
    plain = "params.'x' = 'x' and study like 'x' and tags.a in ('x')"
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        written = dialect_of(dialect.name)
        made = [
            str(
                Compiler(each, subject("trials", written), written, 0.0)
                .select(parse(each))
                .compile(dialect=dialect)
            )
            for each in (query, plain)
        ]
        # Names that SQLite's paths cannot hold are looked up in another way, as parameters, too.
        if dialect.name == "postgresql" or all(" " <= c <= "~" and c not in '"\\' for c in text):
            assert made[0] == made[1] or text in ("dict", "float", "tuple", "base64")
