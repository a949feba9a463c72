"""Names of models and aliases, and references to versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tuner
from tuner.errors import ArgumentError, ModelNotFound
from tuner.registry.names import (
    Reference,
    parse_reference,
    validate_alias,
    validate_model_name,
)
from tuner.study.arguments import as_study_name

names = st.text(st.characters(), max_size=8) | st.sampled_from(["a" * 200, "a" * 201])


def allowed(check: Any, name: Any) -> bool:
    try:
        return bool(check(name) == name)
    except ArgumentError:
        return False


@given(names)
@example("lr:0.1")
@example("_private")
@example("a@b")
@example("a/b")
@example("a\nb")
@example(" ")
@example("a" * 200)
@example("a" * 201)
def test_every_valid_study_name_is_a_valid_model_name(name: str) -> None:
    assert allowed(validate_model_name, name) == allowed(as_study_name, name)


@pytest.mark.parametrize("name", ["", "  ", None, 3, "a@b", "a/b", "a\nb", "a" * 201])
def test_an_invalid_model_name_is_refused(name: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^model name "):
        validate_model_name(name)


@pytest.mark.parametrize("name", ["a:b", "_objective", "naïve (2)", "x" * 200, "'; DROP TABLE"])
def test_every_winner_is_registered_under_its_studys_name(name: str, tmp_path: Path) -> None:
    tuner.optimize(
        lambda params: params["x"],
        {"x": tuner.Float(0, 1)},
        n_trials=2,
        backend="serial",
        study=name,
        store=tmp_path,
        progress=False,
    )
    (version,) = tuner.list_models(store=tmp_path)
    assert (version.name, version.study) == (name, name)
    assert tuner.load_model(f"{name}@1", store=tmp_path) == version.params


@pytest.mark.parametrize(
    ("ref", "means"),
    [
        ("m", Reference("m", alias="champion")),
        ("m@champion", Reference("m", alias="champion")),
        ("m@staging 2", Reference("m", alias="staging 2")),
        ("m@3", Reference("m", version=3)),
        ("m@007", Reference("m", version=7)),
        ("a:b@1", Reference("a:b", version=1)),
        ("m@a@b", Reference("m", alias="a@b")),
    ],
)
def test_a_reference_is_parsed_to_name_and_version_or_alias(ref: str, means: Reference) -> None:
    assert parse_reference(ref) == means


@pytest.mark.parametrize("ref", ["", "@champion", "m@", "@", None, 3, b"m"])
def test_an_invalid_reference_is_refused(ref: Any) -> None:
    with pytest.raises(ArgumentError, match="'name@alias'"):
        parse_reference(ref)


@pytest.mark.parametrize("number", ["0", "2147483648", "9" * 30, "9" * 5_000])
def test_a_huge_version_number_is_not_found(number: str, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        tuner.load_model(f"m@{number}", store=tmp_path)


@pytest.mark.parametrize("alias", ["staging", "v2", "2026-01", "blue green", "été"])
def test_a_valid_alias_is_accepted(alias: str) -> None:
    assert validate_alias(alias) == alias


@pytest.mark.parametrize("alias", ["", "3", "٣", "@x", "a@b", "-x", "a" * 201, None, 3])
def test_an_invalid_alias_is_refused(alias: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^alias "):
        validate_alias(alias)
