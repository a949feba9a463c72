"""Spaces as JSON and YAML: valid and invalid documents, and user-defined domains."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from tuner.errors import SpaceError
from tuner.search_spaces import Bool, Choice, Const, Domain, Float, Ordinal, Space
from tuner.testing import DomainConformance

BOOL = {"type": "bool"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "no 'params'"),
        ([], "no 'params'"),
        ({"params": []}, "no 'params'"),
        ({"version": 2, "params": {}}, "version 2"),
        ({"params": {}}, "empty"),
        ({"params": {"x": 3}}, "'x' is 3; write a 'type'"),
        ({"params": {"x": {"type": "real"}}}, "write a 'type' of float"),
        ({"params": {"x": {"type": ["bool"]}}}, "write a 'type' of float"),
        ({"params": {"x": {"type": "float", "low": 0}}}, "'x': float needs 'high'"),
        ({"params": {"x": {"type": "float", "low": 1, "high": 0}}}, r"'x': Float\(1.0, 0.0\)"),
        (
            {"params": {"x": {"type": "float", "low": [], "high": 0}}},
            r"'x': .* must be a finite number",
        ),
        (
            {"params": {"x": {"type": "int", "low": 1, "high": 2, "log": "yes"}}},
            "'x': .*log must be True",
        ),
        ({"params": {"x": {"type": "bool", "low": 1}}}, "'x': it has 'low'"),
        ({"params": {"x": {"type": "choice"}}}, "'x': choice needs 'options'"),
        ({"params": {"x": {"type": "choice", "options": 3}}}, "'x': 'options' is 3; write a list"),
        ({"params": {"x": {"type": "ordinal", "values": "ab"}}}, "'values' is 'ab'; write a list"),
        ({"params": {"x": {"type": "const", "value": {}}}}, "'x': Const: {} is a dict"),
        ({"params": {"x": {"type": "choice", "branches": [1]}}}, r"'x': 'branches' is \[1\]"),
        ({"params": {"x": {"type": "choice", "branches": {}}}}, "'x': 'branches' is {}"),
        ({"params": {"x": {"type": "choice", "branches": {"a": [1]}}}}, r"'x.a' is \[1\]"),
        ({"params": {"x": {"type": "choice", "branches": {"default": {}}}}}, "called 'default'"),
        (
            {"params": {"x": {"type": "choice", "branches": {1: {}}}}},
            "the option 1 is not a string",
        ),
        (
            {"params": {"x": {"type": "choice", "branches": {"a": {}}, "options": []}}},
            "'x': it has 'options' and 'branches'",
        ),
        ({"params": {1: BOOL}}, "1 is a int, no name; write it in quotes"),
        ({"params": {"x": BOOL}, "constraint": []}, "has 'constraint'"),
        ({"params": {"x": BOOL}, "constraints": "x"}, "must be a list of strings"),
        ({"params": {"x": BOOL}, "constraints": ["y == 1"]}, "unknown parameter 'y'"),
        (
            {"params": {"m": {"type": "choice", "branches": {"a": {"y": {"type": "?"}}}}}},
            "'m.a.y'",
        ),
    ],
)
def test_an_error_in_a_document_names_the_path(data: Any, says: str) -> None:
    with pytest.raises(SpaceError, match=says):
        Space.from_dict(data)


@pytest.mark.parametrize(
    "text", ["{", "", "3", "null", "[" * 100_000, '{"params": NaN}', 3, b"\xff", None]
)
def test_invalid_json_raises_a_tuner_error(text: Any) -> None:
    with pytest.raises(SpaceError, match="search space"):
        Space.from_json(text)


@pytest.mark.parametrize(
    "text", ["a: [", "", "3", "a: !!python/object:os.system {}", "? [a]\n: 1", "{" * 3000, "\x00"]
)
def test_invalid_yaml_raises_a_tuner_error(text: str) -> None:
    with pytest.raises(SpaceError, match="search space"):
        Space.from_yaml(text)


def test_a_duplicate_name_is_an_error() -> None:
    twice = '{"params": {"x": {"type": "bool"}, "x": {"type": "bool"}}}'
    with pytest.raises(SpaceError, match="'x' is there twice"):
        Space.from_json(twice)
    with pytest.raises(SpaceError, match="'x' is there twice, again in line 1"):
        Space.from_yaml(twice)


def test_yaml_numbers_and_words_are_read_as_intended() -> None:
    space = Space.from_yaml(
        """
        params:
          on: {type: bool}
          lr: {type: float, low: 1e-4, high: 1E0, log: true}
          kind: {type: choice, options: [yes, no, off, ~, 1e3, "1e3", true]}
          model:
            type: choice
            branches:
              dummy:
              svm: {C: &range {type: float, low: .5, high: 2.5}}
              ridge: {alpha: {<<: *range, high: 5}}
        constraints:
          - model.svm.C > lr or not on
        """
    )
    assert space == Space(
        {
            "on": Bool(),
            "lr": Float(1e-4, 1.0, log=True),
            "kind": Choice("yes", "no", "off", None, 1000.0, "1e3", True),
            "model": Choice("dummy", svm={"C": Float(0.5, 2.5)}, ridge={"alpha": Float(0.5, 5)}),
        },
        ["model.svm.C > lr or not on"],
    )
    assert Space.from_yaml(space.to_yaml()) == space


@given(
    st.lists(
        st.sampled_from(["no", "on", "1e3", "-.5E1", "1_0", "0x1", "~", "", "1:30", "2020-01-01"])
        | st.text(max_size=4)
        | st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)
        | st.integers(-(2**70), 2**70),
        min_size=1,
        unique_by=repr,
    )
)
@settings(deadline=None)
def test_any_option_survives_a_document(options: list[Any]) -> None:
    space = Space({"o": Ordinal(*options), "c": Const(options[0])})
    assert Space.from_yaml(space.to_yaml()) == space
    assert Space.from_json(space.to_json()) == space


@pytest.mark.parametrize("text", ["\x85", "a\u2028b", "\ufeff", "\U0001f600", "\t", "a\nb"])
def test_line_breaks_and_other_rare_characters_survive_yaml(text: str) -> None:
    space = Space({"c": Const(text)})
    assert Space.from_yaml(space.to_yaml()) == space


# --- a user-defined domain ------------------------------------------------------------------------


class PowerOfTwo(Domain):
    """2 ** low, ..., 2 ** high."""

    kind = "test-power-of-two"

    def __init__(self, low: int, high: int) -> None:
        if low > high:
            raise SpaceError(f"PowerOfTwo({low}, {high}): write PowerOfTwo({high}, {low})")
        self.low, self.high = low, high

    @property
    def size(self) -> float:
        return self.high - self.low + 1

    def cast(self, value: Any) -> int:
        if type(value) is not int or value not in self.grid(1):
            raise ValueError(value)
        return value

    def to_unit(self, values: Sequence[Any]) -> Any:
        return (np.log2(np.asarray(values, dtype=float)) - self.low + 0.5) / self.size

    def from_unit(self, unit: ArrayLike) -> list[int]:
        index = np.clip(np.asarray(unit) * self.size, 0, self.size - 1).astype(int)
        return [2 ** (self.low + i) for i in index.tolist()]

    def grid(self, levels: int) -> list[int]:
        return [2**i for i in range(self.low, self.high + 1)]

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind, "low": self.low, "high": self.high}


class TestPowerOfTwo(DomainConformance):
    domains = (PowerOfTwo(0, 5), PowerOfTwo(3, 3))
    outsiders = (None, True, 2.5, 3, "1", float("nan"), object())


def test_a_custom_domain_round_trips() -> None:
    space = Space({"m": Choice("none", net={"units": PowerOfTwo(4, 9)})}, ["m.net.units > 16"])
    for again in (Space.from_json(space.to_json()), Space.from_yaml(space.to_yaml())):
        assert again == space
        assert again.fingerprint == space.fingerprint
    assert space.size == len(list(space.grid())) == 6
    points = space.sample(np.random.default_rng(0), 50)
    assert space.decode(space.encode(points)[0]) == points
    assert space.freeze({"m.net.units": 32}).size == 2
    wide = {"m.net.units": PowerOfTwo(4, 10)}
    assert space.widen(wide).size == 7
    with pytest.raises(SpaceError, match="exceeds it"):
        space.narrow(wide)
    assert not math.isinf(space.size)


def test_an_error_in_a_custom_domain_names_the_path() -> None:
    document = json.loads(Space({"u": PowerOfTwo(1, 2)}).to_json())
    for change, says in (
        ({"low": 5}, r"'u': PowerOfTwo\(5, 2\)"),
        ({"base": 3}, "'u' is not a valid test-power-of-two: .*'base'"),
        ({"type": "test-power-of-three"}, "'u' is .* import the module"),
    ):
        with pytest.raises(SpaceError, match=says):
            Space.from_dict({"params": {"u": document["params"]["u"] | change}})
