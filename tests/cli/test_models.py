"""Commands about registered models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.command_line import call, run
from tuner.registry import Registry


@pytest.fixture
def registry(folder: Path) -> Registry:
    """Three versions of "m": 1 was champion, 2 is champion, 3 is challenger."""
    study = tuner.create_study(
        {"x": tuner.Float(0, 1)}, study="s", metric="loss", store=".tuner", seed=0
    )
    for value in (0.5, 0.25, 0.75):
        trial = study.ask()
        study.tell(trial, {"loss": value, "latency": value / 10})
        study.register("m", trial=trial.number)
    return Registry(".tuner")


def content(*words: str, code: int = 0) -> Any:
    def strict(name: str) -> None:
        raise AssertionError(name)

    return json.loads(call("models", *words, "--json", code=code).stdout, parse_constant=strict)


def test_models_are_listed(registry: Registry) -> None:
    plain = call("models").stdout
    assert call("models", "list").stdout == plain
    rows = [line.split("\t") for line in plain.splitlines()]
    assert [row[:3] for row in rows[1:]] == [
        ["m", "1", ""], ["m", "2", "champion"], ["m", "3", "challenger"],
    ]  # fmt: skip
    found = content("list")
    assert [v["aliases"] for v in found] == [[], ["champion"], ["challenger"]]
    assert found[2]["note"].startswith("not champion: its value 0.75 is not better")
    assert content("list", "--store", "nothing") == []
    assert "no models yet" in call("models", "--store", "nothing").stderr
    assert "no models yet" in call("models", "--store", "nothing", "list").stderr


def test_a_version_is_shown_with_the_history(registry: Registry) -> None:
    registry.set_tags("m", {"stage": "review"})
    lines = call("models", "show", "m").stdout.splitlines()
    for line in ("model:       m@2", "aliases:     champion", "tags:        stage=review"):
        assert line in lines
    table = [line.split("\t") for line in lines[lines.index("") + 1 :]]
    assert table[0] == ["at", "action", "alias", "before", "after", "who", "why"]
    assert [row[1:5] for row in table[1:]] == [
        ["register", "champion", "-", "1"], ["register", "champion", "1", "2"],
        ["register", "challenger", "-", "3"],
    ]  # fmt: skip
    found = content("show", "m@3")
    assert (found["version"], found["history"][2]["why"]) == (3, found["note"])
    assert "no version or alias '9'" in call("models", "show", "m@9", code=1).stderr


def test_versions_are_compared(registry: Registry) -> None:
    text = call("models", "compare", "m", "m@3", "--no-code").stdout
    assert "model: value\t0.25\t0.75" in text
    assert "metrics: latency\t0.025\t0.075" in text
    assert content("compare", "m@1", "m@2")["names"] == ["m@1", "m@2"]
    assert "model: value" in call("compare", "m@1", "m@2").stdout
    call("models", "compare", "m@1", code=1)


def test_a_promotion_obeys_the_rules(registry: Registry) -> None:
    refused = call("models", "promote", "m@challenger", code=3).stdout
    assert refused.splitlines()[0] == "refused: m@3 does not become champion"
    assert "  no: its value 0.75 is not better than the champion's (version 2) 0.25" in refused
    found = content("promote", "m@3", "--dry-run", code=3)
    assert (found["promoted"], found["allowed"], found["holder"]) == (False, False, 2)
    forced = content("promote", "m@3", "--force", "--by", "ann", "--why", "smaller")
    assert (forced["promoted"], forced["allowed"]) == (True, False)
    event = registry.history("m", "champion")[-1]
    assert (event.who, event.why) == ("ann", "smaller")
    registry.rollback("m")
    assert call("models", "promote", "m@3", "--force").stdout.startswith("forced: m@3 is champion")
    assert call("models", "promote", "m@1", "--dry-run").stdout.startswith("allowed: m@1 may")
    assert registry.get("m").version == 3
    assert call("models", "promote", "m@1", "--to", "staging").stdout == (
        "promoted: m@1 is staging\n"
    )
    assert "no version" in call("models", "promote", "m@9", code=1).stderr
    call("models", "promote", "m@1", "--approve", "--dry-run", code=2)


def test_rules_are_set_from_a_file(registry: Registry, folder: Path) -> None:
    assert call("models", "rules", "m").stdout == "champion: {}\n"
    (folder / "rules.yaml").write_text("champion: {approved_by: [ann], metrics: 'latency <= 0.05'}")
    shown = call("models", "rules", "m", "--set", "rules.yaml").stdout
    assert shown == "champion:\n  metrics:\n  - latency <= 0.05\n  approved_by:\n  - ann\n"
    refused = call("models", "alias", "m@1", "champion", code=1).stderr
    assert "not approved yet, and the rule asks for ann" in refused
    assert "--force" in refused
    registry.set_alias("m", "champion", 3, force=True)
    call("models", "promote", "m@1", "--approve", "--by", "eve", code=3)
    call("models", "promote", "m@1", "--approve", "--by", "ann")
    assert registry.get("m").version == 1
    (folder / "rules.json").write_text('{"champion": {"min_repeats": 2}}')
    assert content("rules", "m", "--set", "rules.json") == {"champion": {"min_repeats": 2}}
    assert content("rules", "m", "--default") == {"champion": {}}
    (folder / "rules.yaml").write_text("champion: {min_repeat: 2}")
    wrong = call("models", "rules", "m", "--set", "rules.yaml", code=1).stderr
    assert "champion has no condition 'min_repeat'; it takes automatic, " in wrong
    assert "cannot be read" in call("models", "rules", "m", "--set", "no.yaml", code=1).stderr
    call("models", "rules", "m", "--set", "rules.yaml", "--default", code=2)


def test_an_alias_is_rolled_back(registry: Registry) -> None:
    assert call("models", "rollback", "m", "--why", "slow").stdout == (
        "rolled back: champion is m@1\n"
    )
    assert registry.history("m")[-1].why == "slow"
    assert "no earlier version" in call("models", "rollback", "m", code=1).stderr
    registry.set_alias("m", "staging", 1)
    registry.set_alias("m", "staging", 3)
    assert content("rollback", "m@staging")["version"] == 1


def test_an_alias_is_set_and_deleted(registry: Registry) -> None:
    assert call("models", "alias", "m@1", "old").stdout == "alias: old is m@1\n"
    assert content("alias", "m@2", "old")["aliases"]["old"] == 2
    assert call("models", "alias", "m@old", "--delete").stdout == "deleted: m@old\n"
    assert "--force" in call("models", "alias", "m@champion", "--delete", code=1).stderr
    for words in (["m@1"], ["m@old", "old", "--delete"]):
        call("models", "alias", *words, code=2)


def test_a_card_is_printed_or_written(registry: Registry, folder: Path) -> None:
    text = call("models", "card", "m").stdout
    assert text == tuner.model_card("m").to_markdown()
    assert call("models", "card", "m", "--output", "CARD.md").stdout == "CARD.md\n"
    assert (folder / "CARD.md").read_text("utf-8") == text
    assert content("card", "m@3")["title"] == "m, version 3"
    assert "refuses" in call("models", "card", "m", "--output", "no/CARD.md", code=1).stderr


def test_a_version_has_tags_and_a_description(registry: Registry) -> None:
    call("models", "tag", "m@1", "stage=review", "owner=a=b", "--description", "The first.")
    assert registry.get("m@1").description == "The first."
    assert call("models", "tag", "m@1", "--remove", "owner").stdout.splitlines() == [
        "tag\tvalue", "stage\treview",
    ]  # fmt: skip
    assert content("tag", "m@1") == {"tags": {"stage": "review"}, "description": "The first."}


def test_versions_and_models_are_deleted(registry: Registry) -> None:
    assert call("models", "delete", "m@1", "m@3").stdout == "deleted: m@1\ndeleted: m@3\n"
    assert "--force" in call("models", "delete", "m", code=1).stderr
    assert content("delete", "m", "--force") == {"deleted": ["m"]}
    assert registry.models() == []


@pytest.mark.parametrize("words", [["alias", "m@1", "old"], ["delete-alias", "m@challenger"]])
def test_the_former_name_of_the_commands_is_deprecated(
    registry: Registry, words: list[str]
) -> None:
    assert "write tuner models" in call("model", *words).stderr


def test_a_search_says_how_its_winner_was_registered(folder: Path) -> None:
    assert run().stdout.splitlines()[-1] == "model: s@1 (champion)"
    said = call(
        "run", "train.py:objective", "--backend", "serial", "--n-trials", "1", "--study", "t",
        "--optimizer", "random", "--seed", "4", "--quiet", "--register", "s",
        "--direction", "maximize",
    ).stdout.splitlines()[-1]  # fmt: skip
    assert said.startswith("model: s@2 (challenger): not champion: its goal is to maximize 'value'")
    assert "model:" not in run("--no-register").stdout
