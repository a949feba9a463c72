"""Ask and tell: incremental updates lead to the same state as a full replay."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tuner
from support.effort import examples
from tuner import Float, Int
from tuner.engine.ask_tell import ManualLoop
from tuner.optimizers import OptunaOptimizer
from tuner.schedulers import ASHA
from tuner.tracking import Store

SPACE = {"x": Float(-1, 1), "n": Int(1, 50)}

STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["ask", "ask 3", "tell", "fail", "stop", "report", "enqueue", "elsewhere"]),
        st.integers(0, 30),
    ),
    min_size=4,
    max_size=25,
)


def study_of(folder: Path, optimizer: Any, scheduler: Any) -> tuner.Study:
    loaded = tuner.load_study("s", store=folder, optimizer=optimizer)
    loaded._scheduler = scheduler
    return loaded


def known(loop: ManualLoop) -> dict[str, Any]:
    """Return the state that determines the next steps of a loop."""
    machine = loop._machine
    return {
        "pending": machine.pending,
        "waiting": list(machine._trials.waiting),
        "counts": machine.counts,
        "last": machine.last_number,
        "suggested": loop.optimizer.ask(3, machine.pending),
        "rungs": getattr(loop.scheduler, "_rungs", None),
    }


OPTIMIZERS = {
    "random": lambda: "random",
    "tpe": lambda: "tpe",
    "bayesian": lambda: "bayesian",
    "auto": lambda: "auto",
    "optuna": lambda: OptunaOptimizer("TPESampler"),
}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@settings(
    max_examples=examples(6),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_incremental_reads_give_the_recorded_history(
    tmp_path_factory: pytest.TempPathFactory, optimizer: str, steps: list[tuple[int, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    tuner.create_study(SPACE, study="s", store=folder, seed=1, optimizer=OPTIMIZERS[optimizer]())
    made = OPTIMIZERS[optimizer]
    studies = [study_of(folder, made(), ASHA(grace=1)) for _ in range(3)]
    under_way: list[tuple[tuner.Study, tuner.LiveTrial, int]] = []
    for which, step, number in steps:
        study = studies[which]
        if step.startswith("ask"):
            asked = study.ask(3 if step == "ask 3" else 1)
            under_way += [(study, trial, 0) for trial in asked]
        elif step == "enqueue":
            study.enqueue({"x": number / 100, "n": 1 + number})
        elif under_way:
            asker, trial, reported = under_way.pop(number % len(under_way))
            value = trial.params["x"] ** 2 + trial.params["n"] + number / 1000
            if step == "report":
                trial.report(value, reported)
                under_way.append((asker, trial, reported + 1))
            elif step == "elsewhere":
                study.tell(trial.number, value)
            elif step == "tell":
                asker.tell(trial, value)
            elif step == "fail":
                asker.tell(trial, state="failed")
            else:
                asker.tell(trial, value, state="stopped")
    for _, trial, _ in under_way:  # a scheduler learns the reports of others at their end
        studies[0].tell(trial.number, 1.0)
    whole = known(study_of(folder, made(), ASHA(grace=1))._loop())
    for study in studies:
        loop = study._loop()
        loop._catch_up()
        assert known(loop) == whole


def test_a_call_reads_only_new_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = tuner.create_study(SPACE, study="s", store=tmp_path, optimizer="random", seed=1)
    other = tuner.load_study("s", store=tmp_path)
    for _ in range(10):
        for study in (one, other):
            study.tell(study.ask(), 1.0)
    read: list[int] = []
    whole = Store.changes

    def counted(*given: Any) -> Any:
        found = whole(*given)
        read.append(len(found.trials))
        return found

    def refused(*_: Any) -> Any:
        raise AssertionError("the whole history was read")

    monkeypatch.setattr(Store, "changes", counted)
    monkeypatch.setattr(Store, "trials", refused)
    for _ in range(10):
        for study in (one, other):
            study.tell(study.ask(), 1.0)
    assert len(read) == 20
    assert max(read) <= 1


def test_a_single_process_does_not_poll_for_other_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tuner.create_study(SPACE, study="s", store=tmp_path, optimizer="random", seed=1)
    study.tell(study.ask(), 1.0)

    def refused(*_: Any) -> Any:
        raise AssertionError("it looked")

    monkeypatch.setattr(Store, "changes", refused)
    monkeypatch.setattr(Store, "turn", refused)
    for _ in range(5):
        study.tell(study.ask(), 1.0)


def test_an_ask_that_always_loses_the_race_gets_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tuner.create_study(SPACE, study="s", store=tmp_path, optimizer="random", seed=1)
    fast = tuner.load_study("s", store=tmp_path)
    slow.tell(slow.ask(), 1.0)
    commit = ManualLoop._commit

    def overtaken(loop: ManualLoop, *given: Any) -> None:
        if loop is slow._manual:
            fast.tell(fast.ask(), 1.0)
        commit(loop, *given)

    monkeypatch.setattr(ManualLoop, "_commit", overtaken)
    monkeypatch.setattr(Store, "turn", lambda *_: nullcontext())
    trial, other = slow.ask(2)
    monkeypatch.undo()
    slow.tell(trial, 1.0)
    slow.tell(other, 1.0)
    assert [t.number for t in slow] == list(range(len(slow.trials)))
    assert len({t.params["x"] for t in slow}) == len(slow.trials)
    loop = slow._loop()
    loop._catch_up()
    assert known(loop) == known(study_of(tmp_path, "random", None)._loop())


class Broken(Exception):
    pass


@pytest.mark.parametrize("place", ["ask", "tell"])
def test_the_loop_matches_the_record_after_an_optimizer_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    study = tuner.create_study(SPACE, study="s", store=tmp_path, optimizer="tpe", seed=1)
    trial = study.ask()
    loop = study._loop()

    def broken(*_: Any) -> Any:
        raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(type(loop.optimizer), place, broken)
        with pytest.raises(Broken):
            study.tell(trial, 1.0) if place == "tell" else study.ask()
    if place == "ask":
        study.tell(trial, 1.0)
    assert study.ask().number == 1
    assert [t.value for t in study] == [1.0, None]
    fresh = study_of(tmp_path, "tpe", None)._loop()
    loop._catch_up()
    assert known(loop) == known(fresh)
