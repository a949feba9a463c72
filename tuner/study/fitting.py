"""Fit recorded values to the points of a space: find them by name, and convert them."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tuner.search_spaces import Bool, Column, Domain, Params, Space
from tuner.search_spaces.categorical import Listed, from_json_option

_MISSING = ("", "nan", "NaN", "NaT", "<NA>", "None", "null")
"""Texts that stand for a missing value in text files and in tables that were turned into text."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """The reason why values are not a point; `about` is equal for misfits of the same kind."""

    about: str
    reason: str


class Fitting:
    """Converts values by parameter name to points of a space.

    A parameter is named by its path, ``model.svm.C``, or by the end of it: ``svm_C``, ``svm/C`` and
    ``C`` are names of the same parameter, unless another active one may have that name too. Case
    distinguishes names only where names differ in nothing else.

    Tables turn whole numbers and booleans into floats where values are missing, text files turn
    everything into text, JSON turns tuples into lists, and columns of single precision round. A
    value that does not fit as it is fits in the form that the domain declares. A missing value is
    None if that is an option, otherwise the default.

    Examples
    --------
    >>> from tuner.search_spaces import Choice, Int
    >>> space = Space({"model": Choice("plain", deep={"layers": Int(1, 9)})})
    >>> Fitting(space).fit({"model": "deep", "layers": 2.0})
    {'model': ('deep', {'layers': 2})}
    >>> Fitting(space).fit({"model": "deep", "layers": 20}).reason
    "'model.deep.layers' = 20 is not in Int(1, 9)"
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._paths = {column.path for column in space.columns}
        self._ends = {column.path: list(_ends(column.path)) for column in space.columns}

    def fit(self, values: Mapping[str, Any]) -> Params | Misfit:
        """Return the point with these values, or the reason why they are not a point."""
        others = {_canonical(name): name for name in values if name not in self._paths}
        folded: dict[str, list[str]] = {}
        for canonical, given in others.items():
            folded.setdefault(canonical.casefold(), []).append(given)
        flat: dict[str, Any] = {}
        used: dict[str, str] = {}
        for column in self._space.columns:
            if not column.is_active(flat):
                continue
            path = column.path
            name = path if path in values else self._other_name(path, others, folded)
            if name is not None and name in used:
                return Misfit(name, f"{name!r} may be {used[name]!r} or {path!r}; write the path")
            if name is not None:
                used[name] = path
            found = _fitted(column, name is not None, None if name is None else values[name])
            if isinstance(found, Misfit):
                return found
            flat[path] = found[0]
        params = self._space.unflatten(flat)
        for constraint in self._space.constraints:
            if constraint.evaluate(flat) is False:
                broken = ", ".join(f"{p} = {flat[p]!r}" for p in constraint.paths if p in flat)
                return Misfit(str(constraint), f"{broken} breaks {str(constraint)!r}")
        return params

    def _other_name(
        self, path: str, others: Mapping[str, str], folded: Mapping[str, list[str]]
    ) -> str | None:
        ends = self._ends[path]
        found = next((others[end] for end in ends if end in others), None)
        if found is not None:
            return found
        alike = next((folded[e] for end in ends if (e := end.casefold()) in folded), [])
        last = path.rpartition(".")[2]
        return min(alike, key=lambda name: not name.endswith(last), default=None)


def _fitted(column: Column, named: bool, value: Any) -> tuple[Any] | Misfit:
    """Return the value of an active column as a tuple of one, because None may be an option."""
    domain, path = column.domain, column.path
    if isinstance(value, str) and value in _MISSING and not domain.contains(value):
        value = None
    if value is None:
        if named and domain.contains(None):
            return (None,)
        if domain.default is not None:
            return (domain.default,)
        if domain.size == 1:
            return (domain.middle,)
        return Misfit(f"{path} is missing", f"{path!r} is missing, and its domain lacks a default")
    for candidate in _forms(domain, value):
        with suppress(ValueError):
            return (domain.cast(candidate),)
    return Misfit(path, f"{path!r} = {value!r} is not in {domain!r}")


def _forms(domain: Domain, value: Any) -> Iterator[Any]:
    """Yield the forms that a value may have in the domain, from the exact one on."""
    yield value
    if isinstance(value, list):
        yield from_json_option(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from _forms_of_number(value)
    if not isinstance(value, str):
        return
    options: Iterable[Any] = ()
    if isinstance(domain, Listed | Bool):
        options = domain.grid(int(domain.size))
    yield from (option for option in options if value in (str(option), repr(option)))
    with suppress(ValueError):
        number = float(value)
        yield number
        yield from _forms_of_number(number)


def _forms_of_number(value: float) -> Iterator[Any]:
    """Yield a number as an int, a float, a boolean, and as the decimals of single precision."""
    if math.isfinite(value) and value == math.floor(value):
        yield int(value)
    yield float(value)
    if value in (0, 1):
        yield bool(value)
    with suppress(OverflowError):
        [single] = struct.unpack("f", struct.pack("f", value))
        if single == value:
            yield float(f"{value:.7g}")


def _ends(path: str) -> Iterator[str]:
    """Yield the canonical ends of a path, from the whole to the last name."""
    parts = path.split(".")
    for start in range(len(parts)):
        yield _canonical("_".join(parts[start:]))


def _canonical(name: str) -> str:
    """Return a name with one form of separator: ``svm.C``, ``svm/C`` and ``svm__C`` are equal."""
    return re.sub(r"[\W_]+", "_", name).strip("_")
