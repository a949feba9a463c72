"""Inference of a space from the trials of another tool, including conditional parameters.

Tools with define-by-run spaces record the parameters of each trial, but not their conditions. If
a parameter is present exactly when a categorical one has certain options, it becomes part of the
branches of these options. If no recorded choice explains its absence, the absence becomes an
option: ``Choice(unset={}, set={"value": ...})``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.records import Params
from tuner.search_spaces import Choice, Domain, Space
from tuner.search_spaces.checks import RESERVED

UNSET, SET, VALUE = "unset", "set", "value"
"""The options of a parameter that is there or not, and the name of its value if it is."""


@dataclass(slots=True)
class Presence:
    """Counter of the trials that have each parameter, by the options of other parameters.

    Parameters
    ----------
    choices
        The parameters that can have branches, because all their options are names.
    """

    choices: frozenset[str]
    trials: int = 0
    _having: Counter[str] = field(default_factory=Counter)
    _options: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _beside: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, values: Mapping[str, Any]) -> None:
        """Count one trial, given as ``{parameter: value}``."""
        self.trials += 1
        self._having.update(values.keys())
        for choice in self.choices & values.keys():
            option = values[choice]
            self._options[choice][option] += 1
            self._beside.update((name, choice, option) for name in values if name != choice)

    def always(self, name: str) -> bool:
        """Whether every trial had the parameter."""
        return self._having[name] == self.trials

    def condition(self, name: str) -> Condition | None:
        """Return the condition of a parameter on a choice, or None if no choice explains it.

        A choice that explains every absence has precedence over one that explains some. Among
        several, the innermost one is returned: the choice that the fewest trials had.
        """
        found = [
            condition
            for choice in sorted(self.choices - {name})
            if (condition := self._explained_by(name, choice)) is not None
        ]
        return min(found, key=lambda c: (not c.exact, self._having[c.choice]), default=None)

    def _explained_by(self, name: str, choice: str) -> Condition | None:
        beside = {o: self._beside[name, choice, o] for o in self._options[choice]}
        options = tuple(option for option, n in beside.items() if n)
        if len(options) == len(beside) or sum(beside.values()) != self._having[name]:
            return None
        exact = all(beside[option] == self._options[choice][option] for option in options)
        return Condition(choice, options, exact)


@dataclass(frozen=True, slots=True)
class Condition:
    """The options of a choice that a parameter requires, and if `exact`, that imply it."""

    choice: str
    options: tuple[str, ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """A trial as a point of an observed space.

    `filled` are the parameters that the trial lacked, replaced by the middle of their domain;
    `surplus` holds the trial's values that are not part of the point. Both are empty for the
    trials that the space was inferred from.
    """

    params: Params
    filled: tuple[str, ...] = ()
    surplus: dict[str, Any] = field(default_factory=dict)


class ObservedSpace:
    """A space inferred from trials, which converts the trials to its points.

    Parameters
    ----------
    domains
        The domain of each parameter, in the order of the space.
    presence
        The presence of parameters in trials; if empty, every parameter counts as always present.
    """

    def __init__(self, domains: Mapping[str, Domain], presence: Presence) -> None:
        self._domains = dict(domains)
        self._names = _clean_names(domains)
        self._switched: set[str] = set()
        self._children: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._parents: set[str] = set()
        self._roots: list[str] = []
        for name in domains:
            self._place(name, presence)
        self.space = Space({self._names[name]: self._domain(name) for name in self._roots})

    def fit(self, values: Mapping[str, Any]) -> Fit:
        """Return the point with these values, given by the other tool's names.

        Raises
        ------
        InvalidParams
            If a value is outside of its domain.
        """
        filled: list[str] = []
        used: set[str] = set()
        params = self._point(self._roots, values, filled, used)
        surplus = {name: value for name, value in values.items() if name not in used}
        return Fit(self.space.validate(params), tuple(filled), surplus)

    def _place(self, name: str, presence: Presence) -> None:
        if presence.always(name):
            self._roots.append(name)
            return
        condition = presence.condition(name)
        if condition is None or not condition.exact:
            self._switched.add(name)
        if condition is None:
            self._roots.append(name)
            return
        self._parents.add(condition.choice)
        for option in condition.options:
            self._children[condition.choice, option].append(name)

    def _domain(self, name: str) -> Domain:
        domain = self._domains[name]
        if name in self._parents:
            assert isinstance(domain, Choice)
            branches = {
                option: {
                    self._names[child]: self._domain(child)
                    for child in self._children.get((name, option), ())
                }
                for option in domain.options
            }
            domain = Choice(**branches)
        return Choice(UNSET, **{SET: {VALUE: domain}}) if name in self._switched else domain

    def _point(
        self, names: Iterable[str], values: Mapping[str, Any], filled: list[str], used: set[str]
    ) -> Params:
        params: Params = {}
        for name in names:
            used.add(name)
            if name in self._switched and name not in values:
                params[self._names[name]] = (UNSET, {})
                continue
            if name not in values:
                filled.append(name)
            value = values[name] if name in values else self._domains[name].middle
            if name in self._parents:
                inner = self._children.get((name, value), ())
                value = (value, self._point(inner, values, filled, used))
            params[self._names[name]] = (SET, {VALUE: value}) if name in self._switched else value
        return params


def can_branch(domain: Domain) -> bool:
    """Whether a domain can become a `Choice` with branches without changes."""
    return isinstance(domain, Choice) and all(
        isinstance(option, str) and option and "." not in option and option not in _WORDS
        for option in domain.options
    )


_WORDS = ("default", "prior")
"""Keyword arguments of `Choice` that are not branches."""


def _clean_names(names: Iterable[str]) -> dict[str, str]:
    """Map the names of another tool to valid names: without dots, not reserved, unique."""
    cleaned: dict[str, str] = {}
    for name in names:
        base = name.replace(".", "_") or "_"
        while base in RESERVED or base in cleaned.values():
            base += "_"
        cleaned[name] = base
    return cleaned
