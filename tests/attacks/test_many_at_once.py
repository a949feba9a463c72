"""Processes that ask and tell on one study get fair shares, even if some die or stop."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.forks import new_processes
from support.processes import stop, stop_outside_transactions
from tuner import Float, State, errors

pytestmark = pytest.mark.process

SPACE = {"x": Float(0, 1), "y": Float(0, 1)}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "store")
    monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    return new_database()


class Askers:
    """Processes that ask and tell, and count their pairs in shared memory."""

    def __init__(self, url: str, n: int, pause: float = 0.0) -> None:
        self.context = new_processes()
        self.url, self.pause = url, pause
        self.counts: Any = self.context.Array("q", n, lock=False)
        # Without locks: a process that is stopped while it holds one would stop the others too.
        self.end: Any = self.context.Array("b", 1, lock=False)
        self.processes: list[BaseProcess] = []
        for _ in range(n):
            self.start()

    def start(self) -> None:
        number = len(self.processes)
        process = self.context.Process(
            target=_ask_and_tell, args=(self.url, self.counts, number, self.end, self.pause)
        )
        process.start()
        self.processes.append(process)

    def wait(self, pairs: int, which: list[int] | None = None, seconds: float = 60.0) -> None:
        """Wait until each of them has made so many more pairs."""
        which = list(range(len(self.processes))) if which is None else which
        before = list(self.counts)
        deadline = time.monotonic() + seconds
        while any(self.counts[k] - before[k] < pairs for k in which):
            assert time.monotonic() < deadline, f"{before} became {list(self.counts)}"
            time.sleep(0.005)

    def wait_for_fair_shares(self, pairs: int, which: list[int] | None = None) -> None:
        """Wait until none of them gains more than thrice as much as another.

        A loaded machine may keep a process from its turn for a while; a queue that is unfair is
        so every time.
        """
        which = list(range(len(self.processes))) if which is None else which
        seen = []
        for _ in range(5):
            before = list(self.counts)
            self.wait(pairs, which)
            gained = [self.counts[k] - before[k] for k in which]
            if max(gained) <= 3 * min(gained):
                return
            seen.append(gained)
        raise AssertionError(seen)

    def join(self) -> None:
        self.end[0] = True
        for process in self.processes:
            process.join(60)

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def _ask_and_tell(url: str, counts: Any, number: int, end: Any, pause: float) -> None:
    study = tuner.load_study("shared", store=url)
    while not end[0]:
        trial = study.ask()
        time.sleep(pause)
        study.tell(trial, trial.params["x"])
        counts[number] += 1


@pytest.fixture
def askers(url: str) -> Iterator[Callable[..., Askers]]:
    tuner.create_study(SPACE, study="shared", store=url, optimizer="random", seed=1)
    made: list[Askers] = []

    def make(n: int, **options: Any) -> Askers:
        made.append(Askers(url, n, **options))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def check_whole(study: tuner.Study, finished: int, open_trials: int = 0) -> None:
    """Each pair counts once, numbers are contiguous, and no point was given twice."""
    states = Counter(trial.state for trial in study)
    assert states[State.COMPLETED] == finished
    assert states[State.RUNNING] == open_trials
    assert [trial.number for trial in study] == list(range(finished + open_trials))
    assert len({trial.params["x"] for trial in study}) == finished + open_trials
    runs = Counter(run.trial for run in study.runs())
    assert set(runs.values()) == {1}


def test_each_process_gets_a_fair_share_of_trials(url: str, askers: Callable[..., Askers]) -> None:
    many = askers(6)
    many.wait(3)
    many.wait_for_fair_shares(12)
    many.join()
    check_whole(tuner.load_study("shared", store=url), sum(many.counts))


def test_a_killed_process_does_not_block_others(url: str, askers: Callable[..., Askers]) -> None:
    many = askers(4)
    for k in range(3):
        many.wait(3, list(range(k, 4)))
        time.sleep(0.003 * k)
        many.processes[k].kill()
        many.wait(5, list(range(k + 1, 4)))
    many.join()
    study = tuner.load_study("shared", store=url)
    states = Counter(trial.state for trial in study)
    # A killed one leaves at most one trial, and may not have counted its last outcome.
    assert sum(many.counts) <= states[State.COMPLETED] <= sum(many.counts) + 3
    assert states[State.RUNNING] <= 3
    assert [trial.number for trial in study] == list(range(len(study.trials)))


def _stop(process: BaseProcess, url: str) -> None:
    """Stop a process; on SQLite not within a transaction, because its lock would stay."""
    assert process.pid is not None
    if "://" in url:
        stop(process.pid)
    else:
        stop_outside_transactions(process.pid, Path(url) / "tuner.db")


def test_a_suspended_process_does_not_block_others(url: str, askers: Callable[..., Askers]) -> None:
    many = askers(4)
    many.wait(2)
    stopped = (0, 1) if "://" not in url else (0,)
    for k in stopped:
        _stop(many.processes[k], url)
        # PostgreSQL needs some seconds to end the session of one that had its turn.
        many.wait(1, [2, 3])
        many.wait_for_fair_shares(10, [2, 3])
    for k in stopped:
        os.kill(many.processes[k].pid or 0, signal.SIGCONT)
    many.wait(1)
    many.join()
    check_whole(tuner.load_study("shared", store=url), sum(many.counts))


def test_a_late_process_gets_a_fair_share_of_trials(
    url: str, askers: Callable[..., Askers]
) -> None:
    many = askers(3)
    many.wait(10)
    late = Askers(url, 1)
    try:
        late.wait(1)
        seen = []
        while not seen or (max(seen[-1]) > 30 and len(seen) < 5):  # as for fair shares
            before = list(many.counts)
            late.wait(6)
            seen.append([now - then for now, then in zip(many.counts, before, strict=True)])
        many.join()
        late.join()
    finally:
        late.kill()
    assert max(seen[-1]) <= 30, seen
    check_whole(tuner.load_study("shared", store=url), sum(many.counts) + sum(late.counts))


@pytest.mark.parametrize("optimizer", ["random", "tpe"])
@pytest.mark.soak
def test_counts_are_exact_if_some_processes_die_or_pause(url: str, optimizer: str) -> None:
    tuner.create_study(SPACE, study="shared", store=url, optimizer=optimizer, seed=1)
    many = Askers(url, 16)
    rng = random.Random(0)
    killed = 0
    try:
        many.wait(2)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            victim = rng.choice([p for p in many.processes if p.is_alive()])
            if rng.random() < 0.2 and killed < 8:
                victim.kill()
                victim.join()
                killed += 1
            else:
                _stop(victim, url)
                time.sleep(rng.random() * 5)
                os.kill(victim.pid or 0, signal.SIGCONT)
            alive = [k for k, p in enumerate(many.processes) if p.is_alive()]
            many.wait(1, alive, seconds=40)
        many.join()
    finally:
        many.kill()
    study = tuner.load_study("shared", store=url)
    states = Counter(trial.state for trial in study)
    assert sum(many.counts) <= states[State.COMPLETED] <= sum(many.counts) + killed
    assert states[State.RUNNING] <= killed
    assert [trial.number for trial in study] == list(range(len(study.trials)))
    assert [p.exitcode for p in many.processes].count(0) == 16 - killed


def test_the_second_process_that_tells_a_trial_gets_an_error(url: str) -> None:
    study = tuner.create_study(SPACE, study="shared", store=url, optimizer="random", seed=1)
    trials = study.ask(30)
    context = new_processes()
    ready, told = context.Barrier(2), context.SimpleQueue()
    tellers = [context.Process(target=_tell_all, args=(url, 30, ready, told)) for _ in range(2)]
    for teller in tellers:
        teller.start()
    results = [told.get() for _ in tellers]
    for teller in tellers:
        teller.join()
    assert sorted(itertools.chain.from_iterable(results)) == list(range(30))
    for trial in trials:
        with pytest.raises(errors.TrialFinished):
            study.tell(trial, 1.0)
    check_whole(study, 30)


def _tell_all(url: str, n: int, ready: Any, told: Any) -> None:
    study = tuner.load_study("shared", store=url)
    mine: list[int] = []
    ready.wait()
    for number in range(n):
        with suppress(errors.TrialFinished):
            study.tell(number, float(number))
            mine.append(number)
    told.put(mine)
