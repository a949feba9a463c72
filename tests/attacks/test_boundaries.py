"""Public calls and commands raise an error from `tuner.errors` for input they cannot handle."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Choice, Float, Int, errors
from tuner.errors.boundary import public, translated
from tuner.integrations import export_dvc, export_tensorboard, import_optuna
from tuner.reporting import write_report
from tuner.tracking.database import maintenance

ROOT = Path(__file__).parents[2]

NOBODY = 65534


def search(store: object, **more: Any) -> tuner.Study:
    options: dict[str, Any] = {"n_trials": 4, "study": "s", "register": False, **more}
    objective = options.pop("objective", lambda params: params["x"])
    space = options.pop("space", {"x": Float(0, 1)})
    return tuner.optimize(
        objective, space, backend="serial", seed=0, optimizer="random", progress=False,
        store=store, **options,
    )  # fmt: skip


def read_all(store: object) -> None:
    """Use every call that reads a store."""
    for info in tuner.list_studies(store=store):
        study = tuner.load_study(info.name, store=store)
        assert study.trials is not None
        study.runs(), study.reports(), study.to_rows()
        if any(t.eligible for t in study):
            assert study.best_trial
        list(tuner.find("", what="runs", store=store))
    tuner.list_models(store=store)
    list(maintenance.check(store))


def raw_error(call: Callable[[], object]) -> str:
    """Return the traceback of an error that is not ours, "" if there is none."""
    try:
        call()
    except errors.TunerError:
        return ""
    except Exception:
        return traceback.format_exc()
    return ""


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
    """A folder that every user can enter, unlike those of pytest."""
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


# --- text -------------------------------------------------------------------------------------

HOSTILE = "\x1b]0;title\x07\x1b[31m\x9b2J\u202e\u2066\udc80\x00\r\n[bold]=cmd|' /C calc'!A0"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which every name and text steers terminals."""
    folder = tmp_path_factory.mktemp("hostile")
    text = HOSTILE.replace("\udc80", "").replace("\x00", "")
    name = text.replace("/", "").replace("\r", "").replace("\n", "")

    def objective(params: Any, trial: Any) -> dict[str, float]:
        print(HOSTILE)
        trial.log_metric(f"metric{text}", 1.0)
        if trial.number == 0:
            raise type(f"Error{name}", (Exception,), {})(HOSTILE)
        return {f"goal{text}": float(trial.number)}

    space = {f"param{text}": Choice(HOSTILE, "b\udc80", "=1+1"), "x": Float(0, 1)}
    study = search(
        folder / "store", objective=objective, space=space, study=name, tags={text: text},
        metric=f"goal{text}", n_trials=6, register="m",
    )  # fmt: skip
    study.set_note(1, text, HOSTILE)
    return folder


def steering(output: bytes) -> list[str]:
    """Return the characters of an output that steer a terminal."""
    shown = output.decode("utf-8", "surrogateescape")
    harmful = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))} - {"\n", "\t"}
    bidi = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
    return [ascii(c) for c in shown if c in harmful | bidi or "\ud800" <= c <= "\udfff"]


