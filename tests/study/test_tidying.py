"""Deleting, renaming and archiving, from Python and from the command line."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import tuner
from tuner.cli.commands import cli
from tuner.errors import (
    ArgumentError,
    ModelInUse,
    ModelNotFound,
    StudyBusy,
    StudyExists,
    StudyNotFound,
)
from tuner.tracking.lease import LeaseOwner

SPACE = {"x": tuner.Float(0, 1)}
ELSEWHERE = LeaseOwner("elsewhere", 4711, "boot/pid:[1]/99")


def search(
    folder: Path, name: str = "s", n_trials: int = 3, register: str | bool | None = None
) -> tuner.Study:
    def objective(params: dict[str, float], trial: tuner.LiveTrial) -> float:
        trial.log_model({"x": params["x"]}, format="json")
        return params["x"]

    return tuner.optimize(
        objective, SPACE, study=name, n_trials=n_trials, backend="serial", optimizer="random",
        seed=0, register=register, store=folder, progress=False,
    )  # fmt: skip


def names(folder: Path, *, archived: bool = False) -> list[str]:
    return [info.name for info in tuner.list_studies(archived=archived, store=folder)]


def call(folder: Path, *args: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, [*args, "--store", str(folder)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.stdout if code == 0 else result.stderr


# --- studies --------------------------------------------------------------------------------------


def test_a_study_is_deleted_and_its_model_still_loads(tmp_path: Path) -> None:
    study = search(tmp_path)
    best = study.best_trial
    before = tuner.lineage("s", store=tmp_path)
    assert tuner.delete_study("s", store=tmp_path) == ["s@1"]
    assert names(tmp_path, archived=True) == []
    assert tuner.load_model("s", store=tmp_path) == {"x": best.params["x"]}
    after = tuner.lineage("s", store=tmp_path)
    assert (after.trial, after.run, after.code) == (before.trial, before.run, before.code)
    assert after.environment == before.environment
    assert after.study.tags == before.study.tags
    assert f"study {after.version.study}: " in "\n".join(after.lines())
    with pytest.raises(StudyNotFound, match="'s' does not exist"):
        tuner.load_study("s", store=tmp_path)
    for what in ("trials", "runs", "studies"):
        assert tuner.find("", what=what, store=tmp_path).count() == 0
    assert tuner.find("order by value limit 3", store=tmp_path).to_rows() == []
    (row,) = tuner.find("", what="models", store=tmp_path).to_rows()
    assert row["params.x"] == best.params["x"]


def test_a_new_study_of_a_deleted_name_is_separate(tmp_path: Path) -> None:
    first = search(tmp_path)
    assert first.delete() == ["s@1"]
    second = search(tmp_path, n_trials=2)
    assert len(second.trials) == 2
    assert [v.version for v in tuner.list_models(store=tmp_path)] == [1, 2]
    assert tuner.lineage("s@1", store=tmp_path).study.uid == first.info.uid
    assert tuner.lineage("s@2", store=tmp_path).study.uid == second.info.uid
    assert second.delete() == ["s@2"]


def test_a_deleted_study_with_registered_runs_is_not_continued(tmp_path: Path) -> None:
    search(tmp_path).delete()
    rest = tuner.load_study(tuner.lineage("s", store=tmp_path).version.study, store=tmp_path)
    assert len(rest.trials) == 1
    with pytest.raises(StudyNotFound, match="was deleted"):
        rest.ask()
    with pytest.raises(StudyNotFound, match="deleted"):
        rest.delete()


@pytest.mark.parametrize("registered", [False, True])
def test_a_study_object_of_a_deleted_study_raises_study_not_found(
    tmp_path: Path, registered: bool
) -> None:
    study = search(tmp_path, register=registered)
    asked = study.ask()
    tuner.load_study("s", store=tmp_path).delete()
    for act in (
        lambda: study.ask(),
        lambda: study.tell(asked, 1.0),
        lambda: study.enqueue({"x": 0.5}),
        lambda: asked.report(1.0, 0),
        lambda: study.set_tag("a", "b"),
        lambda: study.set_study_note("a", "b"),
        lambda: study.set_note(0, "a", "b"),
        lambda: study.rename("t"),
        lambda: study.archive(),
        lambda: study.keep_models(1),
        lambda: study.delete_artifacts(0),
        lambda: study.delete(),
        lambda: study.optimize(len, n_trials=9, backend="serial", progress=False),
    ):
        with pytest.raises(StudyNotFound, match="deleted"):
            act()
    assert names(tmp_path, archived=True) == []


def test_a_running_study_is_neither_deleted_nor_renamed(tmp_path: Path) -> None:
    refused = []

    def tidy(study: tuner.Study, trial: tuner.Trial) -> None:
        for act in (study.delete, lambda: study.rename("t")):
            with pytest.raises(StudyBusy, match="'s' is being optimized by this process") as error:
                act()
            refused.append(error)
        study.archive()

    study = tuner.create_study(SPACE, study="s", store=tmp_path)
    study.optimize(
        lambda params: params["x"], n_trials=2, backend="serial", callbacks=[tidy], progress=False
    )
    assert len(refused) == 4
    assert len(study.trials) == 2
    assert names(tmp_path, archived=True) == ["s"]


def test_a_search_whose_study_is_deleted_under_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease has expired, as after a suspension; another process deletes the study."""
    study = tuner.create_study(SPACE, study="s", store=tmp_path)
    acquire = type(study.store).acquire_lease
    monkeypatch.setattr(
        type(study.store),
        "acquire_lease",
        lambda store, info, _, __: replace(acquire(store, info, ELSEWHERE, 0.0), seconds=0.0),
    )
    done = []

    def objective(params: dict[str, float]) -> float:
        done.append(params)
        if len(done) == 2:
            tuner.delete_study("s", store=tmp_path)
            tuner.create_study(SPACE, study="s", store=tmp_path)
        return params["x"]

    with pytest.raises(StudyNotFound, match="this study was deleted"):
        study.optimize(objective, n_trials=500, backend="serial", progress=False)
    assert len(done) < 500
    assert tuner.load_study("s", store=tmp_path).trials == []


