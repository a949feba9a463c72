"""An outage of a database or an artifact disk fails no trial, on any backend."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import tuner
from benchmarks.postgres import Server, own_server
from support import outages
from support.outages import check_artifacts, check_complete, keep, search, small_disk
from tuner import Float, State, errors
from tuner.backends import SimulatedBackend
from tuner.engine import writer
from tuner.tracking.database import connections

pytestmark = pytest.mark.process

cloudpickle.register_pickle_by_value(outages)  # Ray's workers do not see the tests

Outage = Callable[[float], None]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server(in_memory=True) as own:
        yield own


@pytest.fixture(scope="module")
def away_for(server: Server) -> Iterator[Outage]:
    """Return a function that stops the server and has it start again after some seconds."""
    over = threading.Event()

    def wait_and_start(seconds: float) -> None:
        time.sleep(seconds)
        server.start()
        over.wait()  # the server ends with the thread that started it

    def away_for(seconds: float) -> None:
        server.stop()
        threading.Thread(target=wait_and_start, args=(seconds,), daemon=True).start()

    yield away_for
    over.set()


@pytest.fixture(autouse=True)
def _artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))


def objective_that(tmp_path: Path, at_5: Callable[[], Any], kind: str = "artifact") -> Any:
    """Return an objective that calls `at_5` in trial 5, and keeps something in each."""
    seen: set[int] = set()

    def objective(params: dict[str, Any], trial: Any) -> float:
        if trial.number == 5 and not seen:
            seen.add(5)
            at_5()
        keep(trial, tmp_path)
        if kind == "model":
            trial.log_model({"number": trial.number}, allow_pickle=True)
        if kind == "checkpoint":
            with trial.checkpoint() as folder:
                (folder / "state").write_text("s")
        trial.report(params["x"], 0)
        time.sleep(0.02)
        return params["x"]

    return objective


@pytest.mark.parametrize("kind", ["artifact", "model", "checkpoint"])
def test_a_server_outage_fails_no_trial_on_the_serial_backend(
    server: Server, away_for: Outage, tmp_path: Path, kind: str
) -> None:
    objective = objective_that(tmp_path, lambda: away_for(1.0), kind)
    check_complete(search(server.new_database(), objective), 20)


def test_a_frozen_server_fails_no_trial(server: Server, tmp_path: Path) -> None:
    def freeze() -> None:
        assert server._process is not None
        pids = [server._process.pid, *children_of(server._process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        thaw = threading.Timer(1.0, lambda: [os.kill(pid, signal.SIGCONT) for pid in pids])
        thaw.start()

    check_complete(search(server.new_database(), objective_that(tmp_path, freeze)), 20)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_server_outage_fails_no_trial_in_virtual_time(
    server: Server, away_for: Outage, tmp_path: Path
) -> None:
    objective = objective_that(tmp_path, lambda: away_for(1.0))
    study = search(server.new_database(), objective, backend=SimulatedBackend(workers=3))
    check_complete(study, 20)


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_server_outage_fails_no_trial_on_ray(
    server: Server, away_for: Outage, tmp_path: Path
) -> None:
    def at_5(study: tuner.Study, trial: tuner.Trial) -> None:
        if trial.number == 5:
            away_for(1.0)

    objective = objective_that(tmp_path, int)
    study = search(server.new_database(), objective, 40, backend="ray", callbacks=[at_5])
    check_complete(study, 40)


def test_a_server_outage_fails_no_trial_of_an_ask_tell_loop(
    server: Server, away_for: Outage, tmp_path: Path
) -> None:
    space = {"x": Float(0, 1)}
    study = tuner.create_study(space, study="kept", store=server.new_database(), seed=0)
    for number in range(12):
        if number in (3, 6, 9):
            away_for(0.6)
        trial = study.ask()
        if number in (4, 7):
            away_for(0.6)
        keep(trial, tmp_path)
        trial.report(trial.params["x"], 0)
        if number in (5, 8):
            away_for(0.6)
        study.tell(trial, trial.params["x"])
    check_complete(study, 12)
    assert len(study.reports()) == 12


def test_a_permanent_outage_ends_the_search_without_a_failed_trial(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "STORE_TIMEOUT", 0.5)
    url = server.new_database()

    def stop() -> None:
        time.sleep(0.5)  # earlier records are committed by then
        server.stop()

    with pytest.raises(errors.StoreUnavailable):
        search(url, objective_that(tmp_path, stop), 120)
    server.start()
    interrupted = tuner.load_study("kept", store=url)
    done = {t.number: t for t in interrupted if t.state.finished}
    assert {t.state for t in done.values()} == {State.COMPLETED}
    assert len(done) >= 3
    study = search(url, objective_that(tmp_path, int), 120)
    assert [t.state for t in study] == [State.COMPLETED] * 120
    assert done.items() <= {t.number: t for t in study}.items(), "nothing that was safe is lost"
    check_artifacts(study)


@pytest.mark.parametrize("backend", ["serial", "simulated"])
def test_a_locked_database_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(connections, "LOCK_TIMEOUT", 0.1)
    holder: list[subprocess.Popen[str]] = []

    def lock() -> None:
        script = (
            "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "c.execute('PRAGMA busy_timeout=10000'); c.execute('BEGIN EXCLUSIVE');"
            "print('locked', flush=True); time.sleep(1.2)"
        )
        command = [sys.executable, "-c", script, str(tmp_path / "store" / "tuner.db")]
        holder.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert holder[0].stdout is not None
        assert holder[0].stdout.readline() == "locked\n"

    where = SimulatedBackend(workers=2) if backend == "simulated" else backend
    study = search(tmp_path / "store", objective_that(tmp_path, lock), backend=where)
    assert holder[0].wait(10) == 0
    check_complete(study, 20)


def fill(ballast: Path) -> None:
    """Write a file that fills the disk."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"." * 4096):
            pass


