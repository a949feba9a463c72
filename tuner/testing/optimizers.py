"""The conformance suite of optimizers."""

from __future__ import annotations

import copy
import json
import math
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tuner.errors import ArgumentError
from tuner.optimizers import describe, resolve
from tuner.optimizers.base import HistoryRow, SpaceOptimizer
from tuner.optimizers.protocol import Optimizer
from tuner.records import Direction, Goal, Outcome, Params, State, Trial, decode_params
from tuner.records import encode_params as encode_record
from tuner.search_spaces import Choice, Const, Float, Int, P, Space
from tuner.testing.problems import SPACES, SQUARE, TINY, completed, loss_of, outcome_at, pickled
from tuner.testing.strategies import spaces_and_points

each_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())

_TESTS_OF = {
    "ends": ("test_it_ends_when_everything_was_tried",),
    "learns": ("test_it_beats_random_search_on_a_bowl", "test_it_finds_the_good_branch"),
    "rebuilds": (
        "test_asking_again_gives_the_same_points",
        "test_the_state_rebuilds_from_the_history_in_any_order",
        "test_suggestions_do_not_depend_on_earlier_asks",
        "test_asking_for_many_is_asking_for_one_at_a_time",
    ),
    "seeded": ("test_another_seed_gives_another_search",),
}
"""Tests that only an optimizer with the property has."""

_ENDLESS_TESTS = ("test_the_search_goes_on_when_everything_was_tried", "test_a_space_of_one_point")


