"""Tags and notes, from Python and from the command line, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tuner
from tuner.cli.commands import cli
from tuner.errors import ArgumentError, TunerWarning
from tuner.records.user import current_user


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))
    if request.param == "sqlite":
        return str(tmp_path)
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    return new_database()


def make(store: str) -> tuner.Study:
    study = tuner.create_study({"x": tuner.Float(0, 1)}, study="s", store=store, tags={"team": "a"})
    study.tell(study.ask(), 1.0)
    return study


def test_tags_and_notes_are_added_changed_and_removed(store: str) -> None:
    study = make(store)
    study.set_tag("stage", "review")
    study.set_tags({"stage": "done", "team": None})
    study.set_note(0, "verdict", {"ship": False, "why": ("slow", 3)})
    assert study.set_notes(study.trials[0], {"by": "ana"}) == {
        "verdict": {"ship": False, "why": ("slow", 3)}, "by": "ana",
    }  # fmt: skip
    again = tuner.load_study("s", store=store)
    assert again.info.tags == {"stage": "done"}
    assert again.info.user == current_user()
    assert again.trials[0].notes["verdict"] == {"ship": False, "why": ("slow", 3)}
    assert again.trials[0].value == 1.0
    study.set_note(0, "verdict", None)
    assert again.trials[0].notes == {"by": "ana"}
    assert again.find("notes.by = 'ana' and tags.stage = 'done'").count() == 1
    user = current_user().replace("'", "''")
    assert tuner.find(f"user = '{user}'", what="studies", store=store).count() == 1


def test_a_study_has_notes_of_its_own(store: str) -> None:
    study = make(store)
    study.set_study_note("question", {"why": ("slow", 3)})
    assert study.set_study_notes({"by": "ana", "none": None}) == study.notes
    assert study.notes == {"question": {"why": ("slow", 3)}, "by": "ana"}
    assert study.trials[0].notes == {}
    assert tuner.load_study("s", store=store).notes == study.notes
    study.set_study_note("question", None)
    assert tuner.load_study("s", store=store).info.notes == {"by": "ana"}
    assert tuner.find("notes.by = 'ana'", what="studies", store=store).count() == 1
    with pytest.raises(ArgumentError, match="write a name"):
        study.set_study_note("", 1)
    with pytest.raises(ArgumentError, match="small JSON values"):
        study.set_study_note("a", object())


def test_notes_stay_while_a_search_records_its_optimizer(store: str) -> None:
    study = make(store)
    tuner.load_study("s", store=store).set_study_note("by", "ana")
    study.optimize(lambda params: params["x"], n_trials=2, backend="serial", progress=False)
    assert tuner.load_study("s", store=store).notes == {"by": "ana"}


def test_tags_set_concurrently_are_all_kept(store: str) -> None:
    make(store)

    def set_one(n: int) -> None:
        tuner.load_study("s", store=store).set_tag(f"t{n}", str(n))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(set_one, range(16)))
    tags = tuner.load_study("s", store=store).info.tags
    assert tags == {"team": "a", **{f"t{n}": str(n) for n in range(16)}}


def test_invalid_notes_are_refused(store: str) -> None:
    study = make(store)
    open_one = study.ask()
    with pytest.raises(ArgumentError, match="once it has an outcome"):
        study.set_note(open_one.number, "a", 1)
    with pytest.raises(ArgumentError, match="no trial 7"):
        study.set_note(7, "a", 1)
    with pytest.raises(ArgumentError, match="write a name"):
        study.set_note(0, "", 1)
    with pytest.raises(ArgumentError, match="a name and a text"):
        study.set_tag("a", 3)  # type: ignore[arg-type]


def test_the_commands_set_tags_and_notes(store: str) -> None:
    make(store)

    def call(*args: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli, [*args, "--store", store])
        assert result.exit_code == code, result.output
        return result.stdout or result.stderr

    assert call("tag", "s", "stage=a=b", "--remove", "team") == "tag\tvalue\nstage\ta=b\n"
    assert call("tag", "s") == "tag\tvalue\nstage\ta=b\n"
    assert call("note", "s/0", "verdict=too slow") == "note\ttext\nverdict\ttoo slow\n"
    assert "note verdict: 'too slow'" in call("show", "s", "--trial", "0")
    assert f"user:        {current_user()}" in call("show", "s")
    assert call("note", "s/0", "--remove", "verdict") == "no notes\n"
    assert "write KEY=VALUE" in call("tag", "s", "stage", code=1)
    assert "write STUDY/TRIAL" in call("note", "s/a", "a=b", code=1)
    assert call("note", "s", "question=why?") == "note\ttext\nquestion\twhy?\n"
    assert "notes:       question=why?" in call("show", "s")
    assert call("note", "s", "--remove", "question") == "no notes\n"


def test_notes_accept_numpy_values_paths_and_dates(tmp_path: Path) -> None:
    def objective(params: dict[str, float], trial: tuner.LiveTrial) -> float:
        trial.set_user_attr("single", np.float32(0.5))
        trial.set_user_attr("nested", {"counts": np.arange(3), "pair": (np.int64(1), np.bool_(1))})
        trial.set_notes({"data": Path("a/b"), "day": date(2026, 1, 2), "at": np.datetime64("2026")})
        return 0.0

    study = tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=1, store=tmp_path, backend="serial",
        progress=False,
    )  # fmt: skip
    assert study.trials[0].error is None
    assert study.trials[0].notes == {
        "single": 0.5, "nested": {"counts": [0, 1, 2], "pair": (1, True)}, "data": "a/b",
        "day": "2026-01-02", "at": "2026-01-01",
    }  # fmt: skip
    with pytest.raises(ArgumentError, match=r"notes: 'bad': .*small JSON values"):
        study.set_notes(study.trials[0], {"good": 1, "bad": object()})


def test_an_invalid_note_does_not_discard_other_notes(tmp_path: Path) -> None:
    def objective(params: dict[str, float], trial: tuner.LiveTrial) -> float:
        trial.set_notes({"first": 1, "bad": object(), "last": "b"})
        return 0.0

    with pytest.warns(TunerWarning, match="note bad: "):
        study = tuner.optimize(
            objective, {"x": tuner.Float(0, 1)}, n_trials=1, store=tmp_path, backend="serial",
            progress=False,
        )  # fmt: skip
    assert study.trials[0].notes == {"first": 1, "last": "b"}
    assert study.trials[0].error is not None
    assert study.trials[0].error.kind == "NotSaved"