def commands(
    folder: Path, words: list[list[str]], **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Run commands in a process of their own; it prints the exit code of each."""
    script = (
        "import sys, json; from tuner.cli.commands import cli\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    try: cli.main(words)\n"
        "    except SystemExit as end: print('EXIT', end.code, flush=True)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script, json.dumps(words)],
        cwd=folder, capture_output=True, timeout=120, check=False,
        env={**os.environ, "TUNER_STORE": "store", "PYTHONPATH": str(ROOT), **variables},
    )  # fmt: skip


VIEWS = [
    ("studies",),
    ("show", "{name}"),
    ("show", "{name}", "--trial", "0"),
    ("show", "{name}", "--trial", "1"),
    ("best", "{name}"),
    ("find", ""),
    ("find", "", "--what", "runs"),
    ("find", "", "--what", "studies"),
    ("find", "", "--what", "models"),
    ("models",),
    ("lineage", "m"),
    ("compare", "{name}/1", "{name}/2"),
    ("tag", "{name}"),
    ("note", "{name}/1"),
    ("show", "no\x1b[31msuch"),
    ("no\x1b[31msuch",),
    ("find", "params.\x1b[31m > 1"),
]


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_listings_contain_no_terminal_control_characters(hostile: Path, encoding: str) -> None:
    info = tuner.list_studies(store=hostile / "store")[0]
    words = [[w.format(name=info.name) for w in view] for view in VIEWS]
    done = commands(hostile, words, PYTHONIOENCODING=encoding)
    assert steering(done.stdout) == []
    assert steering(done.stderr) == []
    assert b"Traceback (most recent call last):\n  File" not in done.stderr, done.stderr.decode()
    codes = [line for line in done.stdout.split(b"\n") if line.startswith(b"EXIT")]
    assert codes == [b"EXIT 0"] * 14 + [b"EXIT 1", b"EXIT 2", b"EXIT 1"], done.stderr.decode()


@pytest.mark.process
def test_tables_and_progress_contain_no_foreign_control_characters(hostile: Path) -> None:
    import pty

    info = tuner.list_studies(store=hostile / "store")[0]
    (hostile / "train.py").write_text(
        "import tuner\nspace = {'x': tuner.Float(0, 1)}\ndef f(p): return p['x']"
    )
    for words in (
        ["find", ""],
        ["export", info.name],
        [
            "run",
            "train.py:f",
            "--backend",
            "serial",
            "--n-trials",
            "3",
            "--study",
            "p\x1b[31m[bold]\u202e",
        ],
    ):
        primary, replica = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "tuner.cli", *words],
            cwd=hostile, stdin=replica, stdout=replica, stderr=replica,
            env={**os.environ, "TUNER_STORE": "store", "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        )  # fmt: skip
        os.close(replica)
        output = b""
        while True:
            try:
                piece = os.read(primary, 65536)
            except OSError:
                break
            if not piece:
                break
            output += piece
        os.close(primary)
        assert process.wait(60) == 0, output
        for planted in (b"\x1b]0;", b"\x1b[31m", b"\xc2\x9b", b"\x07", "\u202e".encode()):
            assert planted not in output, (words, output)


@pytest.mark.slow
def test_hostile_text_is_exported_and_reported(hostile: Path, tmp_path: Path) -> None:
    import pandas as pd

    info = tuner.list_studies(store=hostile / "store")[0]
    study = tuner.load_study(info.name, store=hostile / "store")
    for to in ("csv", "json", "parquet"):
        study.export(tmp_path / f"t.{to}")
    assert len(pd.read_csv(tmp_path / "t.csv")) == len(pd.read_parquet(tmp_path / "t.parquet")) == 6
    read = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    param = next(c.path for c in study.space.columns if c.path.startswith("param"))
    assert {row[param] for row in read} == {t.params[param] for t in study}
    html = write_report(study, tmp_path / "r.html").read_bytes()
    assert steering(html.replace(b"\r\n", b"\n")) == []
    export_dvc(study, tmp_path / "dvc")
    export_tensorboard(study, tmp_path / "events")
    study.plot.slice(save=tmp_path / "p.png")
    cells = (tmp_path / "t.csv").read_text(encoding="utf-8")
    assert ",=1+1" not in cells


@pytest.mark.process
def test_undecodable_command_line_arguments_are_handled(tmp_path: Path) -> None:
    search(tmp_path / "store")
    byte = "\udce9"  # as Python reads the byte E9 of a command line
    done = commands(
        tmp_path,
        [
            ["show", f"caf{byte}"],
            ["find", f"value > 1 and study = '{byte}'"],
            ["find", f"params.x = '{byte}'"],
            ["tag", "s", f"a={byte}"],
            ["tag", "s", f"{byte}=a"],
            ["note", "s/1", f"a={byte}"],
            ["export", "s", "--output", f"{byte}.csv"],
            ["report", "s", "--output", f"{byte}.html"],
            ["find", "", "--store", byte],
            ["db", "backup", byte],
            ["import", "optuna", f"{byte}.db"],
            ["plot", "s", "--to", byte, "--kind", "history"],
        ],
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert steering(done.stdout + done.stderr) == []
    assert done.stdout.count(b"EXIT") == 12


@pytest.mark.process
def test_a_closed_output_pipe_ends_a_command_quietly(tmp_path: Path) -> None:
    remark = b"the first 100 are shown; for more, add a limit to the query or use --to\n"
    search(tmp_path / "store", n_trials=200)
    for words in ("find ''", "find '' --to csv", "export s --to json"):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m tuner.cli {words} | head -c 10"],
            cwd=tmp_path, capture_output=True, timeout=300, check=False,
            env={**os.environ, "TUNER_STORE": "store", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        # A reader that leaves late has let the whole command end, with its remark on the limit.
        assert done.stderr in (b"", *((remark,) if words == "find ''" else ())), done.stderr


# --- damaged and foreign records ---------------------------------------------------------------

ODD_CELLS: list[Any] = [
    *(None, "text", "", b"\xff\xfe", -1, 2**63 - 1, 1e308, float("inf"), "[]", "{}", "null", "[1"),
    *('{"a":', "[" * 5000, "9" * 5000, "1e999", '{"params":3}', '{"version":1,"params":{}}'),
    *("\ud800".encode("utf-8", "surrogatepass"), "COMPLETE", "failed", "9999-99-99", "x" * 100_000),
    '{"name":"FloatDistribution"}',
    '{"name":"FloatDistribution","attributes":{"low":null,"high":"x","log":3,"step":[]}}',
    '{"name":"CategoricalDistribution","attributes":{"choices":[[1],{"a":1}]}}',
    '{"name":"IntDistribution","attributes":{"low":0,"high":NUMBER,"log":false,"step":0}}'.replace(
        "NUMBER", "9" * 4000
    ),
]


def damaged(good: Path, bad: Path, pick: random.Random) -> str:
    """Write a damaged copy of a SQLite database and say what is wrong with it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{bad}{suffix}").unlink(missing_ok=True)
    shutil.copy(good, bad)
    size = good.stat().st_size
    kind = pick.choice(["cell"] * 6 + ["cut", "bytes", "bytes", "table", "column", "rows"])
    if kind == "cut":
        os.truncate(bad, pick.randrange(size))
        return kind
    if kind == "bytes":
        with bad.open("r+b") as file:
            for _ in range(pick.choice([1, 10, 200])):
                file.seek(pick.randrange(size))
                file.write(bytes([pick.randrange(256)]))
        return kind
    connection = sqlite3.connect(bad)
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith("sqlite_")
    ]
    table = pick.choice(tables)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    column, value = pick.choice(columns), pick.choice(ODD_CELLS)
    statements: dict[str, list[Any]] = {
        "table": [(f"DROP TABLE {table}",)],
        "column": [(f'ALTER TABLE {table} DROP COLUMN "{column}"',)],
        "rows": [(f"DELETE FROM {table} WHERE rowid % 2",)],
        "cell": [
            # A copy has no constraints that would refuse the value.
            (f"CREATE TABLE copy AS SELECT * FROM {table}",),
            (f"DROP TABLE {table}",),
            (f"ALTER TABLE copy RENAME TO {table}",),
            (f'UPDATE {table} SET "{column}" = ?', (value,)),
        ],
    }
    try:
        for statement in statements[kind]:
            connection.execute(*statement)
        connection.commit()
    except sqlite3.Error as error:
        return f"{kind} of {table}: {error}"
    finally:
        connection.close()
    return f"{kind} of {table}.{column}, {str(value)[:60]!r}"


