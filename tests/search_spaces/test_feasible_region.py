"""Constraints on many points: exact, equal to single evaluation, and sampled uniformly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.conditions import conditions
from support.effort import examples
from tuner.errors import SpaceError
from tuner.search_spaces import Bool, Choice, Const, Expression, Float, Int, Normal, Ordinal, Space
from tuner.search_spaces.evaluation import Feasibility

TENTHS = Float(0, 1, step=0.1)
GRIDS = Space({"a": TENTHS, "b": TENTHS, "c": TENTHS})


@pytest.mark.parametrize(
    ("constraint", "count"),
    [
        ("a + b + c == 1", 66),
        ("a + b + c <= 0.3", 20),
        ("a + b + c < 0.3", 10),
        ("1 - a - b - c == 0", 66),
        ("a + b + c != 1", 11**3 - 66),
        ("a + b + c in [0.3]", 10),
        ("a - b == 0.1", 110),
        ("3 * a == 0.9", 121),
        ("a / 0.1 == 3", 121),
        ("a // 0.1 == 3", 121),
        ("a % 0.2 == 0", 6 * 121),
        ("a * a == 0.09", 121),
        ("abs(a - b) >= 0.3 and not a + b < 0.3", 792),
    ],
)
def test_grids_are_compared_on_the_declared_decimals(constraint: str, count: int) -> None:
    space = GRIDS.where(constraint)
    assert space.size == count
    assert sum(map(space.feasible, GRIDS.grid())) == count
    assert all(point in space for point in space.sample(np.random.default_rng(0), 50))


@pytest.mark.parametrize(
    "domain",
    [Ordinal(0.1, 0.2, 0.7), Choice(0.1, 0.2, 0.7), Float(0.1, 0.7, step=0.1, log=True)],
)
def test_listed_decimals_are_compared_as_decimals(domain: Ordinal) -> None:
    space = Space({"a": domain, "b": domain, "n": Const(0.1)}).where("a + b + n == 1")
    points = list(space.grid())
    assert {"a": 0.2, "b": 0.7, "n": 0.1} in points
    assert len(points) == len({repr(p) for p in points}) >= 2


@pytest.mark.parametrize("n", [3, 6, 7, 30, 300])
def test_a_step_that_approximates_a_fraction_is_that_fraction(n: int) -> None:
    grid = Float(0, 1, step=1 / n)
    assert grid.grid(1) == [k / n for k in range(n + 1)]
    assert Space({"a": grid, "b": grid}).where("a + b == 1").size == n + 1


VARIANTS = [
    {"a": Float(-5, 5), "b": Float(0.1, 5, log=True), "c": Int(-5, 5)},
    {"a": Float(-5, 5, step=0.1), "b": Int(1, 50, log=True), "c": Ordinal(-1.5, 0, 0.3)},
    {"a": Bool(), "b": Choice(0.1, 2, 3.5), "c": Float(-1, 1, step=0.25)},
    {"k": Choice("none", one={"a": TENTHS, "b": TENTHS, "c": Int(0, 9)})},
]


@pytest.mark.slow
@given(conditions, st.integers(0, 3))
@settings(deadline=None, max_examples=examples(120))
def test_rows_are_feasible_exactly_if_their_points_are(rule: Expression, variant: int) -> None:
    space = Space(VARIANTS[variant])
    if "k" in space.params:
        rule = _moved(rule, "k.one.")
    X, active = space.snap(np.random.default_rng(0).random((60, len(space.columns))))
    single = [rule.evaluate(space.flatten(point)) is not False for point in space.decode(X)]
    assert Feasibility(space.columns, [rule])(X, active).tolist() == single


def _moved(rule: Expression, prefix: str) -> Expression:
    from tuner.search_spaces import P

    for node in rule.walk():
        if isinstance(node, P) and not node.path.startswith(prefix):
            node.path = prefix + node.path
    return rule


TEN = {f"u{i}": Float(0, 1) for i in range(10)}
TOTAL = " + ".join(TEN)
ORDER = [f"u{i} <= u{i + 1}" for i in range(9)]


def test_a_simplex_in_ten_dimensions_is_sampled_uniformly() -> None:
    space = Space(TEN).where(f"{TOTAL} <= 1")
    X = space.encode(space.sample(np.random.default_rng(0), 4_000))[0]
    assert (X.sum(axis=1) <= 1).all()
    # The parts of a uniform point are Dirichlet(1, ..., 1): Beta(1, 10) each.
    assert X.mean(axis=0) == pytest.approx(np.full(10, 1 / 11), abs=0.006)
    for j in (0, 5, 9):
        values = np.sort(X[:, j])
        assert np.abs(1 - (1 - values) ** 10 - np.linspace(0, 1, len(values))).max() < 0.035
    assert (X.sum(axis=1) ** 10).mean() == pytest.approx(0.5, abs=0.025)  # uniform in volume


def test_an_ordering_of_ten_is_sampled_uniformly() -> None:
    space = Space(TEN).where(*ORDER)
    X = space.encode(space.sample(np.random.default_rng(0), 4_000))[0]
    assert (np.diff(X, axis=1) >= 0).all()
    assert X.mean(axis=0) == pytest.approx(np.arange(1, 11) / 11, abs=0.012)
    assert np.diff(X, axis=1).mean() == pytest.approx(1 / 11, abs=0.003)


def test_a_sum_of_ordered_parameters_is_sampled_uniformly() -> None:
    space = Space(TEN).where(f"{TOTAL} <= 1", *ORDER[::-1])
    X = space.encode(space.sample(np.random.default_rng(0), 2_000))[0]
    assert (np.diff(X, axis=1) >= 0).all()
    # Means of the sorted parts of a uniform point of the simplex (David & Nagaraja, "Order
    # Statistics", section 6.4).
    expected = np.cumsum(1 / np.arange(10, 0, -1)) / 11
    assert X.mean(axis=0) == pytest.approx(expected, rel=0.06)


def chi_squared(space: Space, n: int = 6_000) -> tuple[float, int]:
    """Return the statistic of `n` samples over all points of a finite space, and its freedom."""
    index = {repr(point): i for i, point in enumerate(space.grid())}
    counts = np.zeros(len(index))
    for point in space.sample(np.random.default_rng(1), n):
        counts[index[repr(point)]] += 1
    expected = n / len(index)
    return float(((counts - expected) ** 2 / expected).sum()), len(index) - 1


@pytest.mark.parametrize(
    ("space", "constraints"),
    [
        ({c: Float(0, 1, step=0.1) for c in "abcd"}, ["a + b + c + d == 0.3"]),
        ({c: Int(0, 30) for c in "abc"}, ["a + b + c <= 4"]),
        ({c: Int(0, 30) for c in "abc"}, ["2 * a + 3 * b - c == 5", "a + b <= 6"]),
        ({c: Int(0, 9) for c in "abcd"}, ["a < b < c < d", "d <= 7"]),
        ({"a": Int(0, 40, step=4), "b": Ordinal(0, 2, 8), "c": Bool()}, ["a + b + 8 * c == 16"]),
        ({c: Int(0, 99) for c in "ab"}, ["a <= 3 and b <= 5"]),
        (dict.fromkeys("ab", TENTHS), ["a == 3 * b"]),
        ({c: Float(0, 1, step=0.05) for c in "abc"}, ["a == 0.7 * b", "b == c / 2"]),
        ({c: Float(-0.3, 0.3, step=0.1) for c in "abc"}, ["a + b + c == -0.3", "a <= 0", "b <= 0"]),
        ({c: Float(0, 1, step=1 / 3) for c in "abc"}, ["a + b + c == 1"]),
        ({c: Int(0, 30) for c in "abc"}, ["abs(a - b) < 2", "not (c > 3 or b != 2 * c)"]),
    ],
)
def test_lattices_are_sampled_uniformly(space: dict, constraints: list[str]) -> None:  # type: ignore[type-arg]
    statistic, freedom = chi_squared(Space(space).where(*constraints))
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize(
    ("domain", "limit"),
    [
        (Float(0.01, 1, log=True), 0.08),
        (Float(0, 1, prior=Normal(0.1, 0.2)), 0.2),
        (Int(1, 1000, log=True), 12),
        (Float(0.1, 2.0, step=0.1, log=True), 0.4),
    ],
)
def test_proposals_keep_the_distribution_of_rejection(domain: Float, limit: float) -> None:
    space = Space(dict.fromkeys("abc", domain)).where(f"a + b + c <= {limit}", "a <= b")
    assert space._region is not None
    rng = np.random.default_rng(0)
    rows = space.prior.places(rng.random((200_000, 3)))
    plain = rows[space.feasible_rows(rows)]
    direct = space.sample_rows(rng, 3_000)
    assert space._region.proposals
    for column in range(3):
        a, b = np.sort(plain[:, column]), np.sort(direct[:, column])
        at = np.concatenate([a, b])
        gap = np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)
        assert np.abs(gap).max() < 2.2 * np.sqrt(1 / len(a) + 1 / len(b))


@pytest.mark.parametrize("form", ["abs({a} - {b}) <= 0.05", "not (0.05 < {b} - {a} or {b} < {a})"])
def test_differences_of_neighbors_are_drawn_directly(form: str) -> None:
    pairs = list(itertools.pairwise(TEN))
    space = Space(TEN).where(*(form.format(a=a, b=b) for a, b in pairs))
    points = space.sample(np.random.default_rng(0), 100)
    assert all(abs(point[a] - point[b]) <= 0.05 for point in points for a, b in pairs)


def test_a_mixture_on_a_fine_grid_is_sampled() -> None:
    space = Space({name: Float(0, 1, step=0.05) for name in TEN}).where(f"{TOTAL} == 1")
    points = space.sample(np.random.default_rng(0), 100)
    assert all(point in space for point in points)
    assert len({repr(point) for point in points}) == 100


def test_branches_under_constraints_are_sampled() -> None:
    parts = {f"u{i}": Float(0, 1) for i in range(8)}
    total = " + ".join(f"m.{{0}}.u{i}" for i in range(8))
    space = Space({"m": Choice(a=parts, b=parts)})
    space = space.where(*(f"{total.format(branch)} <= 1" for branch in "ab"))
    points = space.sample(np.random.default_rng(0), 100)
    assert all(point in space for point in points)
    assert 30 < sum(point["m"][0] == "a" for point in points) < 70


def test_a_seed_repeats_the_sample() -> None:
    first, again = (Space(TEN).where(f"{TOTAL} <= 1") for _ in range(2))
    first.sample(np.random.default_rng(9), 3)  # earlier calls do not matter
    assert first.sample(np.random.default_rng(5), 20) == again.sample(np.random.default_rng(5), 20)


def test_an_impossible_sum_is_refused() -> None:
    with pytest.raises(SpaceError, match="none of 10000 random points"):
        Space(TEN).where(f"{TOTAL} > 10")


def test_rows_without_constraints_are_all_feasible() -> None:
    assert Space(TEN).feasible_rows(np.zeros((3, 10))).all()