def test_a_study_is_renamed(tmp_path: Path) -> None:
    study = search(tmp_path)
    loaded, copied = tuner.load_study("s", store=tmp_path), pickle.dumps(study)
    tuner.rename_study("s", "t", store=tmp_path)
    assert names(tmp_path) == ["t"]
    assert tuner.load_study("t", store=tmp_path).trials == study.trials
    assert tuner.load_model("s", store=tmp_path) == {"x": study.best_params["x"]}
    assert tuner.lineage("s", store=tmp_path).study.name == "t"
    assert pickle.loads(copied).name == copy.copy(loaded).name == "t"
    loaded.optimize(lambda params: params["x"], n_trials=4, backend="serial", progress=False)
    loaded.tell(loaded.ask(), 0.5)
    assert len(study.trials) == 5
    study.rename("u")
    assert study.name == tuner.load_study("u", store=tmp_path).name == "u"


def test_a_wrong_new_name_is_refused(tmp_path: Path) -> None:
    tuner.create_study(SPACE, study="s", store=tmp_path)
    tuner.create_study(SPACE, study="t", store=tmp_path)
    with pytest.raises(StudyExists, match="'t' exists"):
        tuner.rename_study("s", "t", store=tmp_path)
    for wrong in ("", "a/b", "a@b", None):
        with pytest.raises(ArgumentError, match="name"):
            tuner.rename_study("s", wrong, store=tmp_path)  # type: ignore[arg-type]
    for act in (tuner.delete_study, tuner.archive_study, tuner.unarchive_study):
        with pytest.raises(StudyNotFound, match="it has 's'"):
            act("ss", store=tmp_path)
    assert names(tmp_path) == ["s", "t"]


