"""The columns of a space: its parameters at all depths, for tables and arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tuner.search_spaces.categorical import Choice
from tuner.search_spaces.domains import Domain


@dataclass(frozen=True, slots=True)
class Column:
    """One parameter of a space.

    `path` is its dotted path (``"model.svm.C"``). `parents` holds ``(path of the choice, option)``
    for each enclosing branch, outermost first; the parameter is active where all of these options
    are selected.
    """

    path: str
    domain: Domain
    parents: tuple[tuple[str, str], ...] = ()


def columns_of(params: Mapping[str, Domain]) -> tuple[Column, ...]:
    """Return all columns in the order of declaration, parents before children."""
    return tuple(_walk(params, "", ()))


def _walk(
    params: Mapping[str, Domain], prefix: str, parents: tuple[tuple[str, str], ...]
) -> Iterator[Column]:
    for name, domain in params.items():
        path = prefix + name
        yield Column(path, domain, parents)
        if isinstance(domain, Choice) and domain.branches is not None:
            for option, branch in domain.branches.items():
                yield from _walk(branch, f"{path}.{option}.", (*parents, (path, option)))
