"""Fixtures and marks of all tests.

`make check` runs the tests that need no Ray, no PostgreSQL and no other process. A test gets the
marks `ray` and `postgres` by the fixtures that it uses, and `process` by hand. With
``--in-process`` a test without these marks fails if it starts a process, so the marks stay true.

Each Ray that a test starts by Ray's own means has a token and a session folder that other users
of this machine cannot read.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

MARK_OF_FIXTURE = {
    "cluster": "ray",
    "head": "ray",
    "new_database": "postgres",
}
"""Fixtures that start something, and the mark of the tests that use them."""

STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
"""Audit events of a process that is started."""

_started: list[str] | None = None

# A loaded machine may take a second for what takes a millisecond on a quiet one.
settings.register_profile("tuner", deadline=None)
settings.load_profile("tuner")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--in-process", action="store_true", help="fail a test that starts another process"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--in-process"):
        sys.addaudithook(_note_process)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARK_OF_FIXTURE:
                item.add_marker(MARK_OF_FIXTURE[fixture])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    global _started
    if not item.config.getoption("--in-process"):
        return (yield)
    _started = []
    try:
        result = yield
        started = _started
    finally:
        _started = None
    if started:
        pytest.fail(f"starts another process ({started[0]}): mark it with pytest.mark.process")
    return result


def _note_process(event: str, args: tuple[Any, ...]) -> None:
    if _started is None or event not in STARTS:
        return
    command = args[1] if event == "subprocess.Popen" else ()
    # Every search asks git for its commit; that is part of what is tested.
    if command and os.path.basename(str(command[0])) == "git":
        return
    _started.append(f"{event} {' '.join(map(str, command))[:80]}".strip())


@pytest.fixture(scope="session", autouse=True)
def _closed_ray() -> Iterator[None]:
    from tuner.backends.ray_local import private_folder
    from tuner.backends.ray_tokens import MODE, TOKEN_PATH, make_token_file

    folder = private_folder()
    make_token_file(folder / "token")
    variables = {MODE: "token", TOKEN_PATH: str(folder / "token"), "RAY_TMPDIR": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Four CPUs, whatever the machine has; a backend uses the Ray that is there, and leaves it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    from tuner.backends.ray_tokens import read_settings_again

    read_settings_again()  # Ray may have been imported where a test had put other variables
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield
    ray.shutdown()
