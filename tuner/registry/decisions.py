"""The decision whether a rule gives its alias to a version, with the reasons."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from tuner.records import ModelVersion, ValueEstimate
from tuner.records.numbers import count_text, distinct_texts, number_text
from tuner.registry.rules import PromotionRule

_WIDTH = 2 * NormalDist().inv_cdf(0.975)
"""Width of a 95 % interval in standard deviations."""

_ROUNDING = 1e-9
"""Relative difference of two improvements that counts as an error of rounding."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one condition of a rule.

    Attributes
    ----------
    condition : str
        Name of the condition: ``"goal"``, ``"better"``, or a field of `PromotionRule`.
    passed : bool
        Whether the version meets it.
    text : str
        The facts, and the condition if the version does not meet it.
    """

    condition: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the rule of an alias gives it to a version.

    Attributes
    ----------
    alias : str
        The alias.
    version : int
        The version that may get the alias.
    holder : int or None
        The version that had the alias, None if no version had it.
    checks : tuple of Check
        The conditions; empty if the alias has no rule, or the version has it already.
    """

    alias: str
    version: int
    holder: int | None = None
    checks: tuple[Check, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the version meets every condition."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The conditions that the version does not meet."""
        return tuple(check.text for check in self.checks if not check.passed)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "alias": self.alias,
            "version": self.version,
            "holder": self.holder,
            "allowed": self.allowed,
            "checks": [
                {"condition": c.condition, "passed": c.passed, "text": c.text} for c in self.checks
            ],
        }


def decide(
    rule: PromotionRule,
    version: ModelVersion,
    holder: ModelVersion | None,
    *,
    metrics: Mapping[str, float],
    approvals: Collection[str] = (),
    remeasured: ModelVersion | None = None,
) -> Decision:
    """Return whether `rule` gives its alias to a version.

    Parameters
    ----------
    rule
        The rule of the alias.
    version
        The version that may get the alias.
    holder
        The version that has the alias, None if no version has it.
    metrics
        Final metrics of the version's trial.
    approvals
        Names of those who approved the version.
    remeasured
        The holder with the value of its params on the data of the version, if the version comes
        from a re-tune of the holder. The two are then compared, and the version wins a tie, as the
        data of the holder is outdated.
    """
    checks = [*_own(rule, version, metrics, approvals)]
    if holder is not None:
        checks += _against(rule, version, holder, remeasured)
    number = None if holder is None else holder.version
    return Decision(rule.alias, version.version, number, tuple(checks))


def _own(
    rule: PromotionRule,
    version: ModelVersion,
    metrics: Mapping[str, float],
    approvals: Collection[str],
) -> Iterator[Check]:
    """Yield the conditions on the version itself."""
    estimate = version.estimate
    if rule.min_repeats:
        # A point may have been observed several times without a repeat of the trial.
        repeats = 0 if estimate is None else max(0, min(estimate.repeats, estimate.runs - 1))
        text = f"its trial was repeated {count_text(repeats, 'time')}"
        yield _check("min_repeats", repeats >= rule.min_repeats, text, str(rule.min_repeats))
    if rule.sources:
        source = "" if estimate is None else estimate.source
        text = f"the noise of its value has the source {source!r}" if source else _UNKNOWN
        yield _check("sources", source in rule.sources, text, " or ".join(rule.sources))
    for constraint in rule.metrics:
        value = metrics.get(constraint.metric)
        if value is None:
            yield _check("metrics", False, f"it has no metric {constraint.metric!r}", constraint)
        else:
            kept = constraint.violation(value) <= 0.0
            text = f"its {constraint.metric} is {number_text(value)}"
            yield _check("metrics", kept, text, constraint)
    if rule.approved_by:
        approved = [name for name in rule.approved_by if name in approvals]
        text = f"it was approved by {approved[0]}" if approved else "it is not approved yet"
        yield _check("approved_by", bool(approved), text, " or ".join(rule.approved_by))


_UNKNOWN = "the noise of its value is unknown"


def _check(condition: str, passed: bool, text: str, asked: object) -> Check:
    return Check(condition, passed, text if passed else f"{text}, and the rule asks for {asked}")


