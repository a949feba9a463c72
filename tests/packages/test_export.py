"""Export of packages: contents, refusals, and folders that are whole or absent."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import tuner
from support.packages import Registered, register
from tuner.errors import ArgumentError, ExportError, RegistryError
from tuner.packages import export, runtime
from tuner.packages.mlmodel import mlflow_signature
from tuner.packages.requirements import locked
from tuner.records import Environment


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_two_exports_of_a_version_are_equal(registered: Registered, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tuner.export_model("people@1", tmp_path / name, store=registered.store)
    assert content(tmp_path / "a") == content(tmp_path / "b") == content(registered.folder)


def test_the_manifest_has_every_other_file(registered: Registered) -> None:
    manifest = json.loads((registered.folder / "manifest.json").read_text())
    assert {*manifest["files"], "manifest.json"} == content(registered.folder).keys()


def test_the_code_of_a_package_imports_nothing_of_tuner() -> None:
    for path in Path(runtime.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.partition(".")[0] == "tuner" for name in names), path


def test_the_lock_has_the_recorded_versions_of_direct_dependencies() -> None:
    recorded = Environment(
        "3.11.7",
        "Linux",
        {"scikit_learn": "1.5.2", "numpy": "1.0", "scipy": "1.1", "pandas": "2.2", "pyarrow": "9",
         "joblib": "1.2", "torch": "2.1+cpu", "flask": "3.0"},
    )  # fmt: skip
    found = locked(recorded, ["scikit-learn", "torch"], "model 'm@1'")
    assert found == {
        "joblib": "1.2", "numpy": "1.0", "pandas": "2.2", "pyarrow": "9", "scikit-learn": "1.5.2",
        "scipy": "1.1", "torch": "2.1",
    }  # fmt: skip
    with pytest.raises(RegistryError, match="needs skops"):
        locked(recorded, ["skops"], "model 'm@1'")


def test_the_docker_context_has_what_its_dockerfile_copies(registered: Registered) -> None:
    lines = (registered.folder / "Dockerfile").read_text().splitlines()
    manifest = json.loads((registered.folder / "card.json").read_text())
    assert lines[0] == f"FROM python:{manifest['environment']['python']}-slim"
    copied = [line.split()[1] for line in lines if line.startswith("COPY ")]
    admitted = (registered.folder / ".dockerignore").read_text().split()
    assert admitted == ["*", *(f"!{name}" for name in copied)]
    assert {"requirements.lock", "manifest.json", "predict.py", "model", "src"} <= {*copied}
    assert all((registered.folder / name).exists() for name in copied)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["10001"]
    assert lines.index("USER 10001") < lines.index('ENTRYPOINT ["python", "-m", "predict"]')


def test_a_folder_with_files_is_refused(registered: Registered, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(ExportError, match="write another"):
            tuner.export_model("people", tmp_path, force=force, store=registered.store)
    with pytest.raises(ExportError, match="is not a folder"):
        tuner.export_model("people", tmp_path / "mine.txt", store=registered.store)
    assert content(tmp_path) == {"mine.txt": b"mine"}


def test_force_replaces_an_earlier_package(registered: Registered, tmp_path: Path) -> None:
    first = tuner.export_model("people", tmp_path / "p", store=registered.store)
    (first.path / "README.md").write_text("edited")
    with pytest.raises(ExportError, match="force=True"):
        tuner.export_model("people", first.path, store=registered.store)
    again = tuner.export_model("people", first.path, force=True, store=registered.store)
    assert again == first
    assert content(first.path) == content(registered.folder)
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_failed_export_leaves_the_folder_as_it_was(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "README.md":
            raise OSError(28, "No space left on device")
        return written(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        tuner.export_model("people", tmp_path / "p", store=registered.store)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_is_refused_with_the_remedy(tmp_path: Path) -> None:
    study = tuner.create_study({"x": tuner.Int(1, 9)}, store=tmp_path, study="params")
    study.tell(study.ask(), 1.0)
    study.register("params")
    study.register("json", refit=lambda params: params)
    for name in ("params", "json"):
        with pytest.raises(RegistryError, match=r"study\.register\(refit=\.\.\.\)"):
            tuner.export_model(name, tmp_path / "p", store=study.store)
    assert not (tmp_path / "p").exists()


def test_a_format_without_a_loader_is_refused(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_format_of", lambda version, what: "words")
    with pytest.raises(RegistryError, match="'words' has no loader"):
        tuner.export_model("people", tmp_path / "p", store=registered.store)


OWN_CLASS = """
from sklearn.base import BaseEstimator

class Doubler(BaseEstimator):
    def predict(self, X):
        return 2 * X[:, 0]
"""


def test_a_class_of_the_user_needs_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "doubling_of_mine.py").write_text(OWN_CLASS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import doubling_of_mine

    register(tmp_path / "store", doubling_of_mine.Doubler())
    given = {"store": tmp_path / "store", "trusted": ["doubling_of_mine.Doubler"]}
    with pytest.raises(RegistryError, match=r"code=\['doubling_of_mine\.py'\]"):
        tuner.export_model("people", tmp_path / "p", **given)
    with pytest.raises(ArgumentError, match="neither a Python file nor a folder"):
        tuner.export_model("people", tmp_path / "p", code=["nowhere.py"], **given)
    code = [tmp_path / "doubling_of_mine.py"]
    tuner.export_model("people", tmp_path / "p", code=code, **given)
    assert (tmp_path / "p" / "src" / "doubling_of_mine.py").read_text() == OWN_CLASS


def test_a_signature_has_a_form_in_mlflow() -> None:
    signature = {
        "inputs": {
            "container": "frame",
            "fields": [
                {"name": "age", "kind": "number", "dtype": "float32"},
                {"name": "n", "kind": "integer", "dtype": "int64"},
                {"name": "m", "kind": "integer", "dtype": "Int64", "missing": True},
                {"name": "color", "kind": "category", "dtype": "category", "categories": ["a"]},
                {"name": "day", "kind": "datetime", "dtype": "datetime64[ns]"},
            ],
        },
        "outputs": {
            "container": "array",
            "fields": [{"name": "", "kind": "number", "dtype": "float64", "shape": [2]}],
        },
    }
    found = mlflow_signature(signature)
    assert found is not None
    types = [(field["name"], field["type"]) for field in json.loads(found["inputs"])]
    assert types == [
        ("age", "float"), ("n", "long"), ("m", "any"), ("color", "any"), ("day", "datetime"),
    ]  # fmt: skip
    [output] = json.loads(found["outputs"])
    assert output["tensor-spec"] == {"dtype": "float64", "shape": [-1, 2]}