def test_an_archived_study_is_hidden_but_complete(tmp_path: Path) -> None:
    study = search(tmp_path)
    search(tmp_path, "t", n_trials=1)
    tuner.archive_study("s", store=tmp_path)
    assert names(tmp_path) == ["t"]
    assert names(tmp_path, archived=True) == ["s", "t"]
    for query in ("", "value > -1", "value > -1 order by value limit 3"):
        assert {name for name, _ in tuner.find(query, store=tmp_path)} == {"t"}
        assert len(list(study.find(query))) == 3
    assert tuner.find("archived", store=tmp_path).count() == 3
    assert tuner.find("archived", what="runs", store=tmp_path).count() == 3
    assert tuner.find("archived or not archived", store=tmp_path).count() == 4
    assert [i.name for i in tuner.find("archived", what="studies", store=tmp_path)] == ["s"]
    assert tuner.find("study = 's' and value > -1", store=tmp_path).count() == 3
    assert tuner.find("study = 's'", what="runs", store=tmp_path).count() == 3
    assert tuner.find("study = 's' or value > -1", store=tmp_path).count() == 4
    assert [i.name for i in tuner.find("name = 's'", what="studies", store=tmp_path)] == ["s"]
    assert tuner.find("", what="models", store=tmp_path).count() == 2
    assert len(search(tmp_path, n_trials=4).trials) == 4
    study.unarchive()
    assert names(tmp_path) == ["s", "t"]


# --- models ---------------------------------------------------------------------------------------


def make_versions(folder: Path) -> tuner.Study:
    """Register three versions, of which the first is the champion."""
    study = search(folder, register=False)
    for trial in sorted(study.trials, key=lambda trial: trial.values):
        study.register("m", trial=trial)
    return study


def numbers(folder: Path) -> dict[int, tuple[str, ...]]:
    return {v.version: v.aliases for v in tuner.list_models(store=folder)}


def test_the_champion_is_deleted_only_on_demand(tmp_path: Path) -> None:
    make_versions(tmp_path)
    refusals: list[Callable[[], None]] = [
        lambda: tuner.delete_model("m", store=tmp_path),
        lambda: tuner.delete_model("m@1", store=tmp_path),
        lambda: tuner.delete_alias("m@champion", store=tmp_path),
    ]
    for act in refusals:
        with pytest.raises(ModelInUse, match="force=True"):
            act()
    assert numbers(tmp_path) == {1: ("champion",), 2: (), 3: ("challenger",)}
    tuner.delete_alias("m@challenger", store=tmp_path)
    tuner.delete_model("m@2", store=tmp_path)
    tuner.delete_model("m@1", force=True, store=tmp_path)
    assert numbers(tmp_path) == {3: ()}
    with pytest.raises(ModelNotFound, match="it has the versions 3 to 3 and no aliases"):
        tuner.load_model("m", store=tmp_path)
    tuner.set_alias("m@3", "champion", store=tmp_path)
    assert tuner.load_model("m", store=tmp_path)
    tuner.delete_model("m", force=True, store=tmp_path)
    with pytest.raises(ModelNotFound, match="no models"):
        tuner.load_model("m", store=tmp_path)


def test_a_model_without_a_champion_is_deleted_at_once(tmp_path: Path) -> None:
    study = make_versions(tmp_path)
    tuner.delete_alias("m@champion", force=True, store=tmp_path)
    tuner.delete_model("m", store=tmp_path)
    assert tuner.list_models(store=tmp_path) == []
    assert len(study.trials) == 3
    assert len([a for a in study.artifacts() if a.kind == "model"]) == 3


def test_an_alias_is_set_and_deleted(tmp_path: Path) -> None:
    make_versions(tmp_path)
    tuner.set_alias("m@3", "staging", store=tmp_path)
    tuner.set_alias("m@staging", "tested", store=tmp_path)
    assert numbers(tmp_path)[3] == ("challenger", "staging", "tested")
    tuner.delete_alias("m@staging", store=tmp_path)
    assert numbers(tmp_path)[3] == ("challenger", "tested")
    tuner.delete_model("m@3", store=tmp_path)
    with pytest.raises(ModelNotFound, match="'tested'"):
        tuner.load_model("m@tested", store=tmp_path)


