"""Scripts of users, loaded as modules."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tuner.errors import ArgumentError
from tuner.provenance.scripts import load_script


@pytest.fixture(autouse=True)
def process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["test"])
    for name in ("script_json", "train_here"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def written(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(text)
    return file


def test_a_script_runs_once(tmp_path: Path) -> None:
    file = written(tmp_path, "train_here.py", "values = []\n")
    module = load_script(file)
    module.values.append(1)
    assert load_script(file) is module
    assert sys.argv[0] == str(file)


def test_scripts_of_one_name_are_told_apart_and_hide_no_module(tmp_path: Path) -> None:
    first = load_script(written(tmp_path / "a", "json.py", "place = 'a'\n"))
    second = load_script(written(tmp_path / "b", "json.py", "place = 'b'\n"))
    assert (first.place, second.place) == ("a", "b")
    assert sys.modules["json"] is json


def test_a_script_that_fails_can_be_loaded_again(tmp_path: Path) -> None:
    file = written(tmp_path, "train_here.py", "1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load_script(file)
    file.write_text("place = 'fixed'\n")
    assert load_script(file).place == "fixed"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"must end in \.py"):
        load_script(written(tmp_path, "train.txt", "x = 1\n"))
