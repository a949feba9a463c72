"""Studies that a real Optuna made, read from its database."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy import create_engine, inspect

import tuner
from tuner.errors import ForeignRecordError, MissingExtra, StudyExists, StudyMismatch
from tuner.integrations import import_optuna
from tuner.records import Direction, State
from tuner.search_spaces import Choice, Const, Float, Int

optuna.logging.set_verbosity(optuna.logging.ERROR)

STATES = {
    TrialState.COMPLETE: State.COMPLETED,
    TrialState.PRUNED: State.STOPPED,
    TrialState.FAIL: State.FAILED,
}


def conditional(trial: optuna.Trial) -> float:
    model = trial.suggest_categorical("model", ["svm", "forest"])
    rate = trial.suggest_float("opt.rate", 1e-4, 1, log=True)
    if model == "svm":
        trial.suggest_float("C", 0.1, 10, log=True)
        if trial.suggest_categorical("kernel", ["poly", "rbf"]) == "poly":
            trial.suggest_int("degree", 2, 5)
    else:
        for layer in range(trial.suggest_int("layers", 1, 3)):
            trial.suggest_int(f"units{layer}", 4, 128, step=4)
    trial.report(rate / 2, 0)
    trial.report(rate, 1)
    trial.set_user_attr("note", {"host": "a", "gpus": [0, 1]})
    if trial.number % 7 == 3:
        raise optuna.TrialPruned
    if trial.number % 9 == 4:
        raise ValueError("no luck")
    return rate


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'optuna.db'}"


def made(
    storage: str | JournalStorage, objective=conditional, n: int = 40, **options
) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(study_name="old", sampler=sampler, **options)
    study.optimize(objective, n_trials=n, catch=(ValueError,))
    # Its storage is slow; a copy has the same content.
    optuna.copy_study(from_study_name="old", from_storage=study._storage, to_storage=storage)
    return optuna.load_study(study_name="old", storage=storage)


def imported(storage: str, tmp_path: Path, **options) -> tuner.Study:
    [done] = import_optuna(storage, store=tmp_path / "store", **options)
    return done.study


def flat_by_optunas_names(params: dict) -> dict:
    """The values of a point by the last part of their names, without branches and switches."""
    flat = {}
    for name, value in params.items():
        if isinstance(value, tuple):
            option, inner = value
            if option == "set":
                inner, value = flat_by_optunas_names(inner), inner["value"]
                flat |= {k: v for k, v in inner.items() if k != "value"}
                flat[name] = value
            elif option != "unset":
                flat[name] = option
                flat |= flat_by_optunas_names(inner)
        else:
            flat[name] = value
    return flat


@pytest.mark.slow
def test_imported_trials_equal_those_of_optuna(storage: str, tmp_path: Path) -> None:
    theirs = made(storage, direction="maximize")
    theirs.set_user_attr("team", "vision")
    ours = imported(storage, tmp_path)
    assert ours.name == "old"
    assert ours.direction is Direction.MAXIMIZE
    assert ours.info.tags["team"] == "vision"
    reports = {t.number: [] for t in ours.trials}
    trial_of = {run.uid: run.trial for run in ours.runs()}
    for uid, report in ours.reports():
        reports[trial_of[uid]].append((report.step, report.metrics["value"]))
    assert len(ours.trials) == len(theirs.trials) == 40
    for our, their in zip(ours.trials, theirs.trials, strict=True):
        assert our.number == their.number
        assert our.state is STATES[their.state]
        expected = {k.replace(".", "_"): v for k, v in their.params.items()}
        if their.state is not TrialState.FAIL:
            assert flat_by_optunas_names(our.params) == expected
            assert our.value == their.value
        assert our.notes["user_attrs"] == their.user_attrs
        assert reports[our.number] == sorted(their.intermediate_values.items())
        assert our.started == their.datetime_start.timestamp()
        assert our.ended == their.datetime_complete.timestamp()
    assert ours.best_trial.number == theirs.best_trial.number


@pytest.mark.slow
def test_conditions_become_branches(storage: str, tmp_path: Path) -> None:
    made(storage)
    params = imported(storage, tmp_path).space.params
    model = params["model"]
    assert isinstance(model, Choice)
    assert list(params) == ["model", "opt_rate"]
    assert list(model.branches["svm"]) == ["C", "kernel"]
    assert model.branches["svm"]["kernel"].branches == {"poly": {"degree": Int(2, 5)}, "rbf": {}}
    forest = model.branches["forest"]
    assert forest["layers"] == Int(1, 3)
    assert forest["units0"] == Int(4, 128, step=4)
    # No categorical parameter decides on the second layer.
    assert forest["units1"] == Choice(unset={}, set={"value": Int(4, 128, step=4)})


@pytest.mark.slow
def test_a_second_import_changes_nothing(storage: str, tmp_path: Path) -> None:
    theirs = made(storage)
    first = imported(storage, tmp_path)
    before = (first.info, first.trials, first.runs(), first.reports())
    [again] = import_optuna(storage, store=tmp_path / "store")
    assert (again.added, again.known) == (0, 40)
    study = again.study
    assert (study.info, study.trials, study.runs(), study.reports()) == before
    theirs.optimize(conditional, n_trials=3, catch=(ValueError,))
    theirs.ask()
    [more] = import_optuna(storage, store=tmp_path / "store")
    assert (more.added, more.known, more.unfinished) == (3, 40, 1)


@pytest.mark.slow
def test_an_imported_study_can_be_continued(storage: str, tmp_path: Path) -> None:
    made(storage)
    study = imported(storage, tmp_path)
    trial = study.ask()
    assert trial.number == 40
    study.tell(trial, 0.5)
    grown = tuner.optimize(
        lambda params: params["opt_rate"],
        study.space,
        study="old",
        store=tmp_path / "store",
        n_trials=44,
        backend="serial",
        progress=False,
    )
    assert len(grown.trials) == 44
    assert len(grown.to_rows()) == 44
    grown.plot.slice(save=tmp_path / "slice.png")


@pytest.mark.slow
def test_a_study_continued_in_both_tools_is_refused(storage: str, tmp_path: Path) -> None:
    theirs = made(storage, n=5)
    study = imported(storage, tmp_path)
    study.tell(study.ask(), 0.5)
    theirs.optimize(conditional, n_trials=3, catch=(ValueError,))
    with pytest.raises(StudyMismatch, match="under another name"):
        import_optuna(storage, store=tmp_path / "store")
    assert len(imported(storage, tmp_path, name="anew").trials) == 8


@pytest.mark.slow
def test_several_goals_with_names_and_infinities(storage: str, tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1, step=0.1)
        return x, (math.inf if trial.number == 2 else -x)

    theirs = optuna.create_study(
        storage=storage, study_name="old", directions=["minimize", "maximize"]
    )
    theirs.set_metric_names(["loss", "accuracy"])
    theirs.optimize(objective, n_trials=6)
    ours = imported(storage, tmp_path)
    assert [(g.metric, g.direction) for g in ours.goals] == [
        ("loss", Direction.MINIMIZE),
        ("accuracy", Direction.MAXIMIZE),
    ]
    assert ours.space.params["x"] == Float(0, 1, step=0.1)
    assert ours.trials[2].state is State.FAILED
    assert ours.trials[2].metrics["accuracy"] == math.inf
    assert [t.values for t in ours.trials if t.number != 2] == [
        tuple(t.values) for t in theirs.trials if t.number != 2
    ]


def test_constraints_keep_their_values(storage: str, tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_int("x", 0, 10)
        trial.set_constraint("size", x - 5.0)
        return -x

    made(storage, objective, n=12)
    ours = imported(storage, tmp_path)
    assert all(t.constraints == {"size": t.params["x"] - 5.0} for t in ours.trials)
    assert ours.best_trial.params["x"] <= 5


@pytest.mark.slow
def test_ranges_that_changed_and_odd_options(storage: str, tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("odd", ["a", None, 1, True, 2.5])
        trial.suggest_float("fixed", 3, 3)
        return trial.suggest_float("x", 0, 1 + trial.number, step=0.25 if trial.number else None)

    made(storage, objective, n=8)
    params = imported(storage, tmp_path).space.params
    assert params["x"] == Float(0, 8)
    assert params["odd"] == Choice("a", None, 1, True, 2.5)
    assert params["fixed"] == Const(3.0)


def test_postgresql_is_read_too(tmp_path: Path, new_database: Callable[[], str]) -> None:
    url = new_database()
    made(url.replace("postgresql://", "postgresql+psycopg://"), n=10)
    study = imported(url, tmp_path)
    assert len(study.trials) == 10
    assert study.trials == imported(url, tmp_path).trials


class TestJournals:
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Path:
        file = tmp_path / "optuna#1.log"
        made(JournalStorage(JournalFileBackend(str(file))), n=10)
        return file

    def test_a_file_and_a_storage_object_give_the_same_study(
        self, journal: Path, tmp_path: Path
    ) -> None:
        before = journal.read_bytes(), sorted(os.listdir(tmp_path))
        study = imported(str(journal), tmp_path / "a")
        assert len(study.trials) == 10
        storage = JournalStorage(JournalFileBackend(str(journal)))
        [done] = import_optuna(storage, store=tmp_path / "a/store")
        assert (done.added, done.known) == (0, 10)
        assert done.study.trials == study.trials
        assert before == (journal.read_bytes(), sorted({*os.listdir(tmp_path)} - {"a"}))

    def test_a_damaged_journal_is_refused(self, journal: Path, tmp_path: Path) -> None:
        lines = journal.read_bytes().splitlines(keepends=True)
        for damaged in (lines[1:], [*lines[:5], b"{\n", *lines[5:]], [b"{}\n"]):
            journal.write_bytes(b"".join(damaged))
            with pytest.raises(ForeignRecordError):
                import_optuna(str(journal), store=tmp_path / "store")


class TestRefusals:
    def test_a_missing_study_is_named(self, storage: str, tmp_path: Path) -> None:
        made(storage, n=1)
        with pytest.raises(ForeignRecordError, match="it has 'old'"):
            import_optuna(storage, "new", store=tmp_path)

    def test_a_missing_file_is_an_error_and_not_created(self, storage: str, tmp_path: Path) -> None:
        with pytest.raises(ForeignRecordError, match="does not exist"):
            import_optuna(storage, store=tmp_path / "store")
        assert list(tmp_path.iterdir()) == []

    def test_a_database_of_another_program_is_refused(self, storage: str, tmp_path: Path) -> None:
        sqlite3.connect(tmp_path / "optuna.db").execute("CREATE TABLE cats (name)")
        with pytest.raises(ForeignRecordError, match="lacks tables of Optuna"):
            import_optuna(storage, store=tmp_path / "store")
        with sqlite3.connect(tmp_path / "optuna.db") as database:
            assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("cats",)]

    def test_a_postgresql_database_of_another_program_is_not_changed(
        self, tmp_path: Path, new_database: Callable[[], str]
    ) -> None:
        url = new_database()
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE version_info (version_info_id int PRIMARY KEY, schema_version int, "
                "library_version varchar)"
            )
        with pytest.raises(ForeignRecordError, match="read-only"):
            import_optuna(url, store=tmp_path / "store")
        assert inspect(engine).get_table_names() == ["version_info"]
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT * FROM version_info").all() == []
        engine.dispose()

    def test_an_unknown_schema_names_the_upgrade_command(
        self, storage: str, tmp_path: Path
    ) -> None:
        made(storage, n=1)
        with sqlite3.connect(tmp_path / "optuna.db") as database:
            database.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
        with pytest.raises(ForeignRecordError, match="optuna storage upgrade"):
            import_optuna(storage, store=tmp_path / "store")

    def test_the_schema_of_optuna_3_0_is_read(self, storage: str, tmp_path: Path) -> None:
        made(storage, n=3)
        with sqlite3.connect(tmp_path / "optuna.db") as database:
            database.execute("UPDATE alembic_version SET version_num = 'v3.0.0.d'")
        assert len(imported(storage, tmp_path).trials) == 3

    def test_a_missing_driver_is_named_without_the_password(self, tmp_path: Path) -> None:
        with pytest.raises(MissingExtra, match="pip install PyMySQL") as caught:
            import_optuna("mysql+pymysql://u:hunter2@host/db", store=tmp_path)
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("url", ["oracle://host/db", "redis://host/0", "nonsense://"])
    def test_a_database_of_an_unsupported_kind_is_refused(self, url: str, tmp_path: Path) -> None:
        with pytest.raises(ForeignRecordError, match="PostgreSQL and MySQL"):
            import_optuna(url, store=tmp_path)

    @pytest.mark.parametrize("storage", [7, None])
    def test_a_value_that_is_not_a_storage_is_refused(
        self, storage: object, tmp_path: Path
    ) -> None:
        with pytest.raises(ForeignRecordError, match="pass an SQLAlchemy URL"):
            import_optuna(storage, store=tmp_path)  # type: ignore[arg-type]

    def test_an_existing_study_of_that_name_is_not_overwritten(
        self, storage: str, tmp_path: Path
    ) -> None:
        made(storage, n=1)
        tuner.create_study({"x": Float(0, 1)}, study="old", store=tmp_path / "store")
        with pytest.raises(StudyExists, match="another name"):
            import_optuna(storage, store=tmp_path / "store")
