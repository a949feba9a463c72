"""TPE: densities against their definitions, split, speed and quality."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import truncnorm

from support import pace
from support.effort import each_once
from tuner.errors import ArgumentError
from tuner.optimizers import RandomOptimizer, TPEOptimizer
from tuner.optimizers.history import Observation, TrialTable
from tuner.optimizers.parzen import KernelColumns, ParzenDensity, neighbour_widths
from tuner.optimizers.tpe import best_of, recency_weights, thinned
from tuner.records import Goal, Outcome, State, Trial
from tuner.search_spaces import Bool, Choice, Const, Float, Int, Ordinal, P, Space

MIXED = Space(
    {
        "rate": Float(1e-4, 1.0, log=True),
        "width": Ordinal(1, 2, 4, 8),
        "fixed": Const("same"),
        "trees": Int(1, 20, log=True),
        "model": Choice("none", a={"x": Float(0, 1), "flag": Bool()}, b={"n": Int(1, 5)}),
    }
)


def density_of(space, points, weights=None):
    X, active = space.encode(points)
    return ParzenDensity(
        KernelColumns(space.columns), X, active, np.ones(len(X)) if weights is None else weights
    )


def widths_of(places):
    column = np.array(places, dtype=float)[:, None]
    return neighbour_widths(column, np.ones_like(column, dtype=bool))[:, 0]


class TestParzenDensity:
    def test_without_points_the_density_is_uniform(self):
        density = density_of(MIXED, [])
        X, active = MIXED.encode(MIXED.sample(np.random.default_rng(0), 50))
        np.testing.assert_allclose(density.log_density(X, active), 0.0, atol=1e-12)

    @pytest.mark.slow
    @pytest.mark.parametrize(("n", "seed"), each_once([1, 2, 7, 40], range(3)))
    def test_the_density_integrates_to_one_over_a_conditional_space(self, n, seed):
        rng = np.random.default_rng(seed)
        density = density_of(MIXED, MIXED.sample(rng, n), rng.uniform(0.1, 1.0, n))
        values = np.exp(density.log_density(*MIXED.encode(MIXED.sample(rng, 40_000))))
        error = values.std() / math.sqrt(len(values))
        assert values.mean() == pytest.approx(1.0, abs=5 * error)

    @pytest.mark.slow
    @pytest.mark.parametrize("n", [1, 3, 12])
    @pytest.mark.parametrize(
        "domain",
        [
            Float(0, 1),
            Float(0.0, 1.0, step=0.25),
            Int(1, 30, log=True),
            Int(1, 1000),
            Ordinal("s", "m", "l"),
            Choice("a", "b", "c", "d"),
            Bool(),
            Choice("none", a={"x": Float(0, 1)}),
        ],
        ids=repr,
    )
    def test_samples_follow_the_density(self, domain, n):
        rng = np.random.default_rng(n)
        space = Space({"p": domain})
        density = density_of(space, space.sample(rng, n))
        X, active = space.encode(space.sample(rng, 20_000))
        weights = np.exp(density.log_density(X, active))
        samples, sampled = space.encode(space.decode(density.sample(rng, 20_000)))
        bins = np.linspace(0, 1, 9)
        for j in range(len(space.columns)):
            expected, _ = np.histogram(X[:, j], bins, weights=weights * active[:, j])
            found, _ = np.histogram(samples[sampled[:, j], j], bins)
            np.testing.assert_allclose(found / 2e4, expected / 2e4, atol=0.02)

    def test_a_kernel_is_a_truncated_normal_distribution(self):
        space = Space({"x": Float(0, 1)})
        density = density_of(space, [{"x": 0.3}, {"x": 0.8}])
        x = np.array([0.0, 0.25, 0.9])
        kernels = [
            truncnorm.pdf(x, -c / w, (1 - c) / w, loc=c, scale=w)
            for c, w in zip([0.3, 0.8], widths_of([0.3, 0.8]), strict=True)
        ]
        expected = (kernels[0] + kernels[1] + 1) / 3
        found = density.log_density(x[:, None], np.ones((3, 1), dtype=bool))
        np.testing.assert_allclose(np.exp(found), expected, rtol=1e-12)

    def test_far_tails_of_a_cell_stay_finite(self):
        space = Space({"n": Int(1, 200)})
        density = density_of(space, [{"n": n} for n in range(1, 180)])
        X, active = space.encode([{"n": n} for n in range(1, 201)])
        assert np.isfinite(density.log_density(X, active)).all()

    def test_a_category_is_likelier_the_more_often_it_was_seen(self):
        space = Space({"c": Choice("a", "b", "c")})
        X, active = space.encode([{"c": c} for c in "abc"])
        few = density_of(space, [{"c": "b"}]).log_density(X, active)
        many = density_of(space, [{"c": "b"}] * 9).log_density(X, active)
        assert few[1] > few[0] == few[2]
        assert many[1] > few[1]

    @pytest.mark.parametrize(
        ("places", "widths"),
        [
            ([], []),
            ([0.25], [0.75]),
            ([0.5, 0.5], [0.25, 0.25]),
            ([0.1, 0.2, 0.9], [0.2, 0.7, 0.7]),
        ],
    )
    def test_widths_are_distances_to_neighbours(self, places, widths):
        np.testing.assert_allclose(widths_of(places), widths)


class TestWeights:
    @given(st.integers(1, 500), st.integers(2, 60))
    def test_fewer_kernels_weigh_as_much_and_keep_the_latest(self, n, count):
        weights = recency_weights(n)
        rows, kept = thinned(weights, count)
        assert len(rows) == len(kept) == min(n, count)
        assert (np.diff(rows) > 0).all()
        assert kept.sum() == pytest.approx(weights.sum())
        late = min(n, count // 2)
        assert rows[-late:].tolist() == list(range(n - late, n))
        np.testing.assert_array_equal(kept[-late:], weights[-late:])

    def test_late_trials_weigh_more(self):
        weights = recency_weights(100)
        assert weights[-25:].tolist() == [1.0] * 25
        assert (np.diff(weights) >= 0).all()
        assert len(recency_weights(0)) == 0
        assert recency_weights(3).tolist() == [1, 1, 1]


class TestPlateau:
    def history(self, losses, violations=None):
        table = TrialTable(Space({"x": Float(0.0, 1.0)}))
        for k, loss in enumerate(losses):
            limits = {} if violations is None else {"limit": violations[k]}
            table.add(k, Observation({"x": k / len(losses)}, [loss], constraints=limits))
        return table.history([])

    def test_many_trials_tied_at_the_best_count_as_one(self):
        history = self.history([0.3, 0.9, 0.3, 0.5, 0.3, 0.5, 0.4])
        assert best_of(history, 2).tolist() == [0, 6]
        assert best_of(history, 4).tolist() == [0, 2, 4, 6]

    def test_tied_infeasible_trials_are_not_merged(self):
        history = self.history([0.3, 0.3, 0.3, 0.5], [1.0, 1.0, 1.0, 2.0])
        assert best_of(history, 2).tolist() == [0, 1]

    def test_equal_losses_give_one_best_trial(self):
        assert best_of(self.history([1.0] * 5), 2).tolist() == [0]


class TestSuggestions:
    def search(self, space, loss, n, seed=0, optimizer=None, failing=lambda p: False):
        optimizer = optimizer or TPEOptimizer()
        optimizer.reset(space, [Goal()], seed)
        told = []
        for number in range(n):
            (params,) = optimizer.ask(1)
            good = Outcome(State.COMPLETED, {"value": float(loss(params))})
            told.append((params, Outcome(State.FAILED) if failing(params) else good))
            optimizer.tell(Trial(number, params), told[-1][1])
        return told

    @pytest.mark.slow
    def test_it_beats_random_search_where_parameters_are_mixed(self):
        def loss(p):
            kind, inner = p["model"]
            value = (math.log10(p["rate"]) + 2) ** 2 + abs(p["width"] - 4) / 4 + p["trees"] / 20
            return value + (2 if kind != "a" else (inner["x"] - 0.4) ** 2 + inner["flag"])

        ours, chance = (
            np.median(
                [
                    min(
                        o.metrics["value"]
                        for _, o in self.search(MIXED, loss, 60, seed, optimizer())
                    )
                    for seed in range(5)
                ]
            )
            for optimizer in (TPEOptimizer, RandomOptimizer)
        )
        assert ours < chance / 2

    def test_it_avoids_regions_where_trials_fail(self):
        space = Space({"x": Float(0, 1), "y": Float(0, 1)})
        failed = 0
        for seed in range(3):  # each best point is beside those that fail
            told = self.search(
                space,
                lambda p: p["x"] + p["y"],
                60,
                seed,
                failing=lambda p: p["x"] < 0.5 and p["y"] < 0.5,
            )
            failed += sum(o.state is State.FAILED for _, o in told[-30:])
        assert failed / 3 < 12

    def test_suggestions_keep_a_distance_from_pending_trials(self):
        space = Space({"x": Float(0, 1)})
        optimizer = TPEOptimizer()
        self.search(space, lambda p: (p["x"] - 0.5) ** 2, 40, optimizer=optimizer)
        (free,) = optimizer.ask(1)
        near = [Trial(100 + k, {"x": free["x"] + k * 1e-4}) for k in range(-10, 11)]
        apart = [abs(p["x"] - free["x"]) for p in optimizer.ask(5, near)]
        assert np.median(apart) > 0.01

    def test_suggestions_satisfy_tight_constraints(self):
        space = Space({"x": Float(0, 1), "y": Float(0, 1)}).where(P("x") >= P("y") + 0.98)
        told = self.search(space, lambda p: p["x"], 20)
        assert all(params in space for params, _ in told)

    def test_tried_points_are_replaced_by_the_next_best(self):
        space = Space({f"c{i}": Choice("a", "b", "c", "d") for i in range(5)})
        told = self.search(space, lambda p: sum(v != "a" for v in p.values()), 80)
        assert len({space.key(params) for params, _ in told}) == 80
        assert np.mean([o.metrics["value"] for _, o in told[-20:]]) < 2.9  # chance has 3.75

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("size", "loss"),
        each_once([(60, 10_000), (20, 1000)], ["random", "equal", "failed", "all but two failed"]),
    )
    def test_a_suggestion_takes_little_time_after_many_trials(self, size, loss):
        d, n = size
        domains = [Float(0, 1), Choice("a", "b"), Int(1, 9), Choice("m", n={"x": Float(0, 1)})]
        space = Space({f"x{i}": domains[i % 4] for i in range(d)})
        optimizer = TPEOptimizer()
        optimizer.reset(space, [Goal()], 0)
        rng = np.random.default_rng(0)
        for number, params in enumerate(space.sample(rng, n)):
            value = rng.normal() if loss == "random" else 1.0
            failed = "failed" in loss and (loss == "failed" or number > 1)
            outcome = Outcome(State.COMPLETED, {"value": value})
            optimizer.tell(Trial(number, params), Outcome(State.FAILED) if failed else outcome)
        optimizer.ask(1)
        points = []
        assert pace.seconds(lambda: points.extend(optimizer.ask(1))) < 0.1  # about 0.003 and 0.01
        assert all(params in space for params in points)

    @pytest.mark.parametrize(
        "options",
        [{"n_startup": 1}, {"gamma": 0.0}, {"gamma": 1.0}, {"max_best": 0}, {"candidates": 0}],
    )
    def test_invalid_options_are_refused(self, options):
        with pytest.raises(ArgumentError, match="n_startup must be at least 2"):
            TPEOptimizer(**options)
