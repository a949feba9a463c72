"""Collected and kept artifacts, with random histories of a store."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuner
from support.effort import examples
from support.kept_models import History, all_paths, check_all_is_there, files, model
from tuner.errors import ArgumentError
from tuner.records import Run, State, Upload
from tuner.registry import Registry
from tuner.retention import keep_best
from tuner.search_spaces import Float
from tuner.tracking import Batch, open_store
from tuner.tracking.artifacts.retention import collect, forget_models
from tuner.tracking.database import maintenance
from tuner.tracking.uuid7 import uuid7

actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("trial"),
            st.one_of(st.none(), st.integers(0, 5).map(float)),
            st.lists(st.integers(0, 3), max_size=3),
        ),
        st.tuples(st.just("lost"), st.integers(0, 6)),
        st.tuples(st.just("register"), st.integers(0, 9)),
        st.tuples(st.just("best"), st.integers(1, 3)),
        st.tuples(st.just("age")),
        st.tuples(st.just("collect"), st.sampled_from([0.0, 3600.0])),
    ),
    max_size=14,
)


@settings(max_examples=examples(25), deadline=None)
@given(actions)
@pytest.mark.slow
def test_needed_artifacts_are_never_deleted(steps) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        history = History(folder)
        for action, *arguments in steps:
            if action == "trial":
                history.trial(*arguments)
            elif action == "lost":  # its process died before the record was written
                history.store.put_artifact(uuid7(), model(arguments[0]))
            elif action == "register":
                done = [t.number for t in history.study.trials if t.state is State.COMPLETED]
                if done:
                    history.register(done[arguments[0] % len(done)])
            elif action == "best":
                history.study.keep_models(arguments[0])
                check_best(history, arguments[0])
            elif action == "age":
                history.age()
            else:
                collect(history.store, older_than=arguments[0])
            check_all_is_there(history)
        history.age()
        collect(history.store)
        check_all_is_there(history)
        recorded = {a.path for a in history.study.artifacts()}
        recorded |= set(all_paths(history))
        kept = {
            p.parent.relative_to(history.store.artifact_root).as_posix() for p in files(history)
        }
        assert kept <= recorded, "what nothing names is gone after a day"
    finally:
        shutil.rmtree(folder)


def check_best(history: History, k: int) -> None:
    """The best k trials and those that run have all that they kept."""
    trials = [t for t in history.study.trials if t.state is State.COMPLETED]
    best = sorted(trials, key=lambda t: (t.values[0], t.number))[:k]
    kept = {history.study.runs(t.number)[0].uid for t in best}
    found = {a.run for a in history.study.artifacts()}
    running = {r.uid for r in history.study.runs() if r.state is State.RUNNING}
    registered = {
        v.run for n in Registry(history.store).models() for v in Registry(history.store).versions(n)
    }
    assert found <= kept | running | registered


def test_only_models_of_the_best_trials_are_kept(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(6):
        history.trial(float(number), [number])
    history.register(5)
    running = history.trial(None, [99])
    history.age()
    assert history.study.keep_models(2) == 3
    dry = collect(history.store, dry_run=True)
    assert len(files(history)) == 7
    assert collect(history.store) == dry
    assert (dry.artifacts, dry.size) == (3, 3)
    kept = {a.run for a in history.study.artifacts()}
    assert kept == {history.study.runs(n)[0].uid for n in (0, 1, 5)} | {running.uid}
    assert len(files(history)) == 4


def test_the_deprecated_function_works_and_names_its_replacement(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(3):
        history.trial(float(number), [number])
    with pytest.warns(DeprecationWarning, match="study.keep_models"):
        forgotten = keep_best(history.study, 1)
    assert forgotten == 2
    assert history.study.keep_models(1) == 0


def test_artifacts_replaced_by_their_run_are_freed(tmp_path: Path) -> None:
    history = History(tmp_path)
    runs = [history.trial(1.0, [1, 2, 3]), history.trial(None, [4, 5, 4])]
    shared = history.trial(2.0, [1])
    history.register(0)
    best = history.study.artifacts(runs[0].uid)
    later = history.store.put_artifact(runs[0].uid, model(6))
    history.store.write(history.study.info.uid, Batch(artifacts=[later]))
    assert collect(history.store).artifacts == 0, "they are new"
    history.age()
    before = all_paths(history)
    dry = collect(history.store, dry_run=True)
    assert (dry.artifacts, dry.size) == (3, 3), "of 2, 4 and 5; 1 is another run's, 3 a version's"
    assert all_paths(history) == before
    assert collect(history.store) == dry
    assert len(files(history)) == 4
    check_all_is_there(history)
    assert history.store.read_artifact(best[0]) == {"model.json": b"3"}
    assert history.store.read_artifact(history.study.artifacts(shared.uid)[0])
    assert list(maintenance.check(tmp_path)) == []
    assert collect(history.store).artifacts == 0


def test_content_saved_again_is_the_latest_after_a_collection(
    tmp_path: Path,
) -> None:
    history = History(tmp_path)
    run = history.trial(None, [1, 2, 1])
    for content in (2, 1, 1, 3, 1):
        history.age()
        collect(history.store)
        store = open_store(tmp_path)  # one that remembers nothing
        kept = store.put_artifact(run.uid, model(content))
        store.write(history.study.info.uid, Batch(artifacts=[kept]))
        (latest,) = history.study.artifacts(run.uid)
        assert store.read_artifact(latest) == {"model.json": b"%d" % content}


def test_kept_models_are_the_latest_of_the_last_attempt(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(3):
        history.trial(float(number), [10 * number, 10 * number + 1])
    failed = Run(uuid7(), 0, attempt=0, state=State.FAILED)
    lost = history.store.put_artifact(failed.uid, model(99))
    history.store.write(history.study.info.uid, Batch(runs=[failed], artifacts=[lost]))
    assert history.study.keep_models(1) == 3, "two of other trials, and one of another attempt"
    assert history.study.keep_models(1) == 0
    history.age()
    collect(history.store)
    assert [file.read_text() for file in files(history)] == ["1"]


def test_a_search_that_saves_a_model_each_epoch_keeps_one(tmp_path: Path) -> None:
    def objective(params, trial):
        for epoch in range(5):
            (tmp_path / "best.bin").write_bytes(bytes([trial.number, epoch]) * 1000)
            trial.log_artifact(tmp_path / "best.bin")
            trial.log_model({"x": params["x"], "epoch": epoch})
        return params["x"]

    study = tuner.optimize(
        objective, {"x": Float(0, 1)}, n_trials=3, keep_models=1, backend="serial", seed=0,
        store=tmp_path, progress=False,
    )  # fmt: skip
    done = collect(study.store, older_than=0.0, now=time.time() + 1)
    assert done.artifacts == 3 * 4 + 3 * 5 - 1
    kept = [p for p in study.store.artifact_root.rglob("*") if p.is_file()]
    assert sorted(p.name for p in kept) == ["best.bin"] * 3 + ["model.json"]
    assert sum(p.stat().st_size for p in kept) == sum(a.size for a in study.artifacts())
    assert tuner.load_model(study.name, store=tmp_path)["epoch"] == 4


def test_artifacts_of_a_running_trial_are_kept(tmp_path: Path) -> None:
    history = History(tmp_path)
    running, _ = history.trial(None, [1]), history.trial(0.0, [2])
    assert forget_models(history.store, history.study.info.uid, kept=()) == 1
    assert [a.run for a in history.study.artifacts()] == [running.uid]


@pytest.mark.slow
def test_content_saved_again_during_a_collection_is_kept(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.store.put_artifact(uuid7(), model(1))
    with ThreadPoolExecutor(2) as pool:
        for _ in range(100):
            history.age()
            writers = [pool.submit(history.store.put_artifact, uuid7(), model(1)) for _ in "ab"]
            collect(history.store)
            for writer in writers:
                assert history.store.read_artifact(writer.result()) == {"model.json": b"1"}


@pytest.mark.slow
def test_concurrent_writers_of_one_content_both_find_it(tmp_path: Path) -> None:
    history = History(tmp_path)

    def keep() -> bool:
        kept = history.store.put_artifact(uuid7(), model(1))
        return history.store.read_artifact(kept) == {"model.json": b"1"}

    with ThreadPoolExecutor(4) as pool:
        for _ in range(50):
            assert all(each.result() for each in [pool.submit(keep) for _ in range(4)])
            shutil.rmtree(tmp_path / "artifacts")


def test_retention_works_on_postgresql(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path))
    history = History(new_database())
    for number in range(4):
        history.trial(float(number), [number, 7, number])
    history.register(3)
    history.age()
    assert history.study.keep_models(1) > 0
    collect(history.store)
    check_all_is_there(history)
    assert {a.run for a in history.study.artifacts()} == {
        history.study.runs(n)[0].uid for n in (0, 3)
    }
    history.trial(None, [4, 5, 4])
    history.age()
    dry = collect(history.store, dry_run=True)
    assert (dry.artifacts, collect(history.store)) == (2, dry)
    check_all_is_there(history)
    history.store.close()


def test_recent_files_are_kept_by_default(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.store.put_artifact(uuid7(), model(1))
    assert collect(history.store).artifacts == 0
    assert collect(history.store, older_than=0.0, now=time.time() + 1).artifacts == 1


def test_saving_content_again_renews_its_age(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.store.put_artifact(uuid7(), model(1))
    history.age()
    again = history.store.put_artifact(uuid7(), model(1))
    assert collect(history.store).artifacts == 0
    assert history.store.read_artifact(again)


def test_artifacts_other_than_models_and_foreign_files_are_kept(tmp_path: Path) -> None:
    history = History(tmp_path)
    run = history.trial(1.0, [])
    history.trial(0.0, [])
    plot = history.store.put_artifact(run.uid, Upload("plot", {"a.png": b"1"}))
    history.store.write(history.study.info.uid, Batch(artifacts=[plot]))
    mine = history.store.artifact_root / "mine.txt"
    mine.write_text("1")
    (history.store.artifact_root / "checkpoints").mkdir()
    history.age()
    history.study.keep_models(1)
    assert collect(history.store).artifacts == 0
    assert mine.exists()


def test_optimize_keeps_the_models_of_the_best(tmp_path: Path) -> None:
    def objective(params, trial):
        trial.log_model({"x": params["x"]}, format="json")
        return params["x"]

    study = tuner.optimize(
        objective,
        {"x": Float(0, 1)},
        n_trials=6,
        keep_models=2,
        backend="serial",
        optimizer="random",
        store=tmp_path,
        progress=False,
        seed=0,
    )
    kept = sorted(t.values[0] for t in study.trials)[:2]
    models = [a for a in study.artifacts() if a.kind == "model"]
    values = {run.uid: study.trials[run.trial].value for run in study.runs()}
    assert sorted(values[a.run] for a in models) == kept


@given(st.lists(st.sampled_from(["..", ".", "", "a", "/", "\x00", "~", "b c"]), max_size=5))
@settings(max_examples=examples(60), deadline=None)
def test_no_path_leads_out_of_the_root(parts: list[str]) -> None:
    path = "/".join(parts)
    folder = Path(tempfile.mkdtemp())
    try:
        store = open_store(folder / "inside" / "store")
        outside = set(folder.rglob("*"))
        try:
            artifact = store.put_artifact("../../evil", Upload(path, {path: b"1"}))
        except ArgumentError:
            assert set(folder.rglob("*")) == outside
            return
        written = [p for p in folder.rglob("*") if p.is_file()]
        assert all(p.resolve().is_relative_to(store.artifact_root.resolve()) for p in written)
        assert store.read_artifact(artifact) == {path: b"1"}
    finally:
        shutil.rmtree(folder)
