"""Hostile files in every format, registered by their author and loaded or exported by another."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import resource
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import pytest

import tuner
from tuner.errors import ChecksumMismatch, TunerError
from tuner.packages.export import export_model
from tuner.registry.formats import FORMATS, load_files
from tuner.registry.native.manifest import FILE as MANIFEST
from tuner.testing.model_formats import Touch

pytestmark = pytest.mark.slow

NATIVE = {
    "catboost": "model.cbm",
    "files": "content/model",
    "keras": "model.keras",
    "lightgbm": "model.txt",
    "onnx": "model.onnx",
    "torch": "model.pt",
    "xgboost": "model.json",
}
"""The file of each format that has a manifest."""

PLAIN = {"json": "model.json", "pickle": "model.pkl", "skops": "model.skops"}
OTHER = {"callable"}

MEMORY = 2**30  # bytes that the whole corpus may add to the process


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def joblib_dump(value: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    return buffer.getvalue()


@cache
def bomb() -> bytes:
    return zipped(
        dict.fromkeys(("config.json", "schema.json", "archive/data.pkl"), bytes(30 * 2**20)),
        zipfile.ZIP_DEFLATED,
    )


PAYLOADS: dict[str, Callable[[Path], bytes]] = {
    "pickle": lambda trace: pickle.dumps(Touch(trace)),
    "pickle of the first protocol": lambda trace: pickle.dumps(Touch(trace), 0),
    "joblib": lambda trace: joblib_dump({"model": Touch(trace)}),
    "zip with pickles": lambda trace: zipped(
        dict.fromkeys(
            ("archive/data.pkl", "data.pkl", "model.pkl", "config.json", "schema.json"),
            pickle.dumps(Touch(trace), 2),
        )
    ),
    "zip bomb": lambda trace: bomb(),
    "zip with paths outside": lambda trace: zipped(
        {"../../outside": b"x", "/tmp/outside": b"x", "archive/../../outside": b"x"}
    ),
    "deep JSON": lambda trace: b"[" * 100_000,
    "many containers of JSON": lambda trace: b"[" + b"[]," * 2_000_000 + b"0]",
    "nothing": lambda trace: b"",
}


def files_of(format: str, payload: bytes, **facts: Any) -> dict[str, bytes]:
    """Return the files of a model whose manifest is right and whose content is the payload."""
    if format in PLAIN:
        return {PLAIN[format]: payload}
    package = "" if format in ("callable", "files") else format
    described = {
        "package": package,
        "version": "1",
        "class": "Booster",
        "params": {},
        "constructor": "os:system",
        "arguments": {"command": "true"},
        "function": "os:system",
        "files_of": "model",
        "sha256": {} if format in OTHER else {NATIVE[format]: hashlib.sha256(payload).hexdigest()},
        **facts,
    }
    content = {} if format in OTHER else {NATIVE[format]: payload}
    return {MANIFEST: json.dumps(described).encode() + b"\n", **content}


CASES = [
    (format, payload)
    for format in sorted({*NATIVE, *PLAIN})
    for payload in PAYLOADS
    if format != "files"  # keeps any content, and only gives it back
]


@pytest.mark.filterwarnings("ignore::tuner.errors.TunerWarning")
@pytest.mark.parametrize(("format", "payload"), CASES)
def test_a_hostile_file_is_refused_and_not_run(format: str, payload: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TunerError) as caught:
        load_files(format, files_of(format, PAYLOADS[payload](trace)))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(str(caught.value)) > 30
    assert not trace.exists()
    assert not Path("/tmp/outside").exists()
    assert (after - before) * 1024 < MEMORY


def test_the_corpus_has_every_format() -> None:
    assert {*NATIVE, *PLAIN, *OTHER} == set(FORMATS.built_in)


@pytest.mark.parametrize("format", sorted({*NATIVE, "callable"}))
@pytest.mark.parametrize(
    "names",
    [
        {"../../outside": "0" * 64},
        {"/etc/passwd": "0" * 64},
        {"model.json": 1},
        {},
        ["model.json"],
        None,
    ],
    ids=str,
)
def test_crafted_names_in_a_manifest_are_refused(format: str, names: Any) -> None:
    files = files_of(format, b"x", sha256=names)  # for a callable, {} are the right names
    with pytest.raises(TunerError):
        load_files(format, files)


@pytest.mark.parametrize("format", sorted(FORMATS.built_in))
@pytest.mark.parametrize("path", ["../outside", "/tmp/outside", "a/../../outside", ""])
def test_paths_stay_within_the_folder_of_the_model(format: str, path: str) -> None:
    with pytest.raises(TunerError, match="relative path"):
        load_files(format, {path: b"x"}, allow_pickle=True)
    assert not Path("/tmp/outside").exists()


class Disguise:
    """A format that writes given files under the name of another format."""

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        self.name, self._files = name, files

    def accepts(self, model: Any) -> bool:
        return True

    def save(self, model: Any, folder: Path) -> None:
        for name, content in self._files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)

    def load(self, folder: Path) -> Any:
        raise NotImplementedError


@pytest.mark.filterwarnings("ignore::tuner.errors.TunerWarning")
def test_load_model_and_export_refuse_what_another_registered(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    formats = sorted({*NATIVE, *PLAIN, *OTHER} - {"files"})

    def objective(params: Any, trial: Any) -> float:
        format = formats[params["n"]]
        trial.log_model(1, format=Disguise(format, files_of(format, pickle.dumps(Touch(trace)))))
        return 0.0

    study = tuner.optimize(
        objective,
        {"n": tuner.Int(0, len(formats) - 1)},
        optimizer="grid",
        n_trials=len(formats),
        backend="serial",
        store=tmp_path / "store",
        register=False,
        progress=False,
    )
    for trial in study.trials:
        format = formats[trial.params["n"]]
        study.register(format, trial=trial)
        with pytest.raises(TunerError):
            tuner.load_model(format, store=tmp_path / "store")
        with pytest.raises(TunerError):
            export_model(format, tmp_path / f"exported-{format}", store=tmp_path / "store")
    assert not trace.exists()
    changed = 0
    for path in (tmp_path / "store" / "artifacts").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1] + b"?")
            changed += 1
    assert changed >= len(formats)
    for format in formats:
        with pytest.raises(ChecksumMismatch):
            tuner.load_model(format, store=tmp_path / "store", allow_pickle=True)
    assert not trace.exists()
