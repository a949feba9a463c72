"""Several processes create one study at once: one creates it, the others get it or are told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.forks import Fork
from tuner import Float, errors
from tuner.records import StudyInfo
from tuner.tracking.store import Store

N = 4


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "store")
    monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))
    where: str = request.getfixturevalue("new_database")()
    return where


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], Any]], list[Any]]:
    """Return a function that calls another one N times, all of which see no study at first."""
    barrier = threading.Barrier(N)
    here = threading.local()
    find_study = Store.find_study

    def find(store: Store, *which: str) -> StudyInfo | None:
        found = find_study(store, *which)
        if found is None and getattr(here, "first", False):
            here.first = False
            barrier.wait(30)
        return found

    monkeypatch.setattr(Store, "find_study", find)

    def call(of: Callable[[int], Any]) -> list[Any]:
        def caught(n: int) -> Any:
            here.first = True
            try:
                return of(n)
            except errors.TunerError as error:
                return error

        with ThreadPoolExecutor(N) as pool:
            return list(pool.map(caught, range(N)))

    return call


def test_concurrent_calls_get_the_recorded_study(url: str, at_once: Any) -> None:
    def create(n: int) -> tuner.Study:
        return tuner.create_study(
            {"x": Float(0, 1)}, study="n", store=url, load_if_exists=True, optimizer="random"
        )

    studies = at_once(create)
    assert len({study.info.uid for study in studies}) == 1
    assert {study.info.seed for study in studies} == {studies[0].info.seed}
    for study in studies:
        trial = study.ask()
        study.tell(trial, trial.params["x"])
    assert [t.number for t in studies[0]] == list(range(N))
    assert len({t.params["x"] for t in studies[0]}) == N


def test_one_process_creates_the_study_and_the_others_get_an_error(url: str, at_once: Any) -> None:
    def create(n: int) -> tuner.Study:
        return tuner.create_study({f"x{n}": Float(0, 1)}, study="n", store=url)

    made = at_once(create)
    assert sorted(type(each).__name__ for each in made) == ["Study"] + ["StudyExists"] * (N - 1)
    (study,) = (each for each in made if isinstance(each, tuner.Study))
    assert tuner.load_study("n", store=url).space == study.space
    (refused, *_) = (each for each in made if isinstance(each, errors.StudyExists))
    assert "write load_if_exists=True" in str(refused)


def test_another_space_is_refused_as_on_resume(url: str, at_once: Any) -> None:
    def create(n: int) -> tuner.Study:
        return tuner.create_study({f"x{n}": Float(0, 1)}, study="n", store=url, load_if_exists=True)

    made = at_once(create)
    assert sorted(type(each).__name__ for each in made) == ["Study"] + ["StudyMismatch"] * (N - 1)


def test_searches_that_begin_at_once_share_the_study(tmp_path: Path, at_once: Any) -> None:
    """One process runs it; later ones resume it, or get an error that names the runner."""

    def optimize(n: int) -> tuner.Study:
        return tuner.optimize(
            lambda params: params["x"], {"x": Float(0, 1)}, n_trials=5, study="n", store=tmp_path,
            backend="serial", progress=False, register=False,
        )  # fmt: skip

    made = at_once(optimize)
    assert {type(each).__name__ for each in made} <= {"Study", "StudyBusy"}
    assert [t.number for t in tuner.load_study("n", store=tmp_path)] == list(range(5))


def test_a_study_created_while_the_workers_start_is_resumed(tmp_path: Path) -> None:
    from tuner.backends.serial import SerialBackend

    class Late(SerialBackend):
        def start(self, *args: Any, **options: Any) -> None:
            if not tuner.list_studies(store=tmp_path):
                tuner.create_study({"x": Float(0, 1)}, study="n", store=tmp_path, seed=3)
            super().start(*args, **options)

    class Watch:
        ended = 0

        def __call__(self, study: tuner.Study, trial: tuner.Trial) -> None:
            assert study.info.seed == 3

        def study_ended(self, study: tuner.Study) -> None:
            self.ended += 1

    watch = Watch()
    study = tuner.optimize(
        lambda params: params["x"], {"x": Float(0, 1)}, n_trials=3, study="n", store=tmp_path,
        backend=Late(), progress=False, register=False, callbacks=[watch],
    )  # fmt: skip
    assert (study.info.seed, len(study.trials), watch.ended) == (3, 3, 1)


def test_a_study_of_another_space_created_while_the_workers_start_is_refused(
    tmp_path: Path,
) -> None:
    from tuner.backends.serial import SerialBackend

    class Late(SerialBackend):
        def start(self, *args: Any, **options: Any) -> None:
            if not tuner.list_studies(store=tmp_path):
                tuner.create_study({"x": Float(0, 1)}, study="n", store=tmp_path)
            super().start(*args, **options)

    with pytest.raises(errors.StudyMismatch, match="space has changed"):
        tuner.optimize(
            lambda params: params["y"], {"y": Float(0, 1)}, n_trials=3, study="n",
            store=tmp_path, backend=Late(), progress=False, register=False,
        )  # fmt: skip


JOB = """
import sys, tuner
study = tuner.create_study(
    {"x": tuner.Float(0, 1)}, study="n", store=sys.argv[1], load_if_exists=True,
    optimizer="random",
)
trial = study.ask()
study.tell(trial, trial.params["x"])
"""


@pytest.mark.slow
@pytest.mark.process
def test_a_job_array_shares_one_study(tmp_path: Path) -> None:
    jobs = [Fork(JOB, tmp_path) for _ in range(3)]
    errors_of = [job.communicate(timeout=120)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 3, errors_of
    assert len(tuner.load_study("n", store=tmp_path).trials) == 3
