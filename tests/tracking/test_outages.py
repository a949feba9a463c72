"""A search goes on when its PostgreSQL server was away for a while, and nothing is lost."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import tuner
from conformance.postgres import Server, running_server
from tuner import Float, State, errors
from tuner.engine import writer


@pytest.fixture(scope="module")
def server():
    with running_server() as own:
        yield own


def search(url: str, pause: float, n_trials: int = 40) -> tuner.Study:
    def objective(params, trial):
        time.sleep(pause)
        trial.report(params["x"], 0)
        return params["x"]

    return tuner.optimize(
        objective,
        {"x": Float(0, 1)},
        n_trials=n_trials,
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


def test_what_is_reported_while_the_server_is_away_is_written_when_it_is_back(
    server: Server,
) -> None:
    away: list[float] = []

    def outage() -> None:
        time.sleep(1.0)
        server.stop()
        began = time.monotonic()
        time.sleep(2.0)
        server.start()
        away.append(time.monotonic() - began)

    thread = threading.Thread(target=outage)
    thread.start()
    study = search(server.new_database(), 0.1)
    thread.join()
    assert away[0] > 2.0
    assert [t.number for t in study] == list(range(40))
    assert {t.state for t in study} == {State.COMPLETED}
    assert {t.attempts for t in study} == {1}, "nothing ran twice"
    assert len(study.reports()) == 40


def test_a_server_that_stays_away_ends_the_study_and_the_next_call_goes_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 1.0)
    url = server.new_database()
    stopped = threading.Timer(1.5, server.stop)
    stopped.start()
    with pytest.raises(errors.StoreUnavailable, match="cannot be reached"):
        search(url, 0.1)
    stopped.join()
    server.start()
    study = tuner.load_study("away", store=url)
    safe = {t.number: t for t in study if t.state.finished}
    assert 0 < len(safe) < 40
    # Its lease lasts, but it is this process that had it, and it has done with it.
    whole = search(url, 0.0)
    assert {t.state for t in whole} == {State.COMPLETED}
    assert len(whole.trials) == 40
    assert safe.items() <= {t.number: t for t in whole}.items()
