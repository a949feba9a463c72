"""The space of a search, from the forms that scikit-learn accepts, and the params of its points."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from tuner.errors import SpaceError
from tuner.search_spaces import Choice, Const, Domain, Ordinal, Params, Space
from tuner.search_spaces.sklearn import arguments
from tuner.sklearn.distributions import domain_of, is_distribution

Labels: TypeAlias = dict[str, dict[str, Any]]
"""By parameter: the objects that texts stand for in the space and in the record."""

PART = "space"
"""The parameter that chooses between several dicts."""

LONGEST_LABEL = 80


@dataclass(frozen=True, slots=True)
class Candidates:
    """A space, and the conversion of its points to the params of an estimator.

    `labels` has an item for each dict of the space. Options such as estimators and functions cannot
    be stored, so the space contains a text in their place.
    """

    space: Space
    labels: Sequence[Labels]

    def params(self, point: Params) -> dict[str, Any]:
        """Return the arguments of ``set_params`` for a point of the space."""
        place = 0
        if len(self.labels) > 1:
            part, point = point[PART]
            place = int(part) - 1
        labels = self.labels[place]
        return {
            name: labels[name].get(value, value) if name in labels else value
            for name, value in arguments(point).items()
        }


def as_candidates(space: Any) -> Candidates:
    """Convert a space in the form of tuner or of scikit-learn.

    Parameters
    ----------
    space
        A `Space`; a dict of domains, lists and frozen SciPy distributions; or a list of such dicts,
        of which each candidate takes one.

    Raises
    ------
    SpaceError
        If a part cannot be converted; the message names it.

    Examples
    --------
    >>> candidates = as_candidates([{"kernel": ["linear"]}, {"kernel": ["rbf"], "gamma": [1, 2]}])
    >>> candidates.params({"space": ("2", {"kernel": "rbf", "gamma": 2})})
    {'kernel': 'rbf', 'gamma': 2}
    """
    if isinstance(space, Space):
        return Candidates(space, [{}])
    dicts = [space] if isinstance(space, Mapping) else space
    if (
        not isinstance(dicts, list | tuple)
        or not dicts
        or not all(isinstance(part, Mapping) for part in dicts)
    ):
        raise SpaceError(
            f"space={space!r:.200}: write a dict of parameters, a list of such dicts, or a "
            f"tuner.Space"
        )
    labels: list[Labels] = [{} for _ in dicts]
    parts = [
        # The order of ParameterGrid, so both grids have the same one.
        {name: _as_domain(name, part[name], found) for name in sorted(part)}
        for part, found in zip(dicts, labels, strict=True)
    ]
    if len(parts) == 1:
        return Candidates(Space(parts[0]), labels)
    branches = {str(number): part for number, part in enumerate(parts, 1)}
    return Candidates(Space({PART: Choice(**branches)}), labels)


def check_names(candidates: Candidates, estimator: Any) -> None:
    """Raise `SpaceError` if the space names a parameter that the estimator does not have.

    Parameters of a part of the estimator that the space replaces are not checked.
    """
    known = estimator.get_params(deep=True)
    names = set(_names(candidates))
    for name in sorted(names - set(known)):
        parts = name.split("__")
        if any("__".join(parts[:end]) in names for end in range(1, len(parts))):
            continue
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"write one of {', '.join(known)}"
        raise SpaceError(
            f"space: {name!r} is not a parameter of {type(estimator).__name__}; {hint:.500}"
        )


def _names(candidates: Candidates) -> Iterator[str]:
    """Yield the names of the parameters at all depths."""
    domains = [candidates.space.params]
    while domains:
        for name, domain in domains.pop().items():
            if name != PART or len(candidates.labels) == 1:
                yield name
            domains += (domain.branches or {}).values()


def _as_domain(name: str, value: Any, labels: Labels) -> Domain:
    if isinstance(value, Domain):
        return value
    if is_distribution(value):
        return domain_of(name, value)
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise SpaceError(
            f"space: {name!r} is {value!r:.100}; write a list of values such as [{value!r:.50}], a "
            f"domain such as tuner.Float(0.1, 10.0), or a frozen distribution of scipy.stats"
        )
    if not value:
        raise SpaceError(f"space: {name!r} is an empty list; write at least one value")
    return _listed(name, value, labels)


def _listed(name: str, values: Sequence[Any], labels: Labels) -> Domain:
    """Return the domain of a list; duplicates are dropped, and ascending numbers are ordered."""
    options: dict[tuple[type, Any], Any] = {}
    for value in values:
        option = _stored(value)
        if option is None and value is not None:
            option = _new_label(value, labels.setdefault(name, {}), values)
        options.setdefault((type(option), option), option)
    listed = list(options.values())
    if len(listed) == 1:
        return Const(listed[0])
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in listed)
    if numbers and len(listed) > 2 and all(x < y for x, y in pairwise(listed)):
        return Ordinal(*listed)
    return Choice(*listed)


def _stored(value: Any) -> Any:
    """Return an option as plain Python value; None if it is an object that cannot be stored."""
    try:
        return Const(value).value
    except SpaceError:
        return None


def _new_label(value: Any, known: dict[str, Any], values: Sequence[Any]) -> str:
    """Return a text for an object that differs from all other options of its parameter."""
    for label, other in known.items():
        if other is value:
            return label
    text = getattr(value, "__name__", None) or re.sub(r"\s+", " ", repr(value))
    if " at 0x" in text:  # another one in each process
        text = type(value).__name__
    text = base = text[:LONGEST_LABEL]
    number = 1
    while text in known or any(isinstance(other, str) and other == text for other in values):
        number += 1
        text = f"{base} ({number})"
    known[text] = value
    return text
