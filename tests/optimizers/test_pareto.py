"""Fronts and hypervolumes against brute force, inclusion and exclusion, and Optuna."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optuna._hypervolume import compute_hypervolume

from support.effort import examples
from tuner.errors import ArgumentError
from tuner.optimizers.pareto import (
    hypervolume,
    hypervolume_contributions,
    hypervolume_subset,
    nondominated,
    ranks,
)


def rows(most: int = 12, goals: tuple[int, int] = (1, 5)) -> st.SearchStrategy:
    """Rows of small whole numbers, so that ties and duplicates are common."""
    return st.tuples(st.integers(0, most), st.integers(*goals)).flatmap(
        lambda shape: arrays(float, shape, elements=st.integers(0, 6).map(float))
    )


def dominates(a, b) -> bool:
    return bool(np.all(a <= b) and np.any(a < b))


def by_inclusion_and_exclusion(values, reference) -> float:
    """The volume of a union of boxes as an alternating sum over all subsets."""
    inside = [row for row in values if (row < reference).all()]
    return sum(
        (-1) ** (k + 1) * np.prod(reference - np.max(some, axis=0))
        for k in range(1, len(inside) + 1)
        for some in combinations(inside, k)
    )


class TestNondominated:
    @given(rows())
    def test_the_front_matches_the_definition(self, values):
        expected = [not any(dominates(b, a) for b in values) for a in values]
        assert nondominated(values).tolist() == expected

    def test_a_row_with_a_nan_neither_counts_nor_dominates(self):
        values = [[np.nan, 0.0], [1.0, 1.0], [np.nan, np.nan], [2.0, 2.0]]
        assert nondominated(values).tolist() == [False, True, False, False]

    def test_infinite_values_are_ordered(self):
        assert nondominated([[np.inf, 0.0], [0.0, np.inf]]).tolist() == [True, True]
        assert nondominated([[np.inf, np.inf]]).tolist() == [True]
        assert nondominated([[np.inf, np.inf], [0.0, np.inf]]).tolist() == [False, True]

    @pytest.mark.parametrize("values", [[], [1.0, 2.0], np.zeros((3, 0))])
    def test_wrong_shapes_are_refused(self, values):
        with pytest.raises(ArgumentError, match="one row per point"):
            nondominated(values)

    def test_ten_thousand_points_take_bounded_time(self):
        values = np.random.default_rng(0).random((10_000, 3))
        assert 10 < nondominated(values).sum() < 1000


class TestRanks:
    @given(rows())
    def test_each_front_is_undominated_among_the_remaining_rows(self, values):
        rank = ranks(values)
        left = np.ones(len(values), dtype=bool)
        for front in range(int(rank.max(initial=-1)) + 1):
            on_it = np.zeros(len(values), dtype=bool)
            on_it[np.flatnonzero(left)[nondominated(values[left])]] = True
            assert (on_it == (rank == front)).all()
            left &= ~on_it
        assert not left.any()

    def test_rows_with_a_nan_come_last(self):
        assert ranks([[np.nan, 0.0], [1.0, 1.0], [2.0, 2.0]]).tolist() == [2, 0, 1]
        assert ranks([[np.nan]]).tolist() == [0]

    def test_it_stops_when_enough_are_ranked(self):
        values = [[3.0], [1.0], [2.0], [np.nan], [1.0], [4.0]]
        assert ranks(values, enough=1).tolist() == [1, 0, 1, 2, 0, 1]
        assert ranks(values, enough=3).tolist() == [2, 0, 1, 3, 0, 2]


class TestHypervolume:
    @given(rows(most=8), st.data())
    def test_the_hypervolume_matches_inclusion_exclusion(self, values, data):
        corner = data.draw(arrays(float, values.shape[1], elements=st.integers(1, 8).map(float)))
        assert hypervolume(values, corner) == by_inclusion_and_exclusion(values, corner)

    @given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 25))
    @settings(max_examples=examples(150))
    def test_the_hypervolume_matches_optuna(self, seed, goals, n):
        values = np.random.default_rng(seed).random((n, goals))
        corner = np.full(goals, 0.9)
        assert hypervolume(values, corner) == pytest.approx(
            compute_hypervolume(values[(values < corner).all(axis=1)], corner), abs=1e-12
        )

    @pytest.mark.parametrize("goals", [2, 3, 4, 6])
    def test_the_hypervolume_matches_monte_carlo(self, goals):
        rng = np.random.default_rng(goals)
        values = rng.random((20, goals)) ** 0.5
        drawn = rng.random((200_000, goals))
        share = np.mean((values[:, None, :] <= drawn).all(axis=2).any(axis=0))
        assert hypervolume(values, np.ones(goals)) == pytest.approx(share, abs=0.006)

    @given(rows(), st.randoms())
    def test_the_order_of_rows_does_not_matter(self, values, random):
        corner = np.full(values.shape[1], 5.0)
        order = list(range(len(values)))
        random.shuffle(order)
        assert hypervolume(values[order], corner) == hypervolume(values, corner)

    @given(rows(goals=(3, 5)), st.randoms())
    def test_the_order_of_goals_does_not_matter(self, values, random):
        corner = np.arange(values.shape[1]) + 3.0
        order = list(range(values.shape[1]))
        random.shuffle(order)
        assert hypervolume(values[:, order], corner[order]) == hypervolume(values, corner)

    @given(rows(), st.data())
    def test_an_additional_row_never_lowers_the_hypervolume(self, values, data):
        goals = values.shape[1]
        new = data.draw(arrays(float, (1, goals), elements=st.integers(0, 6).map(float)))
        corner = np.full(goals, 5.0)
        before, after = (hypervolume(v, corner) for v in (values, np.vstack([values, new])))
        assert after >= before
        beyond = any((row <= new[0]).all() for row in values) or (new[0] >= corner).any()
        assert (after > before) != beyond

    def test_rows_beyond_the_reference_add_no_hypervolume(self):
        assert hypervolume([[3.0, 0.0], [np.nan, 0.0], [4.0, -np.inf]], [3.0, 3.0]) == 0.0
        assert hypervolume(np.zeros((0, 2)), [3.0, 3.0]) == 0.0

    def test_an_infinitely_good_row_gives_an_infinite_hypervolume(self):
        assert hypervolume([[-np.inf, 0.0]], [1.0, 1.0]) == np.inf

    @pytest.mark.parametrize("reference", [[1.0], [1.0, 2.0, 3.0], [1.0, np.inf], [np.nan, 1.0]])
    def test_a_reference_that_does_not_fit_is_refused(self, reference):
        with pytest.raises(ArgumentError, match="2 finite numbers"):
            hypervolume([[0.0, 0.0]], reference)


class TestContributions:
    @given(rows(most=10))
    def test_a_contribution_is_the_loss_without_the_row(self, values):
        corner = np.full(values.shape[1], 5.0)
        whole = hypervolume(values, corner)
        lost = [
            whole - hypervolume(np.delete(values, i, axis=0), corner) for i in range(len(values))
        ]
        assert hypervolume_contributions(values, corner).tolist() == lost

    def test_a_row_with_a_nan_has_no_contribution(self):
        assert hypervolume_contributions([[np.nan, 0.0], [0.0, 0.0]], [1.0, 1.0]).tolist() == [0, 1]


class TestSubset:
    @given(rows(goals=(2, 4)), st.integers(0, 12))
    def test_each_next_row_adds_most(self, values, count):
        corner = np.full(values.shape[1], 5.0)
        chosen = hypervolume_subset(values, corner, count).tolist()
        assert len(chosen) == len(set(chosen)) == min(count, len(values))
        for k, row in enumerate(chosen):
            volumes = [
                hypervolume(values[[*chosen[:k], other]], corner)
                for other in range(len(values))
                if other not in chosen[:k]
            ]
            assert hypervolume(values[[*chosen[:k], row]], corner) == max(volumes)

    def test_rows_that_add_nothing_come_last_in_their_order(self):
        values = [[np.nan, 0.0], [9.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
        assert hypervolume_subset(values, [4.0, 4.0], 4).tolist() == [2, 0, 1, 3]
