"""Fixtures, marks and the environment of all tests.

The environment of the person who runs the tests does not reach them: variables that configure
tuner, Ray and MLflow are removed before the first test module is imported. A test gets the marks
`ray`, `postgres` and `process` by its fixtures, or names them itself. A test that starts a process
without a mark fails.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from benchmarks.postgres import GIVEN, MANY_DATABASES, memory_folder, running_server
from support import footprint
from support.effort import QUICK, THOROUGH

MARK_OF_FIXTURE = {
    "cluster": "ray",
    "gs": "process",
    "gs_server": "process",
    "head": "ray",
    "mlflow_server": "process",
    "new_database": "postgres",
    "s3": "process",
    "s3_server": "process",
    "server": "postgres",
}
"""Fixtures that start something, and the mark of the tests that use them, also by a parameter."""

MARK_OF_TEST = dict.fromkeys(
    (
        "test_a_holder_whose_process_has_ended_holds_nothing",
        "test_one_of_many_concurrent_drivers_gets_the_lease",
        "test_two_processes_write_at_once",
        "test_a_forked_child_has_its_own_connections",
        "test_a_killed_writer_loses_no_committed_batch",
    ),
    "process",
)
"""Tests of the conformance suites that start processes; those suites know no marks of ours."""

SHARED_RAY = "ray"
"""Begins the names of the groups of files that use the Ray of the fixture `cluster`."""

USES_SHARED_RAY = re.compile(r"\brunning_ray\b|\"cluster\"\)|\bcluster: None")

MAY_START_PROCESSES = ("process", "ray", "postgres", "soak")

_REMOVED = ("TUNER_", "RAY_", "MLFLOW_", "PYTHONHASHSEED")

for _name in [name for name in os.environ if name.startswith(_REMOVED) and name != GIVEN]:
    del os.environ[_name]

# Several processes share the cores, so a second thread costs more than it saves.
os.environ["OMP_NUM_THREADS"] = "1"
# Thousands of small databases are made and removed, which takes a disk milliseconds each.
if folder := memory_folder():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))

footprint.install()

# A loaded machine may take a second for what takes a millisecond on a quiet one.
settings.register_profile("tuner", deadline=None, max_examples=QUICK)
settings.register_profile("soak", deadline=None, max_examples=THOROUGH)
settings.load_profile("tuner")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        chosen = [p for p in callspec.params.values() if isinstance(p, str)] if callspec else []
        for fixture in [*getattr(item, "fixturenames", ()), *chosen]:
            if fixture in MARK_OF_FIXTURE:
                item.add_marker(MARK_OF_FIXTURE[fixture])
        if mark := MARK_OF_TEST.get(item.name):
            item.add_marker(mark)
    items[:] = in_order(items)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in the order of their groups: long ones first, every other one with Ray.

    Then no process works alone at the end, and tests that wait for Ray leave their core to others.
    """
    groups: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        groups[group(item.path)].append(item)
    by_length = sorted(groups.values(), key=lambda tests: -sum(map(length, tests)))
    with_ray = [tests for tests in by_length if any(t.get_closest_marker("ray") for t in tests)]
    with_ray.sort(key=lambda tests: not shares_ray(tests[0].path))
    others = [tests for tests in by_length if tests not in with_ray]
    pairs = zip_longest(with_ray, others, fillvalue=[])
    return [test for tests in chain.from_iterable(pairs) for test in tests]


def length(item: pytest.Item) -> float:
    """Return about how long a test takes, by its marks."""
    lengths = {"ray": 5.0, "slow": 1.0, "process": 1.0, "postgres": 0.3}
    return max((lengths.get(mark.name, 0.0) for mark in item.iter_markers()), default=0.0) or 0.05


def pytest_collection_finish() -> None:
    """Leave what is loaded to the end, and collect garbage less often: a tenth of the CPU time."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process a group of tests at a time, with ``--dist loadgroup``."""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(config.rootpath / nodeid.partition("::")[0])

    return GroupScheduling(config, log) if config.getoption("dist") == "loadgroup" else None


