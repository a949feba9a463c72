"""Aliases that move by rules or by hand, their history, and undo, on both databases."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tuner
from tuner.errors import (
    ArgumentError,
    ModelInUse,
    ModelNotFound,
    PromotionRefused,
    RegistryError,
)
from tuner.records import Goal, ModelVersion, Run, State, StudyInfo, Trial, ValueEstimate
from tuner.records.user import current_user
from tuner.registry import PromotionRule, Registry, Rules
from tuner.registry.history import ModelEvent, previous_holder
from tuner.tracking import Batch, Store, schema
from tuner.tracking.uuid7 import uuid7

LOSS = Goal("loss")
ESTIMATE = ValueEstimate(0.5, 0.4, 0.6, 1, 0.1, "model", 0.9, 0.0, 5, 0, "winner")


class Models:
    """Registers versions of the model "m" in one study for each fingerprint of data."""

    def __init__(self, store: Store) -> None:
        self.store, self.registry = store, Registry(store)
        self._studies: dict[str, StudyInfo] = {}
        self._trials = 0

    def study(self, data: str) -> StudyInfo:
        if data not in self._studies:
            info = StudyInfo(uuid7(), f"s{len(self._studies)}", {}, "0", (LOSS,), 1, 1.5, data=data)
            self._studies[data] = self.store.create_study(info)
        return self._studies[data]

    def call(self, value: float, data: str = "", **metrics: float) -> dict[str, Any]:
        """Return the arguments that register a new run with that value."""
        info, number = self.study(data), self._trials
        self._trials += 1
        trial = Trial(number, {}, State.COMPLETED, (value,), {"loss": value, **metrics})
        run = Run(uuid7(), number, state=State.COMPLETED)
        self.store.write(info.uid, Batch([trial], [run]))
        found: dict[str, Any] = {"study": info, "trial": trial, "run": run, "artifact": None}
        return found | {"goal": LOSS, "value": value}

    def add(self, value: float, data: str = "", **more: Any) -> ModelVersion:
        estimate = more.pop("estimate", None)
        return self.registry.register("m", **self.call(value, data, **more), estimate=estimate)

    @property
    def aliases(self) -> dict[str, int]:
        return {a: v.version for v in self.registry.versions("m") for a in v.aliases}


@pytest.fixture
def models(store: Store) -> Models:
    return Models(store)


def moves(models: Models, alias: str = "champion") -> list[tuple[Any, ...]]:
    return [(e.action, e.before, e.after) for e in models.registry.history("m", alias)]


# --- registration ---------------------------------------------------------------------------------


def test_a_toy_study_on_other_data_does_not_take_champion(tmp_path: Path) -> None:
    def search(name: str, value: float, data: list[int]) -> tuner.Study:
        return tuner.optimize(
            lambda params: value, {"x": tuner.Int(1, 9)}, direction="maximize", n_trials=1,
            backend="serial", study=name, register="m", data=data, store=tmp_path, progress=False,
        )  # fmt: skip

    search("real", 0.9, [1, 2])
    tuner.set_alias("m@1", "champion", store=tmp_path)
    search("toy", 1.0, [3])
    champion, toy = tuner.list_models(store=tmp_path)
    assert (champion.aliases, toy.aliases) == (("champion",), ("challenger",))
    assert "cannot be compared" in toy.note
    (event,) = Registry(tmp_path).history("m", "challenger")
    assert (event.why, event.after, event.who) == (toy.note, 2, current_user())
    assert event.result is not None
    assert not event.result["allowed"]
    search("better", 0.95, [1, 2])
    assert tuner.list_models(store=tmp_path)[2].aliases == ("champion",)


def test_a_registration_records_the_moves_of_aliases(models: Models) -> None:
    for value in (0.5, 0.6, 0.4):
        models.add(value)
    assert models.aliases == {"champion": 3, "challenger": 2}
    assert moves(models) == [("register", None, 1), ("register", 1, 3)]
    assert moves(models, "challenger") == [("register", None, 2)]
    events = models.registry.history("m")
    assert [e.alias for e in events] == ["champion", "challenger", "champion"]
    assert [bool(e.why) for e in events] == [False, True, False]
    assert sorted(e.at for e in events) == [e.at for e in events]


def test_rules_of_a_model_are_used_by_every_registration(models: Models) -> None:
    rules = Rules.from_yaml(
        "champion: {metrics: ['latency <= 0.5'], otherwise: waiting}\nfast: {otherwise: null}"
    )
    assert models.registry.rules("m") == Rules()
    models.registry.set_rules("m", rules, by="ann", why="speed")
    assert Registry(models.store.url).rules("m") == rules
    assert models.registry.models() == ["m"]
    assert models.registry.versions("m") == []
    slow = models.add(0.5, latency=0.7)
    assert slow.note == "not champion: its latency is 0.7, and the rule asks for latency <= 0.5"
    assert models.aliases == {"waiting": 1, "fast": 1}
    assert models.add(0.6, latency=0.4).note.startswith("not fast: its value 0.6 is not better")
    assert models.aliases == {"waiting": 1, "fast": 1, "champion": 2}
    event = models.registry.history("m")[0]
    assert (event.action, event.who, event.why) == ("rules", "ann", "speed")
    assert event.result == rules.to_dict()
    models.registry.set_rules("m", None)
    assert models.registry.rules("m") == Rules()


def test_rules_that_a_newer_tuner_has_set_are_not_ignored(models: Models) -> None:
    models.add(0.5)
    with models.store.writing() as connection:
        newer = {"champion": {"min_fame": 3}}
        connection.execute(schema.models.update().values(rules=newer))
    for act in (lambda: models.add(0.4), lambda: models.registry.promote("m@1", "staging")):
        with pytest.raises(RegistryError, match=r"no condition 'min_fame'.*: upgrade"):
            act()
    assert models.aliases == {"champion": 1}
    models.registry.set_rules("m", None)
    assert models.add(0.4).aliases == ("champion",)


def test_an_alias_that_is_not_automatic_moves_by_promotion(models: Models) -> None:
    models.registry.set_rules("m", Rules((PromotionRule(automatic=False),)))
    assert models.add(0.5).note == "not champion: champion does not move by a registration"
    assert models.aliases == {"challenger": 1}
    decision = models.registry.promote("m@challenger", by="ann", why="released")
    assert decision.allowed
    assert models.aliases == {"champion": 1}
    assert models.registry.get("m").note == ""
    assert [(e.action, e.alias, e.who, e.why) for e in models.registry.history("m")[2:]] == [
        ("promote", "champion", "ann", "released"),
        ("promote", "challenger", "ann", "became champion"),
    ]


def test_a_confirmed_version_is_promoted_by_its_new_estimate(models: Models) -> None:
    models.registry.set_rules("m", Rules((PromotionRule(min_repeats=3),)))
    version = models.add(0.5, estimate=ESTIMATE)
    assert models.aliases == {"challenger": 1}
    confirmed = replace(ESTIMATE, runs=4, repeats=5)
    version = models.registry.set_estimate(version, confirmed)
    assert (version.aliases, version.note, version.estimate) == (("champion",), "", confirmed)


def test_a_new_estimate_does_not_undo_a_rollback(models: Models) -> None:
    models.add(0.5, estimate=ESTIMATE)
    version = models.add(0.4, estimate=replace(ESTIMATE, value=0.4))
    models.registry.rollback("m")
    assert models.registry.set_estimate(version, replace(ESTIMATE, value=0.3)).aliases == ()
    assert models.aliases == {"champion": 1}


# --- promotion ------------------------------------------------------------------------------------


def test_a_promotion_that_the_rules_refuse_changes_nothing(models: Models) -> None:
    models.add(0.5)
    models.add(0.6)
    before = models.registry.history("m")
    with pytest.raises(
        PromotionRefused, match=r"version 2 .* its value 0.6 is not better"
    ) as found:
        models.registry.promote("m@2")
    assert len(found.value.decision.reasons) == 1
    assert models.registry.check("m@2") == found.value.decision
    assert models.registry.history("m") == before
    decision = models.registry.promote("m@2", force=True, why="smaller")
    assert not decision.allowed
    assert models.aliases == {"champion": 2}
    event = models.registry.history("m", "champion")[-1]
    assert event.why == "smaller"
    assert event.result == decision.to_json()
    assert models.registry.check("m@2").allowed
    assert models.registry.promote("m@2").checks == ()


def test_an_alias_without_a_rule_is_given_freely(models: Models) -> None:
    models.add(0.5)
    models.add(0.6)
    assert models.registry.check("m@2", "staging").checks == ()
    models.registry.promote("m@2", "staging")
    models.registry.promote("m@1", "staging")
    assert moves(models, "staging") == [("promote", None, 2), ("promote", 2, 1)]


def test_an_alias_by_hand_obeys_a_rule_that_was_set(models: Models) -> None:
    models.add(0.5)
    models.add(0.6)
    models.registry.set_alias("m", "champion", 2)
    models.registry.set_rules("m", Rules((PromotionRule(approved_by=["ann"]),)))
    with pytest.raises(PromotionRefused, match=r"not approved yet.*asks for ann"):
        tuner.set_alias("m@1", "champion", store=models.store)
    models.registry.approve("m@1", by="eve")
    assert not models.registry.check("m@1").allowed
    models.registry.approve("m@1", by="ann", why="audited")
    tuner.set_alias("m@1", "champion", store=models.store)
    tuner.set_alias("m@2", "champion", force=True, by="bob", why="outage", store=models.store)
    assert moves(models)[-2:] == [("set", 2, 1), ("set", 1, 2)]
    last = models.registry.history("m")[-1]
    assert (last.who, last.why) == ("bob", "outage")
    approvals = [e for e in models.registry.history("m") if e.action == "approve"]
    assert [(e.who, e.after, e.why) for e in approvals] == [("eve", 1, ""), ("ann", 1, "audited")]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda r: r.promote("m@9"), ModelNotFound),
        (lambda r: r.promote("n"), ModelNotFound),
        (lambda r: r.promote("m@1", "3"), ArgumentError),
        (lambda r: r.promote("m@1", by=""), ArgumentError),
        (lambda r: r.promote("m@1", why=3), ArgumentError),
        (lambda r: r.approve("m@9"), ModelNotFound),
        (lambda r: r.check("n@1"), ModelNotFound),
        (lambda r: r.history("n"), ModelNotFound),
        (lambda r: r.rollback("n"), ModelNotFound),
        (lambda r: r.rollback("m"), RegistryError),
        (lambda r: r.rollback("m", "staging"), RegistryError),
        (lambda r: r.set_rules("m", {"champion": {}}), ArgumentError),
        (lambda r: r.set_rules("a/b", None), ArgumentError),
        (lambda r: r.set_tags("m@1", {"a": 1}), ArgumentError),
        (lambda r: r.set_description("m@1", None), ArgumentError),
    ],
)
def test_a_wrong_call_changes_nothing(tmp_path: Path, act: Any, error: type[Exception]) -> None:
    models = Models(tuner.tracking.open_store(tmp_path))
    models.add(0.5)
    before = models.registry.history("m"), models.registry.versions("m")
    with pytest.raises(error):
        act(models.registry)
    assert (models.registry.history("m"), models.registry.versions("m")) == before


# --- undo -----------------------------------------------------------------------------------------


def test_a_rollback_returns_to_the_previous_version(models: Models) -> None:
    for value in (0.5, 0.4, 0.3):
        models.add(value)
    assert models.registry.rollback("m", by="ann", why="latency").version == 2
    event = models.registry.history("m")[-1]
    assert (event.action, event.who, event.why) == ("rollback", "ann", "latency")
    assert models.registry.rollback("m").version == 1
    with pytest.raises(RegistryError, match="'champion' has no earlier version"):
        models.registry.rollback("m")
    models.registry.set_alias("m", "champion", 3)
    assert models.registry.rollback("m").version == 1
    assert [after for _, _, after in moves(models)] == [1, 2, 3, 2, 1, 3, 1]


def test_a_rollback_skips_deleted_versions_and_restores_a_deleted_alias(models: Models) -> None:
    for value in (0.5, 0.4, 0.3):
        models.add(value)
    models.registry.delete_version("m", 2)
    models.registry.delete_alias("m", "champion", force=True, why="audit")
    assert moves(models)[-1] == ("delete", 3, None)
    assert models.registry.rollback("m").version == 3
    assert models.registry.rollback("m").version == 1
    models.registry.delete_version("m", 1, force=True)
    assert moves(models)[-1] == ("delete", 1, None)
    assert models.registry.history("m")[-1].why == "version 1 was deleted"


def test_a_deleted_model_leaves_no_history(models: Models) -> None:
    models.registry.set_rules("m", Rules((PromotionRule(min_improvement=1.0),)))
    models.add(0.5)
    with pytest.raises(ModelInUse):
        models.registry.delete_model("m")
    models.registry.delete_model("m", force=True)
    assert models.registry.rules("m") == Rules()
    models.add(0.5)
    assert len(models.registry.history("m")) == 1


acts = st.tuples(st.sampled_from(["set", "rollback", "delete"]), st.sampled_from([None, 1, 2, 3]))


@given(st.lists(acts, max_size=12))
def test_rollbacks_undo_the_changes_in_turn(steps: list[tuple[str, int | None]]) -> None:
    events: list[ModelEvent] = []
    holders: list[int | None] = [None]
    for action, after in steps:
        if action == "rollback":
            found = previous_holder(events, {1, 2, 3})
            below = [h for h in holders[:-1] if h is not None and h != holders[-1]]
            assert found == (below[-1] if below else None)
            if found is None:
                continue
            while holders[-1] != found:
                holders.pop()
            events.append(ModelEvent("rollback", 0.0, alias="a", after=found))
        elif after != holders[-1]:
            holders.append(after)
            events.append(ModelEvent(action, 0.0, alias="a", after=after))


# --- tags and descriptions ------------------------------------------------------------------------


def test_versions_have_tags_and_a_description(models: Models) -> None:
    models.add(0.5)
    registry = models.registry
    assert registry.set_tags("m@1", {"stage": "review", "team": "a=b"}).tags["team"] == "a=b"
    registry.set_tags("m", {"stage": None, "owner": "ann"})
    assert registry.set_description("m", "Digits.\nSecond line").description.count("\n") == 1
    version = registry.get("m@1")
    assert version.tags == {"team": "a=b", "owner": "ann"}
    assert ModelVersion.from_json(version.to_json()) == version
    assert registry.set_description("m", "").description == ""


# --- at the same time -----------------------------------------------------------------------------


def consistent(events: list[ModelEvent]) -> Iterator[str]:
    """Yield the places at which a history contradicts itself."""
    present: dict[str, int | None] = {}
    for place, event in enumerate(events):
        if event.alias is not None:
            if event.before != present.get(event.alias):
                yield f"{place}: {event.in_words()}"
            present[event.alias] = event.after


def test_the_history_is_exact_under_concurrent_changes(models: Models) -> None:
    values = [round(random.Random(n).random(), 3) for n in range(12)]
    calls = [models.call(value) for value in values]

    def act(n: int) -> None:
        registry = Registry(models.store)
        registry.register("m", **calls[n])
        with suppress(ModelNotFound):
            registry.set_alias("m", "latest", n % 3 + 1)
        if n % 4 == 3:
            with suppress(RegistryError):
                registry.rollback("m", "latest")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, range(len(calls))))
    events = models.registry.history("m")
    assert list(consistent(events)) == []
    last = {e.alias: e.after for e in events if e.alias is not None}
    assert {a: v for a, v in last.items() if v is not None} == models.aliases
    versions = models.registry.versions("m")
    assert [v.version for v in versions] == list(range(1, 13))
    champions = [e.after for e in events if e.alias == "champion"]
    bests = [
        v.version
        for n, v in enumerate(versions)
        if v.value < min([9.0, *(w.value for w in versions[:n])])
    ]
    assert champions == bests
    assert sum(e.action == "register" for e in events) >= len(versions)