def _against(
    rule: PromotionRule,
    version: ModelVersion,
    holder: ModelVersion,
    remeasured: ModelVersion | None,
) -> Iterator[Check]:
    """Yield the conditions on the version and on the one that has the alias.

    Values of different goals, or on different data, are not compared.
    """
    holds = f"the {rule.alias}'s (version {holder.version})"
    goal = f"its goal is {_aim(version)}"
    if version.goal != holder.goal:
        yield Check("goal", False, f"{goal}, and {holds} {_aim(holder)}: {_NOT}")
        return
    yield Check("goal", True, goal)
    if remeasured is not None:
        yield Check("same_data", True, f"{holds} params were tried again on its data")
        holder, holds = remeasured, f"{holds} params on this data"
    elif rule.same_data and version.data and holder.data:
        same = version.data == holder.data
        ours, theirs = version.data[:12], holder.data[:12]
        text = f"its data has the fingerprint {ours}"
        yield Check("same_data", same, text if same else f"{text}, and {holds} {theirs}: {_NOT}")
        if not same:
            return
    yield _better(rule, version, holder, holds, tie=remeasured is not None)
    if rule.beyond_uncertainty is not None:
        yield _beyond(rule, rule.beyond_uncertainty, version, holder)


_NOT = "they cannot be compared"


def _aim(version: ModelVersion) -> str:
    return f"to {version.goal.direction} {version.goal.metric!r}"


def _better(
    rule: PromotionRule, version: ModelVersion, holder: ModelVersion, holds: str, *, tie: bool
) -> Check:
    what, new, old = _values(version, holder)
    gain = _gain(version, new, old)
    least = rule.min_improvement
    passed = gain > 0.0 and (gain >= least or math.isclose(gain, least, rel_tol=_ROUNDING))
    ours, theirs = distinct_texts([new, old])
    if tie and new == old and not least:
        return Check("better", True, f"its {what} {ours} equals {holds} {theirs}")
    if passed or gain > 0.0:
        text = f"its {what} {ours} is better than {holds} {theirs} by {number_text(gain, 3)}"
        return _check("better", passed, text, number_text(least))
    return Check("better", False, f"its {what} {ours} is not better than {holds} {theirs}")


def _values(version: ModelVersion, holder: ModelVersion) -> tuple[str, float, float]:
    """Return the values to compare: estimates if both versions have one, else observed values.

    An estimate without a known noise is the observed value, which looks better than an estimate
    that allows for luck. The two are not compared.
    """
    new, old = version.estimate, holder.estimate
    if new is None or old is None or new.noise is None or old.noise is None:
        return "value", version.value, holder.value
    if math.isnan(new.value) or math.isnan(old.value):
        return "value", version.value, holder.value
    return "estimate", new.value, old.value


def _gain(version: ModelVersion, new: float, old: float) -> float:
    """Return how much better a value is; a number is better than NaN."""
    if math.isnan(new) or new == old:
        return 0.0
    if math.isnan(old):
        return math.inf
    return version.goal.direction.sign * (old - new)


def _beyond(
    rule: PromotionRule, least: float, version: ModelVersion, holder: ModelVersion
) -> Check:
    unknown = [v for v in (version, holder) if v.estimate is None or not _has_noise(v.estimate)]
    if unknown:
        text = f"the noise of version {unknown[0].version} is unknown"
        asked = f"a probability of {number_text(least)}; confirm its trial with study.confirm"
        return _check("beyond_uncertainty", False, text, asked)
    assert version.estimate is not None
    assert holder.estimate is not None
    chance = _chance(version, version.estimate, holder.estimate, rule.min_improvement)
    shown, asked = distinct_texts([chance, least], 2)
    by = f" by {number_text(rule.min_improvement)}" if rule.min_improvement else ""
    text = f"it is truly better{by} than version {holder.version} with probability {shown}"
    return _check("beyond_uncertainty", chance >= least, text, asked)


def _has_noise(estimate: ValueEstimate) -> bool:
    bounds = (estimate.value, estimate.low, estimate.high)
    return estimate.noise is not None and not any(map(math.isnan, bounds))


def _chance(version: ModelVersion, new: ValueEstimate, old: ValueEstimate, least: float) -> float:
    """Return the probability that the true value is better by `least`; the errors are normal."""
    gain = _gain(version, new.value, old.value)
    spread = math.hypot((new.high - new.low) / _WIDTH, (old.high - old.low) / _WIDTH)
    if not spread:
        return float(gain > 0.0 and gain >= least)
    if not math.isfinite(gain) or not math.isfinite(spread):
        return 0.0
    return NormalDist().cdf((gain - least) / spread)