def check_damaged(folder: Path, good: Path, seed: int, read: Callable[[Path], None]) -> None:
    bad = folder / "bad" / "tuner.db"
    shutil.rmtree(bad.parent, ignore_errors=True)
    bad.parent.mkdir()
    what = damaged(good, bad, random.Random(seed))
    raw = raw_error(lambda: read(bad))
    assert not raw, f"seed {seed}, {what}\n{raw}"


@pytest.fixture(scope="module")
def own_good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")

    def objective(params: Any, trial: Any) -> float:
        trial.report(params["x"], 0)
        trial.log_artifact(__file__, "a")
        if trial.number == 1:
            raise ValueError("no")
        return float(params["x"])

    space = {"x": Float(0, 1), "m": Choice("none", svm={"C": Float(0.1, 1)}), "n": Int(1, 3)}
    study = search(folder, objective=objective, space=space, register="m", tags={"a": "b"})
    study.set_note(0, "n", "x")
    study.store.close()
    with sqlite3.connect(folder / "tuner.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "tuner.db"


def read_own(bad: Path) -> None:
    read_all(bad.parent)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_store_raises_a_tuner_error(tmp_path: Path, own_good: Path, seed: int) -> None:
    check_damaged(tmp_path, own_good, seed, read_own)


@pytest.mark.soak
def test_many_damaged_stores_raise_tuner_errors(tmp_path: Path, own_good: Path) -> None:
    for seed in range(1000, 6000):
        check_damaged(tmp_path, own_good, seed, read_own)


@pytest.fixture(scope="module")
def optuna_good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = tmp_path_factory.mktemp("optuna") / "good.db"
    study = optuna.create_study(storage=f"sqlite:///{file}", study_name="s")
    study.set_user_attr("a", {"b": 1})

    def objective(trial: Any) -> float:
        x: float = trial.suggest_float("x", 0, 1, step=0.25)
        if trial.suggest_categorical("c", ["a", "b", None]) == "a":
            trial.suggest_float("y", 1e-3, 1, log=True)
        trial.suggest_int("n", 1, 100, log=True)
        trial.set_user_attr("u", "v")
        trial.report(x, 0)
        trial.report(x, 1)
        return x

    study.optimize(objective, n_trials=6)
    return file


def read_optuna(bad: Path) -> None:
    for done in import_optuna(str(bad), store=bad.parent / "store"):
        done.study.to_rows()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))  # a read takes 0.2 s
