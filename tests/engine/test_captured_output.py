"""Every trial has its own lines, from `print` and `logging`, at the level of the script."""

from __future__ import annotations

import ast
import ctypes
import dataclasses
import io
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.script_logging import own_root
from tuner.engine.worker.loggers import LogSetup
from tuner.engine.worker.output import captured
from tuner.engine.worker.transcript import Transcript


def outputs(store: Path, objective: Callable[..., Any], n_trials: int = 3) -> list[str]:
    study = tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=n_trials, optimizer="tpe", store=store,
        backend="serial", register=False, progress=False,
    )  # fmt: skip
    return [run.output for run in study.runs()]


def lines(params: Any, trial: Any) -> float:
    print(f"print {trial.number}")
    logging.getLogger("train").info("info %d", trial.number)
    logging.getLogger("train").debug("debug %d", trial.number)
    logging.warning("warning %d", trial.number)
    return 0.0


def expected(form: str) -> list[str]:
    return [
        "".join(f"{line}\n" for line in (f"print {n}", *(f.format(n) for f in form.split("|"))))
        for n in range(3)
    ]


@own_root()
def test_logging_that_the_script_configured_is_captured(tmp_path: Path) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s:%(message)s")
    before = sys.stderr
    assert outputs(tmp_path, lines) == expected("INFO:info {0}|WARNING:warning {0}")
    assert logging.getLogger().handlers[0].stream is before  # type: ignore[attr-defined]
    assert len(logging.getLogger().handlers) == 1


@own_root()
def test_logging_to_standard_output_is_captured(tmp_path: Path) -> None:
    logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(message)s")
    assert outputs(tmp_path, lines) == expected("info {0}|debug {0}|warning {0}")


@own_root()
def test_logging_that_the_objective_configures_is_captured_in_every_trial(tmp_path: Path) -> None:
    def objective(params: Any, trial: Any) -> float:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        return lines(params, trial)

    assert outputs(tmp_path, objective) == expected("info {0}|warning {0}")
    assert logging.getLogger().handlers[0].stream is sys.stderr  # type: ignore[attr-defined]


@own_root()
def test_without_configuration_warnings_are_captured(tmp_path: Path) -> None:
    assert outputs(tmp_path, lines) == expected("WARNING:root:warning {0}")


