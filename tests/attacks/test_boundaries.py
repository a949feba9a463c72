"""Public calls and commands raise an error from `tuner.errors` for input they cannot handle."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.any_input import raw_error, search
from tuner import errors
from tuner.errors.boundary import public, translated
from tuner.tracking.database import maintenance

ROOT = Path(__file__).parents[2]

NOBODY = 65534


# --- places -----------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("no database\n" * 100)
    os.symlink("loop", "loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        yield tmp_path


ODD_STORES = [
    *("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"),
    *("sqlite:///\0", "a\0b", "sqlite://host/x.db", "sqlite:///x.db?timeout=soon"),
    *("fifo", "socket", "loop", "loop/x", "text", "text/below", "/dev/null", "/dev/zero"),
    *("sqlite:///fifo", "sqlite:///folder", "sqlite:////dev/null", "sqlite:///text"),
    *("x" * 300, "x/" * 3000, f"sqlite:///{'x' * 300}", "~no-such-user/x", "caf\udce9"),
    *("postgresql://127.0.0.1:1/x", "postgresql://h:99999999/x", "postgresql://h:0/x"),
    *("postgresql://h:port/x", "postgresql://[::1/x", "postgresql:/h/x", "postgres//h/x"),
    *("postgresql://127.0.0.1:1/x?host=a,b&port=1,2,3", "postgresql://127.0.0.1:1/x?no=option"),
    *("postgresql://127.0.0.1:1/\udc80", "mysql://h/x", "x://", "://", b"bytes", 7),
]


@pytest.mark.parametrize("store", ODD_STORES, ids=lambda s: ascii(s)[:40])
def test_an_invalid_store_argument_raises_a_tuner_error(store: Any, places: Path) -> None:
    before = sorted(os.listdir())
    with pytest.raises(errors.TunerError):
        search(store)
    assert not raw_error(lambda: tuner.list_studies(store=store))
    assert sorted(os.listdir()) == before
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    "name", ["a#b", "a?b", "a%41b", "a b", "a&mode=ro", "ü", "a'b", 'a"b', ";"]
)
def test_a_path_is_used_literally(name: str, tmp_path: Path) -> None:
    study = search(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]
    copy = maintenance.backup(tmp_path / f"{name}-copy", tmp_path / name)
    assert copy == tmp_path / f"{name}-copy" / "tuner.db"
    again = tuner.load_study("s", store=study.store.url)
    assert len(again.trials) == 4
    assert list(maintenance.check(tmp_path / name)) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, f"{name}-copy"]


@pytest.mark.parametrize(
    "to", ["fifo", "socket", "text", "/dev/null", "/dev/full", "loop", "\0", "", "x" * 300, "store"]
)
def test_a_backup_goes_into_a_new_folder_only(to: str, places: Path) -> None:
    search(places / "store")
    before = {p: p.lstat().st_ino for p in places.rglob("*")}
    device = os.stat("/dev/null").st_mode
    if to == "":
        (places / "tuner.db").write_text("")
        before = {p: p.lstat().st_ino for p in places.rglob("*")}
    with pytest.raises(errors.TunerError):
        maintenance.backup(to, places / "store")
    assert {p: p.lstat().st_ino for p in places.rglob("*")}.keys() == before.keys()
    assert os.stat("/dev/null").st_mode == device
    assert stat.S_ISCHR(device)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike the folders of pytest."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_folders_without_permission_raise_a_tuner_error(open_folder: Path) -> None:
    tmp_path = open_folder
    search(tmp_path / "theirs", register="m")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    hidden.chmod(0o700)
    (tmp_path / "theirs").chmod(0o755)
    code = """
import os, sys, traceback
from pathlib import Path
import tuner
from tuner.tracking.database import maintenance
from tuner.integrations import export_dvc, export_tensorboard, import_optuna
from tuner.reporting import write_report
from tuner.tracking.artifacts.retention import collect
from tuner.tracking.database.migrate import upgrade
base = Path(sys.argv[1])
space = {"x": tuner.Float(0, 1)}
study = tuner.load_study("s", store=base / "theirs")

