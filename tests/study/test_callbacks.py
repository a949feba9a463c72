"""A callback reads the committed outcome of its trial, and may annotate, enqueue and stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner
from tuner import Float, State, errors
from tuner.backends import SimulatedBackend
from tuner.optimizers import ranking

SPACE = {"x": Float(0, 1)}


def search(folder: Path, callback: Any, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {
        "n_trials": 12, "backend": "serial", "optimizer": "random", "seed": 1, "study": "watched",
        "register": False, "progress": False,
    }  # fmt: skip
    return tuner.optimize(
        lambda params: params["x"], SPACE, store=folder, callbacks=[callback], **call | options
    )


BACKENDS = {
    "serial": lambda: {"backend": "serial"},
    "simulated": lambda: {"backend": SimulatedBackend(60.0, workers=3)},
    "with feedback": lambda: {"backend": SimulatedBackend(60.0, workers=3), "optimizer": "tpe"},
}


@pytest.mark.parametrize("kind", BACKENDS)
def test_the_outcome_is_in_the_record_when_the_callback_is_called(
    tmp_path: Path, kind: str
) -> None:
    seen: list[tuner.Trial] = []

    def watch(study: tuner.Study, trial: tuner.Trial) -> None:
        seen.append(trial)
        assert trial in study.trials
        assert study.best_trial == ranking.best(study.info.goal, seen)
        assert [run.state for run in study.runs(trial.number)] == [State.COMPLETED]
        assert study.find(f"number = {trial.number} and state = 'completed'").count() == 1

    search(tmp_path, watch, **BACKENDS[kind]())
    assert len(seen) == 12


def test_a_note_of_a_callback_is_kept(tmp_path: Path) -> None:
    def annotate(study: tuner.Study, trial: tuner.Trial) -> None:
        study.set_note(trial, "half", trial.values[0] / 2)

    study = search(tmp_path, annotate)
    assert [t.notes["half"] for t in study] == [t.values[0] / 2 for t in study]


def test_a_failed_trial_is_in_the_record_too(tmp_path: Path) -> None:
    def objective(params: dict[str, float]) -> float:
        raise ValueError("no")

    seen = []

    def annotate(study: tuner.Study, trial: tuner.Trial) -> None:
        study.set_note(trial, "seen", True)
        seen.append(study.runs(trial.number)[0].error.message)

    study = tuner.create_study(SPACE, store=tmp_path)
    with pytest.raises(errors.AllTrialsFailed):
        study.optimize(
            objective, n_trials=3, backend="serial", progress=False, callbacks=[annotate]
        )
    assert [t.notes for t in study] == [{"seen": True}] * 3
    assert seen == ["no"] * 3


@pytest.mark.parametrize("optimizer", ["random", "tpe"])
def test_a_callback_stops_the_search_after_three_trials(tmp_path: Path, optimizer: str) -> None:
    def stop(study: tuner.Study, trial: tuner.Trial) -> None:
        if sum(t.state.finished for t in study) >= 3:
            study.stop()

    study = search(tmp_path, stop, optimizer=optimizer)
    assert sum(t.state.finished for t in study) == 3
    waited = [t for t in study if t.state is State.WAITING]
    assert [(t.attempts, t.started) for t in waited] == [(0, None)] * len(waited)
    assert len(study.runs()) == 3


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_point_of_a_callback_is_tried_by_the_running_search(tmp_path: Path, kind: str) -> None:
    def follow(study: tuner.Study, trial: tuner.Trial) -> None:
        if trial.number == 2:
            study.enqueue({"x": 0.125})
            with pytest.raises(errors.InvalidParams):
                study.enqueue({"x": 2.0})

    study = search(tmp_path, follow, n_trials=60, **BACKENDS[kind]())
    assert len(study.trials) == 60
    assert {t.state for t in study} == {State.COMPLETED}
    assert [t.values for t in study if t.params == {"x": 0.125}] == [(0.125,)]


def test_a_point_enqueued_by_the_last_callback_waits_for_the_next_call(tmp_path: Path) -> None:
    def follow(study: tuner.Study, trial: tuner.Trial) -> None:
        if trial.number == 4:
            study.enqueue({"x": 0.125})

    study = search(tmp_path, follow, n_trials=5)
    assert [(t.number, t.state) for t in study if t.params == {"x": 0.125}] == [(5, State.WAITING)]
    study = search(tmp_path, follow, n_trials=6)
    assert study.trials[5].values == (0.125,)


def test_another_object_of_the_study_reaches_the_running_search(tmp_path: Path) -> None:
    other = tuner.create_study(SPACE, study="watched", store=tmp_path, seed=1)

    def follow(study: tuner.Study, trial: tuner.Trial) -> None:
        if trial.number == 2:
            other.enqueue({"x": 0.125})
        if trial.number == 4:
            tuner.load_study("watched", store=tmp_path).stop()

    search(tmp_path, follow, optimizer="tpe")
    assert [t.values for t in other if t.params == {"x": 0.125}] == [(0.125,)]
    assert sum(t.state.finished for t in other) == 5
    with pytest.raises(errors.StudyError, match="not running"):
        other.stop()
    other.enqueue({"x": 0.5})  # the search is over: it waits for the next one
    assert other.trials[-1].params == {"x": 0.5}


def test_a_search_in_a_copied_store_is_separate(tmp_path: Path) -> None:
    import shutil

    tuner.create_study(SPACE, study="watched", store=tmp_path / "a", seed=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    copy = tuner.load_study("watched", store=tmp_path / "b")

    def follow(study: tuner.Study, trial: tuner.Trial) -> None:
        copy.enqueue({"x": 0.125})
        with pytest.raises(errors.StudyError, match="not running"):
            copy.stop()

    search(tmp_path / "a", follow, n_trials=2)
    assert [t.state for t in copy] == [State.WAITING] * 2


def test_methods_take_a_trial_or_its_number(tmp_path: Path) -> None:
    study = tuner.optimize(
        lambda params: float(params["x"]), {"x": tuner.Int(0, 9)}, n_trials=2, backend="serial",
        store=tmp_path, progress=False, register=False, seed=0,
    )  # fmt: skip
    for trial in (study.trials[1], 1, np.int64(1)):
        assert [run.trial for run in study.runs(trial)] == [1]
        assert study.reports(trial) == study.reports(1)
        assert study.artifacts(trial) == []
        assert study.set_notes(trial, {"seen": "yes"}) == {"seen": "yes"}
        assert study.delete_artifacts(trial) == []
    for method in (study.runs, study.reports, study.delete_artifacts):
        with pytest.raises(errors.ArgumentError, match=r"trial=1.5: write a trial or its number"):
            method(1.5)


@pytest.mark.parametrize(
    "change",
    [tuner.delete_study, lambda name, store: tuner.rename_study(name, "other", store=store)],
)
def test_a_search_in_this_process_is_not_reported_as_another(tmp_path: Path, change: Any) -> None:
    says = "study 'watched' is being optimized by this process; call again when the search has"
    with pytest.raises(errors.StudyBusy, match=says):
        search(tmp_path, lambda study, _: change(study.name, store=tmp_path))
    assert len(tuner.load_study("watched", store=tmp_path).trials) > 0


def test_a_callback_that_does_not_read_the_record_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.engine.writer import Writer

    flush, flushed = Writer.flush, []
    monkeypatch.setattr(Writer, "flush", lambda self: (flushed.append(1), flush(self))[1])

    class Watches:
        def __init__(self, reads_record: bool) -> None:
            self.reads_record, self.seen = reads_record, 0

        def __call__(self, study: tuner.Study, trial: tuner.Trial) -> None:
            self.seen += 1

    counts = []
    for reads_record in (False, True):
        watches = Watches(reads_record)
        flushed.clear()
        search(tmp_path, watches, n_trials=4, study=f"reads {reads_record}")
        assert watches.seen == 4
        counts.append(len(flushed))
    assert counts[1] == counts[0] + 4
