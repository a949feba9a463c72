"""Priors of domains: declaration, sampling, densities, documents and edits."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import SpaceError
from tuner.search_spaces import Bool, Choice, Float, Int, Normal, Ordinal, P, Space
from tuner.search_spaces.priors import UNIFORM, Bell, Cells

SPACE = Space(
    {
        "rate": Float(1e-6, 1.0, log=True, prior=Normal(1e-3, 10)),
        "momentum": Float(0.0, 1.0, prior=Normal(0.9, 0.05), default=0.5),
        "layers": Int(1, 9, prior=Normal(3, 1)),
        "width": Ordinal(16, 32, 64, prior={16: 1, 32: 1, 64: 8}),
        "bias": Bool(prior={True: 9, False: 1}),
        "model": Choice(
            "none",
            svm={"C": Float(0.1, 10, log=True, prior=Normal(1, 2))},
            prior={"svm": 3, "none": 1},
        ),
    }
)
densities = st.one_of(
    st.builds(Bell, st.floats(0, 1), st.floats(0.01, 2)),
    st.lists(st.floats(0.05, 1), min_size=1, max_size=6).map(
        lambda w: Cells(tuple(x / sum(w) for x in w))
    ),
)


class TestDensities:
    @given(densities)
    def test_prior_densities_integrate_to_one(self, density):
        middles = (np.arange(20_000) + 0.5) / 20_000
        assert np.exp(density.log(middles)).mean() == pytest.approx(1.0, abs=2e-3)
        assert density.log(middles).min() >= np.log(UNIFORM) - 1e-9

    @given(densities, st.floats(0.05, 0.95))
    def test_places_follow_the_prior(self, density, bar):
        middles = (np.arange(20_000) + 0.5) / 20_000
        share = np.mean(density.places(middles) < bar)
        assert share == pytest.approx(
            np.mean(np.exp(density.log(middles)) * (middles < bar)), abs=5e-3
        )

    @given(densities, st.floats(0.01, 0.99))
    def test_density_gradients_match_finite_differences(self, density, place):
        if isinstance(density, Cells):
            assert density.slope(np.array([place])) == 0.0
            return
        high, low = density.log(np.array([place + 1e-6, place - 1e-6]))
        assert density.slope(np.array([place]))[0] == pytest.approx(
            (high - low) / 2e-6, rel=1e-3, abs=1e-3
        )


class TestSampling:
    def test_samples_follow_the_priors(self):
        points = SPACE.sample(np.random.default_rng(0), 4000)
        rates = np.array([p["rate"] for p in points])
        within = np.mean((rates > 1e-4) & (rates < 1e-2))
        assert within == pytest.approx(0.95 * 0.683 + 0.05 / 3, abs=0.03)
        kinds = [p["model"][0] for p in points]
        assert kinds.count("svm") / 4000 == pytest.approx(0.95 * 0.75 + 0.05 / 2, abs=0.03)
        assert np.mean([p["bias"] for p in points]) == pytest.approx(0.95 * 0.9 + 0.025, abs=0.03)
        layers = np.array([p["layers"] for p in points])
        assert layers[abs(layers - 3) <= 1].size > 0.8 * 4000
        assert set(layers) == set(range(1, 10))

    def test_samples_under_constraints_follow_the_priors(self):
        space = Space({"x": Float(0, 1, prior=Normal(0.9, 0.1)), "y": Float(0, 1)}).where(
            P("x") < P("y")
        )
        points = space.sample(np.random.default_rng(0), 500)
        assert all(p["x"] < p["y"] for p in points)
        assert np.mean([p["x"] for p in points]) > 0.7

    def test_without_a_prior_nothing_changes(self):
        plain = Space({"x": Float(0, 1), "k": Choice("a", "b")})
        assert not plain.prior
        rows = np.random.default_rng(3).random((20, 2))
        assert plain.sample(np.random.default_rng(3), 20) == plain.decode(rows)

    def test_an_inactive_parameter_does_not_change_the_density(self):
        points = [
            {"rate": 1e-3, "momentum": 0.9, "layers": 3, "width": 64, "bias": True, "model": m}
            for m in [("none", {}), ("svm", {"C": 1.0})]
        ]
        without, good = SPACE.prior.log(*SPACE.encode(points))
        known = np.log(0.05 + 0.95 * 2 * 0.75) - np.log(0.05 + 0.95 * 2 * 0.25)
        bell = SPACE.prior.log(*SPACE.encode(points[1:])) - without - known
        assert good > without
        assert bell[0] > 0


class TestDocuments:
    def test_priors_survive_documents(self):
        for again in (Space.from_dict(SPACE.to_dict()), Space.from_yaml(SPACE.to_yaml())):
            assert again == SPACE
            assert repr(again) == repr(SPACE)
            assert again.columns[0].domain.prior == Normal(1e-3, 10)

    def test_documents_with_old_prior_names_are_read_and_rewritten(self):
        space = Space({"x": Float(1e-6, 1.0, log=True, prior=Normal(1e-3, 10))})
        new = space.to_dict()
        assert new["params"]["x"]["prior"] == {"loc": 1e-3, "scale": 10.0}
        former = deepcopy(new)
        former["params"]["x"]["prior"] = {"centre": 1e-3, "spread": 10.0}
        for again in (Space.from_dict(former), Space.from_json(json.dumps(former))):
            assert again == space
            assert again.fingerprint == space.fingerprint
            assert again.to_dict() == new

    def test_priors_are_not_part_of_the_fingerprint(self):
        assert Space({"x": Float(0, 1, prior=Normal(0.5, 1))}).fingerprint == (
            Space({"x": Float(0, 1)}).fingerprint
        )
        assert Float(0, 1, prior=Normal(0.5, 1)) != Float(0, 1)

    def test_the_repr_of_a_prior_is_valid_code(self):
        assert eval(repr(SPACE.params["rate"])) == SPACE.params["rate"]
        assert eval(repr(SPACE.params["bias"])) == SPACE.params["bias"]
        assert eval(repr(SPACE.params["model"])) == SPACE.params["model"]


class TestEdits:
    def test_narrowing_keeps_a_prior_that_is_still_inside(self):
        space = SPACE.narrow(
            {"rate": (1e-4, 1e-2), "layers": (5, 9), "width": [32, 64], "model": ["none"]}
        )
        domains = {c.path: c.domain for c in space.columns}
        assert domains["rate"].prior == Normal(1e-3, 10)
        assert domains["layers"].prior is None
        assert domains["width"].prior == (1.0, 8.0)
        assert domains["model"].prior == (1.0,)

    def test_frozen_widened_and_narrowed_parameters_have_correct_priors(self):
        assert SPACE.freeze({"rate": 1e-3}).columns[0].domain.prior is None
        assert SPACE.widen({"rate": (1e-7, 1.0)}).columns[0].domain.prior == Normal(1e-3, 10)
        inside = SPACE.narrow({"model.svm.C": (0.5, 5)})
        assert {c.path: c.domain for c in inside.columns}["model"].prior == (1.0, 3.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Float(0, 1, prior=0.5), r"prior=0.5 must be a Normal with loc and scale"),
        (lambda: Float(0, 1, prior={"loc": 0.5}), r"must be a Normal with loc and scale"),
        (lambda: Float(0, 1, prior=Normal(2, 1)), "loc=2 must be within the range"),
        (lambda: Float(0, 1, prior=Normal(float("nan"), 1)), "must be within the range"),
        (lambda: Float(0, 1, prior=Normal(0.5, 0)), "must be a number above 0"),
        (lambda: Float(1, 2, log=True, prior=Normal(1.5, 1)), "must be a factor above 1"),
        (lambda: Float(0, 1, prior=Normal("a", 1)), "must be within the range"),
        (lambda: Int(0, 5, prior=Normal(1, float("inf"))), "must be a number above 0"),
        (lambda: Choice("a", "b", prior={"a": 1}), "weight of 'b' is None"),
        (lambda: Choice("a", "b", prior={"a": 1, "b": 1, "c": 1}), "'c' must be one of 'a', 'b'"),
        (lambda: Choice("a", "b", prior=[1]), "write a weight for each of 'a', 'b'"),
        (lambda: Choice("a", "b", prior=[1, 0]), "weight of 'b' is 0"),
        (lambda: Choice("a", "b", prior="ab"), "write a weight for each"),
        (lambda: Ordinal(1, 2, prior=[1, -1]), "weight of 2 is -1"),
        (lambda: Bool(prior={True: 1}), "weight of False is None"),
        (lambda: Choice("a", prior={"x": Float(0, 1)}), "cannot name a branch"),
    ],
)
def test_an_invalid_prior_is_refused(make, words):
    with pytest.raises(SpaceError, match=words):
        make()