@pytest.mark.parametrize("ref", ["m@staging", "m@4", "n", "n@1", "n@staging"])
def test_deleting_a_missing_object_is_an_error(tmp_path: Path, ref: str) -> None:
    make_versions(tmp_path)
    act = tuner.delete_alias if "staging" in ref else tuner.delete_model
    with pytest.raises(ModelNotFound):
        act(ref, force=True, store=tmp_path)
    assert len(numbers(tmp_path)) == 3


def test_aliases_and_versions_are_not_interchangeable(tmp_path: Path) -> None:
    make_versions(tmp_path)
    with pytest.raises(ArgumentError, match=r"delete_alias\('m@champion'\)"):
        tuner.delete_model("m@champion", store=tmp_path)
    for ref in ("m", "m@1"):
        with pytest.raises(ArgumentError, match="write the alias"):
            tuner.delete_alias(ref, store=tmp_path)


# --- the command line -----------------------------------------------------------------------------


def test_the_commands_delete_rename_and_archive_studies(tmp_path: Path) -> None:
    search(tmp_path)
    search(tmp_path, "t", n_trials=1, register=False)
    assert call(tmp_path, "study", "rename", "t", "u") == "renamed: t is u\n"
    assert call(tmp_path, "study", "archive", "s", "u") == "archived: s\narchived: u\n"
    assert call(tmp_path, "studies") == ""
    assert "archived" in call(tmp_path, "show", "u")
    rows = call(tmp_path, "studies", "--archived").splitlines()
    assert [row.split("\t")[0] for row in rows] == ["study", "s", "u"]
    assert call(tmp_path, "study", "unarchive", "u") == "unarchived: u\n"
    assert call(tmp_path, "studies").splitlines()[1].startswith("u\t")
    assert call(tmp_path, "study", "delete", "s", "u") == (
        "deleted: s; kept the trials of s@1\ndeleted: u\n"
    )
    assert call(tmp_path, "studies", "--archived") == ""
    assert "does not exist" in call(tmp_path, "study", "delete", "s", code=1)
    study = tuner.create_study(SPACE, study="s", store=tmp_path)
    study.store.acquire_lease(study.info, ELSEWHERE, 3600.0)
    for args in (("delete", "s"), ("rename", "s", "t")):
        assert "'s' is run by process 4711" in call(tmp_path, "study", *args, code=1)


def test_the_commands_delete_models_and_aliases(tmp_path: Path) -> None:
    make_versions(tmp_path)
    assert call(tmp_path, "models", "alias", "m@2", "staging") == "alias: staging is m@2\n"
    assert call(tmp_path, "models", "alias", "m@staging", "--delete") == "deleted: m@staging\n"
    assert "--force" in call(tmp_path, "models", "alias", "m@champion", "--delete", code=1)
    assert "--force" in call(tmp_path, "models", "delete", "m@1", code=1)
    assert call(tmp_path, "models", "delete", "m@2", "m@3") == "deleted: m@2\ndeleted: m@3\n"
    assert call(tmp_path, "models", "delete", "m", "--force") == "deleted: m\n"
    assert call(tmp_path, "models") == ""


def test_the_command_deletes_artifacts(tmp_path: Path) -> None:
    study = search(tmp_path)
    other = next(t for t in study.trials if t != study.best_trial)
    (artifact,) = study.artifacts(study.runs(other.number)[0].uid)
    ref = f"s/{other.number}"
    assert call(tmp_path, "artifacts", "delete", ref, "model") == (
        f"deleted: model, {artifact.size} bytes\n"
    )
    assert "no 'model'; it has none" in call(tmp_path, "artifacts", "delete", ref, "model", code=1)
    assert call(tmp_path, "artifacts", "delete", f"s/{study.best_trial.number}") == ""
    assert "write STUDY/TRIAL" in call(tmp_path, "artifacts", "delete", "s", code=1)
    assert len(study.artifacts()) == 2
