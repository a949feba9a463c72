"""Python source is parsed on several threads."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from tuner.search_spaces import parsing
from tuner.search_spaces.parsing import literal, parse_python

NESTED = "f(" * 12 + "1" + ")" * 12


class Switches:
    """Lets another thread run when it is collected."""

    def __init__(self) -> None:
        self.cycle = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@pytest.fixture
def switches_often() -> Iterator[None]:
    before, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(1)
    sys.setswitchinterval(1e-6)
    yield
    gc.set_threshold(*before)
    sys.setswitchinterval(interval)


@pytest.mark.slow
@pytest.mark.usefixtures("switches_often")
def test_threads_parse_concurrently() -> None:
    def parse(_: int) -> None:
        for _ in range(200):
            Switches()
            parse_python(NESTED)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(parse, range(4)))


def test_a_disturbed_parser_is_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that parses without the lock disturbs one of 5,000 calls, so this is injected."""
    disturbed = [SystemError("AST constructor recursion depth mismatch")] * 3

    def often_disturbed(*args: Any) -> Any:
        if disturbed:
            raise disturbed.pop()
        return ast.parse(*args)

    python = SimpleNamespace(parse=often_disturbed, literal_eval=ast.literal_eval)
    monkeypatch.setattr(parsing, "ast", python)
    assert literal("[1, 2]") == [1, 2]
    assert not disturbed


def test_a_literal_may_be_indented() -> None:
    assert literal(" \t{'a': [1, None]}") == {"a": [1, None]}
