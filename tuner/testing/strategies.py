"""Hypothesis strategies for spaces and points."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from tuner.errors import SpaceError
from tuner.search_spaces import (
    Bool,
    Choice,
    Column,
    Const,
    Domain,
    Expression,
    Float,
    Int,
    Ordinal,
    P,
    Repeat,
    Space,
)

names = st.text(string.ascii_lowercase + ".", min_size=1, max_size=3).map(lambda s: f"p_{s}")
scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3))
options = st.lists(
    scalars | st.tuples(scalars, scalars), min_size=1, max_size=4, unique_by=repr
).map(tuple)


@st.composite
def floats(draw: st.DrawFn) -> Float:
    """Draw a continuous `Float`."""
    log = draw(st.booleans())
    low = draw(st.floats(1e-6, 1e3) if log else st.floats(-1e6, 1e6))
    high = low + draw(st.floats(1e-3, 1e3)) * max(1.0, abs(low))
    return Float(low, high, log=log)


@st.composite
def stepped(draw: st.DrawFn) -> Float:
    """Draw a `Float` with a step."""
    step = draw(st.sampled_from([0.1, 0.25, 0.5, 1.0, 0.3]))
    low = draw(st.integers(-5, 5)) * step
    return Float(low, low + draw(st.integers(1, 20)) * step, step=step)


@st.composite
def ints(draw: st.DrawFn) -> Int:
    """Draw an `Int`."""
    log = draw(st.booleans())
    step = 1 if log else draw(st.integers(1, 4))
    low = draw(st.integers(1, 50) if log else st.integers(-50, 50))
    return Int(low, low + step * draw(st.integers(0, 30)), log=log, step=step)


leaves: st.SearchStrategy[Domain] = st.one_of(
    floats(),
    stepped(),
    ints(),
    options.map(lambda o: Choice(*o)),
    options.map(lambda o: Ordinal(*o)),
    st.just(Bool()),
    scalars.map(Const),
)


def _choices(inner: st.SearchStrategy[Domain]) -> st.SearchStrategy[Choice]:
    branch = st.dictionaries(names, inner, max_size=2)
    branches = st.dictionaries(st.sampled_from("abc"), branch, min_size=1, max_size=3)
    return branches.map(lambda b: Choice("bare", **b))


def _repeats(inner: st.SearchStrategy[Domain]) -> st.SearchStrategy[Repeat]:
    block = st.dictionaries(names, inner, min_size=1, max_size=2)
    counts = st.tuples(st.integers(0, 2), st.integers(1, 2)).map(lambda n: Int(n[0], sum(n)))
    return st.tuples(counts, block).map(lambda parts: Repeat("block", *parts))


domains = st.recursive(
    leaves, lambda inner: st.one_of(_choices(inner), _repeats(inner)), max_leaves=6
)
spaces: st.SearchStrategy[Space] = st.dictionaries(names, domains, min_size=1, max_size=4).map(
    Space
)


def _comparison(draw: st.DrawFn, columns: Sequence[Column]) -> Expression:
    column = draw(st.sampled_from(columns))
    domain, parameter = column.domain, P(column.path)
    if isinstance(domain, Float | Int):
        bound = domain.from_unit([draw(st.floats(0.2, 0.8))])[0]
        comparisons = [parameter <= bound, parameter >= bound, parameter != bound]
    else:
        value = draw(st.sampled_from(domain.grid(1)))
        comparisons = [parameter == value, parameter != value, parameter.isin([value])]
    chosen: Expression = draw(st.sampled_from(comparisons))
    return chosen


@st.composite
def constrained_spaces(draw: st.DrawFn) -> Space:
    """Draw a satisfiable space with constraints on parameters at any depth."""
    space = draw(spaces)
    constraints = []
    for _ in range(draw(st.integers(1, 2))):
        left, right = (_comparison(draw, space.columns) for _ in range(2))
        constraints.append(draw(st.sampled_from([left, left & right, left | right, ~left | right])))
    try:
        return space.where(*constraints)
    except SpaceError:
        reject()


@st.composite
def spaces_and_points(
    draw: st.DrawFn, n: int = 5, *, constrained: bool = False
) -> tuple[Space, list[dict[str, Any]]]:
    """Draw a space and `n` of its points; with `constrained`, some spaces have constraints."""
    space = draw(spaces | constrained_spaces() if constrained else spaces)
    seed = draw(st.integers(0, 2**32))
    return space, space.sample(np.random.default_rng(seed), n)
