"""The file that a recorded objective is in."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import ArgumentError
from tuner.provenance.capture import current_code
from tuner.provenance.scripts import load_script
from tuner.provenance.workspace import workspace
from tuner.records import Code

SOURCE = "def objective(params):\n    return params['x'] * FACTOR\n"


def written(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def found(folder: Path, objective: str = "__main__.objective", source: str = SOURCE) -> str:
    with workspace(Code(objective=objective, source=source), folder) as place:
        return place.file.name


DECOYS = {
    "string": f'TEXT = """\n{SOURCE}"""\n',
    "docstring": f'"""A page.\n\n{SOURCE}"""\n',
    "raw template": f"template = r'''{SOURCE}'''\nexec(template)\n",
    "comment": textwrap.indent(SOURCE, "# "),
    "nested": f"def outer():\n{textwrap.indent(SOURCE, '    ')}    return objective\n",
    "method": f"class Study:\n{textwrap.indent(SOURCE, '    ')}",
    "redefined": f"{SOURCE}\n\ndef objective(params):\n    return 0\n",
    "longer": f"{SOURCE}    # and more\n    print(1)\n",
    "decorated": f"@wrap\n{SOURCE}",
    "broken": f"{SOURCE}\ndef (:\n",
}


@pytest.mark.parametrize("decoy", DECOYS.values(), ids=DECOYS)
def test_a_file_that_only_quotes_the_source_is_not_chosen(decoy: str, tmp_path: Path) -> None:
    written(tmp_path, a_decoy=decoy, train=f"FACTOR = 2\n\n{SOURCE}\nspace = {{}}\n")
    assert found(tmp_path) == "train.py"
    (tmp_path / "train.py").unlink()
    assert found(tmp_path) == "objective.py", "its recorded source alone"


@pytest.mark.parametrize(
    "text",
    [
        SOURCE,
        SOURCE.rstrip(),
        f"if True:\n{textwrap.indent(SOURCE, '    ')}",
        "try:\n    import numpy\nexcept ImportError:\n" + textwrap.indent(SOURCE, "    "),
        f"def objective(params):\n    return 0\n\n{SOURCE}",
        f"match 1:\n    case 1:\n{textwrap.indent(SOURCE, '        ')}",
    ],
)
def test_a_definition_anywhere_in_the_module_is_found(text: str, tmp_path: Path) -> None:
    written(tmp_path, other="x = 1\n", train=f"# caf\u00e9 \x0c\n{text}")
    indented = [line for line in text.splitlines() if "def objective" in line][-1]
    source = textwrap.indent(SOURCE, " " * (len(indented) - len(indented.lstrip())))
    assert found(tmp_path, source=source) == "train.py"


def test_several_files_with_the_objective_are_an_error(tmp_path: Path) -> None:
    written(tmp_path, a=f"FACTOR = 2\n{SOURCE}", b=f"FACTOR = 2\n{SOURCE}")
    assert found(tmp_path) == "a.py"
    (tmp_path / "a").mkdir()
    (tmp_path / "a.py").rename(tmp_path / "a" / "a.py")
    assert found(tmp_path) == "b.py", "the higher one"
    (tmp_path / "a" / "a.py").rename(tmp_path / "a.py")
    written(tmp_path, b=f"FACTOR = 3\n{SOURCE}")
    with pytest.raises(ArgumentError, match=r"in each of the files a\.py, b\.py, which differ"):
        found(tmp_path)
    assert found(tmp_path, "b.objective") == "b.py"


@pytest.mark.parametrize("name", ["objective", "Model.score", "Model", "wrapped", "Outer.Inner"])
def test_the_source_that_is_recorded_is_found_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
import functools

def objective(params):
    value = 1  # a comment

    # the end
    return value
    # after the end

class Model:
    '''A model.'''

    def score(self, params):
        return 1

    def __call__(self, params):
        return 2

@functools.cache
@functools.lru_cache(
    maxsize=3
)
def wrapped(params):
    return '''
def objective(params):
'''

class Outer:
    class Inner:
        def __call__(self, params): return 3
"""
    monkeypatch.setattr("sys.argv", ["test"])
    written(tmp_path, sources_here=text)
    module: Any = load_script(tmp_path / "sources_here.py")
    for part in name.split("."):
        module = getattr(module, part)
    code = current_code(module)
    assert code.source == inspect.getsource(inspect.unwrap(module))
    moved = tmp_path / "moved"
    moved.mkdir()
    written(moved, decoy=f"text = {code.source!r}", train=f"x = 1\n{text}")
    assert found(moved, f"__main__.{name}", code.source) == "train.py"
