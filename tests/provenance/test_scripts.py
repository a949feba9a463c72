"""Scripts of users, loaded as modules."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import tuner
from tuner.errors import ArgumentError
from tuner.provenance.scripts import load_module, load_script, skipped_search


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


def test_scripts_of_one_name_are_separate_and_hide_no_module(tmp_path: Path) -> None:
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


# --- scripts that start a search when they are loaded ---------------------------------------------

HEAD = """
import tuner

space = {"x": tuner.Float(0, 1)}

def objective(params):
    return params["x"]

options = dict(n_trials=3, backend="serial", progress=False)
"""

SEARCHES = {
    "optimize": "tuner.optimize(objective, space, **options)\n",
    "create and optimize": "tuner.create_study(space, study='a').optimize(objective, **options)\n",
    "load and optimize": "tuner.load_study('known').optimize(objective, **options)\n",
    "ask and tell": """
study = tuner.create_study(space, study="known", load_if_exists=True)
for _ in range(3):
    study.tell(trial := study.ask(), objective(trial.params))
""",
    "enqueue": "tuner.create_study(space).enqueue({'x': 0.5})\n",
    "in a function": "def main():\n    tuner.optimize(objective, space, **options)\n\nmain()\n",
    "errors caught": """
try:
    tuner.optimize(objective, space, **options)
except Exception:
    pass
""",
    "in a thread": """
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor() as pool:
    pool.submit(tuner.optimize, objective, space, **options).result()
""",
    "a known study": """
study = tuner.create_study({"other": tuner.Int(0, 3)}, study="known")
study.set_tag("team", "a")
study.optimize(objective, **options)
""",
    "exit": "import sys\n\nsys.exit(tuner.optimize(objective, space, **options))\n",
    "replay": "tuner.replay('known/0')\n",
}


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuner.Study:
    """A study in the store of the scripts."""
    monkeypatch.chdir(tmp_path)
    study = tuner.create_study({"x": tuner.Float(0, 1)}, study="known")
    study.tell(study.ask(), 1.0)
    return study


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_a_script_is_loaded_without_its_search(
    search: str, known: tuner.Study, tmp_path: Path
) -> None:
    module = load_script(written(tmp_path, "train_here.py", f"{HEAD}{search}after = True\n"))
    assert module.objective({"x": 0.5}) == 0.5
    assert not hasattr(module, "after")
    assert [info.name for info in tuner.list_studies()] == ["known"]
    assert len(known.trials) == 1
    assert known.info.tags == {}
    note = skipped_search(module)
    found = re.fullmatch(r"train_here\.py, line (\d+): a search starts .*__main__.*", note)
    assert found is not None
    assert int(found[1]) > HEAD.count("\n")


def test_a_script_may_create_its_study_above_its_objective(
    known: tuner.Study, tmp_path: Path
) -> None:
    text = "import tuner\nstudy = tuner.create_study({'y': tuner.Int(0, 3)}, study='known')\n"
    text += "def objective(params):\n    return params['y']\nstudy.optimize(objective)\n"
    module = load_script(written(tmp_path, "train_here.py", text))
    assert module.objective({"y": 2}) == 2
    assert known.space == tuner.load_study("known").space
    assert module.study.best_value == known.best_value, "its objective may read the results"


def test_searches_run_normally_after_a_script_was_loaded(tmp_path: Path) -> None:
    module = load_script(
        written(tmp_path, "train_here.py", HEAD + f"options['store'] = {str(tmp_path)!r}\n")
    )
    assert skipped_search(module) == ""
    assert len(tuner.optimize(module.objective, module.space, **module.options).trials) == 3


def test_a_module_of_a_package_is_loaded_without_its_search(
    known: tuner.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "package_here"
    written(package, "__init__.py", "")
    written(package, "fit.py", HEAD + SEARCHES["optimize"])
    module = load_module("package_here.fit")
    assert module is sys.modules["package_here"].fit is load_module("package_here.fit")
    assert "line 10:" in skipped_search(module)
    assert len(tuner.list_studies()) == 1
    written(package, "use.py", "from package_here.more import x\nfrom package_here.fit import y\n")
    written(package, "more.py", HEAD + SEARCHES["optimize"] + "x = 1\n")
    assert "use.py, line 1:" in skipped_search(load_module("package_here.use"))
    for name in [name for name in sys.modules if name.startswith("package_here")]:
        del sys.modules[name]
    written(package, "__init__.py", HEAD + SEARCHES["optimize"])
    with pytest.raises(ArgumentError, match=r"its package 'package_here' .*__main__"):
        load_module("package_here.fit")
    with pytest.raises(ModuleNotFoundError):
        load_module("package_missing")
