"""Model cards, as Markdown and JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import tuner
from tuner.errors import ModelNotFound
from tuner.records import ValueEstimate
from tuner.registry import Registry
from tuner.registry.card import ModelCard


def objective(params: dict, trial: tuner.LiveTrial) -> dict[str, float]:
    trial.log_model({"weights": [params["x"]]}, format="json")
    return {"score": params["x"], "latency": float("nan")}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    tuner.optimize(
        objective, {"x": tuner.Float(0, 1), "m": tuner.Choice(a={"C": tuner.Int(1, 9)}, b={})},
        initial=[{"x": 0.5, "m": ("a", {"C": 3})}], metric="score", direction="maximize",
        n_trials=1, backend="serial", store=tmp_path, study="s", register="digits", data=[1, 2],
        progress=False, tags={"team": "x"},
    )  # fmt: skip
    return Registry(tmp_path)


def test_a_card_with_an_unknown_noise_has_no_interval(registry: Registry) -> None:
    text = tuner.model_card("digits", store=registry.store).to_markdown()
    assert "| estimate | 0.5 |" in text
    assert "| noise source | unknown |" in text
    assert "interval" not in text
    assert "luck" not in text


def test_a_card_has_the_whole_record(registry: Registry) -> None:
    version = registry.set_description("digits", "Reads digits.\n\n- not a list")
    registry.set_tags("digits", {"stage": "review"})
    estimate = ValueEstimate(0.45, 0.4, 0.5, 3, 0.1, "repeats", 0.8, 0.02, 5, 6, "winner")
    registry.set_estimate(version, estimate)
    registry.set_alias("digits", "production", 1, by="ann", why="audited")
    card = tuner.model_card("digits@production", store=registry.store)
    text = card.to_markdown()
    for part in (
        "# digits, version 1\n", "Reads digits.", "\\- not a list", "| aliases | champion, prod",
        "| estimate | 0.45 (95 % interval 0.4 to 0.5)", "| luck | 0.02 |", "| latency | nan |",
        "| m.a.C | 3 |", f"| fingerprint | {version.data} |", "| study | s |", "| stage | review |",
        "production |  | 1 | ann | audited |", "| format | json |", "runs no code from the file",
        "packages</summary>", "tuner.load_model('digits@1', store=",
    ):  # fmt: skip
        assert part in text
    content = json.loads(json.dumps(card.to_json(), allow_nan=False))
    assert content["quality"]["low"] == 0.4
    assert content["metrics"] == {"score": 0.5, "latency": None}
    assert content["params"] == {"x": 0.5, "m": "a", "m.a.C": 3}
    assert content["history"][-1]["why"] == "audited"
    assert content["packages"]["numpy"]
    assert card._repr_markdown_() == text
    assert repr(card) == "<ModelCard of digits, version 1>"


def test_the_code_of_a_card_loads_the_model(registry: Registry) -> None:
    names: dict[str, object] = {}
    exec(tuner.model_card("digits", store=registry.store).loading, names)
    assert names["model"] == {"weights": [0.5]}


def test_a_card_of_a_missing_model_is_an_error(registry: Registry) -> None:
    with pytest.raises(ModelNotFound):
        tuner.model_card("digits@9", store=registry.store)


HOSTILE = st.text() | st.text("\\`*_{}[]()<>|~$!#&-+=:1. \n'\"ax/") | st.sampled_from(
    ["<script>", "[x](javascript:1)", "![x](y)", "|", "\n# x", "```\nx", "&lt;b&gt;", "1. x", "- x",
     "a\n===", "    code", "<!--", "</details>", "\\<b>", "`` ` ``"]
)  # fmt: skip


def card_of(text: str) -> ModelCard:
    facts = {text: text}
    event = {"when": text, "why": text}
    return ModelCard(
        text, text, facts, facts, facts, facts, facts, facts, facts, facts, facts, facts,
        facts, (event, event), facts, f"load({text!r})",
    )  # fmt: skip


PLAIN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
ALLOWED = {
    *("heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline", "fence"),
    *(f"{p}_open" for p in ("table", "thead", "tbody", "tr", "th", "td")),
    *(f"{p}_close" for p in ("table", "thead", "tbody", "tr", "th", "td")),
    "html_block", "text", "softbreak", "text_special",
}  # fmt: skip


@given(HOSTILE)
def test_texts_of_users_have_no_effect_in_markdown(text: str) -> None:
    shown = card_of(text).to_markdown()
    tokens = [t for token in PLAIN.parse(shown) for t in (token, *(token.children or ()))]
    assert {t.type for t in tokens} <= ALLOWED
    assert sum(t.type == "heading_open" for t in tokens) == 13
    assert sum(t.type == "table_open" for t in tokens) == 13
    assert sum(t.type == "fence" for t in tokens) == 1
    blocks = [t.content for t in tokens if t.type == "html_block"]
    assert all(
        re.fullmatch(r"<details><summary>1 package</summary>\n|</details>\n", b) for b in blocks
    )


def test_credentials_are_hidden(tmp_path: Path) -> None:
    card = card_of("postgresql://u:hunter2@h/db")
    assert "hunter2" not in card.to_markdown()
    assert "hunter2" not in json.dumps(card.to_json())
