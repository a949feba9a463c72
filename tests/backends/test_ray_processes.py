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
from tuner.testing.scripted_jobs import is_alive

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


def descendants(pid: int) -> set[int]:
    """Return the processes that a process started, directly or not."""
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int(
                    (path / "stat").read_text().rsplit(")")[-1].split()[1]
                )
            except OSError:
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def agents(pids: set[int]) -> set[int]:
    """Return the agents of Ray among processes; after a kill they exit within a minute."""
    return {pid for pid in pids if b"Agent" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def gone(pids: set[int], within: float = 30.0) -> bool:
    """Return whether all of these processes end soon."""
    deadline = time.monotonic() + within
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


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


def test_ray_is_silent_and_leaves_nothing_even_when_workers_die(tmp_path: Path) -> None:
    code = """
import ray, signal, tempfile
tempfile.tempdir = os.getcwd()  # not the system's, where others come and go
before = dict(os.environ), signal.getsignal(signal.SIGTERM), set(os.listdir(tempfile.gettempdir()))
backend = RayBackend()
backend.start(work)
assert len(run(backend, *range(50), "die", "die")) == 52
time.sleep(1.0)  # Ray tells of a death a little later
say(*(p for p in ray.nodes()[0]["Resources"].items() if p[0] == "CPU"))
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
    assert (tmp_path / "said").read_text() == f"('CPU', {cpus})\ncompleted\n"
    assert len(started) > 3
    assert gone(started)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_is_ended_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
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
    if number is signal.SIGKILL:
        started -= agents(started)
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


NODES = """
import ray
from ray.cluster_utils import Cluster
from tuner.errors import ResourcesError

cluster = Cluster(
    initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
)
for _ in range(2):
    node = cluster.add_node(num_cpus=2)
ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
backend = RayBackend()
try:
    backend.start(work, resources={"cpu": 4})
except ResourcesError as error:
    say(error)
backend.start(work)
while backend.capacity < 4:
    backend.events(0.5)
say(len([e for e in run(backend, *range(100)) if isinstance(e, Finished)]))
for n in range(4):
    backend.submit(Job(f"long-{n}", Trial(n, {"x": "sleep"})))
while not Path("asleep").exists():
    backend.events(0.1)
time.sleep(1.0)
cluster.remove_node(node, allow_graceful=False)
lost = []
while len(lost) < 2:
    lost += [e for e in backend.events(1.0) if isinstance(e, Lost)]
say(len(lost), backend.capacity)
for n in range(4):
    backend.stop(f"long-{n}", kill=True)
while len(lost) < 4:
    lost += [e for e in backend.events(1.0) if isinstance(e, Lost)]
say(len([e for e in run(backend, *range(10)) if isinstance(e, Finished)]))
backend.close()
ray.shutdown()
cluster.shutdown()
"""


def test_a_node_that_is_lost_loses_its_trials_only(tmp_path: Path) -> None:
    process = start(tmp_path, NODES)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    asked, finished, lost, after = (tmp_path / "said").read_text().splitlines()
    assert "needs 4 CPU" in asked
    assert "2 CPU; 2 CPU" in asked
    assert (finished, lost, after) == ("100", "2 2", "10")


LICENSES = """
import ray
from tuner.errors import ResourcesError

ray.init(
    address="local", num_cpus=1, resources={"license": 3}, include_dashboard=False,
    log_to_driver=False, logging_level="ERROR",
)
backend = RayBackend()
try:
    backend.start(work, resources={"license": 4})
except ResourcesError as error:
    say(error)
backend.start(work, resources={"cpu": 0.25, "license": 1})
while backend.capacity < 3:
    backend.events(0.5)
say(backend.capacity, ray.available_resources().get("license", 0), len(run(backend, *range(9))))
backend.close()
backend.close()
while ray.available_resources().get("license") != 3:
    time.sleep(0.05)
say("given back")
ray.shutdown()
"""


def test_custom_resources_bound_the_workers_and_are_given_back(tmp_path: Path) -> None:
    process = start(tmp_path, LICENSES)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, ""), err
    refused, ran, last = (tmp_path / "said").read_text().splitlines()
    assert "4 license" in refused
    assert "3 license" in refused
    assert ran == "3 0 9"
    assert last == "given back"


ORPHANS = """
import signal, subprocess, tuner

def objective(params, trial):
    if trial.attempt == 1:
        shell = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE)
        say(shell.pid, int(shell.stdout.readline()))
        os.kill(os.getpid(), signal.SIGKILL)
    return params["x"]

study = tuner.optimize(
    objective, {"x": tuner.Float(0, 1)}, n_trials=1, store="store", progress=False, workers=1,
)
say(study.trials[0].attempts)
time.sleep(2.0)
"""


def test_what_a_killed_worker_had_started_ends_with_it(tmp_path: Path) -> None:
    process = start(tmp_path, ORPHANS)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    children, attempts = (tmp_path / "said").read_text().splitlines()
    assert attempts == "2"
    assert len(children.split()) == 2
    assert gone({int(pid) for pid in children.split()}, within=10.0)


OUT_OF_MEMORY = """
import ray, tuner

def used():
    lines = Path("/proc/meminfo").read_text().splitlines()
    size = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return 1 - size["MemAvailable"] / size["MemTotal"]

limits = {"memory_usage_threshold": min(0.97, used() + 0.15), "memory_monitor_refresh_ms": 100}
ray.init(
    address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
    logging_level="ERROR", _system_config=limits,
)

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
"""


def test_a_worker_that_fills_the_memory_is_lost_and_the_record_says_why(tmp_path: Path) -> None:
    process = start(tmp_path, OUT_OF_MEMORY)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    error, state = (tmp_path / "said").read_text().splitlines()
    assert error.startswith("WorkerLost")
    assert "low on memory" in error
    assert state == "completed"
