"""Users of one server who keep artifacts in different folders are told so, writers and readers."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Float
from tuner.errors import ArtifactMissing, ChecksumMismatch, TunerWarning
from tuner.errors.notices import warn
from tuner.records import State
from tuner.tracking.store_connection import StoreConnection


def search(url: Any, n_trials: int = 2) -> tuner.Study:
    def objective(params: dict[str, float], trial: Any) -> float:
        trial.log_model(params, format="json")
        return params["x"]

    return tuner.optimize(
        objective, {"x": Float(0, 1)}, n_trials=n_trials, study="s", store=url, backend="serial",
        optimizer="random", seed=0, progress=False,
    )  # fmt: skip


def person(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Go to the folder of another person; their processes have opened no store yet."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)


@pytest.mark.postgres
class TestOnAServer:
    def test_the_writer_gets_one_warning(
        self, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person(monkeypatch, tmp_path / "a")
        with pytest.warns(TunerWarning) as caught:
            search(new_database(), 3)
        (said,) = {str(w.message) for w in caught if w.category is TunerWarning}
        assert f"artifacts are kept in {tmp_path}/a/.tuner/artifacts" in said
        assert "set TUNER_ARTIFACTS to an absolute path or URL" in said

    def test_a_relative_folder_differs_between_processes(
        self, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = new_database()
        monkeypatch.setenv("TUNER_ARTIFACTS", "kept")
        person(monkeypatch, tmp_path / "a")
        with pytest.warns(TunerWarning, match=f"artifacts are kept in {tmp_path}/a/kept"):
            search(url)
        person(monkeypatch, tmp_path / "b")
        with pytest.raises(ArtifactMissing, match=r"kept in .*/a/kept: .* or is relative"):
            tuner.load_model("s", store=url)

    def test_a_search_without_artifacts_gives_no_warning(
        self, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person(monkeypatch, tmp_path / "a")
        with warnings.catch_warnings():
            warnings.simplefilter("error", TunerWarning)
            tuner.optimize(
                lambda params: params["x"], {"x": Float(0, 1)}, n_trials=2, backend="serial",
                store=new_database(), progress=False,
            )  # fmt: skip

    def test_a_missing_artifact_error_names_the_folder_of_the_writer(
        self, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = new_database()
        person(monkeypatch, tmp_path / "a")
        with pytest.warns(TunerWarning):
            study = search(url)
        person(monkeypatch, tmp_path / "b")
        with pytest.raises(ArtifactMissing) as caught:
            tuner.load_model("s", store=url)
        said = str(caught.value)
        assert f"it was kept in {tmp_path}/a/.tuner/artifacts" in said
        assert "TUNER_ARTIFACTS is not set here" in said
        monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "elsewhere"))
        with pytest.raises(
            ArtifactMissing, match=r"kept in .*/a/.*: set TUNER_ARTIFACTS to that place"
        ):
            tuner.load_model("s", store=url)
        monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "a" / ".tuner" / "artifacts"))
        assert tuner.load_model("s", store=url) == study.best_params

    def test_a_missing_artifact_error_names_the_other_machine(
        self, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = new_database()
        person(monkeypatch, tmp_path / "a")
        with pytest.warns(TunerWarning):
            search(url)
        shutil.rmtree(tmp_path / "a" / ".tuner")
        with pytest.raises(ArtifactMissing, match="on the machine that ran the trial: TUNER_ART"):
            tuner.load_model("s", store=url)

    def test_a_shared_folder_gives_no_warning(
        self, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = new_database()
        monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "common"))
        with warnings.catch_warnings():
            warnings.simplefilter("error", TunerWarning)
            person(monkeypatch, tmp_path / "a")
            study = search(url)
            person(monkeypatch, tmp_path / "b")
            assert tuner.load_model("s", store=url) == study.best_params


def test_missing_files_beside_a_sqlite_file_are_named(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TunerWarning)
        search(tmp_path)
    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises(ArtifactMissing, match=r"is not in .*put the files back") as caught:
        tuner.load_model("s", store=tmp_path)
    assert isinstance(caught.value, ChecksumMismatch), "as in earlier versions"


@pytest.fixture
def warning_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every artifact is stored with a warning, as the first one of a server's store is."""
    put = StoreConnection.put_artifact

    def put_and_warn(*args: Any) -> Any:
        artifact = put(*args)
        warn("artifacts are kept in a folder")
        return artifact

    monkeypatch.setattr(StoreConnection, "put_artifact", put_and_warn)


class TestWarningsAsErrors:
    """With ``python -W error`` a call raises its warning once the work is recorded."""

    @pytest.fixture(autouse=True)
    def errors(self, warning_store: None) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Connections that earlier tests left open may be collected during this one.
            warnings.simplefilter("ignore", ResourceWarning)
            yield

    def test_a_search_finishes_if_warnings_are_errors(self, tmp_path: Path) -> None:
        with pytest.raises(TunerWarning, match="artifacts are kept in"):
            search(tmp_path, 4)
        study = tuner.load_study("s", store=tmp_path)
        assert [trial.state for trial in study] == [State.COMPLETED] * 4
        assert tuner.load_model("s", store=tmp_path) == study.best_params

    def test_a_refitted_model_is_registered(self, tmp_path: Path) -> None:
        study = tuner.optimize(
            lambda params: params["x"], {"x": Float(0, 1)}, n_trials=2, study="s", store=tmp_path,
            backend="serial", register=False, progress=False,
        )  # fmt: skip
        with pytest.raises(TunerWarning, match="artifacts are kept in"):
            study.register(refit=lambda params: params, format="json")
        assert tuner.load_model("s", store=tmp_path) == study.best_params


@pytest.mark.usefixtures("warning_store")
def test_a_warning_of_the_writer_names_the_line_of_the_call(tmp_path: Path) -> None:
    with pytest.warns(TunerWarning, match="artifacts are kept in") as caught:
        search(tmp_path)
    assert {w.filename for w in caught if w.category is TunerWarning} == {__file__}
