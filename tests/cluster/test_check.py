"""The check of a real cluster; `test_page.py` runs it from outside, and with files."""

from __future__ import annotations

from pathlib import Path

import pytest

import tuner
from support.cluster_shell import Shell
from tuner.cluster.check import _problems

pytestmark = pytest.mark.ray


def test_each_node_and_each_problem_is_one_line(shell: Shell) -> None:
    packages = ["--package", "numpy", "--package", "no-such-package"]
    done = shell.tuner("cluster", "check", shell.head.address, *packages, code=1)
    summary, here, names, line = done.stdout.splitlines()
    assert summary.startswith("1 node, 2 CPUs, 0 GPUs, ")
    assert f"tuner {tuner.__version__}" in here
    row = dict(zip(names.split("\t"), line.split("\t"), strict=True))
    assert row["node"].endswith(" (head)")
    assert (row["CPUs"], row["tuner"], row["state"]) == ("2", tuner.__version__, "wrong")
    (problem,) = done.stderr.splitlines()
    assert "no-such-package is not installed; pip install no-such-package" in problem


def test_an_objective_must_import_on_every_node(shell: Shell, tmp_path: Path) -> None:
    check = ["cluster", "check", shell.head.address, "--objective"]
    folder, shell.folder = shell.folder, tmp_path
    done = shell.tuner(*check, "scaling:objective", code=1)
    assert "\tfails\twrong\n" in done.stdout
    assert "No module named 'scaling'; ship its folder with working_dir or" in done.stderr
    done = shell.tuner(*check, f"{folder / 'scaling.py'}:objective")
    assert "\timports\tok\n" in done.stdout
    assert "write MODULE:FUNCTION" in shell.tuner_here(*check, "scaling", code=1).stderr


def test_an_address_without_a_cluster_is_an_error(shell: Shell) -> None:
    done = shell.tuner_here("cluster", "check", "127.0.0.1:1", code=1)
    assert "no Ray cluster answers at 127.0.0.1:1" in done.stderr


def test_versions_that_differ_are_problems() -> None:
    here = {"ray": "2.60.0", "tuner": "0.1.0", "numpy": "2.4.6", "scipy": None, "x": None}
    there = {"ray": "2.60.0", "tuner": "0.0.9", "numpy": None, "scipy": "1.0", "x": None}
    seen = {"python": "3.9.1", "versions": there, "failed": {}}
    assert [problem.split("; ")[-1] for problem in _problems(seen, here)] == [
        "use the same",
        "use the same",
        "pip install numpy==2.4.6 there",
        "install it",
        "pip install x there",
    ]
    broken = {"python": "3.11.0", "versions": here, "failed": {"tuner": "ImportError: no"}}
    assert "install tuner 0.1.0 there" in _problems(broken, here)[0]
