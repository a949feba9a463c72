"""A plateau at the best loss must not hold a search back from the better trials beyond it."""

from __future__ import annotations

import pytest

from tuner.optimizers import resolve
from tuner.records import Goal, Outcome, State, Trial
from tuner.search_spaces import Choice, Float, Space

FLAT = Space({"c": Choice("a", "b"), "x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
NUMBERS = {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}
NESTED = Space({"c": Choice(a=NUMBERS, b=NUMBERS)})


def best_of_search(optimizer, space, share, seed, n_trials=24):
    """Minimize a loss that is .3 in option a, and below .3 in a `share` of option b."""
    search = resolve(optimizer)
    search.reset(space, [Goal()], seed)
    losses = []
    for number in range(n_trials):
        (params,) = search.ask(1)
        nested = isinstance(params["c"], tuple)
        option, y = (params["c"][0], params["c"][1]["y"]) if nested else (params["c"], params["y"])
        losses.append(0.3 if option == "a" else y * 0.3 / share)
        search.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": losses[-1]}))
    return min(losses)


@pytest.mark.slow
@pytest.mark.parametrize("space", [FLAT, NESTED], ids=["flat", "nested"])
@pytest.mark.parametrize("optimizer", ["tpe", "auto"])
def test_a_search_leaves_the_plateau(optimizer, space):
    best = [best_of_search(optimizer, space, share=0.2, seed=seed) for seed in range(3)]
    assert sum(value < 0.2 for value in best) == len(best)
