"""Names and texts with control characters do not control the terminal, reports or exports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.any_input import search
from tuner import Choice, Float
from tuner.integrations import export_dvc, export_tensorboard
from tuner.reporting import write_report

ROOT = Path(__file__).parents[2]

NOBODY = 65534


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
    """Run commands in a separate process; it prints the exit code of each."""
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
