"""Random search: Sobol points first, then independent points; speed."""

from copy import deepcopy

import numpy as np
import pytest
from scipy.stats import kstest, qmc

from support import pace
from tuner.optimizers import RandomOptimizer
from tuner.optimizers.sobol import LENGTH, SobolDesign, scrambled_sobol, sobol_digits
from tuner.records import Goal, Outcome, State, Trial
from tuner.search_spaces import Bool, Choice, Float, Int, Normal, Ordinal, P, Space

SPACE = Space({"x": Float(0, 1), "m": Choice("a", b={"n": Int(1, 9)})})


def searching(space, seed=0):
    optimizer = RandomOptimizer()
    optimizer.reset(space, [Goal()], seed)
    return optimizer


class TestSobol:
    @pytest.mark.parametrize("d", [1, 2, 7, 40])
    def test_the_unscrambled_sequence_equals_that_of_scipy(self, d):
        expected = qmc.Sobol(d, scramble=False).random(LENGTH)
        np.testing.assert_array_equal(sobol_digits(d) / LENGTH, expected)

    @pytest.mark.parametrize("k", [1, 2, 4, 8, 16, 32, 64])
    @pytest.mark.parametrize("d", [1, 5, 40])
    def test_scrambled_each_column_is_still_balanced(self, d, k):
        points = scrambled_sobol(d, np.random.default_rng(k))[:k]
        for column in points.T:
            assert sorted(np.floor(column * k)) == list(range(k))

    def test_scrambled_pairs_of_columns_are_still_balanced(self):
        points = scrambled_sobol(2, np.random.default_rng(0))
        boxes = {(int(8 * x), int(8 * y)) for x, y in points}
        assert len(boxes) == 64

    def test_digits_are_scrambled_depending_on_earlier_digits(self):
        points = scrambled_sobol(5, np.random.default_rng(0))
        flips = np.floor(points * LENGTH).astype(int) ^ sobol_digits(5)
        for bit in range(1, 6):
            flipped = flips >> (5 - bit) & 1
            assert (flipped.min(axis=0) < flipped.max(axis=0)).any()

    def test_points_are_uniform_over_many_seeds(self):
        points = np.concatenate([scrambled_sobol(3, np.random.default_rng(s)) for s in range(99)])
        for column in points.T:
            assert kstest(column, "uniform").pvalue > 0.01

    def test_past_the_table_columns_are_a_latin_hypercube(self):
        points = scrambled_sobol(50, np.random.default_rng(0))
        for column in points.T:
            assert sorted(np.floor(column * 64)) == list(range(64))

    @pytest.mark.slow
    def test_a_point_that_breaks_a_constraint_is_left_out(self):
        space = Space({"x": Float(0, 1), "y": Float(0, 1)}).where(P("x") <= P("y"))
        points = [SobolDesign(space, 0).point(k) for k in range(LENGTH)]
        kept = [p for p in points if p is not None]
        assert 20 < len(kept) < 44
        assert all(p in space for p in kept)
        assert SobolDesign(space, 0).point(LENGTH) is None

    def test_centered_the_first_point_is_in_the_middle_of_numbers_and_no_other_is_moved(self):
        space = Space(
            {
                "x": Float(2, 4),
                "n": Int(0, 20),
                "rate": Float(1e-4, 1.0, log=True),
                "layers": Int(1, 3),
                "few": Ordinal(*range(8)),
                "m": Choice("a", b={"y": Float(-1, 1)}),
            }
        )
        options = set()
        for seed in range(9):
            design, centered = SobolDesign(space, seed), SobolDesign(space, seed, centered=True)
            drawn, first = space.flatten(design.point(0)), space.flatten(centered.point(0))
            middle = {"x": 3.0, "n": 10, "rate": pytest.approx(1e-2), "m.b.y": 0.0}
            assert first == {path: middle.get(path, drawn[path]) for path in drawn}
            later = range(1, LENGTH)
            assert [centered.point(k) for k in later] == [design.point(k) for k in later]
            options.add(first["m"])
        assert options == {"a", "b"}

    def test_centered_with_a_prior_the_first_point_is_near_its_median(self):
        space = Space({"x": Float(0, 1, prior=Normal(0.2, 0.05)), "y": Float(0, 1)})
        first = SobolDesign(space, 0, centered=True).point(0)
        assert first == pytest.approx({"x": 0.2, "y": 0.5}, abs=0.01)


class TestRandomOptimizer:
    def test_random_search_declares_that_it_needs_no_outcomes(self):
        assert RandomOptimizer.history_free

    def test_random_search_starts_with_the_design(self):
        optimizer = searching(SPACE, seed=3)
        assert optimizer.ask(LENGTH) == [SobolDesign(SPACE, 3).point(k) for k in range(LENGTH)]

    def test_a_point_depends_only_on_its_index(self):
        whole = searching(SPACE).ask(600)
        optimizer = searching(SPACE)
        for number, params in enumerate(whole[:300]):
            optimizer.tell(Trial(number, params), Outcome(State.FAILED))
        pending = [Trial(300 + k, params) for k, params in enumerate(whole[300:320])]
        assert optimizer.ask(280, pending) == whole[320:]

    def test_changes_of_a_returned_point_do_not_affect_the_design(self):
        space = Space({"m": Choice(a={"x": Float(0, 1)})})
        optimizer = searching(space)
        first = optimizer.ask(LENGTH + 10)
        kept = deepcopy(first)
        for params in first:
            params["m"][1].clear()
        assert optimizer.ask(LENGTH + 10) == kept

    def test_later_points_are_uniform(self):
        points = searching(SPACE).ask(3000)[LENGTH:]
        assert kstest([p["x"] for p in points], "uniform").pvalue > 0.01
        kinds = [p["m"][0] for p in points]
        assert kinds.count("a") / len(kinds) == pytest.approx(0.5, abs=0.03)

    def test_a_finite_space_is_exhausted(self):
        space = Space({"a": Int(1, 40), "b": Bool(), "c": Choice("x", "y", "z")})
        points = searching(space).ask(240)
        assert len(set(map(space.key, points))) == 240

    def test_sixty_four_points_take_a_few_milliseconds(self):
        optimizer = searching(SPACE)
        optimizer.ask(1)
        for number, params in enumerate(SPACE.sample(np.random.default_rng(0), 2000)):
            optimizer.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": 0.0}))
        assert pace.seconds(lambda: optimizer.ask(64)) < 0.01  # about 0.001
