"""The choice of `auto`, which depends on the history alone."""

import numpy as np
import pytest

from tuner.optimizers import AutoOptimizer, TPEOptimizer, restore
from tuner.optimizers.auto import MODEL_TRIALS
from tuner.records import Goal, Outcome, State, Trial
from tuner.search_spaces import Choice, Float, Int, Space

SMOOTH = Space({"x": Float(0, 1), "n": Int(1, 9)})


def bound(space, seed=0):
    optimizer = AutoOptimizer()
    optimizer.reset(space, [Goal()], seed)
    return optimizer


def told(optimizer, n):
    for number, params in enumerate(SMOOTH.sample(np.random.default_rng(0), n)):
        optimizer.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": params["x"]}))
    return optimizer


@pytest.mark.parametrize(
    ("space", "chosen", "why"),
    [
        (Space({"n": Int(1, 16)}), "random", "16 points"),
        (Space({"n": Int(1, 17)}), "bayesian", "1 parameters"),
        (SMOOTH, "bayesian", "2 parameters"),
        (Space({f"x{i}": Float(0, 1) for i in range(201)}), "tpe", "201 parameters"),
        (Space({f"c{i}": Choice("a", "b", "c") for i in range(4)}), "bayesian", "4 parameters"),
    ],
)
def test_auto_chooses_by_the_space_and_gives_a_reason(space, chosen, why):
    described = bound(space).describe()
    assert described["chose"] == chosen
    assert why in described["why"]


def test_auto_has_no_choice_before_a_study():
    assert AutoOptimizer().describe() == {"name": "auto"}


def test_a_stated_noise_is_recorded_and_restored():
    optimizer = AutoOptimizer(noise=0.1)
    assert optimizer.describe() == {"name": "auto", "noise": 0.1}
    optimizer.reset(SMOOTH, [Goal()], 0)
    described = optimizer.describe()
    assert described["noise"] == 0.1
    restored = restore(described)
    restored.reset(SMOOTH, [Goal()], 0)
    assert told(restored, 15).ask(2) == told(optimizer, 15).ask(2)


def test_auto_switches_to_tpe_after_many_trials():
    optimizer = told(bound(SMOOTH), MODEL_TRIALS - 1)
    assert optimizer.describe()["chose"] == "bayesian"
    params = {"x": 0.123, "n": 3}
    optimizer.tell(Trial(MODEL_TRIALS - 1, params), Outcome(State.FAILED))
    assert optimizer.describe()["chose"] == "tpe"
    assert "1000 trials" in optimizer.describe()["why"]
    tpe = TPEOptimizer()
    tpe.reset(SMOOTH, [Goal()], 0)
    told(tpe, MODEL_TRIALS - 1)
    tpe.tell(Trial(MODEL_TRIALS - 1, params), Outcome(State.FAILED))
    assert optimizer.ask(3) == tpe.ask(3)


def test_a_trial_told_again_counts_once():
    optimizer = told(told(bound(SMOOTH), MODEL_TRIALS - 50), MODEL_TRIALS - 50)
    assert optimizer.describe()["chose"] == "bayesian"


def test_a_resumed_study_keeps_the_choice_of_auto():
    assert told(bound(SMOOTH), MODEL_TRIALS).ask(2) == told(bound(SMOOTH), MODEL_TRIALS).ask(2)
