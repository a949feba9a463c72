"""Code, data and variables reach the workers of any Ray cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from support.cluster_shell import Shell
from tuner.backends import RayBackend
from tuner.backends.ray.runtime_env import as_runtime_env
from tuner.errors import ArgumentError

SCRIPT = """
import os, sys
import ray
import tuner
from tuner.backends import RayBackend

address, folder, store, before = sys.argv[1:]

def objective(params):
    import scaling
    import only_a_module
    assert open("data.txt").read() == "seven\\n"
    assert os.environ["COLOUR"] == "red"
    assert not os.path.samefile(os.getcwd(), folder)
    return scaling.objective(params) + only_a_module.ONE

backend = RayBackend(
    address=address, working_dir="project", py_modules=["only_a_module.py"],
    env_vars={"COLOUR": "red"},
)
os.chdir("/")  # the paths above are of where they were written
if before == "ray-is-there":
    from tuner.backends.ray.auth import authenticate
    authenticate(address)
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
study = tuner.optimize(
    objective, {"x": tuner.Float(0, 1)}, n_trials=4, workers=1, seed=0, backend=backend,
    progress=False, store=store,
)
print([t.value == 2 * t.params["x"] + 1 for t in study])
"""


@pytest.mark.ray
@pytest.mark.parametrize("before", ["ray-is-there", "ray-is-not-there"])
def test_files_modules_and_variables_reach_the_workers(
    shell: Shell, project: Path, tmp_path: Path, before: str
) -> None:
    (tmp_path / "only_a_module.py").write_text("ONE = 1\n")
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "run.py").write_text(SCRIPT)
    # The script lies elsewhere: Ray would let workers import what lies beside it.
    shell.folder = tmp_path
    store = str(tmp_path / "store")
    command = [sys.executable, "search/run.py", shell.head.address, str(project), store, before]
    assert shell(command).stdout == "[True, True, True, True]\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "code.zip").write_bytes(b"PK")
    (tmp_path / "notes.txt").write_text("")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"working_dir": "missing"}, r"working_dir='missing': the folder .* does not exist"),
        ({"working_dir": "notes.txt"}, "notes.txt"),
        ({"working_dir": 3}, r"working_dir=3: write a folder"),
        ({"py_modules": "src"}, r"py_modules='src': write a list"),
        ({"py_modules": ["src", "gone"]}, r"py_modules: 'gone': .* is not a module"),
        ({"py_modules": [3]}, "3 is not a path"),
        ({"env_vars": {"N": 2}}, r"'N' is 2; write a text, such as '2'"),
        ({"env_vars": ["N=2"]}, "write a dict"),
        ({"runtime_env": "pip"}, "write a dict"),
        ({"working_dir": "src", "runtime_env": {"excludes": "*.csv"}}, "excludes.*write a list"),
        ({"runtime_env": {"env_vars": {}}, "env_vars": {}}, "env_vars is given twice"),
    ],
)
def test_an_invalid_runtime_env_is_refused_on_construction(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        RayBackend(**options)


@pytest.mark.ray
@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"packages": ["x"]}, "Ray knows no 'packages'; choose of .*pip"),
        ({"pip": 3}, "runtime_env: .*pip"),
        ({"pip": ["a"], "conda": "b"}, "pip.*conda"),
    ],
)
def test_fields_of_ray_are_checked_before_the_start(env: dict[str, Any], says: str) -> None:
    import ray

    backend = RayBackend("127.0.0.1:1", runtime_env=env)
    before = ray.is_initialized()
    with pytest.raises(ArgumentError, match=says):
        backend.start(print, workers=1)
    assert ray.is_initialized() == before


def test_relative_paths_are_resolved_on_construction(tmp_path: Path) -> None:
    env = as_runtime_env(working_dir="src", py_modules=["src", math_package()])
    assert env["working_dir"] == str(tmp_path / "src")
    assert env["py_modules"][0] == str(tmp_path / "src")
    assert env["excludes"] == [".tuner"]
    assert as_runtime_env(working_dir="code.zip")["working_dir"] == str(tmp_path / "code.zip")


def math_package() -> Any:
    import json

    return json


def test_uris_are_not_changed() -> None:
    env = as_runtime_env(working_dir="s3://bucket/code.zip", py_modules=["https://host/a.whl"])
    assert env == {"working_dir": "s3://bucket/code.zip", "py_modules": ["https://host/a.whl"]}


def test_a_module_without_files_cannot_be_shipped() -> None:
    import types

    with pytest.raises(ArgumentError, match="no files"):
        as_runtime_env(py_modules=[types.ModuleType("made_up")])