@own_root()
def test_a_script_that_logs_to_a_file_has_its_lines_in_the_record_too(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    logging.basicConfig(filename=file, level=logging.INFO, format="%(message)s")
    assert outputs(tmp_path, lines) == expected("info {0}|warning {0}")
    assert file.read_text().count("info") == 3
    assert len(logging.getLogger().handlers) == 1
    logging.getLogger().handlers[0].close()


@own_root()
def test_a_logger_with_a_handler_of_its_own_is_captured_once(tmp_path: Path) -> None:
    logging.basicConfig(filename=tmp_path / "log.txt", level=logging.INFO, format="%(message)s")
    train = logging.getLogger("train")
    own = logging.StreamHandler()
    own.setFormatter(logging.Formatter("own %(message)s"))
    train.addHandler(own)
    try:
        assert outputs(tmp_path, lines) == expected("own info {0}|warning {0}")
    finally:
        train.removeHandler(own)
        logging.getLogger().handlers[0].close()


@own_root()
def test_searches_on_threads_have_their_own_lines(tmp_path: Path) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found: dict[str, list[str]] = {}
    both = threading.Barrier(2, timeout=20)

    def run(name: str) -> None:
        def objective(params: Any, trial: Any) -> float:
            both.wait()
            logging.info("%s %d", name, trial.number)
            both.wait()
            return 0.0

        found[name] = outputs(tmp_path / name, objective)

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {name: [f"{name} {n}\n" for n in range(3)] for name in "ab"}


@own_root()
def test_threads_of_the_objective_log_into_its_output() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with captured() as transcript:
        thread = threading.Thread(target=logging.info, args=("from a thread",))
        thread.start()
        thread.join()
    assert str(transcript) == "from a thread\n"


@own_root()
def test_a_handler_for_a_replaced_stream_is_captured() -> None:
    terminal = io.StringIO()
    logging.basicConfig(stream=terminal, level=logging.INFO, format="%(message)s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with captured() as transcript:
            logging.info("seen")
        logging.info("after")
    assert str(transcript) == "seen\n"
    assert terminal.getvalue() == "seen\nafter\n"


@own_root()
def test_a_worker_in_another_process_logs_at_the_level_and_in_the_format_of_the_script() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s>%(message)s", stream=sys.stdout)
    train = logging.getLogger("train.of.a.test")
    train.setLevel(logging.DEBUG)
    setup = pickle.loads(pickle.dumps(LogSetup.current()))
    logging.getLogger().handlers[:] = []
    logging.getLogger().setLevel(logging.WARNING)
    train.setLevel(logging.NOTSET)
    shipped = dataclasses.replace(setup, pid=-1)
    for number in range(2):
        shipped.apply()
        with captured() as transcript:
            train.debug("debug %d", number)
            logging.debug("hidden")
            logging.info("info %d", number)
        assert str(transcript) == f"DEBUG>debug {number}\nINFO>info {number}\n"
    train.setLevel(logging.NOTSET)


@own_root()
def test_a_worker_keeps_the_logging_that_it_configured_itself() -> None:
    logging.basicConfig(level=logging.INFO)
    setup = dataclasses.replace(LogSetup.current(), pid=-1)
    logging.getLogger().handlers[:] = [logging.StreamHandler(io.StringIO())]
    logging.getLogger().setLevel(logging.ERROR)
    setup.apply()
    assert logging.getLogger().level == logging.ERROR
    assert len(logging.getLogger().handlers) == 1


# --- progress bars --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["\r 10%", "\r 20%", "\r100%", "\n"], "100%\n"),
        (["\r 10%", "\r 20%"], " 20%"),
        (["10%\r", "20%\r", "30%\r"], "30%"),
        (["10%\r", "20%\r", "done\n"], "done\n"),
        (["a\r\n", "b\r", "\n", "c\n"], "a\nb\nc\n"),
        (["\r 10%", "log\n", "\r 20%", "log 2\n", "\r100%\n"], "log\nlog 2\n100%\n"),
        (["\x08\x08\x08\r1/2", "\x08\x08\x08\r2/2", "\x08\x08\r2/2 ok\n"], "2/2 ok\n"),
        (["start ", "\r", "end\n"], "end\n"),
        (["x" * 10_000, "\r", "end\n"], "x" * 10_000 + "end\n"),
        (["one\ntwo\rtwo!\nthree"], "one\ntwo!\nthree"),
        (["\r", "10%", "\r", "20%", "\n", "end\n"], "20%\nend\n"),
        (
            ["\router 1", "\n", "\rinner 1", "\x1b[A", "\n", "\rinner 2", "\x1b[A"],
            "outer 1\ninner 2",
        ),
        (["\router", "\n", "\rinner", "\x1b[A", "log\n", "\router 2"], "log\nouter 2\ninner"),
        (["\router", "\n", "\rin", "\x1b[A", "\n", "\r  \r", "\x1b[A", "\n", "x\n"], "outer\nx\n"),
        (["\r\x1b[31mred\x1b[0m", "\r\x1b[32mgreen\x1b[0m", "\n"], "\x1b[32mgreen\x1b[0m\n"),
    ],
)
def test_overwritten_lines_are_recorded_in_their_last_state(texts: list[str], kept: str) -> None:
    transcript = Transcript()
    for text in texts:
        transcript.add(text)
    assert str(transcript) == kept


def test_bars_and_prints_on_two_streams_do_not_mix() -> None:
    transcript = Transcript()
    for n in range(100):
        transcript.add(f"\r {n}%", "stderr")
        transcript.add(f"epoch {n}\n", "stdout")
    transcript.add("\n", "stderr")
    assert str(transcript) == "".join(f"epoch {n}\n" for n in range(100)) + " 99%\n"


def test_nested_tqdm_bars_are_recorded_as_one_line_each(tmp_path: Path) -> None:
    tqdm = pytest.importorskip("tqdm").tqdm

    def objective(params: Any, trial: Any) -> float:
        for epoch in tqdm(range(5), mininterval=0, desc="epochs"):
            for _ in tqdm(range(50), mininterval=0, desc="batches", leave=False):
                pass
            logging.warning("epoch %d", epoch)
        return 0.0

    with own_root():
        logging.basicConfig(format="%(message)s")
        (output,) = outputs(tmp_path, objective, 1)
    lines = output.splitlines()
    assert [line for line in lines if "epochs" not in line] == [f"epoch {n}" for n in range(5)]
    (bar,) = (line for line in lines if "epochs" in line)
    assert "5/5" in bar


