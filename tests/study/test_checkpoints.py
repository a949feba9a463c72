"""A retried trial resumes from its checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Float, State

EPOCHS = 6


def search(folder: Path, objective: Any, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {"n_trials": 3, "seed": 0, "optimizer": "random", "progress": False}
    return tuner.optimize(objective, {"x": Float(0, 1)}, store=folder, **(call | options))


def trainer(diary: Path, trouble: Any) -> Any:
    """Return an objective that writes down each epoch, and has trouble on its first attempt."""

    def objective(params, trial):
        state = {"epoch": 0, "total": 0.0}
        if (saved := trial.restore()) is not None:
            state = json.loads((saved / "deep" / "state.json").read_text())
        while state["epoch"] < EPOCHS:
            epoch = state["epoch"]
            with open(diary, "a") as file:
                file.write(f"{trial.number}:{epoch} ")
            state = {"epoch": epoch + 1, "total": state["total"] + params["x"]}
            with trial.checkpoint() as folder:
                (folder / "deep").mkdir()
                (folder / "deep" / "state.json").write_text(json.dumps(state))
            if trial.attempt == 1 and trial.number == 1 and state["epoch"] == 3:
                trouble()
            trial.report(state["total"], epoch)
        return state["total"]

    return objective


def each_epoch_once(diary: Path) -> bool:
    expected = {f"{trial}:{epoch}" for trial in range(3) for epoch in range(EPOCHS)}
    return sorted(diary.read_text().split()) == sorted(expected)


def test_a_retry_resumes_from_the_checkpoint(tmp_path: Path) -> None:
    def trouble() -> None:
        raise OSError("the data server is away")

    objective = trainer(tmp_path / "diary", trouble)
    study = search(tmp_path / "store", objective, backend="serial", max_retries=1)
    assert [t.state for t in study] == [State.COMPLETED] * 3
    assert each_epoch_once(tmp_path / "diary")
    assert [[report.step for _, report in study.reports(1)][i] for i in (0, -1)] == [0, EPOCHS - 1]
    assert not list((tmp_path / "store").glob("artifacts/checkpoints/*/*"))


def test_a_failed_checkpoint_block_keeps_the_previous_checkpoint(tmp_path: Path) -> None:
    def objective(params, trial):
        if (saved := trial.restore()) is not None:
            assert (saved / "state").read_text() == "good"
            assert trial.restore() == saved
            return 1.0
        with trial.checkpoint() as folder:
            (folder / "state").write_text("good")
        with trial.checkpoint() as folder:
            (folder / "state").write_text("half")
            raise OSError("no space left on device")

    study = search(tmp_path, objective, backend="serial", max_retries=1, n_trials=1)
    assert study.best_value == 1.0


def test_no_temporary_files_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    objective = trainer(tmp_path / "diary", lambda: None)
    search(tmp_path / "store", objective, backend="serial")
    assert os.listdir(tmp_path / "temp") == []


def test_an_empty_checkpoint_fails_the_trial_with_a_remedy(tmp_path: Path) -> None:
    def objective(params, trial):
        with trial.checkpoint():
            pass
        return 0.0

    with pytest.raises(tuner.errors.AllTrialsFailed, match="save at least one file"):
        search(tmp_path, objective, backend="serial")


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
import os, signal
from pathlib import Path
from test_checkpoints import trainer, search

def trouble():
    os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
study = search(folder / "store", trainer(folder / "diary", trouble), study="s", backend="serial")
print(study.best_value)
"""


@pytest.mark.process
def test_a_restarted_driver_resumes_the_running_trial(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(Path(__file__).parent)]
    first = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert first.returncode == -signal.SIGKILL, first.stderr
    second = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert second.returncode == 0, second.stderr
    assert each_epoch_once(tmp_path / "diary")
    study = tuner.load_study("s", store=tmp_path / "store")
    assert [t.attempts for t in study][:2] == [1, 2]
    assert study.trials[1].value == pytest.approx(EPOCHS * study.trials[1].params["x"])
    assert not list((tmp_path / "store").glob("artifacts/checkpoints/*/*"))


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
class TestOnRay:
    def test_a_retry_after_a_killed_worker_resumes(self, tmp_path: Path) -> None:
        def trouble() -> None:  # immediately: the checkpoint is safe when the block has ended
            os.kill(os.getpid(), signal.SIGKILL)

        study = search(tmp_path / "store", trainer(tmp_path / "diary", trouble), workers=2)
        assert [t.state for t in study] == [State.COMPLETED] * 3
        assert study.trials[1].attempts == 2
        assert each_epoch_once(tmp_path / "diary")
        assert not list((tmp_path / "store").glob("artifacts/checkpoints/*/*"))

    def test_a_large_checkpoint_needs_little_memory(self, tmp_path: Path) -> None:
        size = 120 * 2**20

        def own_memory() -> float:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) / 1024
            raise AssertionError

        def objective(params, trial):
            if (saved := trial.restore()) is not None:
                return float((saved / "weights").stat().st_size)
            # Memory that Ray shares belongs to its object store, not to this process.
            held, done = [own_memory()], threading.Event()

            def look() -> None:
                while not done.wait(0.01):
                    held.append(own_memory())

            threading.Thread(target=look).start()
            with trial.checkpoint() as folder, open(folder / "weights", "wb") as file:
                file.writelines(os.urandom(2**20) for _ in range(size // 2**20))
            done.set()
            assert max(held) - held[0] < 40, held
            os._exit(1)

        study = search(tmp_path, objective, workers=1, n_trials=1)
        assert study.trials[0].error is None, study.trials[0].error
        assert study.best_value == size

    def test_a_checkpoint_does_not_delay_other_trials(self, tmp_path) -> None:
        others_ended = tmp_path / "others ended"

        def objective(params, trial):
            if trial.number == 40:
                with trial.checkpoint() as folder:
                    (folder / "state").touch()
                deadline = time.monotonic() + 30.0
                while not others_ended.exists() and time.monotonic() < deadline:
                    time.sleep(0.02)
            return params["x"]

        ended: list[int] = []

        def callback(study, trial):
            ended.append(trial.number)
            if len(ended) == 105:
                others_ended.touch()

        search(tmp_path, objective, n_trials=120, workers=2, callbacks=[callback])
        assert len(ended) == 120
        assert ended.index(40) > 100
        assert threading.active_count() < 50
