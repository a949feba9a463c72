"""One driver at a time runs a study, although others try, stop or wake up."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path

import pytest

import tuner
from support.forks import Fork
from support.processes import stop_outside_transactions
from tuner import Float, State, errors
from tuner.backends.protocol import Finished
from tuner.backends.serial import SerialBackend
from tuner.cli.output import summary

SEARCH = """
import pathlib, sys, time, tuner

folder, n_trials, wait = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])

def objective(params, trial):
    with open(folder / "log", "a") as log:
        log.write(f"{trial.number} {trial.attempt}\\n")
    time.sleep(wait)
    return params["x"]

study = tuner.optimize(
    objective, {"x": tuner.Float(0, 1)}, n_trials=n_trials, backend="serial", seed=1,
    optimizer="random", study="shared", store=folder / "store", progress=False,
)
print(len(study.trials))
"""

ASKING = """
import sys, tuner
study = tuner.load_study("shared", store=sys.argv[1])
for _ in range(int(sys.argv[2])):
    trial = study.ask()
    trial.report(trial.params["x"], 0)
    study.tell(trial, trial.params["x"])
"""


def lines(folder: Path) -> int:
    log = folder / "log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def wait_for_lines(process: Fork, folder: Path, n: int) -> None:
    deadline = time.monotonic() + 60
    while lines(folder) < n and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def search(folder: Path, n_trials: int) -> tuner.Study:
    return tuner.optimize(
        lambda params: params["x"],
        {"x": Float(0, 1)},
        n_trials=n_trials,
        backend="serial",
        optimizer="random",
        study="shared",
        store=folder / "store",
        progress=False,
    )


def check_whole(study: tuner.Study, n_trials: int) -> None:
    assert [t.number for t in study] == list(range(n_trials))
    assert {t.state for t in study} == {State.COMPLETED}
    for trial in study:
        runs = study.runs(trial.number)
        assert [r.attempt for r in runs] == list(range(1, trial.attempts + 1))
        assert [r.state for r in runs].count(State.COMPLETED) == 1
        assert State.RUNNING not in [r.state for r in runs]


@pytest.mark.process
def test_a_second_driver_gets_an_error_that_names_the_first(tmp_path: Path) -> None:
    first = Fork(SEARCH, tmp_path, 80, 0.1)
    try:
        wait_for_lines(first, tmp_path, 3)
        with pytest.raises(errors.StudyBusy, match=f"'shared' is run by process {first.pid} on "):
            search(tmp_path, 80)
        study = tuner.load_study("shared", store=tmp_path / "store")
        with pytest.raises(errors.StudyBusy, match=str(first.pid)):
            study.ask()
        assert summary(study)["run by"].startswith(f"process {first.pid} on ")
    finally:
        first.kill()
        first.communicate()
    executed = lines(tmp_path)
    done = sum(t.state.finished for t in study)
    assert executed - 2 <= done <= executed, "all but what was under way or not yet committed"
    # It is dead, and on this machine: no other driver waits until its lease expires.
    smaller = search(tmp_path, done + 2)
    states = [t.state for t in smaller]
    assert states.count(State.COMPLETED) == done + 2
    assert State.RUNNING not in states, "what the dead driver left waits for a larger budget"
    check_whole(search(tmp_path, 80), 80)
    assert "run by" not in summary(study)


@pytest.mark.process
def test_a_frozen_driver_is_replaced_and_its_later_writes_are_refused(
    tmp_path: Path,
) -> None:
    frozen = Fork(SEARCH, tmp_path, 200, 0.02, TUNER_LEASE="1")
    try:
        wait_for_lines(frozen, tmp_path, 10)
        stop_outside_transactions(frozen.pid, tmp_path / "store" / "tuner.db")
        time.sleep(2.5)
        second = Fork(SEARCH, tmp_path, 60, 0.0, TUNER_LEASE="1")
        out, err = second.communicate(timeout=60)
        assert second.returncode == 0, err
        assert out.strip() == "60"
        study = tuner.load_study("shared", store=tmp_path / "store")
        trials, runs = study.trials, study.runs()
        frozen.send_signal(signal.SIGCONT)
        _, err = frozen.communicate(timeout=60)
    finally:
        frozen.kill()
        frozen.communicate()
    assert frozen.returncode == 1
    assert "StudyTakenOver" in err
    assert f"process {second.pid} on " in err
    assert (study.trials, study.runs()) == (trials, runs), "nothing that it wrote counts"
    check_whole(study, 60)


@pytest.mark.process
def test_many_processes_ask_and_tell_of_one_study(tmp_path: Path) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, study="shared", store=tmp_path, optimizer="tpe")
    processes = [Fork(ASKING, tmp_path, 8) for _ in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    check_whole(study, 24)
    assert len({t.params["x"] for t in study}) == 24, "no point was handed out twice"
    assert len(study.reports()) == 24


def test_a_driver_runs_asked_trials_and_later_tells_are_refused(
    tmp_path: Path,
) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, study="shared", store=tmp_path / "store")
    asked = study.ask()
    asked.report(1.0, 0)
    assert not asked.should_stop()
    search(tmp_path, 3)
    with pytest.raises(errors.TrialFinished):
        study.tell(asked, 0.5)
    assert asked.should_stop(), "nobody waits for it"
    check_whole(study, 3)
    assert study.trials[0].attempts == 2


def test_a_trial_restarted_elsewhere_can_only_be_told_there(tmp_path: Path) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, study="shared", store=tmp_path / "store")
    asked = study.ask()
    with pytest.raises(KeyboardInterrupt):
        tuner.optimize(
            _interrupt,
            {"x": Float(0, 1)},
            n_trials=3,
            backend="serial",
            study="shared",
            store=tmp_path / "store",
            progress=False,
        )
    again = tuner.load_study("shared", store=tmp_path / "store")
    anew = again.ask()
    assert (anew.number, anew.attempt) == (0, 3)
    with pytest.raises(errors.TrialFinished, match="runs again in another process"):
        study.tell(asked, 0.5)
    assert again.tell(anew, 0.7).value == 0.7


def _interrupt(params):
    raise KeyboardInterrupt


@pytest.mark.parametrize("text", ["soon", "0", "inf", "-3"])
def test_a_lease_must_be_a_number_of_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("TUNER_LEASE", text)
    with pytest.raises(errors.ArgumentError, match="TUNER_LEASE"):
        search(tmp_path, 1)
    assert not (tmp_path / "store").exists()


def test_a_repeated_backend_event_counts_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Repeating(SerialBackend):
        def events(self, timeout):
            events = super().events(timeout)
            return [*events, *(e for e in events if isinstance(e, Finished))]

    with caplog.at_level(logging.INFO, logger="tuner"):
        study = tuner.optimize(
            lambda params: params["x"],
            {"x": Float(0, 1)},
            n_trials=5,
            backend=Repeating(),
            store=tmp_path,
            progress=False,
        )
    check_whole(study, 5)
    assert caplog.text.count("its late completed outcome is dropped") == 5
