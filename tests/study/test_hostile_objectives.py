"""Misbehaving objectives are recorded correctly and do not affect the next trial."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner
from tuner import Float, State
from tuner.testing.scripted_jobs import is_alive


def hostile() -> dict[str, tuple[Callable[[Path], Any], str]]:
    """Return what objectives do, by name, and the kind of failure that it comes to, if any."""

    def note(folder: Path, *pids: int) -> None:
        with open(folder / "pids", "a") as file:
            file.write("".join(f"{pid}\n" for pid in pids))

    def print_20_mb(folder):
        for _ in range(20):
            print("x" * 2**20)

    def leak_a_thread_that_prints(folder):
        def chatter():
            for _ in range(2000):
                print("chatter")
                time.sleep(0.01)

        threading.Thread(target=chatter, daemon=True).start()

    def leak_many_threads(folder):
        for _ in range(100):
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()

    def change_directory(folder):
        os.chdir("/")

    def delete_its_directory(folder):
        gone = tempfile.mkdtemp()
        os.chdir(gone)
        os.rmdir(gone)

    def reseed(folder):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002

    def leave_children(folder):
        child = subprocess.Popen(["sleep", "600"])
        note(folder, child.pid)

    def leave_a_daemon(folder):
        command = "setsid sleep 600 >/dev/null 2>&1 & echo $!"
        shell = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        note(folder, int(shell.stdout))

    def leave_a_pool(folder):
        pool = multiprocessing.get_context("fork").Pool(2)
        globals()["pool"] = pool
        note(folder, *(child.pid for child in multiprocessing.active_children()))

    def return_a_numpy_scalar(folder):
        return np.float32(0.5)

    def return_an_array(folder):
        return np.array(0.5)

    def return_nonsense(folder):
        return object()

    def raise_what_does_not_unpickle(folder):
        class Rude(Exception):
            def __init__(self, code, lock):
                super().__init__(f"code {code}")
                self.lock = lock

        raise Rude(3, threading.Lock())

    def change_the_environment(folder):
        os.environ["HOSTILE"] = "1"
        del os.environ["PATH"]

    def clear_the_environment(folder):
        os.environ.clear()

    def close_stdout(folder):
        sys.stdout.close()
        print("still heard")

    def close_below_stdout(folder):
        sys.stdout.buffer.close()

    def replace_stdout(folder):
        sys.stdout = sys.stderr = None

    def close_descriptors(folder):
        os.close(1)
        os.close(2)

    def set_an_alarm(folder):
        signal.setitimer(signal.ITIMER_REAL, 0.2)

    def set_a_handler(folder):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def leak_descriptors(folder):
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        globals()["files"] = [os.open("/dev/null", 0) for _ in range(min(20_000, soft * 6 // 10))]

    def set_the_recursion_limit(folder):
        sys.setrecursionlimit(120)

    def turn_warnings_into_errors(folder):
        warnings.simplefilter("error")
        warnings.warn("hostile", stacklevel=1)

    def warn(folder):
        warnings.warn("take care", stacklevel=1)

    def exit_by_sys_exit(folder):
        sys.exit(3)

    def limit_memory(folder):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**26, hard))
        bytearray(2**29)

    def turn_off_garbage_collection(folder):
        gc.disable()
        sys.path.clear()
        sys.argv[:] = ["hostile"]

    failures = {
        return_nonsense: "WrongReturnType",
        raise_what_does_not_unpickle: "Rude",
        turn_warnings_into_errors: "UserWarning",
        exit_by_sys_exit: "SystemExit",
        limit_memory: "MemoryError",
    }
    functions = [value for value in locals().values() if callable(value) and value is not note]
    return {f.__name__: (f, failures.get(f, "")) for f in functions}


NAMES = list(hostile())


def hostile_and_next(folder: Path) -> Callable[..., float]:
    """Return an objective whose even trials are hostile, and whose odd ones look round."""
    deeds = [deed for deed, _ in hostile().values()]
    names = list(hostile())
    lasting = {"set_an_alarm", "leak_a_thread_that_prints"}

    def look_round(trial, before):
        if not (folder / "home").exists():
            (folder / "home").write_text(os.getcwd())
        assert os.getcwd() == (folder / "home").read_text()
        assert "HOSTILE" not in os.environ
        assert os.environ["PATH"]
        drawn = np.random.random()  # noqa: NPY002
        assert drawn == np.random.RandomState(trial.seed).random()
        assert random.random() == random.Random(trial.seed).random()
        assert sys.getrecursionlimit() >= 1000
        assert gc.isenabled()
        assert sys.path
        assert sys.argv != ["hostile"]
        assert threading.active_count() < 64
        assert len(os.listdir("/proc/self/fd")) < 2000
        assert os.fstat(1)
        assert os.fstat(2)
        bytearray(2**28)
        warnings.warn("only a warning", stacklevel=1)
        subprocess.run(["true"], check=True)
        time.sleep(0.3 if before in lasting else 0.0)  # an alarm would ring, a thread would print
        print("all is well")
        return 1.0

    def objective(params, trial):
        which, odd = divmod(trial.number, 2)
        if odd:
            return look_round(trial, names[which])
        returned = deeds[which](folder)
        return 0.0 if returned is None else returned

    return objective


def check(study: tuner.Study, folder: Path, but: dict[str, str]) -> None:
    for number, (name, (_, kind)) in enumerate(hostile().items()):
        kind = but.get(name, kind)
        bad, after = study.trials[2 * number], study.trials[2 * number + 1]
        errors = [run.error for n in (bad.number, after.number) for run in study.runs(n)]
        said = f"{name}: {bad.error}, then {after.error}: {errors}"
        assert (bad.error.kind if bad.error else "") == kind, said
        assert bad.attempts == after.attempts == 1, said
        assert after.state is State.COMPLETED, said
        (run,) = study.runs(after.number)
        assert "only a warning" in run.output, said
        assert "all is well" in run.output, said
        assert "chatter" not in run.output, said
    (loud,) = study.runs(2 * NAMES.index("print_20_mb"))
    assert "characters cut" in loud.output
    assert len(loud.output) < 100_000
    (closed,) = study.runs(2 * NAMES.index("close_stdout"))
    assert closed.output == "still heard\n"
    (warned,) = study.runs(2 * NAMES.index("warn"))
    assert "take care" in warned.output
    assert study.trials[2 * NAMES.index("return_a_numpy_scalar")].value == 0.5
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    assert len(pids) == 4
    deadline = time.monotonic() + 10
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, pids
        time.sleep(0.05)


def search(folder: Path, objective: Any, **options: Any) -> tuner.Study:
    return tuner.optimize(
        objective, {"x": Float(0, 1)}, n_trials=2 * len(NAMES), seed=0, optimizer="random",
        store=folder / "store", study="hostile", progress=False, **options,
    )  # fmt: skip


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_the_next_trial_on_a_ray_worker_is_unaffected(tmp_path: Path) -> None:
    study = search(tmp_path, hostile_and_next(tmp_path), workers=1)
    # On a worker the objective does not run on the main thread of its process.
    check(study, tmp_path, {"set_a_handler": "ValueError"})
    assert len({run.pid for run in study.runs()}) < 8  # replaced only where nothing else helps


def test_the_next_trial_in_the_same_process_is_unaffected(tmp_path: Path) -> None:
    before = os.getcwd(), dict(os.environ), random.getstate(), signal.getsignal(signal.SIGTERM)
    streams = sys.stdout, sys.stderr
    deeds = {name: deed for name, deed in hostile().items() if name in HARMLESS}

    def objective(params, trial):
        which, odd = divmod(trial.number, 2)
        if odd:
            assert "HOSTILE" not in os.environ
            assert os.getcwd() == before[0]
            assert random.random() == random.Random(trial.seed).random()
            time.sleep(0.3 if which == HARMLESS.index("set_an_alarm") else 0.0)
            print("all is well")
            return 1.0
        returned = deeds[HARMLESS[which]][0](tmp_path)
        return 0.0 if returned is None else returned

    study = tuner.optimize(
        objective, {"x": Float(0, 1)}, n_trials=2 * len(HARMLESS), seed=0, optimizer="random",
        store=tmp_path / "store", backend="serial", progress=False,
    )  # fmt: skip
    kinds = [trial.error.kind if trial.error else "" for trial in study.trials]
    assert kinds[::2] == [deeds[name][1] for name in HARMLESS]
    assert set(kinds[1::2]) == {""}
    assert all("all is well" in run.output for run in study.runs() if run.trial % 2)
    now = os.getcwd(), dict(os.environ), random.getstate(), signal.getsignal(signal.SIGTERM)
    assert now == before
    assert (sys.stdout, sys.stderr) == streams


HARMLESS = [
    "print_20_mb",
    "change_directory",
    "delete_its_directory",
    "reseed",
    "return_a_numpy_scalar",
    "return_nonsense",
    "raise_what_does_not_unpickle",
    "change_the_environment",
    "clear_the_environment",
    "close_stdout",
    "replace_stdout",
    "set_an_alarm",
    "set_a_handler",
    "set_the_recursion_limit",
    "turn_warnings_into_errors",
    "exit_by_sys_exit",
    "turn_off_garbage_collection",
]
"""What cannot harm the program that runs the tests, if it is put right."""
