"""Hypothesis strategy for constraints over the parameters a, b and c."""

from __future__ import annotations

from hypothesis import strategies as st

from tuner.search_spaces import P

numbers = st.recursive(
    st.one_of(
        st.sampled_from("abc").map(P),
        st.integers(-9, 9).map(lambda v: P("a") * 0 + v),
        st.floats(-9, 9).map(lambda v: v + P("b")),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda t: t[0] + t[1]),
        st.tuples(inner, inner).map(lambda t: t[0] - t[1]),
        st.tuples(inner, inner).map(lambda t: t[0] * t[1]),
        st.tuples(inner, inner).map(lambda t: t[0] / t[1]),
        st.tuples(inner, inner).map(lambda t: t[0] // t[1]),
        st.tuples(inner, inner).map(lambda t: t[0] % t[1]),
        st.tuples(inner, st.integers(-2, 3)).map(lambda t: t[0] ** t[1]),
        inner.map(lambda e: -e),
        inner.map(abs),
    ),
    max_leaves=5,
)
comparisons = st.one_of(
    st.tuples(numbers, numbers).map(lambda t: t[0] <= t[1]),
    st.tuples(numbers, numbers).map(lambda t: t[0] > t[1]),
    st.tuples(numbers, numbers).map(lambda t: t[0] != t[1]),
    st.tuples(numbers, st.lists(st.integers(-3, 3), min_size=1)).map(lambda t: t[0].isin(t[1])),
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda t: t[0] & t[1]),
        st.tuples(inner, inner).map(lambda t: t[0] | t[1]),
        inner.map(lambda e: ~e),
    ),
    max_leaves=4,
)
