"""The order of trials by value, front and constraints; failed trials come last."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tuner.optimizers.history import Observation, TrialTable
from tuner.optimizers.ordering import best_first, feasible, lowest
from tuner.optimizers.pareto import hypervolume, ranks
from tuner.search_spaces import Float, Space

SPACE = Space({"x": Float(0, 1)})


def history(values, stopped=(), constraints=None):
    rows = [np.atleast_1d(v).tolist() for v in values]
    table = TrialTable(SPACE, len(rows[0]) if rows else 1)
    for number, row in enumerate(rows):
        limits = {} if constraints is None else {"c": constraints[number]}
        table.add(number, Observation({"x": 0.5}, row, number in stopped, limits))
    return table.history([])


def best(values, count, **options):
    return best_first(history(values, **options), count).tolist()


class TestOneGoal:
    def test_the_lowest_come_first_and_the_earlier_of_equals(self):
        assert best([3.0, 1.0, 2.0], 2) == [1, 2]
        assert best([1.0] * 40, 2) == [0, 1]
        assert best([], 3) == []

    def test_failures_are_never_among_the_best(self):
        assert best([math.nan, 5.0, math.nan, 4.0], 4) == [3, 1]

    def test_stopped_trials_come_after_completed_ones(self):
        assert best([3.0, 1.0, 2.0, math.nan], 2, stopped=[1, 3]) == [2, 0]
        assert best([3.0, 1.0, 2.0], 1, stopped=[0, 1, 2]) == [1]

    @given(st.lists(st.floats(-2, 2) | st.sampled_from([0.0, 1.0]), max_size=40), st.integers(0, 9))
    def test_the_lowest_are_those_of_a_sorted_list(self, losses, count):
        rows = np.arange(len(losses))
        by_loss = sorted(rows.tolist(), key=lambda i: losses[i])
        assert lowest(np.array(losses), rows, count).tolist() == by_loss[:count]


class TestConstraints:
    def test_feasible_trials_come_first_and_then_the_least_violating(self):
        order = best([1.0, 9.0, 2.0, 3.0], 4, constraints=[5.0, -1.0, 0.5, 0.0])
        assert order == [3, 1, 2, 0]

    def test_stopped_trials_are_last_even_if_feasible(self):
        assert best([1.0, 9.0], 2, constraints=[-1.0, 3.0], stopped=[0]) == [1, 0]

    def test_feasible_trials_are_completed_and_satisfy_constraints(self):
        seen = history([1.0, 2.0, math.nan, 4.0], stopped=[1], constraints=[0.0, -1, -1, 1e-9])
        assert feasible(seen).tolist() == [True, False, False, False]


class TestSeveralGoals:
    def test_whole_fronts_come_first(self):
        values = [[1.0, 5.0], [5.0, 1.0], [6.0, 6.0], [2.0, 2.0], [2.0, 6.0]]
        assert sorted(best(values, 3)) == [0, 1, 3]
        assert best(values, 5)[4] == 2

    def test_the_last_front_is_reduced_by_hypervolume(self):
        values = [[0.0, 10.0], [0.1, 9.9], [5.0, 5.0], [9.9, 0.1], [10.0, 0.0]]
        assert best(values, 1) == [2]

    @given(st.lists(st.tuples(*[st.floats(0, 1)] * 2), min_size=1, max_size=30), st.integers(1, 10))
    def test_no_omitted_trial_is_on_a_better_front(self, values, count):
        chosen = best(values, count)
        assert len(chosen) == len(set(chosen)) == min(count, len(values))
        rank = ranks(values)
        left = [i for i in range(len(values)) if i not in chosen]
        assert all(rank[i] >= max(rank[j] for j in chosen) for i in left)

    def test_the_chosen_cover_more_than_a_random_choice(self):
        angles = np.linspace(0, np.pi / 2, 60)
        values = 1 - np.stack([np.sin(angles), np.cos(angles)], axis=1)
        chosen = hypervolume(values[best(values, 8)], [1.1, 1.1])
        rng = np.random.default_rng(0)
        others = [hypervolume(values[rng.choice(60, 8, False)], [1.1, 1.1]) for _ in range(50)]
        assert chosen > max(others)
