"""The noise that the user states: its units, its effect on the model, and its errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tuner
from tuner.errors import ArgumentError
from tuner.optimizers import AutoOptimizer, BayesianOptimizer
from tuner.optimizers.bayesian.gaussian_process import LEARNED_BITS, LOG_BOUNDS
from tuner.optimizers.bayesian.surrogate import learn
from tuner.optimizers.bayesian.unit_cube import UnitCube
from tuner.optimizers.bayesian.warping import IDENTITY, WARPS, standardise
from tuner.search_spaces import Float, Space

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1)})


def observed(n: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points, masks and noisy losses."""
    rng = np.random.default_rng(0)
    X, active = SPACE.encode(SPACE.sample(rng, n))
    return X, active, np.sum((X - 0.3) ** 2, axis=1) + 0.1 * rng.standard_normal(n)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_the_model_has_the_stated_noise(noise: float) -> None:
    X, active, losses = observed()
    learned = learn(UnitCube(SPACE).embedding, X, active, losses, [IDENTITY], noise=noise)
    _, deviation = standardise(losses)
    wanted = 2.0 * math.log(noise / deviation)
    assert math.log(learned.hyperparameters.noise) == pytest.approx(wanted, abs=2.0**-LEARNED_BITS)


def test_no_noise_is_the_lower_bound() -> None:
    learned = learn(UnitCube(SPACE).embedding, *observed(), [IDENTITY], noise=0.0)
    assert math.log(learned.hyperparameters.noise) == pytest.approx(LOG_BOUNDS["noise"][0])


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_the_noise_has_the_units_of_the_losses(factor: float) -> None:
    X, active, losses = observed()
    embedding = UnitCube(SPACE).embedding
    expected = learn(embedding, X, active, losses, WARPS, noise=0.1)
    scaled = learn(embedding, X, active, factor * losses, WARPS, noise=factor * 0.1)
    assert scaled.warp == expected.warp
    found, wanted = scaled.hyperparameters.to_log(), expected.hyperparameters.to_log()
    assert found == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("unusual", [0.0, 1e308, -1e308])
def test_unusual_losses_with_a_stated_noise_are_learned_from(unusual: float) -> None:
    X, active, losses = observed()
    losses[3:] = unusual
    learned = learn(UnitCube(SPACE).embedding, X, active, losses, WARPS, noise=0.1)
    assert np.isfinite(learned.hyperparameters.to_log()).all()


@pytest.mark.parametrize("kind", [BayesianOptimizer, AutoOptimizer])
@pytest.mark.parametrize("noise", [-1.0, math.nan, math.inf, True, "none"])
def test_an_invalid_noise_is_refused(kind: type, noise: object) -> None:
    with pytest.raises(ArgumentError, match=r"noise=.*write the standard deviation"):
        kind(noise=noise)


def test_the_winner_uses_the_stated_noise(tmp_path) -> None:
    study = tuner.optimize(
        lambda params: params["x"],
        {"x": tuner.Float(0, 1)},
        n_trials=12,
        seed=0,
        study="stated",
        store=tmp_path,
        optimizer=AutoOptimizer(noise=0.25),
        backend="serial",
        progress=False,
    )
    assert (study.winner.noise, study.winner.source) == (0.25, "given")
    assert tuner.load_study("stated", store=tmp_path).winner == study.winner
