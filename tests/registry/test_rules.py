"""Promotion rules: their files, and the decision whether a version gets an alias."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuner.errors import ArgumentError
from tuner.records import Direction, Goal, ModelVersion, OutcomeConstraint, ValueEstimate
from tuner.registry.decisions import Decision, decide
from tuner.registry.rules import SOURCES, PromotionRule, Rules

SCORE = Goal("score", Direction.MAXIMIZE)

YAML = """
champion:
  min_improvement: 0.01
  beyond_uncertainty: 0.95
  min_repeats: 3
  sources: [repeats]
  metrics: ["latency <= 0.5", "size <= 1e6"]
  approved_by: [ann, bob]
staging:
  same_data: false
  automatic: false
  otherwise: null
"""


def version(number: int = 2, value: float = 0.9, **more: Any) -> ModelVersion:
    return ModelVersion("m", number, "s", 0, "run", {}, more.pop("goal", SCORE), value, 0.0, **more)


def estimated(value: float, low: float = math.nan, high: float = math.nan, **more: Any) -> Any:
    noise = more.pop("noise", 0.1)
    fields = {"runs": 1, "source": "repeats", "repeats": 0} | more
    return ValueEstimate(
        value, low, high, fields["runs"], noise, fields["source"], 0.9, 0.0, 5, fields["repeats"],
        "winner",
    )  # fmt: skip


def decided(
    rule: PromotionRule, new: ModelVersion, old: ModelVersion | None, **more: Any
) -> Decision:
    return decide(rule, new, old, metrics=more.pop("metrics", {}), **more)


# --- files ----------------------------------------------------------------------------------------


def test_a_file_has_the_conditions_of_each_alias() -> None:
    rules = Rules.from_yaml(YAML)
    champion, staging = rules.rules
    assert champion == PromotionRule(
        "champion", min_improvement=0.01, beyond_uncertainty=0.95, min_repeats=3,
        sources=("repeats",), approved_by=("ann", "bob"),
        metrics=(OutcomeConstraint("latency", "<=", 0.5), OutcomeConstraint("size", "<=", 1e6)),
    )  # fmt: skip
    assert (staging.same_data, staging.automatic, staging.otherwise) == (False, False, None)
    assert rules.of("staging") is staging
    assert rules.of("old") is None


names = st.text("abc XYZ-_.äß", min_size=1).filter(str.strip)
rule_values = st.fixed_dictionaries(
    {},
    optional={
        "automatic": st.booleans(),
        "same_data": st.booleans(),
        "min_improvement": st.floats(0, 1e300) | st.integers(0, 10),
        "beyond_uncertainty": st.none() | st.floats(0, 1, exclude_min=True, exclude_max=True),
        "min_repeats": st.integers(0, 1000),
        "sources": st.lists(st.sampled_from(SOURCES)),
        "metrics": st.lists(
            st.builds(
                OutcomeConstraint,
                st.from_regex(r"[a-z]\w{0,5}", fullmatch=True),
                st.sampled_from(["<=", ">="]),
                st.floats(allow_nan=False, allow_infinity=False),
            ),
            unique=True,
        ),
        "approved_by": st.lists(names),
        "otherwise": st.none() | st.sampled_from(["challenger", "waiting"]),
    },
)
rule_sets = st.dictionaries(st.sampled_from(["champion", "staging", "1a"]), rule_values)


@given(rule_sets)
def test_rules_survive_json(chosen: dict[str, dict[str, Any]]) -> None:
    rules = Rules(tuple(PromotionRule(alias, **values) for alias, values in chosen.items()))
    assert Rules.from_json(rules.to_json()) == rules
    assert Rules.from_dict(rules.to_dict()) == rules


@settings(max_examples=5)
@given(rule_sets)
def test_rules_survive_yaml(chosen: dict[str, dict[str, Any]]) -> None:
    rules = Rules(tuple(PromotionRule(alias, **values) for alias, values in chosen.items()))
    assert Rules.from_yaml(rules.to_yaml()) == rules


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write a mapping of aliases"),
        ("[1]", "write a mapping of aliases"),
        ("champion: 3", "champion: 3: write a mapping of conditions"),
        ("champion: {min_improvment: 1}", "no condition 'min_improvment'; it takes automatic, "),
        ("champion: {alias: x}", "no condition 'alias'"),
        ("champion: {min_improvement: -1}", "champion.min_improvement=-1: write a number of at le"),
        ("champion: {min_improvement: .inf}", "write a number of at least 0"),
        ("champion: {min_improvement: true}", "write a number of at least 0"),
        (
            "champion: {beyond_uncertainty: 1.0}",
            "champion.beyond_uncertainty=1.0: write a number b",
        ),
        ("champion: {min_repeats: 1.5}", "champion.min_repeats=1.5: write an integer"),
        ("champion: {same_data: 1}", "champion.same_data=1: write true or false"),
        ("champion: {sources: [luck]}", "'luck' is not a source; write some of model, repeats"),
        ("champion: {sources: {a: 1}}", "champion.sources.*write a list of texts"),
        ("champion: {metrics: ['latency < 1']}", "champion.metrics: .*latency <= 0.1"),
        ("champion: {metrics: 3}", "champion.metrics=3: write a list"),
        ("champion: {approved_by: ['']}", "write names"),
        ("champion: {otherwise: champion}", "write another alias"),
        ("champion: {otherwise: '3'}", "champion.otherwise: alias '3'"),
        ("champion: {otherwise: b}\nb: {}", "this alias has a rule"),
        ("a: {otherwise: champion}", "this alias has a rule"),
        ("'3': {}", "alias '3'"),
        ("3: {}", "3: write an alias"),
        ("a: {}\na: {}", "twice"),
        ("a: [", "rules: invalid YAML"),
        ("a: &a {b: *a}", "rules: "),
    ],
)
def test_an_invalid_file_is_refused_with_the_key(text: str, says: str) -> None:
    with pytest.raises(ArgumentError, match=rf"(?s){says}"):
        Rules.from_yaml(text)


@pytest.mark.parametrize("text", ['{"a": {}, "a": {}}', "{", "null", '{"a": {"x": 1}}'])
def test_invalid_json_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="rules: "):
        Rules.from_json(text)


def test_two_rules_for_an_alias_are_refused() -> None:
    with pytest.raises(ArgumentError, match="'champion' has two rules"):
        Rules((PromotionRule(), PromotionRule()))


# --- the default rule -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "old", "allowed"),
    [
        (0.9, 0.8, True),
        (0.8, 0.8, False),
        (0.7, 0.8, False),
        (math.nan, 0.8, False),
        (math.nan, math.nan, False),
        (0.8, math.nan, True),
        (math.inf, 0.8, True),
        (math.inf, math.inf, False),
        (-math.inf, 0.8, False),
        (-math.inf, math.nan, True),
        (0.8, -math.inf, True),
        (0.0, -0.0, False),
    ],
)
def test_the_default_rule_asks_for_a_better_value(new: float, old: float, allowed: bool) -> None:
    found = decided(PromotionRule(), version(2, new), version(1, old))
    assert found.allowed is allowed
    assert bool(found.reasons) is not allowed
    losing = Goal("score")
    turned = decided(PromotionRule(), version(2, -new, goal=losing), version(1, -old, goal=losing))
    assert turned.allowed is allowed


def test_estimates_count_if_both_versions_have_one() -> None:
    lucky = version(2, 0.99, estimate=estimated(0.85))
    steady = version(1, 0.91, estimate=estimated(0.9))
    found = decided(PromotionRule(), lucky, steady)
    assert found.reasons == ("its estimate 0.85 is not better than the champion's (version 1) 0.9",)
    assert decided(PromotionRule(), steady, lucky).allowed
    assert decided(PromotionRule(), lucky, replace(steady, estimate=None)).allowed
    assert decided(PromotionRule(), replace(lucky, estimate=None), steady).allowed
    for estimate in (estimated(math.nan), estimated(0.99, noise=None)):
        unknown = replace(lucky, estimate=estimate)
        assert decided(PromotionRule(), unknown, steady).allowed
        assert not decided(PromotionRule(), steady, unknown).allowed
    # A lucky value without a known noise does not beat an estimate that allows for luck.
    assert not decided(
        PromotionRule(),
        version(2, 0.91, estimate=estimated(0.91, noise=None)),
        version(1, 0.93, estimate=estimated(0.9)),
    ).allowed


def test_other_goals_and_other_data_are_not_compared() -> None:
    old = version(1, 0.8, data="d1" * 20)
    for new in (version(value=1.0, goal=Goal("score")), version(goal=Goal("auc", SCORE.direction))):
        found = decided(PromotionRule(), new, old)
        assert [(c.condition, c.passed) for c in found.checks] == [("goal", False)]
        assert "cannot be compared" in found.reasons[0]
    other = version(value=1.0, data="d2" * 20)
    found = decided(PromotionRule(), other, old)
    assert [(c.condition, c.passed) for c in found.checks] == [("goal", True), ("same_data", False)]
    assert found.reasons == (
        "its data has the fingerprint d2d2d2d2d2d2, and the champion's (version 1) d1d1d1d1d1d1: "
        "they cannot be compared",
    )
    assert decided(PromotionRule(same_data=False), other, old).allowed
    assert decided(PromotionRule(), replace(other, data=""), old).allowed
    assert decided(PromotionRule(), other, replace(old, data="")).allowed
    assert decided(PromotionRule(), other, None).allowed


# --- the conditions -------------------------------------------------------------------------------


def test_a_minimal_improvement_tolerates_rounding() -> None:
    rule = PromotionRule(min_improvement=0.1)
    assert decided(rule, version(2, 0.9), version(1, 0.8)).allowed
    found = decided(rule, version(2, 0.89), version(1, 0.8))
    assert found.reasons == (
        "its value 0.89 is better than the champion's (version 1) 0.8 by 0.09, and the rule asks "
        "for 0.1",
    )


def test_a_probability_needs_known_noise() -> None:
    rule = PromotionRule(beyond_uncertainty=0.95)
    new = version(2, estimate=estimated(0.9, 0.88, 0.92))
    old = version(1, estimate=estimated(0.88, 0.87, 0.89))
    # The deviations are 0.0102 and 0.0051, so the difference is 1.75 deviations.
    assert decided(rule, new, old).allowed
    close = replace(old, estimate=estimated(0.885, 0.87, 0.9))
    assert (
        "with probability 0.88, and the rule asks for 0.95" in decided(rule, new, close).reasons[0]
    )
    for unknown in (None, estimated(0.5, noise=None), estimated(0.5, -math.inf, math.inf)):
        assert not decided(rule, new, replace(old, estimate=unknown)).allowed
        assert not decided(rule, replace(new, value=1, estimate=unknown), old).allowed
    exact = estimated(0.9, 0.9, 0.9, noise=0.0)
    assert decided(
        rule,
        replace(new, estimate=exact),
        replace(old, estimate=replace(exact, value=0.8, low=0.8, high=0.8)),
    ).allowed


def test_conditions_on_the_version_also_hold_without_a_holder() -> None:
    repeated = version(estimate=estimated(0.9, 0.8, 1.0, runs=4, repeats=6))
    assert decided(PromotionRule(min_repeats=3), repeated, None).allowed
    assert decided(PromotionRule(min_repeats=4), repeated, None).reasons == (
        "its trial was repeated 3 times, and the rule asks for 4",
    )
    assert not decided(PromotionRule(min_repeats=1), version(), None).allowed
    assert decided(PromotionRule(sources="repeats"), repeated, None).allowed
    assert decided(PromotionRule(sources=["model", "given"]), repeated, None).reasons == (
        "the noise of its value has the source 'repeats', and the rule asks for model or given",
    )
    assert "is unknown" in decided(PromotionRule(sources=["model"]), version(), None).reasons[0]


def test_metrics_are_bounded() -> None:
    rule = PromotionRule(metrics=["latency <= 0.5"])
    assert decided(rule, version(), None, metrics={"latency": 0.5}).allowed
    for value in (0.6, math.nan, math.inf):
        assert not decided(rule, version(), None, metrics={"latency": value}).allowed
    assert decided(rule, version(), None, metrics={"x": 1}).reasons == (
        "it has no metric 'latency', and the rule asks for latency <= 0.5",
    )


def test_one_of_the_named_approves() -> None:
    rule = PromotionRule(approved_by=["ann", "bob"])
    assert decided(rule, version(), None, approvals=["eve", "bob"]).allowed
    assert decided(rule, version(), None, approvals=["eve"]).reasons == (
        "it is not approved yet, and the rule asks for ann or bob",
    )


# --- properties -----------------------------------------------------------------------------------

values = st.floats() | st.sampled_from([0.0, 0.5, 1.0])
estimates = st.none() | st.builds(
    lambda value, half, known, runs, source: estimated(
        value, value - half, value + half, noise=0.1 if known else None, runs=runs, repeats=runs,
        source=source if known else "",
    ),
    values, st.floats(0, 1), st.booleans(), st.integers(1, 5), st.sampled_from(SOURCES),
)  # fmt: skip
versions = st.builds(
    lambda goal, value, estimate, data: version(2, value, goal=goal, estimate=estimate, data=data),
    st.sampled_from([SCORE, SCORE, Goal("x")]), values, estimates, st.sampled_from(["", "a", "b"]),
)  # fmt: skip
rules = rule_values.map(lambda chosen: PromotionRule(**chosen))


@given(rules, versions, st.none() | versions, st.dictionaries(st.sampled_from("ab"), values), names)
def test_no_version_is_promoted_if_a_condition_fails(
    rule: PromotionRule,
    new: ModelVersion,
    old: ModelVersion | None,
    metrics: dict[str, float],
    approver: str,
) -> None:
    found = decide(rule, new, old, metrics=metrics, approvals=[approver])
    assert all(reason.strip() for reason in found.reasons)
    if not found.allowed:
        return
    assert not rule.approved_by or approver in rule.approved_by
    for constraint in rule.metrics:
        assert constraint.violation(metrics[constraint.metric]) <= 0
    estimate = new.estimate
    assert not rule.sources or (estimate is not None and estimate.source in rule.sources)
    assert not rule.min_repeats or (estimate is not None and estimate.runs > rule.min_repeats)
    if old is None:
        return
    assert new.goal == old.goal
    assert not (rule.same_data and new.data and old.data) or new.data == old.data
    both = new.estimate is not None and old.estimate is not None
    known = both and new.estimate.noise is not None and old.estimate.noise is not None
    if known and not math.isnan(new.estimate.value) and not math.isnan(old.estimate.value):
        a, b = new.estimate.value, old.estimate.value
    else:
        a, b = new.value, old.value
    assert math.isnan(b) or new.goal.direction.better(a, b)
    if rule.min_improvement and math.isfinite(a) and math.isfinite(b):
        assert abs(a - b) >= rule.min_improvement * (1 - 1e-6)
    if rule.beyond_uncertainty is not None:
        assert known


@given(versions, versions)
def test_of_two_versions_at_most_one_beats_the_other(a: ModelVersion, b: ModelVersion) -> None:
    assume(a.goal == b.goal)
    assert not (decided(PromotionRule(), a, b).allowed and decided(PromotionRule(), b, a).allowed)
    assert not decided(PromotionRule(), a, a).allowed
