"""Functions by reference, and plain files as models."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from support.model_files import double, forged, halve
from tuner.errors import ArgumentError, RegistryError, TunerWarning, UntrustedModel
from tuner.registry.formats import check_format, load_files, save_model
from tuner.registry.native.callable_format import CallableFormat, FunctionModel
from tuner.registry.native.files_format import FilesFormat, ModelFiles
from tuner.registry.native.references import resolve_reference
from tuner.testing import ModelFormatConformance

DOUBLE = "support.model_files.double"


class TestCallableFormat(ModelFormatConformance):
    def make(self) -> CallableFormat:
        return CallableFormat([DOUBLE, "support.model_files.halve"])

    def make_careful(self) -> CallableFormat:
        return CallableFormat()

    def models(self) -> list[Any]:
        return [double, halve]

    def foreign(self) -> list[Any]:
        return [*super().foreign(), RegistryError, "text"]

    def same(self, model: Any, loaded: Any) -> bool:
        return isinstance(loaded, FunctionModel) and loaded.function is model


class TestFilesFormat(ModelFormatConformance):
    def make(self) -> FilesFormat:
        return FilesFormat()

    def models(self) -> list[Any]:
        return [
            ModelFiles("model", {"a.txt": b"text", "deep/b.bin": bytes(9)}),
            ModelFiles("c.bin", {"c.bin": b"\x80"}),
        ]

    def foreign(self) -> list[Any]:
        return [*super().foreign(), Path("/no/such/file"), "text"]


def test_a_function_loads_if_it_is_trusted() -> None:
    name, files = save_model(double)
    assert name == "callable"
    with pytest.raises(UntrustedModel, match=rf"import and return {DOUBLE}.*trusted="):
        load_files(name, files)

    loaded = load_files(name, files, trusted=[DOUBLE])
    assert loaded.predict(21) == loaded(21) == 42


def test_functions_that_cannot_be_imported_again_are_refused() -> None:
    def local() -> None:
        pass

    def other() -> None:
        pass

    def script() -> None:
        pass

    other.__module__, other.__qualname__ = "support.model_files", "double"
    script.__module__, script.__qualname__ = "__main__", "script"
    for function, says in [
        (local, "within a function.*at the top of a module"),
        (lambda x: x, "a lambda"),
        (other, "leads to another object"),
        (script, "in the script or notebook itself"),
    ]:
        for call in (save_model, check_format):
            with pytest.raises(RegistryError, match=says):
                call(function)


def test_changed_source_is_named(tmp_path: Path) -> None:
    CallableFormat().save(double, tmp_path)
    forged(tmp_path, {}, source="0" * 64)
    with pytest.warns(TunerWarning, match="the source of .*double has changed"):
        CallableFormat([DOUBLE]).load(tmp_path)


def test_a_reference_imports_nothing_unless_it_is_trusted() -> None:
    sys.modules.pop("this", None)
    for reference in ("this:s", "this:s.x", "this", "os:system", ":x", "a:b:c", "a b:c", None, 3):
        with pytest.raises((UntrustedModel, ValueError)):
            resolve_reference(reference, [], "call")
    assert "this" not in sys.modules
    assert resolve_reference("math:pi", ["math.pi"], "return") == math.pi


def test_files_and_folders_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.bin").write_bytes(b"a")
    (folder / "b.txt").write_text("b")
    for model in (folder, folder / "b.txt"):
        name, files = save_model(model)
        assert name == "files"
        loaded = load_files(name, files)
        copied = loaded.write_to(tmp_path / f"copy of {model.name}")
        assert copied.name == model.name
        for path in [p for p in (folder.rglob("*") if model == folder else [model]) if p.is_file()]:
            relative = path.relative_to(folder) if model == folder else ""
            assert (copied / relative).read_bytes() == path.read_bytes()
        with pytest.raises(ArgumentError, match="exists; choose another folder"):
            loaded.write_to(tmp_path / f"copy of {model.name}")


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="has no files"):
        save_model(tmp_path)


@pytest.mark.parametrize("name", ["..", "a/b", "/etc/passwd", "", "a\\b", None])
def test_a_crafted_name_is_refused(name: Any, tmp_path: Path) -> None:
    FilesFormat().save(ModelFiles("m", {"m": b"1"}), tmp_path)
    forged(tmp_path, {}, files_of=name)
    with pytest.raises(RegistryError, match=r"not the name|no text"):
        FilesFormat().load(tmp_path)


def test_links_and_further_files_are_refused(tmp_path: Path) -> None:
    FilesFormat().save(ModelFiles("m", {"m": b"1"}), tmp_path)
    (tmp_path / "content" / "more").write_bytes(b"")
    with pytest.raises(RegistryError, match="instead of"):
        FilesFormat().load(tmp_path)
    (tmp_path / "content" / "more").unlink()
    (tmp_path / "content" / "m").unlink()
    (tmp_path / "content" / "m").symlink_to("/etc/hostname")
    with pytest.raises(RegistryError, match="no regular file"):
        FilesFormat().load(tmp_path)
