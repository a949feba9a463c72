"""The conformance suite of model formats."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import RegistryError
from tuner.registry.formats import load_files, save_model
from tuner.registry.protocol import ModelFormat


class Touch:
    """An object whose unpickling creates a folder, as a harmless sign that code ran."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self.path,)


class Odd:
    """An object whose attributes and comparison raise."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None  # type: ignore[assignment]


def zipped(content: bytes, *names: str) -> bytes:
    """Return a zip archive with `content` under each of these names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


GARBAGE = {
    "empty": b"",
    "zeros": bytes(100),
    "text": b"not a model",
    "other JSON": b"[1, 2]",
    "no zip": b"PK\x03\x04" + bytes(50),
    "empty zip": zipped(b""),
    "zip of nothing": zipped(b"", "schema.json"),
    "zip of other JSON": zipped(b"{}", "schema.json"),
    "deep JSON": b"[" * 100_000,
}


class ModelFormatConformance:
    """Tests of the contract of `tuner.registry.protocol.ModelFormat`.

    Subclass it as ``TestMyFormat``, and define `make` and `models`. Models must load equal from a
    moved folder; truncated, foreign or missing files must raise `RegistryError`; a pickle in place
    of the files must not run.

    Examples
    --------
    >>> from tuner.registry.value_formats import JsonFormat
    >>> class TestJsonFormat(ModelFormatConformance):
    ...     def make(self):
    ...         return JsonFormat()
    ...     def models(self):
    ...         return [{"threshold": 0.5}, [1, 2, 3]]
    """

    def make(self) -> ModelFormat:
        """Return the format, with the permissions that loading `models` needs."""
        raise NotImplementedError

    def make_careful(self) -> ModelFormat:
        """Return the format without any permission; the default is `make`."""
        return self.make()

    def models(self) -> list[Any]:
        """Return models that the format accepts, of as many kinds as possible."""
        raise NotImplementedError

    def foreign(self) -> list[Any]:
        """Return objects that the format does not accept."""
        return [Odd(), object(), print]

    def same(self, model: Any, loaded: Any) -> bool:
        """Return whether a loaded model equals the saved one; the default compares by ``==``."""
        return type(model) is type(loaded) and bool(model == loaded)

    def test_it_is_a_format(self) -> None:
        assert isinstance(self.make(), ModelFormat)
        assert self.make().name.isidentifier()

    def test_it_accepts_its_models_and_no_others(self) -> None:
        chosen = self.make()
        assert [m for m in self.models() if chosen.accepts(m) is not True] == []
        assert [f for f in self.foreign() if chosen.accepts(f) is not False] == []

    def test_models_come_back_the_same(self, tmp_path: Path) -> None:
        for n, model in enumerate(self.models()):
            written, moved = tmp_path / f"written-{n}", tmp_path / f"moved-{n}"
            written.mkdir()
            self.make().save(model, written)
            assert any(written.iterdir())
            written.rename(moved)
            assert self.same(model, self.make().load(moved)), model

    def test_loading_changes_no_file(self, tmp_path: Path) -> None:
        self.make().save(self.models()[0], tmp_path)
        before = self.files(tmp_path)
        for _ in range(2):
            self.make().load(tmp_path)
            assert self.files(tmp_path) == before

    def test_it_can_be_given_as_the_format(self) -> None:
        model = self.models()[0]
        name, files = save_model(model, format=self.make(), allow_pickle=True)
        assert name == self.make().name
        assert self.same(model, load_files(self.make(), files, allow_pickle=True))

    def test_saving_again_replaces(self, tmp_path: Path) -> None:
        first, last = self.models()[0], self.models()[-1]
        self.make().save(first, tmp_path)
        self.make().save(last, tmp_path)
        assert self.same(last, self.make().load(tmp_path))

    @pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
    def test_foreign_content_raises_registry_error(self, content: bytes, tmp_path: Path) -> None:
        self.make().save(self.models()[0], tmp_path)
        for path in self.paths(tmp_path):
            path.write_bytes(content)
        with pytest.raises(RegistryError):
            self.make().load(tmp_path)

    def test_truncated_content_raises_registry_error(self, tmp_path: Path) -> None:
        self.make().save(self.models()[0], tmp_path)
        for path in self.paths(tmp_path):
            content = path.read_bytes()
            for end in {0, 1, len(content) // 2, len(content) - 1}:
                path.write_bytes(content[:end])
                with pytest.raises(RegistryError):
                    self.make().load(tmp_path)
            path.write_bytes(content)

    def test_damaged_content_raises_registry_error_or_loads(self, tmp_path: Path) -> None:
        self.make().save(self.models()[0], tmp_path)
        for path in self.paths(tmp_path):
            content = path.read_bytes()
            for place in range(0, len(content), 1 + len(content) // 12):
                damaged = bytearray(content)
                damaged[place] ^= 0x11
                path.write_bytes(damaged)
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # of another version of the library
                        self.make().load(tmp_path)
                except RegistryError:
                    continue
            path.write_bytes(content)

    def test_missing_files_raise_registry_error(self, tmp_path: Path) -> None:
        with pytest.raises(RegistryError):
            self.make().load(tmp_path)

    @pytest.mark.parametrize("protocol", [0, 2, 5])
    def test_a_pickle_in_disguise_does_not_run(self, protocol: int, tmp_path: Path) -> None:
        folder, trace = tmp_path / "model", tmp_path / "trace"
        folder.mkdir()
        self.make().save(self.models()[0], folder)
        payload = pickle.dumps(Touch(trace), protocol)
        paths = self.paths(folder)
        for content in (payload, zipped(payload, "schema.json", "model.pkl", "0.npy")):
            for path in paths:
                path.write_bytes(content)
            with pytest.raises(RegistryError):
                self.make_careful().load(folder)
            assert not trace.exists()

    def test_the_payload_of_these_tests_works(self, tmp_path: Path) -> None:
        pickle.loads(pickle.dumps(Touch(tmp_path / "trace")))
        assert (tmp_path / "trace").exists()

    def paths(self, folder: Path) -> list[Path]:
        """Return the files below a folder, sorted."""
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def files(self, folder: Path) -> dict[Path, bytes]:
        """Return the content of each file below a folder."""
        return {path: path.read_bytes() for path in self.paths(folder)}