@cache
def group(path: Path) -> str:
    """Return the name of the tests that run in the process of this file, one after the other.

    A file is a group, so that its fixtures are set up once. The files that share a cluster are one
    group, and so are those that import PyTorch, Keras and other libraries of models. The files that
    share the Ray of `running_ray` are two, as long as others run beside them.
    """
    if path.parent.name in ("cluster", "native"):
        return path.parent.name
    if not USES_SHARED_RAY.search(path.read_text(encoding="utf-8")):
        return str(path)
    return f"{SHARED_RAY} of backends" if path.parent.name == "backends" else f"{SHARED_RAY}, other"


def shares_ray(path: Path) -> bool:
    """Return whether tests of this file use the Ray of `running_ray`."""
    return group(path).startswith(SHARED_RAY)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if not shares_ray(item.path):
        stop_shared_ray()  # an idle cluster takes 4 % of a core
    footprint.watch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that passed but started a process without a mark that allows it."""
    try:
        yield
    finally:
        found = footprint.stop()
    if found and not any(map(item.get_closest_marker, MAY_START_PROCESSES)):
        pytest.fail(f"this test {found[0]}: mark it process, ray or postgres", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """After a test with Ray, end the agents of killed clusters."""
    yield
    if item.get_closest_marker("ray"):
        from support.processes import end_orphaned_agents

        end_orphaned_agents()


@pytest.fixture(scope="session", autouse=True)
def _closed_ray() -> Iterator[None]:
    from tuner.backends.ray.auth import MODE, TOKEN_PATH, make_token_file
    from tuner.backends.ray.local import private_folder

    folder = private_folder()
    make_token_file(folder / "token")
    variables = {MODE: "token", TOKEN_PATH: str(folder / "token"), "RAY_TMPDIR": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _one_look_at_git() -> Iterator[None]:
    """Ask git once about each folder of this repository; each search would start it three times.

    A test that changes PATH, and so the git that is found, asks again.
    """
    from tuner.provenance import capture

    look, once = capture._git_state, cache(capture._git_state)
    root, usual = Path(__file__).parent.parent, os.environ.get("PATH")

    def state(folder: Path) -> tuple[str, str]:
        known = folder.is_relative_to(root) and os.environ.get("PATH") == usual
        return once(folder) if known else look(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capture, "_git_state", state)
        yield


@pytest.fixture(autouse=True)
def _own_secrets() -> Iterator[None]:
    """Forget the passwords that a test used: messages of later tests may contain such words."""
    from tuner.errors import credentials

    before = dict(credentials._remembered)
    yield
    credentials._remembered.clear()
    credentials._remembered.update(before)


@pytest.fixture(scope="session")
def new_database() -> Iterator[Callable[[], str]]:
    """Return a function that creates a database on the session's server and returns its URL."""
    with running_server(MANY_DATABASES, in_memory=True) as server:
        yield server.new_database


@pytest.fixture(scope="session")
def running_ray() -> Iterator[dict[str, str]]:
    """Start a Ray with three CPUs on any machine; backends connect to it.

    Two are for the workers that the tests of a module share. Ray starts a worker for each CPU at
    once, and each takes 0.7 seconds of CPU time.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    from tuner.backends.ray.auth import read_settings_again
    from tuner.backends.ray.local import without_unused_processes

    read_settings_again()  # Ray may have been imported where a test had put other variables
    with without_unused_processes():
        ray.init(
            address="local",
            num_cpus=3,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    _shared_ray.append(ray)
    yield {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    stop_shared_ray()


_shared_ray: list[Any] = []


def stop_shared_ray() -> None:
    """Stop the Ray of `running_ray`, once the tests that use it have run."""
    while _shared_ray:
        _shared_ray.pop().shutdown()


@pytest.fixture
def cluster(running_ray: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect this process to the Ray of all tests, with the token of that Ray.

    An earlier test may have made Ray read another token, and Ray aborts the process on a refusal.
    """
    from tuner.backends.ray.auth import read_settings_again

    for name, value in running_ray.items():
        monkeypatch.setenv(name, value)
    read_settings_again()
