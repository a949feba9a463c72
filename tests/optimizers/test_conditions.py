"""Predicted probabilities of success and of satisfied outcome constraints."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.optimizers.bayesian.embedding import Embedding
from tuner.optimizers.bayesian.feasibility import condition, learn_condition, margins
from tuner.optimizers.history import Observation, TrialTable
from tuner.search_spaces import Float, Space

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1)})
EMBEDDING = Embedding([0, 0], [False, False])
GRID = np.random.default_rng(9).random((200, 2))
ON = np.ones((200, 2), dtype=bool)


def history(told, n=60):
    """Return a history of random points; `told` gives the loss and the constraints at one."""
    table = TrialTable(SPACE)
    for number, x in enumerate(np.random.default_rng(0).random((n, 2))):
        loss, constraints = told(x)
        table.add(number, Observation({"x": x[0], "y": x[1]}, [loss], False, constraints))
    return table.history([])


def probabilities(told, column=0):
    seen = history(told)
    margin = margins(seen)[:, column]
    learned = learn_condition(EMBEDDING, seen.X, seen.active, margin)
    found = condition(learned, EMBEDDING, seen.X, seen.active, margin)
    return np.exp(found(GRID, ON))


class TestSuccess:
    @pytest.mark.slow
    def test_a_region_of_failures_is_learned(self):
        found = probabilities(lambda x: (np.nan if x[0] > 0.5 else 1.0, {}))
        assert found[GRID[:, 0] > 0.7].max() < 0.1
        assert found[GRID[:, 0] < 0.3].min() > 0.8

    @pytest.mark.slow
    def test_random_failures_give_little_information(self):
        rng = np.random.default_rng(5)
        found = probabilities(lambda _: (np.nan if rng.random() < 0.3 else 1.0, {}))
        assert found.min() > 0.3

    def test_without_failures_no_condition_is_modeled(self):
        assert margins(history(lambda _: (1.0, {}))).shape == (60, 0)

    def test_a_failure_after_the_last_fit_counts_immediately(self):
        seen = history(lambda x: (1.0, {}), n=30)
        margin = np.r_[np.full(29, 0.5), -0.5]
        learned = learn_condition(EMBEDDING, seen.X[:29], seen.active[:29], margin[:29])
        found = condition(learned, EMBEDDING, seen.X, seen.active, margin)
        at_failure, elsewhere = found(seen.X[[29, 0]], seen.active[[29, 0]])
        assert at_failure < elsewhere


class TestConstraints:
    @pytest.mark.slow
    def test_the_boundary_is_found_for_values_over_decades(self):
        found = probabilities(lambda x: (1.0, {"c": np.sinh(20 * (x[0] - 0.5))}))
        assert found[GRID[:, 0] > 0.6].max() < 0.2
        assert found[GRID[:, 0] < 0.4].min() > 0.8

    def test_each_constraint_has_its_own_model(self):
        found = probabilities(lambda x: (1.0, {"a": x[0] - 2.0, "b": x[1] - 0.5}), column=1)
        assert found[GRID[:, 1] > 0.7].max() < 0.1
        assert found[GRID[:, 1] < 0.3].min() > 0.9

    def test_a_constant_constraint_is_ignored(self):
        seen = history(lambda _: (1.0, {"c": -1.0}))
        margin = margins(seen)[:, 0]
        learned = learn_condition(EMBEDDING, seen.X, seen.active, margin)
        assert condition(learned, EMBEDDING, seen.X, seen.active, margin) is None

    @pytest.mark.parametrize("value", [0.0, 1e300, -1e300, np.nan])
    @pytest.mark.slow
    def test_extreme_values_still_give_a_model(self, value):
        seen = history(lambda x: (1.0, {"c": value if x[0] > 0.5 else 1.0}))
        margin = margins(seen)[:, 0]
        learned = learn_condition(EMBEDDING, seen.X, seen.active, margin)
        found = condition(learned, EMBEDDING, seen.X, seen.active, margin)
        assert np.isfinite(found(GRID, ON)).all()

    def test_trials_without_a_value_are_left_out(self):
        seen = history(lambda x: (1.0, {"c": x[0] - 0.5} if x[1] > 0.5 else {}))
        margin = margins(seen)[:, 0]
        assert np.isnan(margin).sum() == np.sum(seen.X[:, 1] <= 0.5)
        learned = learn_condition(EMBEDDING, seen.X, seen.active, margin)
        assert condition(learned, EMBEDDING, seen.X, seen.active, margin) is not None
        nothing = np.full(60, np.nan)
        learned = learn_condition(EMBEDDING, seen.X, seen.active, nothing)
        assert condition(learned, EMBEDDING, seen.X, seen.active, nothing) is None

    def test_a_further_trial_changes_no_earlier_margin_until_models_are_learned_again(self):
        def told(x):
            return 1.0, {"c": float(np.sinh(20 * (x[0] - 0.5)))}

        before, after = margins(history(told, 64)), margins(history(told, 67))
        assert after[:64].tobytes() == before.tobytes()
