"""Conformance tests for `Store`; subclass `StoreConformance` with a `store` fixture."""

from __future__ import annotations

import math
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance import record_strategies as records
from conformance.record_strategies import exact, exact_all
from support.effort import examples
from support.forks import new_processes
from support.store_writers import BATCH, finished, write_trials, write_until_killed
from tuner.errors import ArgumentError, ChecksumMismatch, StoreError
from tuner.records import (
    Code,
    Direction,
    Environment,
    Failure,
    Goal,
    Report,
    Run,
    State,
    StudyInfo,
    Trial,
    Upload,
)
from tuner.tracking import Batch, Store, open_store
from tuner.tracking.uuid7 import uuid7

# Each example has its own study, so the store may be shared by them. The subclasses share the
# tests, so an example that failed for one must not be tried on another in its place.
shared = settings(
    deadline=None,
    max_examples=examples(60),
    database=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
        HealthCheck.too_slow,
    ],
)


def study(store: Store, name: str = "study") -> StudyInfo:
    """Record a study without a space, whose params may be anything."""
    info = StudyInfo(uuid7(), name, {}, "0", (Goal(),), 1, 1.5)
    return store.create_study(info)


def contents(store: Store, uid: str) -> list[list[str]]:
    """Return all records of a study in a store."""
    return [
        exact_all(store.trials(uid)),
        exact_all(store.runs(uid)),
        [f"{run} {exact(report)}" for run, report in store.reports(uid)],
        exact_all(store.artifacts(uid)),
    ]