@pytest.mark.parametrize("backend", ["serial", "simulated"])
@pytest.mark.parametrize("kind", ["artifact", "checkpoint"])
def test_a_temporarily_full_artifact_disk_fails_no_trial(
    tmp_path: Path, backend: str, kind: str
) -> None:
    with small_disk(tmp_path / "store" / "artifacts", 1024) as disk:
        ballast = disk / "ballast"

        def fill_for_a_while() -> None:
            fill(ballast)
            threading.Timer(1.0, ballast.unlink).start()

        where = SimulatedBackend(workers=2) if backend == "simulated" else backend
        objective = objective_that(tmp_path, fill_for_a_while, kind)
        study = search(tmp_path / "store", objective, backend=where)
        check_complete(study, 20)


@pytest.mark.parametrize("backend", ["serial", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_permanently_full_artifact_disk_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, request: pytest.FixtureRequest
) -> None:
    if backend == "ray":
        request.getfixturevalue("cluster")
    monkeypatch.setattr(writer, "STORE_TIMEOUT", 0.5)
    with small_disk(tmp_path / "store" / "artifacts", 1024) as disk:

        def objective(params: dict[str, Any], trial: Any) -> float:
            try:
                keep(trial, tmp_path, 100_000)
                time.sleep(0.05)
            except Exception:
                return -1.0  # of an objective that goes on without its artifact
            return params["x"]

        with pytest.raises(errors.StoreUnavailable, match="No space left"):
            search(tmp_path / "store", objective, 30, backend=backend)
        full = tuner.load_study("kept", store=tmp_path / "store")
        done = [t for t in full if t.state.finished]
        assert {t.state for t in done} == {State.COMPLETED}
        assert 4 <= len(done) <= 10
        check_artifacts(full)
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        study = search(tmp_path / "store", objective, 30, backend=backend)
        assert [t.state for t in study] == [State.COMPLETED] * 30
        assert min(t.value for t in study if t.value is not None) >= 0
        check_artifacts(study)


def test_an_artifact_too_large_for_the_disk_leaves_only_its_trial_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "STORE_TIMEOUT", 0.3)
    with small_disk(tmp_path / "store" / "artifacts", 1024):

        def objective(params: dict[str, Any], trial: Any) -> float:
            keep(trial, tmp_path, 2_000_000 if trial.number == 5 else 8)
            time.sleep(0.02)
            return params["x"]

        with pytest.raises(errors.StoreUnavailable):
            search(tmp_path / "store", objective, 10)
        study = tuner.load_study("kept", store=tmp_path / "store")
        states = {t.number: t.state for t in study}
        assert states.pop(5) in (State.RUNNING, State.WAITING)
        assert set(states.values()) == {State.COMPLETED}
        assert len(states) > 5, "those after it are recorded, too"
        check_artifacts(study)


def test_waiting_for_a_disk_does_not_count_towards_the_time_limit(tmp_path: Path) -> None:
    with small_disk(tmp_path / "store" / "artifacts", 1024) as disk:
        ballast = disk / "ballast"

        def objective(params: dict[str, Any], trial: Any) -> float:
            if trial.number == 2:
                fill(ballast)
                threading.Timer(2.5, ballast.unlink).start()
            with trial.checkpoint() as folder:
                (folder / "state").write_bytes(b"." * 50_000)
            return params["x"]

        study = search(tmp_path / "store", objective, 4, trial_timeout=1.3)
        assert [t.state for t in study] == [State.COMPLETED] * 4


def test_a_record_opened_by_another_process_fails_no_trial(tmp_path: Path) -> None:
    def read() -> None:
        reader = sqlite3.connect(tmp_path / "store" / "tuner.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM trials").fetchall()
        threading.Timer(1.0, reader.interrupt).start()

    check_complete(search(tmp_path / "store", objective_that(tmp_path, read)), 20)


@pytest.mark.soak
@pytest.mark.parametrize("backend", ["serial", pytest.param("ray", marks=pytest.mark.ray)])
def test_repeated_outages_fail_no_trial(
    server: Server,
    away_for: Outage,
    tmp_path: Path,
    backend: str,
    request: pytest.FixtureRequest,
) -> None:
    if backend == "ray":
        request.getfixturevalue("cluster")
    again = [time.monotonic() + 3.0]

    def now_and_then(study: tuner.Study, trial: tuner.Trial) -> None:
        if time.monotonic() > again[0]:
            again[0] = time.monotonic() + 12.0
            away_for(5.0)

    def objective(params: dict[str, Any], trial: Any) -> float:
        keep(trial, tmp_path)
        trial.log_model({"number": trial.number}, allow_pickle=True)
        trial.report(params["x"], 0)
        time.sleep(0.1)
        return params["x"]

    url = server.new_database()
    check_complete(search(url, objective, 300, backend, callbacks=[now_and_then]), 300)
