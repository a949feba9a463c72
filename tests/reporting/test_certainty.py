"""How sure we are of a winner, on values whose noise is known."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.records import Direction, Goal, State, Trial
from tuner.reporting.certainty import certainty_of
from tuner.search_spaces import Float, Space

SPACE = Space({"x": Float(0, 1)})


def trials(points, values) -> list[Trial]:
    return [
        Trial(i, {"x": float(x)}, State.COMPLETED, (float(v),))
        for i, (x, v) in enumerate(zip(points, values, strict=True))
    ]


@pytest.mark.parametrize("direction", list(Direction))
def test_a_clear_winner_with_repeats(direction: Direction) -> None:
    sign = direction.sign
    points = [0.1, 0.1, 0.1, 0.5, 0.5, 0.5]
    values = [sign * v for v in (0.0, 0.1, -0.1, 5.0, 5.1, 4.9)]
    found = certainty_of(SPACE, Goal("value", direction), trials(points, values))
    assert (found.winner, found.runner_up) == (2, 5)
    assert found.lead == pytest.approx(5.0)
    assert found.method == "repeats"
    assert found.noise == pytest.approx(0.1)
    assert found.chance > 0.99


def test_equal_points_with_repeats_are_a_toss() -> None:
    points = [0.1, 0.1, 0.5, 0.5, 0.9, 0.9]
    found = certainty_of(SPACE, Goal(), trials(points, [0.0, 1.0, 0.05, 1.0, 0.1, 1.0]))
    assert 0.2 < found.chance < 0.5
    assert sum(chance for _, chance in found.chances) == pytest.approx(1.0)


def test_the_model_finds_the_noise() -> None:
    rng = np.random.default_rng(0)
    points = rng.random(80)
    clean = (points - 0.3) ** 2
    noisy = clean + 0.05 * rng.standard_normal(80)
    found = certainty_of(SPACE, Goal(), trials(points, noisy))
    assert found.method == "model"
    assert 0.02 < found.noise < 0.1
    assert found.chance < 0.7
    exact = certainty_of(SPACE, Goal(), trials(points, clean))
    assert exact.noise == 0.0
    assert exact.chance == 1.0


def test_too_few_say_nothing_of_noise() -> None:
    found = certainty_of(SPACE, Goal(), trials([0.1, 0.2], [1.0, 2.0]))
    assert (found.lead, found.noise, found.chance) == (1.0, None, None)
    assert certainty_of(SPACE, Goal(), trials([0.1], [1.0])).lead is None


def test_the_same_study_gives_the_same_answer() -> None:
    rng = np.random.default_rng(1)
    some = trials(rng.random(30), rng.random(30))
    assert certainty_of(SPACE, Goal(), some) == certainty_of(SPACE, Goal(), some)