class OptimizerConformance:
    """Tests of the contract of `tuner.optimizers.protocol.Optimizer`.

    Subclass it as ``TestMyOptimizer`` and define `make`. Points must lie in the space and satisfy
    its constraints; no point may repeat while untried points are left; the seed and the history
    must determine the suggestions, also after a resume and in a parallel search; `update` of a
    `SpaceOptimizer` must not modify the given state; failed, stopped, infeasible, equal and huge
    outcomes must be handled.

    Attributes
    ----------
    learns
        Whether it must beat random search; False for an optimizer that ignores outcomes.
    rebuilds
        Whether its state can be rebuilt from the history alone, as the protocol demands. False
        skips these tests: resumed studies then continue with other suggestions.
    centered
        Whether the first point is the same for every seed, as with `SpaceOptimizer`.
    seeded
        Whether the points depend on the seed.
    ends
        Whether the optimizer returns fewer points once it has suggested all of them.
    trials
        Number of trials of most tests; must exceed the number of random start-up trials.
    regret
        Maximum of the median regret of 3 searches of 30 trials on a quadratic in two dimensions;
        random search reaches about 0.006.

    Examples
    --------
    >>> from tuner.optimizers import RandomOptimizer
    >>> class TestRandom(OptimizerConformance):
    ...     learns = False
    ...     centered = False
    ...     def make(self):
    ...         return RandomOptimizer()
    """

    learns: ClassVar[bool] = True
    rebuilds: ClassVar[bool] = True
    centered: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    ends: ClassVar[bool] = False
    trials: ClassVar[int] = 14
    regret: ClassVar[float] = 0.003

    def __init_subclass__(cls, **options: Any) -> None:
        """Remove the tests of properties that the subclass excludes."""
        super().__init_subclass__(**options)
        excluded = [names for known, names in _TESTS_OF.items() if not getattr(cls, known)]
        for name in chain(*excluded, _ENDLESS_TESTS if cls.ends else ()):
            setattr(cls, name, None)

    def make(self) -> Optimizer:
        """Return a new optimizer that is not bound to a study."""
        raise NotImplementedError

    def begin(
        self, space: Space, seed: int = 0, direction: Direction = Direction.MINIMIZE
    ) -> Optimizer:
        """Return a new optimizer, bound to a study."""
        optimizer = self.make()
        optimizer.reset(space, [Goal("value", direction)], seed)
        return optimizer

    def search(
        self, space: Space, n: int, seed: int = 0, outcome: Any = outcome_at
    ) -> tuple[Optimizer, list[tuple[Trial, Outcome]]]:
        """Run `n` trials one by one; return the optimizer, and the trials with their outcomes."""
        optimizer = self.begin(space, seed)
        told = []
        for number in range(n):
            (params,) = optimizer.ask(1)
            told.append((Trial(number, params), outcome(space, number, params)))
            optimizer.tell(*told[-1])
        return optimizer, told

    # --- points of the space ------------------------------------------------------------------

    @each_space
    def test_every_point_is_in_the_space_and_survives_the_record(self, space: Space) -> None:
        optimizer, told = self.search(space, self.trials)
        for params in [*(trial.params for trial, _ in told), *optimizer.ask(3)]:
            assert repr(space.validate(params)) == repr(params)  # values and their types
            assert decode_params(encode_record(params)) == params

    @settings(
        deadline=None,
        max_examples=8,
        database=None,  # shared by all subclasses
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    @given(drawn=spaces_and_points(12, constrained=True))
    def test_every_point_is_in_any_space(self, drawn: tuple[Space, list[Params]]) -> None:
        space, points = drawn
        optimizer = self.begin(space)
        for number, params in enumerate(points):
            optimizer.tell(Trial(number, params), outcome_at(space, number, params))
        assert all(params in space for params in optimizer.ask(2))

    def test_a_narrow_constraint_holds(self) -> None:
        space = SQUARE.where(abs(P("x") - P("y")) <= 0.02)
        optimizer, told = self.search(space, self.trials)
        assert all(p in space for p in [*(trial.params for trial, _ in told), *optimizer.ask(2)])

    def test_many_parameters(self) -> None:
        space = Space({f"x{i}": Float(0.0, 1.0) for i in range(50)})
        optimizer, _ = self.search(space, self.trials)
        assert all(params in space for params in optimizer.ask(2))

    def test_changes_of_a_returned_point_have_no_effect(self) -> None:
        space = SPACES["three levels"]
        one, other = self.begin(space), self.begin(space)
        for number in range(self.trials):
            (params,), (same,) = one.ask(1), other.ask(1)
            assert params == same
            outcome = completed(loss_of(space, params))
            one.tell(Trial(number, copy.deepcopy(params)), outcome)
            other.tell(Trial(number, same), outcome)
            params["model"][1]["intruder"] = 1
            params.clear()

    def test_asking_again_gives_the_same_points(self) -> None:
        space = SPACES["three levels"]
        for n in (0, self.trials):
            optimizer, _ = self.search(space, n)
            first = optimizer.ask(2)
            kept = copy.deepcopy(first)
            for params in first:
                params["model"][1]["intruder"] = 1
            assert optimizer.ask(2) == kept

    # --- the same seed, the same search -------------------------------------------------------

    @each_space
    def test_the_same_seed_gives_the_same_search(self, space: Space) -> None:
        _, one = self.search(space, self.trials, seed=7)
        _, other = self.search(space, self.trials, seed=7)
        assert one == other

    def test_another_seed_gives_another_search(self) -> None:
        _, one = self.search(SQUARE, self.trials, seed=1)
        _, other = self.search(SQUARE, self.trials, seed=2)
        assert (one[0] == other[0]) == self.centered
        assert one[1] != other[1]
        assert one[-1] != other[-1]

    def test_a_large_seed(self) -> None:
        assert self.begin(SQUARE, seed=2**63 - 1).ask(1)[0] in SQUARE

    def test_asking_does_not_touch_the_global_generator(self) -> None:
        before = copy.deepcopy(np.random.get_state(legacy=False))  # noqa: NPY002 (must not change)
        self.search(SQUARE, self.trials)
        np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002

    @each_space
    def test_the_state_rebuilds_from_the_history_in_any_order(self, space: Space) -> None:
        live, told = self.search(space, self.trials)
        rebuilt = self.begin(space)
        for k in np.random.default_rng(0).permutation(len(told)):
            rebuilt.tell(*told[k])
        assert rebuilt.ask(2) == live.ask(2)

    @each_space
    def test_suggestions_do_not_depend_on_earlier_asks(self, space: Space) -> None:
        live = self.begin(space)
        running: list[Trial] = []
        told: list[tuple[Trial, Outcome]] = []
        rng = np.random.default_rng(0)
        for number in range(self.trials + 3):
            (params,) = live.ask(1, running)
            running.append(Trial(number, params, State.RUNNING))
            if len(running) == 4:  # outcomes arrive in random order, as from four workers
                trial = running.pop(rng.integers(4))
                told.append((trial, outcome_at(space, trial.number, trial.params)))
                live.tell(*told[-1])
        rebuilt = self.begin(space)
        for trial, outcome in sorted(told, key=lambda pair: pair[0].number):
            rebuilt.tell(trial, outcome)
        assert rebuilt.ask(2, running) == live.ask(2, running)

    def test_update_leaves_the_given_state_unchanged(self) -> None:
        optimizer = self.make()
        if not isinstance(optimizer, SpaceOptimizer):
            return
        update = optimizer.update

        def checked(state: Any, row: HistoryRow) -> Any:
            before = pickled(state)
            result = update(state, row)
            assert pickled(state) == before, "update() modified its argument `state`"
            return result

        setattr(optimizer, "update", checked)  # noqa: B010 (mypy rejects assigning a method)
        optimizer.reset(SQUARE, [Goal("value")], 0)
        for number, params in enumerate(SQUARE.sample(np.random.default_rng(0), self.trials)):
            optimizer.tell(Trial(number, params), outcome_at(SQUARE, number, params))
        optimizer.ask(1)

    def test_a_reset_forgets_everything(self) -> None:
        used, _ = self.search(SQUARE, self.trials)
        space = SPACES["three levels"]
        used.reset(space, [Goal("value")], 3)
        new = self.begin(space, seed=3)
        for number in range(self.trials):
            (params,), (same,) = used.ask(1), new.ask(1)
            assert params == same
            for optimizer in (used, new):
                optimizer.tell(Trial(number, params), completed(loss_of(space, params)))

    @each_space
    def test_asking_for_many_is_asking_for_one_at_a_time(self, space: Space) -> None:
        one, told = self.search(space, self.trials)
        other = self.begin(space)
        for trial, outcome in told:
            other.tell(trial, outcome)
        pending: list[Trial] = []
        for number in range(self.trials, self.trials + 4):
            (params,) = other.ask(1, pending)
            pending.append(Trial(number, params, State.RUNNING))
        assert one.ask(4) == [trial.params for trial in pending]

    def test_asking_for_none_gives_none(self) -> None:
        assert self.begin(SQUARE).ask(0) == []

    @pytest.mark.parametrize("scale", [1.0, 1e-12])
    def test_to_maximize_is_to_minimize_the_negative(self, scale: float) -> None:
        space = SPACES["three levels"]
        low = self.begin(space, direction=Direction.MINIMIZE)
        high = self.begin(space, direction=Direction.MAXIMIZE)
        for number in range(self.trials):
            (params,), (same,) = low.ask(1), high.ask(1)
            assert params == same
            loss = scale * loss_of(space, params)
            low.tell(Trial(number, params), completed(loss))
            high.tell(Trial(number, params), completed(-loss))

    # --- nothing twice ------------------------------------------------------------------------

    def test_a_finite_space_is_tried_whole_before_anything_repeats(self) -> None:
        _, told = self.search(TINY, int(TINY.size))
        assert len({TINY.key(trial.params) for trial, _ in told}) == TINY.size

    def test_a_finite_space_under_constraints_is_tried_whole(self) -> None:
        space = Space({"a": Int(0, 4), "b": Int(0, 4)}).where(P("a") < P("b"))
        _, told = self.search(space, 10)
        assert len({space.key(trial.params) for trial, _ in told}) == space.size == 10

    def test_a_batch_and_what_is_pending_are_not_repeated(self) -> None:
        optimizer = self.begin(TINY)
        pending = [Trial(k, params, State.RUNNING) for k, params in enumerate(optimizer.ask(4))]
        points = [trial.params for trial in pending] + optimizer.ask(5, pending)
        assert len(set(map(TINY.key, points))) == TINY.size

    def test_the_search_goes_on_when_everything_was_tried(self) -> None:
        optimizer, _ = self.search(TINY, int(TINY.size) + 3)
        assert all(params in TINY for params in optimizer.ask(5))

    def test_it_ends_when_everything_was_tried(self) -> None:
        optimizer, told = self.search(TINY, int(TINY.size) - 1)
        (last,) = optimizer.ask(5)
        assert optimizer.ask(5, [Trial(len(told), last, State.RUNNING)]) == []
        optimizer.tell(Trial(len(told), last), completed(1.0))
        assert optimizer.ask(5) == []

    def test_a_space_of_one_point(self) -> None:
        space = Space({"c": Const(1), "m": Choice("only")})
        _, told = self.search(space, self.trials)
        assert told[-1][0].params == {"c": 1, "m": "only"}

    def test_a_mixed_space_is_not_repeated(self) -> None:
        _, told = self.search(SPACES["three levels"], self.trials + 10)
        assert len({SPACES["three levels"].key(trial.params) for trial, _ in told}) == len(told)

    # --- constraints on outcomes, several goals -----------------------------------------------

    @pytest.mark.parametrize("kept", ["some", "none", "all"])
    def test_outcome_constraints(self, kept: str) -> None:
        space = SPACES["three levels"]
        level = {"some": 0.5, "none": -1.0, "all": 100.0}[kept]

        def outcome(space: Space, number: int, params: Params) -> Outcome:
            plain = outcome_at(space, number, params)
            if plain.state is State.FAILED:
                return plain
            limits = {"late": 1.0} if number > 5 else {}
            limits["loss"] = plain.metrics["value"] - level
            return Outcome(plain.state, plain.metrics, constraints=limits)

        optimizer, told = self.search(space, self.trials, outcome=outcome)
        assert all(params in space for params in optimizer.ask(2))
        assert len({space.key(trial.params) for trial, _ in told}) == len(told)

    @pytest.mark.parametrize("goals", [2, 3])
    @pytest.mark.parametrize("spread", [True, False], ids=["spread", "equal"])
    def test_several_goals(self, goals: int, spread: bool) -> None:
        space = SPACES["three levels"]
        wanted = [Goal(f"g{k}", list(Direction)[k % 2]) for k in range(goals)]
        optimizers = [self.make(), self.make()]
        try:
            for optimizer in optimizers:
                optimizer.reset(space, wanted, 0)
        except ArgumentError as error:
            assert f"the study has {goals}: g0, g1" in str(error)  # noqa: PT017
            return
        for number in range(self.trials):
            (params,), (same,) = [optimizer.ask(1) for optimizer in optimizers]
            assert params == same
            assert params in space
            loss = loss_of(space, params)
            metrics = {f"g{k}": abs(loss - k / 3) if spread else 1.0 for k in range(goals)}
            outcome = (
                Outcome(State.FAILED) if number % 7 == 3 else Outcome(State.COMPLETED, metrics)
            )
            for optimizer in optimizers:
                optimizer.tell(Trial(number, params), outcome)
        assert len({space.key(params) for params in optimizers[0].ask(4)}) == 4

    # --- hostile histories --------------------------------------------------------------------

    @pytest.mark.parametrize("value", [0.0, 3.5, 1e300, -1e300, 5e-324])
    def test_equal_values(self, value: float) -> None:
        optimizer, _ = self.search(
            SPACES["three levels"], self.trials, outcome=lambda *_: completed(value)
        )
        assert all(params in SPACES["three levels"] for params in optimizer.ask(2))

    def test_huge_and_tiny_values_mixed(self) -> None:
        values = [1e300, -1e300, 1.0, 1e-300, 0.0, -1e200, math.pi]
        optimizer, _ = self.search(
            SQUARE, self.trials, outcome=lambda _, k, __: completed(values[k % len(values)])
        )
        assert all(params in SQUARE for params in optimizer.ask(2))

    @pytest.mark.parametrize(
        "outcome",
        [
            Outcome(State.FAILED),
            Outcome(State.STOPPED),
            Outcome(State.STOPPED, {"value": 1.0}),
            Outcome(State.COMPLETED, {"other": 1.0}),
        ],
        ids=["failed", "stopped without a value", "stopped", "without the metric"],
    )
    def test_no_trial_completes(self, outcome: Outcome) -> None:
        space = SPACES["three levels"]
        optimizer, told = self.search(space, self.trials, outcome=lambda *_: outcome)
        assert all(params in space for params in optimizer.ask(2))
        assert len({space.key(trial.params) for trial, _ in told}) == len(told)

    def test_all_but_one_failed(self) -> None:
        optimizer, _ = self.search(
            SQUARE,
            self.trials,
            outcome=lambda _, k, __: completed(1.0) if k == 4 else Outcome(State.FAILED),
        )
        assert all(params in SQUARE for params in optimizer.ask(2))

    def test_trials_that_it_did_not_suggest(self) -> None:
        space = SPACES["three levels"]
        optimizer = self.begin(space)
        points = space.sample(np.random.default_rng(5), 30)
        for number, params in enumerate(points[:25]):
            optimizer.tell(Trial(3 * number + 1, params), completed(loss_of(space, params)))
        pending = [Trial(3 * k, params, State.RUNNING) for k, params in enumerate(points[25:])]
        suggested = optimizer.ask(3, pending)
        assert all(params in space for params in suggested)
        new = set(map(space.key, suggested))
        assert len(new) == 3
        assert not new & set(map(space.key, points))

    def test_more_trials_pending_than_told(self) -> None:
        optimizer = self.begin(SQUARE)
        pending = [Trial(k, params, State.RUNNING) for k, params in enumerate(optimizer.ask(20))]
        optimizer.tell(pending.pop(), completed(1.0))
        optimizer.tell(pending.pop(0), completed(2.0))
        assert all(params in SQUARE for params in optimizer.ask(2, pending))

    # --- it learns ----------------------------------------------------------------------------

    def test_it_beats_random_search_on_a_bowl(self) -> None:
        def bowl(_: Space, __: int, params: Params) -> Outcome:
            return completed((params["x"] - 0.7) ** 2 + (params["y"] - 0.2) ** 2)

        best = []
        for seed in range(3):
            _, told = self.search(SQUARE, 30, seed, bowl)
            best.append(min(outcome.metrics["value"] for _, outcome in told))
        assert np.median(best) <= self.regret

    def test_it_finds_the_good_branch(self) -> None:
        space = Space(
            {"m": Choice(a={"x": Float(0, 1)}, b={"x": Float(0, 1)}, c={}, d={"n": Int(1, 99)})}
        )

        def one_is_better(_: Space, __: int, params: Params) -> Outcome:
            option, inner = params["m"]
            return completed(inner["x"] if option == "b" else 2.0)

        shares = []
        for seed in range(3):
            _, told = self.search(space, 30, seed, one_is_better)
            late = [trial.params["m"][0] for trial, _ in told[18:]]
            shares.append(late.count("b") / len(late))
        assert np.median(shares) >= 0.5

    # --- description --------------------------------------------------------------------------

    def test_it_is_described_by_a_name_and_json_values(self) -> None:
        optimizer = self.make()
        described = describe(optimizer)
        assert isinstance(described["name"], str)
        assert json.loads(json.dumps(described)) == described
        optimizer.reset(SQUARE, [Goal()], 0)
        assert describe(optimizer)["name"] == described["name"]

    def test_it_is_taken_where_an_optimizer_is_asked_for(self) -> None:
        optimizer = self.make()
        assert isinstance(optimizer, Optimizer)
        assert resolve(optimizer) is optimizer
