"""Conformance tests for deleting, renaming and archiving studies, and deleting artifacts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Delete, Table, select

from conformance.leases import ANOTHER, ELSEWHERE, LONG
from conformance.stores import contents, finished, study
from tuner.errors import ArgumentError, RegistryError, StudyBusy, StudyExists, StudyNotFound
from tuner.records import Code, Environment, Goal, Report, Run, State, StudyInfo, Trial, Upload
from tuner.registry import Registry
from tuner.tracking import Batch, Store, open_store, schema
from tuner.tracking.edits import archive_study, delete_artifacts, delete_study, rename_study
from tuner.tracking.uuid7 import uuid7


def completed(store: Store, info: StudyInfo, number: int, *names: str) -> Run:
    """Record a trial with two runs, reports and artifacts; return the run with its outcome."""
    code = store.put_code(Code("a", objective=info.name))
    environment = store.put_environment(Environment("3", info.name, {"numpy": "2"}))
    lost = Run(uuid7(), number, state=State.FAILED, code=code, environment=environment)
    run = replace(lost, uid=uuid7(), attempt=2, state=State.COMPLETED)
    artifacts = [store.put_artifact(run.uid, Upload(n, {"f": n.encode()}, "model")) for n in names]
    reports = [(r.uid, Report(step, {"value": 1.0})) for r in (lost, run) for step in (0, 1)]
    store.write(info.uid, Batch([finished(number)], [lost, run], reports, artifacts))
    store.pack_metrics(info.uid, [lost.uid])
    return run


def register(store: Store, info: StudyInfo, run: Run, name: str = "m", artifact: str = "") -> int:
    """Register a run, with one of its artifacts if named; return the version."""
    kept = {a.name: a for a in store.artifacts(info.uid, run.uid)}
    trial = next(t for t in store.trials(info.uid) if t.number == run.trial)
    version = Registry(store).register(
        name, study=info, trial=trial, run=run, artifact=kept.get(artifact), goal=Goal(), value=1.0
    )
    return version.version


def everything(store: Store) -> dict[str, list[str]]:
    """Return every row of every table."""
    with store.reading() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in schema.metadata.sorted_tables
        }


def sizes(store: Store) -> dict[str, int]:
    """Return the number of rows of every table that belongs to studies."""
    names = ("trials", "runs", "reports", "curves", "artifacts")
    return {name: len(rows) for name, rows in everything(store).items() if name in names}


class TidyingConformance:
    """Subclass it with a `store` fixture that gives an empty store."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    # --- deleting -----------------------------------------------------------------------------

    def test_deletion_removes_the_rows_of_one_study_only(self, store: Store) -> None:
        other = study(store, "other")
        completed(store, other, 0, "model")
        before, sizes_before = contents(store, other.uid), sizes(store)
        info = study(store)
        for number in range(3):
            completed(store, info, number, "model", "plot")
        assert delete_study(store, info.uid) == []
        assert store.find_study("study") is None
        assert list(store.studies()) == [other]
        assert contents(store, info.uid) == [[], [], [], []]
        assert contents(store, other.uid) == before
        assert sizes(store) == sizes_before

    def test_no_description_of_a_deleted_study_is_left(self, store: Store) -> None:
        info = StudyInfo(
            uuid7(), "secret-name", {}, "secret-fingerprint", (Goal(),), 1, 1.5,
            optimizer={"name": "secret-optimizer"}, data="secret-data", user="secret-user",
            tags={"a": "secret-tag"}, notes={"b": "secret-note"},
            warm_start_trials=(Trial(-1, {"x": "secret-point"}, State.COMPLETED, (1.0,)),),
        )  # fmt: skip
        store.create_study(info)
        delete_study(store, info.uid)
        assert "secret" not in str(everything(store))

    def test_the_name_of_a_deleted_study_is_free(self, store: Store) -> None:
        for _ in range(3):
            info = study(store)
            store.write(info.uid, Batch([finished(0)]))
            delete_study(store, info.uid)
        again = study(store)
        assert again.uid != info.uid
        assert list(store.trials(again.uid)) == []

    def test_a_running_study_cannot_be_deleted(self, store: Store) -> None:
        info = study(store)
        lease = store.acquire_lease(info, ELSEWHERE, LONG)
        store.write(info.uid, Batch([finished(0)]), lease)
        before = everything(store)
        with pytest.raises(StudyBusy, match="'study' is run by process 4711 on elsewhere"):
            delete_study(store, info.uid)
        with pytest.raises(StudyBusy, match="'study' is run by process 4711 on elsewhere"):
            rename_study(store, info.uid, "new")
        assert everything(store) == before
        store.release_lease(lease)
        delete_study(store, info.uid)
        assert store.find_study("study") is None

    def test_a_driver_that_lost_its_lease_writes_nothing_into_a_deleted_study(
        self, store: Store
    ) -> None:
        info = study(store)
        lease = store.acquire_lease(info, ELSEWHERE, 0.0)
        delete_study(store, info.uid)
        # A new study whose first driver has the same epoch.
        new = study(store)
        store.acquire_lease(new, ANOTHER, LONG)
        before = everything(store)
        for batch in (Batch([finished(0)]), Batch()):
            with pytest.raises(StudyNotFound, match="was deleted"):
                store.write(info.uid, batch, lease)
        store.release_lease(lease)
        assert everything(store) == before

    @pytest.mark.parametrize("renamed", [True, False])
    def test_no_process_that_knows_a_deleted_study_writes_to_it(
        self, store: Store, renamed: bool
    ) -> None:
        info = study(store)
        run = completed(store, info, 0, "model")
        if renamed:
            rename_study(store, info.uid, "new")
        deleting = open_store(store.url)
        delete_study(deleting, info.uid)
        study(deleting)
        before = everything(store)
        late = Batch([finished(1)], [Run(uuid7(), 1)])
        for call in (
            lambda: store.write(info.uid, late),
            lambda: store.write(info.uid, Batch(reports=[(run.uid, Report(5, {"value": 1.0}))])),
            lambda: store.write_if_epoch(info.uid, late, 0, ELSEWHERE),
            lambda: store.write_on(info.uid, 0, {}, ELSEWHERE, lambda _: late),
            lambda: store.acquire_lease(info, ELSEWHERE, LONG),
            lambda: store.create_study(info),
            lambda: store.update_study(info),
            lambda: store.study_epoch(info.uid),
            lambda: rename_study(store, info.uid, "other"),
            lambda: archive_study(store, info.uid, archived=True),
            lambda: delete_artifacts(store, info.uid, 0),
            lambda: delete_study(store, info.uid),
        ):
            with pytest.raises(StudyNotFound, match=r"deleted|no study"):
                call()
            assert everything(store) == before
        deleting.close()

    def test_one_of_several_concurrent_deletions_succeeds(self, store: Store) -> None:
        info = study(store)
        for number in range(20):
            completed(store, info, number)

        def attempt(_: int) -> bool:
            with suppress(StudyNotFound):
                delete_study(store, info.uid)
                return True
            return False

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(attempt, range(4))) == 1
        assert set(sizes(store).values()) == {0}

    def test_a_failed_deletion_deletes_nothing(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tuner.tracking import edits

        info = study(store)
        completed(store, info, 0, "model")
        before = everything(store)
        whole = edits.delete
        for name in ("artifacts", "runs", "trials"):

            def fail(table: Table, name: str = name) -> Delete:
                if table.name == name:
                    raise KeyboardInterrupt  # as if the process ended
                return whole(table)

            with monkeypatch.context() as patch:
                patch.setattr(edits, "delete", fail)
                with pytest.raises(KeyboardInterrupt):
                    delete_study(store, info.uid)
            assert everything(store) == before
        delete_study(store, info.uid)
        assert store.find_study("study") is None

    # --- models -------------------------------------------------------------------------------

    def test_records_of_a_registered_version_are_kept(self, store: Store) -> None:
        info = study(store)
        registry = Registry(store)
        for number in range(3):
            run = completed(store, info, number, "model", "plot")
        register(store, info, run, artifact="model")
        code, environment = store.get_code(run.code), store.get_environment(run.environment)
        trial = list(store.trials(info.uid))[-1]
        reports = [pair for pair in store.reports(info.uid) if pair[0] == run.uid]
        assert delete_study(store, info.uid) == ["m@1"]
        assert store.find_study("study") is None
        assert list(store.studies()) == []
        version = registry.get("m")
        rest = store.find_study(version.study)
        assert rest is not None
        assert (rest.uid, rest.deleted is None) == (info.uid, False)
        assert list(store.trials(info.uid)) == [trial]
        assert list(store.runs(info.uid)) == [run]
        assert list(store.reports(info.uid)) == reports
        assert [a.name for a in store.artifacts(info.uid)] == ["model"]
        assert version.artifact is not None
        assert store.read_artifact(version.artifact) == {"f": b"model"}
        assert store.get_code(version.code) == code
        assert store.get_environment(version.environment) == environment

    def test_records_are_deleted_with_the_last_version_that_needs_them(self, store: Store) -> None:
        info = study(store)
        run = completed(store, info, 0, "model")
        for name in ("m", "other"):
            register(store, info, run, name, "model")
        delete_study(store, info.uid)
        registry = Registry(store)
        registry.delete_version("m", 1, force=True)
        assert sizes(store)["runs"] == 1
        registry.delete_model("other", force=True)
        assert set(sizes(store).values()) == {0}
        assert "'study'" not in str(everything(store)["studies"])

    def test_a_registered_configuration_keeps_only_its_run(self, store: Store) -> None:
        info = study(store)
        run = completed(store, info, 0, "plot")
        register(store, info, run)
        assert delete_study(store, info.uid) == ["m@1"]
        assert list(store.runs(info.uid)) == [run]
        assert list(store.artifacts(info.uid)) == []

    def test_concurrent_deletion_and_registration_are_atomic(self, store: Store) -> None:
        registry = Registry(store)
        for attempt in range(10):
            info = study(store, f"study-{attempt}")
            run = completed(store, info, 0, "model")
            (artifact,) = store.artifacts(info.uid)
            wanted = {"study": info, "trial": finished(0), "run": run, "artifact": artifact}

            def make(attempt: int = attempt, wanted: dict[str, Any] = wanted) -> bool:
                with suppress(RegistryError):
                    registry.register(f"m{attempt}", **wanted, goal=Goal(), value=1.0)
                    return True
                return False

            with ThreadPoolExecutor(2) as pool:
                deleted = pool.submit(delete_study, store, info.uid)
                made = pool.submit(make).result()
            assert deleted.result() == ([f"m{attempt}@1"] if made else [])
            if made:
                version = registry.get(f"m{attempt}")
                assert version.artifact is not None
                assert store.read_artifact(version.artifact) == {"f": b"model"}
                assert [r.uid for r in store.runs(info.uid)] == [run.uid]

    # --- renaming -----------------------------------------------------------------------------

    def test_a_renamed_study_keeps_everything_else(self, store: Store) -> None:
        info = study(store)
        run = completed(store, info, 0, "model")
        register(store, info, run, artifact="model")
        before = contents(store, info.uid)
        rename_study(store, info.uid, "new")
        assert store.find_study("study") is None
        assert store.find_study("new") == replace(info, name="new")
        assert contents(store, info.uid) == before
        assert Registry(store).get("m").study == "new"

    def test_a_name_that_is_taken_is_refused(self, store: Store) -> None:
        info, other = study(store), study(store, "other")
        with pytest.raises(StudyExists, match="'other' exists"):
            rename_study(store, info.uid, "other")
        rename_study(store, info.uid, "study")
        assert [i.name for i in store.studies()] == ["study", "other"]
        delete_study(store, other.uid)
        rename_study(store, info.uid, "other")
        assert [i.name for i in store.studies()] == ["other"]

    def test_one_of_several_concurrent_renames_succeeds(self, store: Store) -> None:
        infos = [study(store, name) for name in "abcd"]

        def attempt(info: StudyInfo) -> bool:
            with suppress(StudyExists):
                rename_study(store, info.uid, "e")
                return True
            return False

        with ThreadPoolExecutor(4) as pool:
            made = pool.submit(study, store, "e")
            renamed = sum(pool.map(attempt, infos))
        created = made.result() not in [replace(info, name="e") for info in infos]
        assert renamed + created == 1
        assert len([i for i in store.studies() if i.name == "e"]) == 1

    def test_a_loaded_study_works_after_it_was_renamed(self, store: Store) -> None:
        info = study(store)
        store.write(info.uid, Batch([finished(0)]))
        rename_study(store, info.uid, "new")
        other = study(store)  # of the former name
        store.write(info.uid, Batch([finished(1)]))
        lease = store.acquire_lease(info, ELSEWHERE, LONG)
        store.write(info.uid, Batch([finished(2)]), lease)
        assert store.create_study(info).name == "new"
        assert [t.number for t in store.trials(info.uid)] == [0, 1, 2]
        assert list(store.trials(other.uid)) == []

    # --- archiving ----------------------------------------------------------------------------

    def test_a_study_is_archived_and_shown_again(self, store: Store) -> None:
        info = study(store)
        since = archive_study(store, info.uid, archived=True)
        assert since is not None
        assert archive_study(store, info.uid, archived=True) == since
        assert store.find_study("study") == replace(info, archived=since)
        store.write(info.uid, Batch([finished(0)]))
        assert archive_study(store, info.uid, archived=False) is None
        assert store.find_study("study") == info

    # --- artifacts ----------------------------------------------------------------------------

    def test_artifacts_of_a_trial_are_deleted_except_those_of_versions(self, store: Store) -> None:
        info = study(store)
        run, other = completed(store, info, 0, "a", "b", "c"), completed(store, info, 1, "a")
        register(store, info, run, artifact="b")
        assert [a.name for a in delete_artifacts(store, info.uid, 0, ["a"])] == ["a"]
        assert [a.name for a in store.artifacts(info.uid, run.uid)] == ["b", "c"]
        assert [a.name for a in delete_artifacts(store, info.uid, 0)] == ["c"]
        assert delete_artifacts(store, info.uid, 0) == []
        assert [a.name for a in store.artifacts(info.uid)] == ["b", "a"]
        assert len(list(store.runs(info.uid, other.trial))) == 2

    def test_every_content_of_a_name_is_deleted(self, store: Store) -> None:
        info = study(store)
        run = completed(store, info, 0, "a")
        for content in (b"2", b"3"):
            newer = store.put_artifact(run.uid, Upload("a", {"f": content}))
            store.write(info.uid, Batch(artifacts=[newer]))
        assert len(delete_artifacts(store, info.uid, 0, ["a"])) == 3
        assert list(store.artifacts(info.uid)) == []

    def test_missing_artifacts_and_artifacts_of_running_trials_are_refused(
        self, store: Store
    ) -> None:
        info = study(store)
        completed(store, info, 0, "a")
        store.write(info.uid, Batch([Trial(1, {}, State.RUNNING)]))
        with pytest.raises(ArgumentError, match="no 'b'; it has 'a'"):
            delete_artifacts(store, info.uid, 0, ["a", "b"])
        with pytest.raises(ArgumentError, match="trial 1 is running"):
            delete_artifacts(store, info.uid, 1)
        with pytest.raises(ArgumentError, match="no trial 2"):
            delete_artifacts(store, info.uid, 2)
        assert len(list(store.artifacts(info.uid))) == 1

    # --- versions -----------------------------------------------------------------------------

    def test_the_number_of_a_deleted_version_is_not_reused(self, store: Store) -> None:
        info = study(store)
        runs = [completed(store, info, number, "model") for number in range(4)]
        registry = Registry(store)
        assert [register(store, info, run) for run in runs[:3]] == [1, 2, 3]
        registry.delete_version("m", 3)
        registry.delete_version("m", 2)
        assert register(store, info, runs[3]) == 4
        registry.delete_model("m", force=True)
        assert register(store, info, runs[0]) == 1
