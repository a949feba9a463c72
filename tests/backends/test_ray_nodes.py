"""Nodes that are added, lost and frozen while trials run, and the loss of the head."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuner.testing.scripted_jobs import is_alive

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def run_script(folder: Path, code: str) -> list[str]:
    """Run a script with its own cluster and return the lines that it wrote."""
    (folder / "script.py").write_text(HEAD + code)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "said").read_text().splitlines()


HEAD = """
import logging, os, signal, sys, time
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
import tuner
from tuner.backends import RayBackend
from tuner.backends.ray import health
from tuner.backends.protocol import Finished, Lost
from tuner.errors import ResourcesError
from tuner.records import Job, Outcome, State, Trial

health.HEAD_CHECK_INTERVAL, health.HEAD_LOST = 1.0, 4.0
health.SILENCE, health.UNREACHABLE, health.FROZEN = 2.0, 4.0, 1.0
STORE = {"object_store_memory": 80 * 2**20, "include_log_monitor": False}

def cluster():
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0, "include_dashboard": False, "no_monitor": True, **STORE
        },
    )
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    return cluster

def raylet(node):
    return node.all_processes["raylet"][0].process.pid

def say(*words):
    with open("said", "a") as file:
        print(*words, file=file)
"""

NODES = """
def work(job, channel):
    if job.trial.params["sleep"]:
        Path(f"began-{os.getpid()}").write_text(job.run)
        time.sleep(job.trial.params["sleep"])
        Path(f"ended-{job.run}").touch()
    return Outcome(State.COMPLETED)

def submit(run, sleep=0.0):
    backend.submit(Job(run, Trial(0, {"sleep": sleep})))

def events_until(done):
    seen, deadline = [], time.monotonic() + 60
    while not done(seen):
        assert time.monotonic() < deadline, seen
        seen += backend.events(0.2)
    return seen

def began(run):
    return {int(p.name[6:]) for p in Path().glob("began-*") if p.read_text() == run}

def has_begun(run):
    events_until(lambda seen: began(run))
    (pid,) = began(run)
    return pid

def end_of(run):
    ends = events_until(lambda seen: any(getattr(e, "run", "") == run for e in seen))
    return next(e for e in ends if getattr(e, "run", "") == run)

cluster = cluster()
first = cluster.add_node(num_cpus=1, **STORE)
backend = RayBackend()
backend.start(work)
say("workers", backend.capacity)
second = cluster.add_node(num_cpus=1, **STORE)
events_until(lambda seen: backend.capacity == 2)
say("workers", backend.capacity)
backend.close()

# No node has what a trial asks for.
try:
    backend.start(work, resources={"cpu": 2})
except ResourcesError as error:
    say(error)

# A worker dies, and its trial is continued from its checkpoint on the other node.
def objective(params, trial):
    node = ray.get_runtime_context().get_node_id()
    if (saved := trial.restore()) is not None:
        assert (saved / "node").read_text() != node
        return float((saved / "deep" / "weights").stat().st_size)
    Path(f"here-{trial.number}").touch()
    while not all(Path(f"here-{number}").exists() for number in (0, 1)):
        time.sleep(0.02)
    if trial.number == 1:
        return 0.0  # and its worker, on the other node, is free
    with trial.checkpoint() as folder:
        (folder / "node").write_text(node)
        (folder / "deep").mkdir()
        (folder / "deep" / "weights").write_bytes(os.urandom(2**20) * 20)
    os._exit(1)

study = tuner.optimize(
    objective, {"x": tuner.Float(0, 1)}, n_trials=2, store="store", progress=False, workers=2,
)
say(study.trials[0].value == 20 * 2**20, study.trials[0].attempts)
backend.start(work)
events_until(lambda seen: backend.capacity == 2)

# Only the raylet of one node dies: its worker must neither run on nor be waited for.
submit("a", 8.0)
submit("b", 8.0)
orphan = has_begun("a")
parent = int(Path(f"/proc/{orphan}/stat").read_text().rsplit(")")[-1].split()[1])
os.kill(parent, signal.SIGKILL)
began_at = time.monotonic()
while Path(f"/proc/{orphan}").exists() and time.monotonic() - began_at < 5.0:
    time.sleep(0.1)  # no one here has noticed anything yet
