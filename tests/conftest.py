"""Fixtures and marks of all tests.

A test gets the marks `ray` and `postgres` by the fixtures that it uses.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import settings

MARK_OF_FIXTURE = {
    "cluster": "ray",
    "head": "ray",
    "new_database": "postgres",
}
"""Fixtures that start something, and the mark of the tests that use them."""

# A loaded machine may take a second for what takes a millisecond on a quiet one.
settings.register_profile("tuner", deadline=None)
settings.load_profile("tuner")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARK_OF_FIXTURE:
                item.add_marker(MARK_OF_FIXTURE[fixture])


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


@pytest.fixture(scope="session")
def running_ray() -> Iterator[dict[str, str]]:
    """Four CPUs, whatever the machine has; a backend uses the Ray that is there, and leaves it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    from tuner.backends.ray.auth import read_settings_again

    read_settings_again()  # Ray may have been imported where a test had put other variables
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    ray.shutdown()


@pytest.fixture
def cluster(running_ray: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect this process to the Ray of all tests, with the token of that Ray.

    A test in between may have made Ray read another token, and Ray aborts the process on a refusal.
    """
    from tuner.backends.ray.auth import read_settings_again

    for name, value in running_ray.items():
        monkeypatch.setenv(name, value)
    read_settings_again()
