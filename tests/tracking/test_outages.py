"""A search goes on when its PostgreSQL server was away for a while, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tuner
from benchmarks.postgres import Server, own_server
from tuner import Float, State, errors
from tuner.engine import writer


@pytest.fixture(scope="module")
def server():
    with own_server(in_memory=True) as own:
        yield own


def search(
    url: str, at: Callable[[int], object] = lambda number: None, pause: float = 0.0
) -> tuner.Study:
    def objective(params, trial):
        at(trial.number)
        time.sleep(pause)
        trial.report(params["x"], 0)
        return params["x"]

    return tuner.optimize(
        objective,
        {"x": Float(0, 1)},
        n_trials=40,
        backend="serial",
        optimizer="random",
        study="away",
        store=url,
        register=False,
        progress=False,
    )


@pytest.fixture(autouse=True)
def _artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path))


def test_reports_during_a_server_outage_are_written_afterwards(
    server: Server,
) -> None:
    url = server.new_database()
    seen: list[int] = []

    def at(number: int) -> None:
        if number == 10:
            seen.append(len(tuner.load_study("away", store=url).trials))
            server.stop()
        if number == 30:
            server.start()

    study = search(url, at, pause=0.05)
    assert seen[0] > 0
    assert [t.number for t in study] == list(range(40))
    assert {t.state for t in study} == {State.COMPLETED}
    assert {t.attempts for t in study} == {1}, "nothing ran twice"
    assert len(study.reports()) == 40


def test_a_permanent_outage_ends_the_study_and_the_next_call_resumes(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "STORE_TIMEOUT", 0.5)
    url = server.new_database()
    with pytest.raises(errors.StoreUnavailable, match="cannot be reached"):
        search(url, lambda number: server.stop() if number == 10 else None, pause=0.1)
    server.start()
    study = tuner.load_study("away", store=url)
    safe = {t.number: t for t in study if t.state.finished}
    assert 0 < len(safe) < 40
    # Its lease lasts, but it is this process that had it, and it has done with it.
    whole = search(url)
    assert {t.state for t in whole} == {State.COMPLETED}
    assert len(whole.trials) == 40
    assert safe.items() <= {t.number: t for t in whole}.items()
