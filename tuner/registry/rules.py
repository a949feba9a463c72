"""Promotion rules: the conditions under which an alias moves to a version of a model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from tuner.errors import ArgumentError, SpaceError
from tuner.records import OutcomeConstraint
from tuner.records.outcome_constraints import as_constraints
from tuner.registry.names import CHALLENGER, CHAMPION, validate_alias

SOURCES = ("model", "repeats", "folds", "given")
"""Sources of the noise of an estimate; see `tuner.records.ValueEstimate`."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PromotionRule:
    """The conditions under which one alias moves to a version.

    The version must have the metric and the direction of the version that has the alias, and a
    better value: a better estimate of the true value if both versions have one and their noise is
    known, else a better observed value. If no version has the alias, only the conditions on the
    version itself count.

    Parameters
    ----------
    alias
        The alias.
    automatic
        Whether a registration moves the alias. If False, only `Registry.promote` does.
    same_data
        Whether versions with different fingerprints of their data cannot be compared.
    min_improvement
        The least difference to the version that has the alias, in units of the metric.
    beyond_uncertainty
        The least probability, between 0 and 1, that the true value is better by `min_improvement`.
        Both versions need an estimate with a known noise; the two errors count as independent.
    min_repeats
        The least number of repeats of the trial, as `Study.confirm` makes them.
    sources
        Allowed sources of the noise: ``"model"``, ``"repeats"``, ``"folds"``, ``"given"``. Empty
        allows every version.
    metrics
        Constraints on the metrics of the trial, such as ``"latency <= 0.5"``.
    approved_by
        Names of which one must have approved the version; see `Registry.approve`. Empty needs no
        approval.
    otherwise
        The alias that a version gets at its registration if a condition fails. None gives none.

    Raises
    ------
    ArgumentError
        If a value is invalid; the message names it.

    Examples
    --------
    >>> rule = PromotionRule(min_improvement=0.01, metrics=["latency <= 0.5"])
    >>> rule.alias, rule.metrics[0].bound
    ('champion', 0.5)
    """

    alias: str = CHAMPION
    automatic: bool = True
    same_data: bool = True
    min_improvement: float = 0.0
    beyond_uncertainty: float | None = None
    min_repeats: int = 0
    sources: tuple[str, ...] = ()
    metrics: tuple[OutcomeConstraint, ...] = ()
    approved_by: tuple[str, ...] = ()
    otherwise: str | None = CHALLENGER

    def __post_init__(self) -> None:
        validate_alias(self.alias)
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(f"{self.alias}.{name}", getattr(self, name)))
        if self.otherwise == self.alias:
            raise ArgumentError(
                f"rules: {self.alias}.otherwise={self.otherwise!r}: write another alias, or None"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, as JSON values."""
        default = PromotionRule(self.alias)
        changed = {name: getattr(self, name) for name in _CHECKS}
        return {
            name: _plain(value)
            for name, value in changed.items()
            if value != getattr(default, name)
        }


@dataclass(frozen=True, slots=True)
class Rules:
    """The promotion rules of a model, one for each alias that has conditions.

    A model without rules of its own has the default one for ``champion``, which is also there if
    other rules leave it out. Aliases without a rule move freely.

    Parameters
    ----------
    rules
        The rules; each alias once.

    Raises
    ------
    ArgumentError
        If two rules have the same alias, or one has the alias of another one as `otherwise`.

    Examples
    --------
    >>> rules = Rules.from_yaml('''
    ... champion:
    ...   min_improvement: 0.002
    ...   metrics: ["latency <= 0.5"]
    ...   approved_by: [ann]
    ... ''')
    >>> rules.of("champion").approved_by
    ('ann',)
    >>> Rules.from_yaml(rules.to_yaml()) == rules
    True
    """

    rules: tuple[PromotionRule, ...] = ()

    def __post_init__(self) -> None:
        rules = tuple(self.rules) if isinstance(self.rules, Sequence) else (self.rules,)
        for rule in rules:
            if not isinstance(rule, PromotionRule):
                raise ArgumentError(f"rules: {rule!r}: write a PromotionRule")
        aliases = [rule.alias for rule in rules]
        twice = next((alias for alias in aliases if aliases.count(alias) > 1), None)
        if twice is not None:
            raise ArgumentError(f"rules: {twice!r} has two rules; write one for each alias")
        if CHAMPION not in aliases:
            rules = (PromotionRule(), *rules)
        for rule in rules:
            if rule.otherwise in {CHAMPION, *aliases}:
                raise ArgumentError(
                    f"rules: {rule.alias}.otherwise={rule.otherwise!r}: this alias has a rule, "
                    f"which its versions need not meet; write an alias without one"
                )
        object.__setattr__(self, "rules", rules)

    def of(self, alias: str) -> PromotionRule | None:
        """Return the rule of an alias, None if it has none."""
        return next((rule for rule in self.rules if rule.alias == alias), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings of each alias as JSON values."""
        return {rule.alias: rule.to_dict() for rule in self.rules}

    @classmethod
    def from_dict(cls, data: Any) -> Rules:
        """Build the rules from the settings of each alias.

        Raises
        ------
        ArgumentError
            If a key or a value is invalid; the message names it and the allowed values.
        """
        if not isinstance(data, Mapping) or not data:
            raise ArgumentError(
                f"rules: {data!r:.80}: write a mapping of aliases to conditions, such as "
                f"{{champion: {{min_improvement: 0.01}}}}"
            )
        return cls(tuple(_rule(alias, settings) for alias, settings in data.items()))

    def to_json(self) -> str:
        """Return the rules as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Rules:
        """Read JSON text; raises as `from_dict` does, and if the text is not valid."""
        try:
            data = json.loads(text, object_pairs_hook=_named_once)
        except (ValueError, RecursionError, TypeError) as error:
            if isinstance(error, ArgumentError):
                raise
            raise ArgumentError(f"rules: invalid JSON: {error}") from None
        return cls.from_dict(data)

    def to_yaml(self) -> str:
        """Return the rules as YAML text."""
        from tuner.search_spaces import yaml_text

        return yaml_text.dump(self.to_dict())

    @classmethod
    def from_yaml(cls, text: str) -> Rules:
        """Read YAML text; raises as `from_dict` does, and if the text is not valid."""
        from tuner.search_spaces import yaml_text

        try:
            data = yaml_text.load(text)
        except SpaceError as error:
            raise ArgumentError(f"rules: {str(error).removeprefix('search space: ')}") from None
        return cls.from_dict(data)


def _rule(alias: Any, settings: Any) -> PromotionRule:
    if not isinstance(alias, str):
        raise ArgumentError(f"rules: {alias!r}: write an alias, such as {CHAMPION!r}")
    settings = {} if settings is None else settings
    if not isinstance(settings, Mapping):
        raise ArgumentError(f"rules: {alias}: {settings!r:.80}: write a mapping of conditions")
    for name in settings:
        if name not in _CHECKS:
            raise ArgumentError(
                f"rules: {alias} has no condition {name!r}; it takes {', '.join(_CHECKS)}"
            )
    return PromotionRule(alias, **settings)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in pairs:
        if name in named:
            raise ArgumentError(f"rules: {name!r} is there twice; write it once")
        named[name] = value
    return named


def _plain(value: Any) -> Any:
    return [str(item) for item in value] if isinstance(value, tuple) else value


# --- checks of values -----------------------------------------------------------------------------


def _flag(place: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(f"rules: {place}={value!r}: write true or false")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _improvement(place: str, value: Any) -> float:
    if not _is_number(value) or not 0.0 <= value < math.inf:
        raise ArgumentError(f"rules: {place}={value!r}: write a number of at least 0")
    return float(value)


def _probability(place: str, value: Any) -> float | None:
    if value is None:
        return None
    if not _is_number(value) or not 0.0 < value < 1.0:
        raise ArgumentError(f"rules: {place}={value!r}: write a number between 0 and 1, or null")
    return float(value)


def _count(place: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise ArgumentError(f"rules: {place}={value!r}: write an integer of at least 0")
    return value


def _constraints(place: str, value: Any) -> tuple[OutcomeConstraint, ...]:
    try:
        return as_constraints(_several(place, value, OutcomeConstraint | str))
    except ArgumentError as error:
        raise ArgumentError(f"rules: {place}: {error}") from None


def _names(place: str, value: Any) -> tuple[str, ...]:
    names = _several(place, value, str)
    if not all(name.strip() for name in names):
        raise ArgumentError(f"rules: {place}={value!r}: write names, which are not empty")
    return names


def _sources(place: str, value: Any) -> tuple[str, ...]:
    sources = _several(place, value, str)
    for source in sources:
        if source not in SOURCES:
            raise ArgumentError(
                f"rules: {place}: {source!r} is not a source; write some of {', '.join(SOURCES)}"
            )
    return sources


def _several(place: str, value: Any, kind: Any) -> tuple[Any, ...]:
    """Return a value or a sequence of values as a tuple without duplicates."""
    values = (value,) if isinstance(value, kind) else value
    if not isinstance(values, list | tuple) or not all(isinstance(each, kind) for each in values):
        raise ArgumentError(f"rules: {place}={value!r}: write a list of texts")
    return tuple(dict.fromkeys(values))


def _alias(place: str, value: Any) -> str | None:
    try:
        return None if value is None else validate_alias(value)
    except ArgumentError as error:
        raise ArgumentError(f"rules: {place}: {error}") from None


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "automatic": _flag,
    "same_data": _flag,
    "min_improvement": _improvement,
    "beyond_uncertainty": _probability,
    "min_repeats": _count,
    "sources": _sources,
    "metrics": _constraints,
    "approved_by": _names,
    "otherwise": _alias,
}
"""The conditions of a rule, which are the keys of its file, with the checks of their values."""

assert ["alias", *_CHECKS] == [field.name for field in fields(PromotionRule)]