say("orphan ended", not Path(f"/proc/{orphan}").exists())
say(type(end_of("a")).__name__, time.monotonic() - began_at < 25.0)
end_of("b") if not Path("ended-b").exists() else None
time.sleep(2.0)
say("ran on" if Path("ended-a").exists() else "did not run on")

# A node freezes as a whole: raylet and worker.
left = second if raylet(first) == parent else first
submit("c", 60.0)
worker = has_begun("c")
for pid in (raylet(left), worker):
    os.kill(pid, signal.SIGSTOP)
began_at = time.monotonic()
end = end_of("c")
say(type(end).__name__, time.monotonic() - began_at < 40.0, end.reason)
for pid in (raylet(left), worker):
    os.kill(pid, signal.SIGCONT)
events_until(lambda seen: backend.capacity == 1)
submit("d")
say(type(end_of("d")).__name__)
for n in range(10):
    submit(f"later-{n}")
ends = events_until(lambda seen: sum(isinstance(e, Finished | Lost) for e in seen) == 10)
say(sum(isinstance(e, Finished) for e in ends))
deadline = time.monotonic() + 20
while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
    time.sleep(0.1)
say("worker ended", not Path(f"/proc/{worker}").exists())
backend.close()
ray.shutdown()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the output of a script whose cluster gains and loses nodes."""
    return run_script(tmp_path_factory.mktemp("nodes"), NODES)


def test_trials_finish_while_nodes_join_leave_and_freeze(said: list[str]) -> None:
    before, after, _, _, orphan, lost, ran_on, frozen, then, later, worker = said
    assert (before, after) == ("workers 1", "workers 2")
    assert lost == "Lost True"
    assert orphan == "orphan ended True"
    assert ran_on == "did not run on"
    assert frozen.startswith("Lost True neither it nor its node has answered")
    assert (then, later) == ("Finished", "10")
    assert worker == "worker ended True"


def test_a_trial_that_fits_no_node_is_refused_with_the_resources_of_each(said: list[str]) -> None:
    assert "needs 2 CPU" in said[2]
    assert "1 CPU; 1 CPU" in said[2]


def test_a_trial_resumes_from_its_checkpoint_on_another_node(said: list[str]) -> None:
    assert said[3] == "True 2"


HEAD_LOST = """
cluster = cluster()
cluster.add_node(num_cpus=1, **STORE)

def objective(params):
    Path(f"worker-{os.getpid()}").touch()
    time.sleep(0.05)
    return params["x"]

def kill_the_head(trial):
    if trial.number == 20:
        for processes in cluster.head_node.all_processes.values():
            for each in processes:
                os.kill(each.process.pid, signal.SIGKILL)

def search(n_trials, **options):
    return tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=n_trials, seed=0, study="s", store="store",
        optimizer="random", progress=False, register=False, workers=1, **options,
    )

began = time.monotonic()
try:
    search(100_000, callbacks=[lambda study, trial: kill_the_head(trial)])
except tuner.errors.BackendError as error:
    say(type(error).__name__, error)
say(time.monotonic() - began < 60.0)
ray.shutdown()
for node in list(cluster.worker_nodes):
    cluster.remove_node(node, allow_graceful=False)
before = tuner.load_study("s", store="store").trials
done = {t.number: t for t in before if t.state.finished}
study = search(len(before) + 10)
say(len(done) >= 20, len(study.trials) - len(before), all(study.trials[n] == done[n] for n in done))
say(sum(not t.state.finished for t in study.trials))
"""


@pytest.mark.soak  # a killed driver resumes on a new local cluster in test_on_ray.py
def test_a_study_resumes_in_a_new_cluster_after_the_head_dies(tmp_path: Path) -> None:
    error, in_time, kept, left = run_script(tmp_path, HEAD_LOST)
    assert error.startswith("BackendError the head of the Ray cluster at")
    assert "repeat the call to continue" in error
    assert in_time == "True"
    assert kept == "True 10 True"
    assert left == "0"
    workers = [int(path.name.split("-")[1]) for path in tmp_path.glob("worker-*")]
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)
