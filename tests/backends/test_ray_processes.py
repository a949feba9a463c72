"""A Ray cluster started for a study and shut down with it, observed from another process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.interrupts import heed_interrupts
from support.processes import descendants, gone

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HEAD = """
import os, sys, time
from pathlib import Path
from tuner.backends import RayBackend
from tuner.backends.protocol import Finished, Lost
from tuner.records import Job, Outcome, State, Trial

def work(job, channel):
    x = job.trial.params["x"]
    print("printed by the objective")
    if x == "die":
        os._exit(1)
    if x == "sleep":
        Path("asleep").touch()
        time.sleep(600)
    return Outcome(State.COMPLETED)

def run(backend, *xs):
    for n, x in enumerate(xs):
        backend.submit(Job(f"{time.time()}-{n}", Trial(n, {"x": x})))
    ends = []
    while len(ends) < len(xs):
        ends += [e for e in backend.events(1.0) if isinstance(e, Finished | Lost)]
    return ends

def say(*words):
    with open("said", "a") as file:
        print(*words, file=file)
"""


def start(folder: Path, code: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(HEAD + code)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )


def test_ray_prints_nothing_and_leaves_no_files_when_workers_die(tmp_path: Path) -> None:
    code = """
import psutil, ray, signal, tempfile
tempfile.tempdir = os.getcwd()  # not the system's, where others come and go
before = dict(os.environ), signal.getsignal(signal.SIGTERM), set(os.listdir(tempfile.gettempdir()))
backend = RayBackend()
backend.start(work)
assert len(run(backend, *range(50), "die", "die")) == 52
time.sleep(1.0)  # Ray tells of a death a little later
say(*(p for p in ray.nodes()[0]["Resources"].items() if p[0] == "CPU"))
commands = [" ".join(p.cmdline()[:4]) for p in psutil.Process().children(recursive=True)]
for name in ("raylet", "monitor.py", "log_monitor.py", "dashboard.py"):
    say(name, any(f"/{name}" in command for command in commands))
backend.close()
backend.close()
assert not ray.is_initialized()
assert dict(os.environ) == before[0]
assert signal.getsignal(signal.SIGTERM) == before[1]
left = set(os.listdir(tempfile.gettempdir())) - before[2]
assert not any(name.startswith("tuner-") for name in left), left
backend.start(work, workers=1)
say(run(backend, 1)[0].outcome.state)
"""
    process = start(tmp_path, code)
    started: set[int] = set()
    while process.poll() is None:
        started |= descendants(process.pid)
        time.sleep(0.1)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")
    cpus = float(len(os.sched_getaffinity(0)))
    assert (tmp_path / "said").read_text().splitlines() == [
        f"('CPU', {cpus})",
        *("raylet True", "monitor.py False", "log_monitor.py False", "dashboard.py False"),
        "completed",
    ]
    assert len(started) > 3
    assert gone(started)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_terminated_driver_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    code = """
backend = RayBackend()
backend.start(work, workers=1)
try:
    run(backend, "sleep")
finally:
    backend.close()
"""
    process = start(tmp_path, code)
    while not (tmp_path / "asleep").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    started = descendants(process.pid)
    assert len(started) > 3
    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does it
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert gone(started)
    assert out == ""
    assert process.returncode != 0
    if number is signal.SIGINT:
        assert err.endswith("KeyboardInterrupt\n")


LIMITED = """
import ray, tuner
from tuner.errors import ResourcesError

def used():
    lines = Path("/proc/meminfo").read_text().splitlines()
    size = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return 1 - size["MemAvailable"] / size["MemTotal"]

limits = {"memory_usage_threshold": min(0.97, used() + 0.15), "memory_monitor_refresh_ms": 100}
ray.init(
    address="local", num_cpus=1, resources={"license": 2}, include_dashboard=False,
    log_to_driver=False, logging_level="ERROR", _system_config=limits,
)

# Custom resources bound the workers, and are given back.
backend = RayBackend()
try:
    backend.start(work, resources={"license": 3})
except ResourcesError as error:
    say(error)
backend.start(work, resources={"cpu": 0.25, "license": 1})
while backend.capacity < 2:
    backend.events(0.5)
say(backend.capacity, ray.available_resources().get("license", 0), len(run(backend, *range(9))))
backend.close()
backend.close()
deadline = time.monotonic() + 60
while ray.available_resources().get("license") != 2 and time.monotonic() < deadline:
    time.sleep(0.05)
say(ray.available_resources().get("license"))

# A worker fills the memory.
def objective(params, trial):
    held = []
    while trial.attempt == 1:
        held.append(b"x" * (100 * 2**20))
        time.sleep(0.05)
    return params["x"]

study = tuner.optimize(
    objective, {"x": tuner.Float(0, 1)}, n_trials=1, store="store", progress=False, workers=1,
)
say(study.runs()[0].error)
say(study.trials[0].state)
ray.shutdown()
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the output of a script on a Ray with two licenses and little memory."""
    folder = tmp_path_factory.mktemp("limited")
    process = start(folder, LIMITED)
    out, err = process.communicate(timeout=180)
    assert (process.returncode, out) == (0, ""), err
    return (folder / "said").read_text().splitlines()


def test_custom_resources_bound_the_workers_and_are_given_back(limited: list[str]) -> None:
    refused, ran, given_back, *_ = limited
    assert "3 license" in refused
    assert "2 license" in refused
    assert ran == "2 0 9"
    assert given_back == "2.0"


def test_a_worker_that_fills_the_memory_is_lost_and_the_record_says_why(limited: list[str]) -> None:
    *_, error, state = limited
    assert error.startswith("WorkerLost")
    assert "low on memory" in error
    assert state == "completed"