def use_all(base):
    study = tuner.load_study("s", store=base / "theirs")
    write_report(study, base / "r.html")
    for path in ("r.csv", "r.json"):
        study.export(base / path)
    export_dvc(study, base / "d")
    export_tensorboard(study, base / "e")
    study.plot.history(save=base / "p.png")
    study.tell(study.ask(), 1.0)
    maintenance.backup(base / "b", base / "theirs")
    maintenance.compact(base / "theirs")
    upgrade(base / "theirs")

# All modules are loaded before the privileges go: another user may not read this Python.
import shutil
shutil.copytree(base / "theirs", base / "warm" / "theirs")
use_all(base / "warm")
shutil.rmtree(base / "warm")
os.setgroups([]); os.setgid(NOBODY); os.setuid(NOBODY)
os.chdir("/")
study = tuner.load_study("s", store=base / "theirs")
calls = {
    "new": lambda: tuner.create_study(space, study="n", store=base / "new"),
    "write": lambda: tuner.create_study(space, study="n", store=base / "theirs"),
    "hidden": lambda: tuner.list_studies(store=base / "hidden"),
    "hidden file": lambda: tuner.list_studies(store=base / "hidden" / "x" / "y"),
    "hidden url": lambda: tuner.create_study(space, store=f"sqlite:///{base}/hidden/x.db"),
    "tag": lambda: study.set_tag("a", "b"),
    "ask": lambda: study.ask(),
    "report": lambda: write_report(study, base / "hidden" / "r.html"),
    "csv": lambda: study.export(base / "hidden" / "r.csv"),
    "dvc": lambda: export_dvc(study, base / "hidden" / "d"),
    "events": lambda: export_tensorboard(study, base / "hidden" / "e"),
    "plot": lambda: study.plot.history(save=base / "hidden" / "p.png"),
    "backup": lambda: maintenance.backup(base / "hidden" / "b", base / "theirs"),
    "backup new": lambda: maintenance.backup(base / "b", base / "theirs"),
    "compact": lambda: maintenance.compact(base / "theirs"),
    "upgrade": lambda: upgrade(base / "hidden"),
    "optuna": lambda: import_optuna(str(base / "hidden" / "o.db"), store="/tmp/none"),
    "data": lambda: tuner.create_study(space, store=base / "x", data=base / "hidden" / "f"),
}
for name, call in calls.items():
    try:
        call()
    except tuner.errors.TunerError as error:
        print(name, type(error).__name__, flush=True)
    except BaseException:
        traceback.print_exc()
        print("RAW", name, flush=True)
    else:
        print("PASSED", name, flush=True)
""".replace("NOBODY", str(NOBODY))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "RAW" not in done.stdout, done.stdout + done.stderr
    assert "PASSED" not in done.stdout.replace("PASSED compact", ""), done.stdout + done.stderr
    assert done.stdout.count("\n") == 18, done.stdout + done.stderr


# --- errors of user code -------------------------------------------------------------------------


def test_exceptions_of_user_code_are_not_translated(tmp_path: Path) -> None:
    def callback(study: tuner.Study, trial: tuner.Trial) -> None:
        raise PermissionError("mine")

    @public()
    def call(action: Callable[[], object]) -> object:
        return action()

    def denied() -> None:
        raise PermissionError("mine")

    def odd() -> None:
        "\udc80".encode()

    for action in (denied, odd):
        with pytest.raises((PermissionError, UnicodeError)) as caught:
            call(action)
        assert not isinstance(caught.value, errors.TunerError)
    with pytest.raises(KeyboardInterrupt), translated("x"):
        raise KeyboardInterrupt
    # An exception of a library becomes the cause of a tuner error.
    with pytest.raises(errors.StoreError, match="/none/such") as ours:
        public()(Path.stat)(Path("/none/such"))
    assert isinstance(ours.value.__cause__, FileNotFoundError)
    with pytest.raises(PermissionError, match="mine"):
        search(tmp_path, callbacks=[callback])