def test_a_damaged_optuna_database_raises_a_tuner_error(
    tmp_path: Path, optuna_good: Path, seed: int
) -> None:
    check_damaged(tmp_path, optuna_good, seed, read_optuna)


@pytest.mark.soak
def test_many_damaged_optuna_databases_raise_tuner_errors(
    tmp_path: Path, optuna_good: Path
) -> None:
    for seed in range(1000, 6000):
        check_damaged(tmp_path, optuna_good, seed, read_optuna)


@pytest.mark.parametrize("name", ["a#b.db", "a?b.db", "a%41.db", "a b.db", "a?mode=rwc", "a&b"])
@pytest.mark.slow
def test_reading_creates_no_file(
    name: str, tmp_path: Path, optuna_good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for storage in (name, f"./{name}", str(tmp_path / name), f"sqlite:///{name}"):
        with pytest.raises(errors.ForeignRecordError):
            import_optuna(storage, store="store")
        assert os.listdir() == []
        tuner.list_studies(store=name)
        assert os.listdir() == []
    shutil.copy(optuna_good, name)
    (done,) = import_optuna(name, store="store")
    assert done.added == 6
    assert sorted(os.listdir()) == sorted([name, "store"])


def test_invalid_mlflow_params_raise_a_tuner_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from tuner.integrations import import_mlflow

    monkeypatch.chdir(tmp_path)
    for uri in ("sqlite:///none.db", "none", "file:///none", str(tmp_path / "no#ne"), "x://", 7):
        with pytest.raises(errors.TunerError):
            import_mlflow(uri, "e", store="store")  # type: ignore[arg-type]
        assert os.listdir() == []
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(f"file://{tmp_path}/runs")
    odd = ["9" * 4000, "-" + "9" * 99, "1e400", "nan", "9" * 5000, "(" * 500, "None", "", "\x1b"]
    for number, text in enumerate(odd):
        experiment = client.create_experiment(f"e{number}")
        for value in (text, "1", "2.5", "x" if number % 2 else "3"):
            run = client.create_run(experiment)
            client.log_param(run.info.run_id, "p", value)
            client.log_metric(run.info.run_id, "m", 1e308, step=2**62)
            client.set_terminated(run.info.run_id)
        raw = raw_error(
            lambda n=number: import_mlflow(  # type: ignore[misc]
                f"file://{tmp_path}/runs", f"e{n}", store=tmp_path / "store"
            )
        )
        assert not raw, raw


# --- what passes --------------------------------------------------------------------------------


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
    # What a library raises is the cause of an error of ours.
    with pytest.raises(errors.StoreError, match="/none/such") as ours:
        public()(Path.stat)(Path("/none/such"))
    assert isinstance(ours.value.__cause__, FileNotFoundError)
    with pytest.raises(PermissionError, match="mine"):
        search(tmp_path, callbacks=[callback])