def test_a_tqdm_bar_is_recorded_as_one_line(tmp_path: Path) -> None:
    tqdm = pytest.importorskip("tqdm").tqdm

    def objective(params: Any, trial: Any) -> float:
        for n in tqdm(range(200), mininterval=0, desc="steps"):
            if n % 100 == 0:
                print("at", n)
        return 0.0

    (output,) = outputs(tmp_path, objective, 1)
    *prints, bar = output.splitlines()
    assert prints == ["at 0", "at 100"]
    assert "200/200" in bar


# --- C code and child processes -------------------------------------------------------------------


def c_puts(text: str) -> None:
    ctypes.CDLL(None).puts(text.encode())


@pytest.mark.process
def test_output_of_c_code_and_child_processes_is_captured_in_order(tmp_path: Path) -> None:
    def objective(params: Any, trial: Any) -> float:
        n = trial.number
        print(f"print {n}")
        c_puts(f"puts {n}")
        os.write(2, f"write {n}\n".encode())
        trial.report(1.0, 0)
        os.system(f"echo shell {n}")
        print(f"end {n}")
        c_puts(f"last {n}")
        return 0.0

    for n, output in enumerate(outputs(tmp_path, objective)):
        assert output.splitlines() == [
            f"{name} {n}" for name in ("print", "puts", "write", "shell", "end", "last")
        ]


SCRIPT = """
import ctypes, logging, os, sys, tempfile, time
logging.basicConfig(level=logging.INFO, format="%(message)s")
import tuner

class Own:
    def __init__(self, stream): self.stream = stream
    def write(self, text): self.stream.write(text)
    def flush(self): self.stream.flush()

if "own" in sys.argv:
    sys.stdout = Own(sys.stdout)

def objective(params, trial):
    print("print", trial.number)
    ctypes.CDLL(None).puts(b"puts")
    logging.info("info %d", trial.number)
    trial.report(1.0, 0)
    os.write(1, b"write\\n")
    if "live" in sys.argv:
        time.sleep(0.6)
        os._exit(7)
    sys.stderr.write("\\r1/2"); sys.stderr.write("\\r2/2\\n")
    return 0.0

study = tuner.optimize(objective, {"x": tuner.Float(0, 1)}, n_trials=2, backend="serial",
    optimizer="tpe", store=tempfile.mkdtemp(), register=False)
print("after"); ctypes.CDLL(None).puts(b"c after")
for run in study.runs():
    print(repr(run.output))
"""


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("argument", ["", "own"])
def test_a_script_prints_what_it_printed_before_and_each_run_has_its_lines(argument: str) -> None:
    done = run_script(argument)
    assert done.returncode == 0, done.stderr
    *printed, first, second = done.stdout.splitlines()
    trial = ["print 0", "puts", "write", "print 1", "puts", "write"]
    assert sorted(printed) == sorted([*trial, "after", "c after"])
    if not argument:
        assert printed[:6] == trial
    for n, output in enumerate((first, second)):
        assert sorted(ast.literal_eval(output).splitlines()) == sorted(
            [f"print {n}", "puts", f"info {n}", "write", "2/2"]
        )
    assert "info 0" in done.stderr
    assert "info 1" in done.stderr
    assert "trials" in done.stderr  # the progress display, not the output of a trial


@pytest.mark.process
def test_every_way_to_write_to_a_stream_is_captured(
    capfdbinary: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(1, "w", closefd=False) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        check_ways_to_write(capfdbinary)


def check_ways_to_write(capfdbinary: Any) -> None:
    with captured() as transcript:
        sys.stdout.buffer.write(b"bytes \xff\n")
        sys.stderr.buffer.write(bytearray(b"array\n"))
        sys.stdout.writelines(["one\n", "two\n"])
        subprocess.run(["echo", "child"], stdout=sys.stdout, check=True)
        os.write(sys.stdout.fileno(), b"descriptor\n")
    assert str(transcript) == "bytes \\xff\narray\none\ntwo\nchild\ndescriptor\n"
    printed = capfdbinary.readouterr()
    assert printed.out == b"bytes \xff\none\ntwo\nchild\ndescriptor\n"
    assert printed.err == b"array\n"


def test_a_captured_stream_without_a_buffer_has_no_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with captured():
        assert not hasattr(sys.stdout, "buffer")
        with pytest.raises(io.UnsupportedOperation):
            sys.stdout.fileno()


@pytest.mark.process
@pytest.mark.slow
def test_text_of_c_code_is_passed_on_while_the_trial_runs() -> None:
    done = run_script("live")
    assert done.returncode == 7
    assert done.stdout.splitlines() == ["print 0", "puts", "write"]