class StoreConformance:
    """The contract of `Store`."""

    @pytest.fixture
    def store(self) -> Store:
        """Give an empty store, which `open_store(store.url)` opens in another process, too."""
        raise NotImplementedError

    # --- studies ------------------------------------------------------------------------------

    def test_an_empty_store_reads_as_empty(self, store: Store) -> None:
        assert list(store.studies()) == []
        assert store.find_study("study") is None
        assert contents(store, uuid7()) == [[], [], [], []]

    def test_a_study_is_found_by_its_name(self, store: Store) -> None:
        info = study(store)
        assert store.find_study("study") == info
        assert store.find_study("Study") is None

    def test_the_first_study_of_a_name_stays(self, store: Store) -> None:
        info = study(store)
        assert store.create_study(replace(info, uid=uuid7(), seed=2)) == info
        assert list(store.studies()) == [info]

    def test_studies_come_oldest_first(self, store: Store) -> None:
        names = ["b", "a", "c"]
        for name in names:
            study(store, name)
        assert [info.name for info in store.studies()] == names

    def test_only_mutable_fields_of_a_study_change(self, store: Store) -> None:
        info = study(store)
        changed = replace(info, optimizer={"name": "tpe"}, data="d", tags={"a": "b"})
        store.update_study(replace(changed, seed=7, fingerprint="other"))
        assert store.find_study("study") == changed

    def test_an_unknown_study_cannot_be_updated_or_written(self, store: Store) -> None:
        info = study(store)
        with pytest.raises(LookupError, match="no study"):
            store.update_study(replace(info, uid=uuid7()))
        with pytest.raises(LookupError, match="no study"):
            store.write(uuid7(), Batch(trials=[finished(0)]))

    @shared
    @given(info=records.studies)
    def test_studies_round_trip(self, store: Store, info: StudyInfo) -> None:
        assert exact(store.create_study(info)) == exact(info)
        found = store.find_study(info.name)
        assert found is not None
        assert exact(found) == exact(info)

    # --- trials, runs, reports ----------------------------------------------------------------

    @shared
    @given(data=st.data())
    def test_a_batch_round_trips_and_may_be_written_twice(
        self, store: Store, data: st.DataObject
    ) -> None:
        info = store.create_study(data.draw(records.studies))
        code = store.put_code(data.draw(records.codes))
        environment = store.put_environment(data.draw(records.environments))
        trial = data.draw(records.trials)
        run = data.draw(records.runs_of(trial, code, environment))
        report = data.draw(records.reports)
        artifact = data.draw(records.artifacts_of(run))
        batch = Batch([trial], [run], [(run.uid, report)], [artifact])
        store.write(info.uid, batch)
        written = contents(store, info.uid)
        assert written == [
            [exact(trial)],
            [exact(run)],
            [f"{run.uid} {exact(report)}"],
            [exact(artifact)],
        ]
        store.write(info.uid, batch)
        assert contents(store, info.uid) == written

    @shared
    @given(code=records.codes, environment=records.environments)
    def test_code_and_environment_are_kept_once(
        self, store: Store, code: Code, environment: Environment
    ) -> None:
        key = store.put_code(code)
        assert store.put_code(code) == key
        assert store.get_code(key) == code
        key = store.put_environment(environment)
        assert store.put_environment(environment) == key
        assert store.get_environment(key) == environment

    def test_an_unknown_key_is_an_error(self, store: Store) -> None:
        with pytest.raises(StoreError, match="codes"):
            store.get_code("0" * 32)
        with pytest.raises(StoreError, match="environments"):
            store.get_environment("0" * 32)

    def test_trials_are_yielded_by_number_and_filtered_by_state(self, store: Store) -> None:
        info = study(store)
        trials = [finished(2), Trial(0, {}, State.RUNNING), Trial(1, {}, State.FAILED)]
        store.write(info.uid, Batch(trials=trials))
        assert [t.number for t in store.trials(info.uid)] == [0, 1, 2]
        states = [State.RUNNING, State.FAILED]
        assert [t.number for t in store.trials(info.uid, states)] == [0, 1]
        assert list(store.trials(info.uid, [])) == []

    def test_studies_are_separate(self, store: Store) -> None:
        one, other = study(store, "one"), study(store, "other")
        run = Run(uuid7(), 0)
        batch = Batch([finished(0)], [run], [(run.uid, Report(0, {"a": 1.0}))])
        store.write(one.uid, batch)
        store.write(other.uid, Batch(trials=[finished(0, 2.0)]))
        assert [t.value for t in store.trials(one.uid)] == [1.0]
        assert [t.value for t in store.trials(other.uid)] == [2.0]
        assert contents(store, other.uid)[1:] == [[], [], []]

    @pytest.mark.parametrize("state", [State.COMPLETED, State.STOPPED, State.FAILED])
    @pytest.mark.parametrize("together", [True, False])
    def test_a_finished_trial_or_run_never_changes(
        self, store: Store, state: State, together: bool
    ) -> None:
        info = study(store)
        error = Failure("ValueError", "no") if state is State.FAILED else None
        trial = Trial(0, {"x": 1}, state, (0.5,), {"value": 0.5}, error, attempts=1)
        run = Run(uuid7(), 0, state=state, metrics={"value": 0.5}, error=error, output="end")
        later = [
            (replace(trial, state=State.RUNNING), replace(run, state=State.RUNNING, output="")),
            (finished(0, 9.0), replace(run, state=State.COMPLETED, metrics={"value": 9.0})),
            (replace(trial, state=State.FAILED), replace(run, state=State.FAILED)),
        ]
        if together:
            trials, runs = zip(*[(trial, run), *later], strict=True)
            store.write(info.uid, Batch(list(trials), list(runs)))
        else:
            for t, r in [(trial, run), *later]:
                store.write(info.uid, Batch([t], [r]))
        assert list(store.trials(info.uid)) == [trial]
        assert list(store.runs(info.uid)) == [run]

    def test_open_trials_and_runs_can_change(self, store: Store) -> None:
        info = study(store)
        run = Run(uuid7(), 0)
        for state in (State.WAITING, State.RUNNING, State.WAITING, State.COMPLETED):
            trial, run = Trial(0, {"x": 1}, state), replace(run, state=state)
            store.write(info.uid, Batch([trial], [run]))
            assert list(store.trials(info.uid)) == [trial]
            assert list(store.runs(info.uid)) == [run]

    def test_runs_and_reports_come_in_order(self, store: Store) -> None:
        info = study(store)
        trials = [Trial(n, {}, State.RUNNING) for n in range(3)]
        runs = [Run(uuid7(), n, attempt) for n in (2, 0) for attempt in (2, 1)]
        reports = [
            (run.uid, Report(step, {"b": step + 0.5, "a": 1.0}))
            for run in runs
            for step in (10, 2, 0)
        ]
        store.write(info.uid, Batch(trials, runs, reports))
        by_trial = [runs[3], runs[2], runs[1], runs[0]]
        assert list(store.runs(info.uid)) == by_trial
        assert list(store.runs(info.uid, 2)) == [runs[1], runs[0]]
        assert list(store.runs(info.uid, 1)) == []
        expected = [
            (run.uid, Report(step, {"a": 1.0, "b": step + 0.5}))
            for run in by_trial
            for step in (0, 2, 10)
        ]
        assert list(store.reports(info.uid)) == expected
        assert list(store.reports(info.uid, 0)) == expected[:6]

    def test_later_metrics_of_a_step_are_merged(self, store: Store) -> None:
        info, run = study(store), Run(uuid7(), 0)
        store.write(
            info.uid, Batch([finished(0)], [run], [(run.uid, Report(3, {"a": 1.0, "b": 1.0}))])
        )
        store.write(info.uid, Batch(reports=[(run.uid, Report(3, {"c": math.inf, "b": 2.0}))]))
        joined = Report(3, {"a": 1.0, "b": 2.0, "c": math.inf})
        assert list(store.reports(info.uid)) == [(run.uid, joined)]

    def test_a_large_output_round_trips(self, store: Store) -> None:
        info = study(store)
        run = Run(uuid7(), 0, output="line \x00 ☃\n" * 200_000)
        store.write(info.uid, Batch([finished(0)], [run]))
        assert list(store.runs(info.uid)) == [run]

    def test_a_batch_may_be_large(self, store: Store) -> None:
        info = study(store)
        runs = [Run(uuid7(), n, state=State.COMPLETED) for n in range(1200)]
        reports = [(run.uid, Report(0, {f"m{run.trial}": 0.5})) for run in runs]
        store.write(info.uid, Batch([finished(n) for n in range(1200)], runs, reports))
        assert list(store.runs(info.uid)) == runs
        assert list(store.reports(info.uid)) == reports

    def test_a_batch_is_atomic(self, store: Store) -> None:
        info, run = study(store), Run(uuid7(), 0)
        for wrong in (
            Batch([finished(0)], [run], [(uuid7(), Report(0, {"a": 1.0}))]),
            Batch([finished(0)], [run, Run(uuid7(), 7)]),
            Batch([finished(0)], [run, Run(uuid7(), 0, code="unknown")]),
            Batch([finished(0)], [run], [(run.uid, Report(2**70, {"a": 1.0}))]),
            Batch([replace(finished(0), notes={"a": object()})], [run]),
        ):
            with pytest.raises(StoreError):
                store.write(info.uid, wrong)
            assert contents(store, info.uid) == [[], [], [], []]
        store.write(info.uid, Batch([finished(0)], [run]))
        assert list(store.runs(info.uid)) == [run]

    # --- at the same time ---------------------------------------------------------------------

    def test_a_read_sees_one_snapshot(self, store: Store) -> None:
        info = study(store)
        store.write(info.uid, Batch(trials=[finished(n) for n in range(3000)]))
        stream = store.trials(info.uid)
        first = next(stream)
        store.write(info.uid, Batch(trials=[finished(n) for n in range(3000, 3500)]))
        assert len([first, *stream]) == 3000
        assert sum(1 for _ in store.trials(info.uid)) == 3500

    def test_threads_share_a_store(self, store: Store) -> None:
        info = study(store)

        def work(k: int) -> int:
            for n in range(k * 20, k * 20 + 20):
                store.write(info.uid, Batch(trials=[finished(n)]))
            return sum(1 for _ in store.trials(info.uid))

        with ThreadPoolExecutor(8) as pool:
            counts = list(pool.map(work, range(8)))
        assert all(count >= 20 for count in counts)
        assert [t.number for t in store.trials(info.uid)] == list(range(160))

    def test_two_processes_write_at_once(self, store: Store) -> None:
        info = study(store)
        context = new_processes()
        ready = context.Barrier(2)
        writers = [
            context.Process(target=write_trials, args=(store.url, info.uid, ready, float(k)))
            for k in (1, 2)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        assert [writer.exitcode for writer in writers] == [0, 0]
        trials = list(store.trials(info.uid))
        assert [t.number for t in trials] == list(range(300))
        # Both told every outcome; the one that came first stands, whole.
        assert all(t == finished(t.number, t.value or 0.0) for t in trials)
        assert len(list(store.runs(info.uid))) == 600

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="only a fork shares connections")
    def test_a_forked_child_has_its_own_connections(self, store: Store) -> None:
        info = study(store)
        store.write(info.uid, Batch(trials=[finished(0)]))

        def work(numbers: range) -> None:
            for n in numbers:
                store.write(info.uid, Batch(trials=[finished(n)]))
                assert n in {t.number for t in store.trials(info.uid)}

        child = os.fork()
        if child == 0:
            # Tells by its exit code, and must not run the parent's way out.
            code = 1
            with suppress(BaseException):
                work(range(1, 101))
                code = 0
            os._exit(code)
        work(range(101, 201))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert [t.number for t in store.trials(info.uid)] == list(range(201))

    def test_a_killed_writer_loses_no_committed_batch(self, store: Store) -> None:
        info = study(store)
        context = new_processes()
        acknowledged = 0
        for patience in (0.0, 0.05):
            ours, theirs = context.Pipe(duplex=False)
            writer = context.Process(
                target=write_until_killed, args=(store.url, info.uid, theirs, acknowledged)
            )
            writer.start()
            while acknowledged % 20 != 19:
                assert ours.poll(60)
                acknowledged = ours.recv()
            time.sleep(patience)
            assert writer.pid is not None
            os.kill(writer.pid, signal.SIGKILL)
            writer.join(60)
            while ours.poll():
                try:
                    acknowledged = ours.recv()
                except EOFError:
                    break
            numbers = [t.number for t in store.trials(info.uid)]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) % BATCH == 0
            # The committed batches, and at most one whose message was lost.
            assert len(numbers) // BATCH in (acknowledged, acknowledged + 1)
            assert len(list(store.runs(info.uid))) == len(numbers)
            acknowledged = len(numbers) // BATCH

    def test_a_closed_store_is_opened_again_by_its_url(self, store: Store) -> None:
        info = study(store)
        store.write(info.uid, Batch(trials=[finished(0)]))
        store.close()
        again = open_store(store.url)
        assert list(again.studies()) == [info]
        assert list(again.trials(info.uid)) == [finished(0)]
        assert again.artifact_root == store.artifact_root
        again.close()

    # --- artifacts ----------------------------------------------------------------------------

    def test_an_artifact_is_written_and_recorded(self, store: Store) -> None:
        info, run = study(store), Run(uuid7(), 0)
        upload = Upload("the model", {"a.txt": b"1", "deep/b.bin": bytes(range(256))}, "model", "f")
        artifact = store.put_artifact(run.uid, upload)
        store.write(info.uid, Batch([finished(0)], [run], artifacts=[artifact]))
        assert list(store.artifacts(info.uid)) == [artifact]
        assert list(store.artifacts(info.uid, run.uid)) == [artifact]
        assert list(store.artifacts(info.uid, uuid7())) == []
        assert (artifact.name, artifact.kind, artifact.format) == ("the model", "model", "f")
        assert artifact.size == 257
        folder = store.artifact_root / artifact.path
        assert (folder / "deep" / "b.bin").read_bytes() == bytes(range(256))

    def test_the_latest_artifact_of_a_name_is_yielded(self, store: Store) -> None:
        info, run = study(store), Run(uuid7(), 0)
        store.write(info.uid, Batch([finished(0)], [run]))
        for content in (b"1", b"2", b"2", b"1"):
            artifact = store.put_artifact(run.uid, Upload("a", {"f": content}))
            store.write(info.uid, Batch(artifacts=[artifact]))
            assert list(store.artifacts(info.uid)) == [artifact]
            assert (store.artifact_root / artifact.path / "f").read_bytes() == content

    @pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../up", "", "a//b", "a\x00"])
    def test_an_upload_stays_in_its_folder(self, store: Store, path: str) -> None:
        with pytest.raises(ArgumentError, match="relative path"):
            store.put_artifact(uuid7(), Upload("a", {path: b""}))

    def test_a_changed_artifact_is_detected(self, store: Store) -> None:
        artifact = store.put_artifact(uuid7(), Upload("a", {"f": b"12"}))
        assert store.read_artifact(artifact) == {"f": b"12"}
        (store.artifact_root / artifact.path / "f").write_bytes(b"13")
        with pytest.raises(ChecksumMismatch, match="'a'"):
            store.read_artifact(artifact)

    @pytest.mark.parametrize("direction", list(Direction))
    def test_the_best_trials_come_best_first(self, store: Store, direction: Direction) -> None:
        info = study(store)
        values = [3.0, -1.0, math.inf, 2.0, -1.0, 0.0]
        trials = [finished(n, value) for n, value in enumerate(values)]
        failed = Trial(6, {"x": 1.0}, State.FAILED, attempts=1)
        without = Trial(7, {"x": 1.0}, State.COMPLETED, (math.nan,), attempts=1)
        store.write(info.uid, Batch([*trials, failed, without]))
        expected = sorted(trials, key=lambda t: (direction.sign * t.values[0], t.number))
        assert list(store.best_trials(info.uid, direction)) == expected
        assert list(store.best_trials(uuid7(), direction)) == []
