"""The package works from a clone, from an editable install, and from a wheel or sdist."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINKED = ("search_spaces", "backends")
pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run a command without this process's settings for Python, and return its output."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that git would give to a newcomer."""
    target = tmp_path_factory.mktemp("clone") / "tuner"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        source, copy = ROOT / name, target / name
        if not os.path.lexists(source):
            continue  # deleted, and not committed yet
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, copy, follow_symlinks=False)
    return target


def data_files(clone: Path) -> set[str]:
    """Return the files of the package that are not Python, such as the templates of its pages."""
    files = (path for path in (clone / "tuner").rglob("*") if path.is_file())
    return {str(p.relative_to(clone)) for p in files if p.suffix not in {".py", ".md"}}


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_wheel", clone, tmp_path_factory.mktemp("wheel"))


def build(hook: str, source: Path, target: Path) -> Path:
    """Build a distribution by the hook of PEP 517, with the setuptools that is installed."""
    code = f"import sys; from setuptools import build_meta; print(build_meta.{hook}(sys.argv[1]))"
    return target / run(sys.executable, "-c", code, target, cwd=source).split()[-1]


def environment(folder: Path, package: Path, cwd: Path) -> Path:
    """Return the Python of a new environment with a wheel, and our dependencies beside it."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=cwd)
    python = folder / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"),
        "--no-compile",
        *("--no-index", package),
        cwd=cwd,
    )
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=cwd)
    # A line of a .pth file adds a folder, but reads no .pth files in it: not our editable install.
    dependencies = Path(sysconfig.get_paths()["purelib"])
    (Path(site.strip()) / "dependencies.pth").write_text(f"{dependencies}\n")
    return python


def modules(names: list[str]) -> set[str]:
    return {name for name in names if name.startswith("tuner/") and name.endswith(".py")}


@pytest.mark.process
def test_the_wheel_and_the_sdist_hold_every_module(
    clone: Path, wheel: Path, tmp_path: Path
) -> None:
    in_tree = {
        path.relative_to(clone).as_posix()
        for folder in ("tuner", *(f"tuner/{name}" for name in LINKED))
        for path in (clone / folder).rglob("*.py")
    }
    assert all(any(name.startswith(f"tuner/{part}/") for name in in_tree) for part in LINKED)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        modes = [info.external_attr >> 16 for info in archive.infolist()]
    assert modules(names) == in_tree
    assert not any(map(stat.S_ISLNK, modes))
    assert {"tuner/py.typed", "tuner/drift/drift.html.j2"} <= data_files(clone) <= set(names)
    assert any(name.endswith("licenses/tuner/reporting/vendor/echarts/NOTICE") for name in names)

    sdist = build("build_sdist", clone, tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    with zipfile.ZipFile(build("build_wheel", source, tmp_path)) as archive:
        assert modules(archive.namelist()) == in_tree


@pytest.mark.process
@pytest.mark.parametrize("kind", ["plain", "editable"])
def test_the_first_script_of_the_readme_runs_inside_the_clone(
    kind: str, clone: Path, wheel: Path, tmp_path: Path
) -> None:
    package = wheel if kind == "plain" else build("build_editable", clone, tmp_path)
    python = environment(tmp_path / "venv", package, cwd=tmp_path)
    script = clone / "first_search.py"
    first, *_ = PYTHON_BLOCK.findall((clone / "README.md").read_text())
    if kind == "editable":  # one verbatim run on Ray is enough
        first = first.replace("n_trials=20", 'n_trials=2, backend="serial"')
    script.write_text(first)
    try:
        printed = run(python, script.name, cwd=clone, TUNER_STORE=str(tmp_path / "store"))
    finally:
        script.unlink()
    assert "learning_rate" in printed
    code = "import tuner.backends, tuner.search_spaces; print(tuner.backends.__file__)"
    elsewhere = run(python, "-c", code, cwd=tmp_path)
    assert str(clone if kind == "editable" else tmp_path) in elsewhere


@pytest.mark.process
def test_a_clone_works_without_an_install(clone: Path) -> None:
    code = "import tuner, tuner.backends; print(tuner.Float(0, 1), tuner.backends.__name__)"
    assert "tuner.backends" in run(sys.executable, "-c", code, cwd=clone)
