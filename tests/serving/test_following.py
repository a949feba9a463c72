"""Following an alias, without threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tuner.errors import ModelNotFound, RegistryError, StoreUnavailable
from tuner.records import Goal, ModelVersion
from tuner.serving.following import Follower
from tuner.serving.served_model import ServedModel

VERSION = ModelVersion("m", 1, "s", 0, "r1", {}, Goal(), 1.0, 1.0)


class Registry:
    """A registry with one alias and a loader."""

    def __init__(self) -> None:
        self.version = VERSION
        self.failure: Exception | None = None
        self.load_failure: Exception | None = None
        self.predict: Callable[[Any], Any] = lambda rows: rows
        self.loaded = 0
        self.now = 0.0

    def find(self) -> ModelVersion:
        if self.failure is not None:
            raise self.failure
        return self.version

    def load(self, version: ModelVersion) -> ServedModel:
        self.loaded += 1
        if self.load_failure is not None:
            raise self.load_failure
        return ServedModel(version, self.predict, None, {})

    def move(self, number: int) -> None:
        self.version = replace(VERSION, version=number, run=f"r{number}")


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def follower(registry: Registry) -> Follower:
    return Follower(registry.find, registry.load, interval=1, clock=lambda: registry.now)


def test_the_version_of_the_alias_is_exchanged(registry: Registry, follower: Follower):
    follower.look()
    assert (follower.current.version.version, registry.loaded) == (1, 1)
    registry.move(2)
    follower.look()
    follower.look()
    assert (follower.current.version.version, registry.loaded, follower.swaps) == (2, 2, 1)


def test_a_version_that_cannot_be_loaded_keeps_the_old_one_and_is_tried_ever_more_rarely(
    registry: Registry, follower: Follower
):
    registry.move(2)
    registry.load_failure = RegistryError("the file is damaged")
    for _ in range(100):
        follower.look()
        registry.now += 1
    assert follower.current.version.version == 1
    assert follower.failure == "the file is damaged"
    assert 5 <= registry.loaded <= 9
    assert follower.failures == registry.loaded - 1
    registry.load_failure = None
    registry.move(3)
    follower.look()
    assert (follower.current.version.version, follower.failure) == (3, "")


def test_returning_to_the_served_version_ends_the_failure(registry: Registry, follower: Follower):
    registry.move(2)
    registry.load_failure = ValueError("bad")
    follower.look()
    assert follower.failure == "ValueError: bad"
    registry.move(1)
    follower.look()
    assert follower.failure == ""


def test_a_version_that_fails_on_rows_of_a_recent_request_is_not_served(
    registry: Registry, follower: Follower
):
    def fails(rows: Any) -> Any:
        raise ValueError("wrong features")

    follower.last_rows = [1]
    registry.move(2)
    registry.predict = fails
    follower.look()
    assert follower.current.version.version == 1
    assert "'m@2' cannot predict rows that 'm@1' predicts" in follower.failure


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), ModelNotFound("no alias")])
def test_a_store_that_is_away_and_a_deleted_alias_keep_the_version(
    registry: Registry, follower: Follower, failure: Exception
):
    registry.failure = failure
    follower.look()
    follower.look()
    assert follower.current.version.version == 1
    assert follower.failure == str(failure)
    registry.failure = None
    follower.look()
    assert follower.failure == ""
