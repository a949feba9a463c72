"""Displayed text contains no terminal control sequences and no secrets of URLs, for any input."""

from __future__ import annotations

import contextlib
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL

from support.effort import examples
from tuner.errors import SpaceError, TunerError
from tuner.errors.credentials import _COMMON, HIDDEN, hide, hide_url
from tuner.errors.printable import one_line, printable, well_formed
from tuner.search_spaces import Space
from tuner.tracking.database.location import locate

ANY_TEXT = st.text(st.characters(), max_size=60)  # with lone surrogates and controls
SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=8, max_size=20)


@given(ANY_TEXT)
@example("\x1b]8;;http://x\x07link\x1b\\ \x9b31m \u202e \u2066 \ufeff \u2028 \udc80 \x7f")
def test_shown_text_has_no_control_characters(text: str) -> None:
    shown = one_line(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
    shown.encode()
    assert printable(shown) == shown
    well_formed(text).encode()


PASSWORDS = SECRETS.filter(lambda s: len(s.split()) == 1 and not s.isalpha() and not s.isdigit())


def check_password(secret: str) -> None:
    url = URL.create("postgresql", "me", secret, "host", 5432, "db")
    text = url.render_as_string(hide_password=False)
    shown = hide_url(text)
    assert HIDDEN in shown
    if secret.lower() in _COMMON or secret in "postgresql://me:@host:5432/db":
        return
    assert secret not in shown
    message = hide(f"cannot open {text!r}: {secret!r}, or {secret}, or {quote(secret, safe='')}")
    assert secret not in message
    assert secret not in repr(locate(text)) + str(locate(text))


@pytest.mark.slow
@given(PASSWORDS)
@settings(max_examples=examples(40))  # the module remembers each secret and looks for all of them
@example("p@ss/w:rd?x#y")
@example("it's-%41-100%")
def test_shown_text_does_not_contain_the_password_of_a_url(secret: str) -> None:
    check_password(secret)


@pytest.mark.soak
@given(PASSWORDS)
@settings(max_examples=examples(400))
def test_shown_text_does_not_contain_any_of_many_passwords(secret: str) -> None:
    check_password(secret)


@given(ANY_TEXT)
@settings(max_examples=examples(300), deadline=None)
def test_credentials_are_hidden_in_any_text(text: str) -> None:
    assert isinstance(hide(f"{text}://{text}:{text}@{text}?{text}={text}"), str)


@given(ANY_TEXT)
@settings(max_examples=examples(200), deadline=None)
@example("sqlite:///")
@example("postgresql://h:99999999/x")
def test_any_text_opens_a_store_or_raises_a_tuner_error(text: str) -> None:
    for store in (text, f"sqlite:///{text}", f"postgresql://{text}", f"postgresql://u:{text}@h/d"):
        with contextlib.suppress(TunerError):
            locate(store)


def test_an_undecodable_environment_variable_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "planted\udce9-1")
    assert hide("it is planted\udce9-1") == f"it is {HIDDEN}"


# --- documents of spaces ------------------------------------------------------------------------

LEAF = "{x: {type: float, low: 0, high: 1}, y: {type: float, low: 0, high: 1}}"


def doubling(levels: int) -> str:
    lines = [f"a0: &a0 {{type: choice, branches: {{p: {LEAF}, q: {{}}}}}}"]
    for i in range(1, levels):
        branch = f"{{l: *a{i - 1}, r: *a{i - 1}}}"
        lines.append(f"a{i}: &a{i} {{type: choice, branches: {{p: {branch}, q: {{}}}}}}")
    return "params:\n" + "".join(f"  {line}\n" for line in lines)


def merging(levels: int) -> str:
    lines = ["a0: &a0 {k: 1}"]
    for i in range(1, levels):
        again = ", ".join([f"*a{i - 1}"] * 9)
        lines.append(f"a{i}: &a{i} {{<<: [{again}]}}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (doubling(14), "aliases"),
        (doubling(40), "aliases"),
        (merging(9), "aliases"),
        ("params: {c: {type: choice, options: &a [[*a], 1]}}", "part of"),
        ("params: &p {x: *p}", "part of"),
        (f"params: {'{a: ' * 200}1{'}' * 200}", "deep"),
        ("[" * 100_000, "deep"),
        ("#" * 3_000_000, "characters"),
        ("params: {c: {type: choice, options: !!set {a, b}}}", "tag"),
        ("!!python/object/apply:os.system [x]", "tag"),
        ("params: {c: {type: const, value: !!binary aGk=}}", "tag"),
        ("params: {a: 1, a: 2}", "twice"),
        ("params: {[1, 2]: 3}", "write a text"),
        (f"params: {{c: {{type: float, low: 0, high: {'9' * 4000}}}}}", "9999"),
        (f"params: {{c: {{type: int, low: 0, high: {'9' * 5000}}}}}", "digits"),
        ("params: {c: {type: const, value: 2024-99-99}}", "month"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_expanding_or_unusual_yaml_is_refused(text: str, why: str) -> None:
    with pytest.raises(SpaceError, match=why):
        Space.from_yaml(text)


def test_aliases_that_share_a_domain_are_read() -> None:
    shared = "".join(f"  b{i}: *a\n" for i in range(300))
    space = Space.from_yaml(f"params:\n  a: &a {{type: float, low: 0, high: 1}}\n{shared}")
    assert len(space.columns) == 301
    assert len(Space.from_yaml(doubling(5)).columns) > 50


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"params":' * 100_000,
        '{"params": {}, "params": {}}',
        f'{{"params": {{"c": {{"type": "int", "low": 0, "high": {"9" * 5000}}}}}}}',
        f'{{"params": {{"c": {{"type": "float", "low": 0, "high": {"9" * 4000}}}}}}}',
        '{"params": {"c": {"type": "float", "low": NaN, "high": 1}}}',
        f'{{"params": {"{" + chr(34) + "a" + chr(34) + ":" * 1}{"[" * 900}',
        '{"params": null}',
        "1",
        "",
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_deep_or_unusual_json_is_refused(text: str) -> None:
    with pytest.raises(SpaceError):
        Space.from_json(text)


def test_a_document_that_is_deep_is_refused() -> None:
    document: dict[str, object] = {}
    for _ in range(3000):
        branches = {"b": {"a": document} if document else {}, "c": {}}
        document = {"type": "choice", "branches": branches}
    with pytest.raises(SpaceError):
        Space.from_dict({"version": 1, "params": {"a": document}})
