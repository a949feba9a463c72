"""Remedies in error messages; each one is built before it is shown, so it is never refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, ClassVar, Protocol

from tuner.errors import SpaceError


def first_valid(*attempts: Callable[[], object]) -> object | None:
    """Return the first object that can be built, or None.

    Examples
    --------
    >>> from tuner.search_spaces import Float
    >>> first_valid(lambda: Float(1, 0), lambda: Float(0, 1))
    Float(0.0, 1.0)
    """
    for attempt in attempts:
        try:
            return attempt()
        except (SpaceError, ArithmeticError, ValueError, TypeError):
            continue
    return None


def write(*attempts: Callable[[], object], otherwise: str) -> str:
    """Return ``"write ..."`` with the first object that can be built, or another remedy."""
    found = first_valid(*attempts)
    return otherwise if found is None else f"write {found!r}"


def unknown_parameter(path: str, known: Collection[str]) -> str:
    """Return the complaint about an unknown path, with the nearest known one.

    Examples
    --------
    >>> unknown_parameter("C", ["model", "model.svm.C"])
    "unknown parameter 'C'; did you mean 'model.svm.C'?"
    """
    name = path.split(".")[-1]
    close = difflib.get_close_matches(path, known, n=1) or [
        other for other in known if other.split(".")[-1] == name
    ]
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    return f"unknown parameter {path!r}; {hint}"


# --- ranges of numbers ----------------------------------------------------------------------------


class Range(Protocol):
    """A range of numbers as it was declared, valid or not; see `Numeric`."""

    type: ClassVar[type[float] | type[int]]
    low: Any
    high: Any
    log: bool
    step: Any


def in_order(given: Range) -> str:
    """Return the remedy for bounds in the wrong order."""
    make: Any = type(given)
    swap = partial(make, given.high, given.low)
    return write(
        lambda: swap(log=given.log, step=given.step),
        lambda: swap(step=given.step),
        swap,
        otherwise="write the lower bound first",
    )


def on_grid(given: Range, high: Any) -> str:
    """Return the remedy for an upper bound that is not on the grid."""
    constructor: Any = type(given)
    make = partial(constructor, given.low, high, step=given.step)
    return write(lambda: make(log=given.log), make, otherwise="write another step")


def positive(given: Range) -> str:
    """Return the remedy for a logarithmic range that does not start above 0."""
    make: Any = type(given)
    low, high, step = given.low, given.high, given.step
    linear = partial(make, low, high, step=step)
    if high > 0:
        least = min(1e-5, high / 1000) if given.type is float else 1
        return write(
            lambda: make(step, high, log=True, step=step),
            lambda: make(least, high, log=True),
            linear,
            otherwise="write a positive low",
        )
    if given.type is float:
        return "the bounds are plain values, not their logarithms: " + write(
            lambda: make(10.0**low, 10.0**high, log=True),
            linear,
            otherwise="write positive bounds",
        )
    return write(linear, otherwise="write positive bounds")


def example_step(given: Range) -> str:
    """Return a step that fits the bounds, for an error message."""
    tenth = float(f"{(float(given.high) - float(given.low)) / 10:.3g}")
    steps = (0.1, tenth) if given.type is float else (1,)
    make: Any = type(given)
    found: Any = first_valid(*(partial(make, given.low, given.high, step=s) for s in steps))
    return "" if found is None else f", such as {found.step}"
