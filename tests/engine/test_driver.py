"""Tests of the driver: the loop of a study from its call to its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner.errors import StoreUnavailable
from tuner.tracking.store import Store


def test_a_failed_release_of_the_lease_does_not_fail_a_finished_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("gone just now")

    monkeypatch.setattr(Store, "release_lease", away)
    study = tuner.optimize(
        lambda params: params["x"],
        {"x": tuner.Float(0, 1)},
        n_trials=3,
        backend="serial",
        store=tmp_path,
        register=False,
        progress=False,
    )
    assert len(study.trials) == 3


class Counting:
    """A user's optimizer that derives from nothing, and counts the trials without an outcome."""

    def reset(self, space: Any, goals: Any, seed: int) -> None:
        self.most = self.next = 0

    def ask(self, n: int, pending: Sequence[Any] = ()) -> list[dict[str, float]]:
        self.most = max(self.most, n + len(pending))
        self.next += n
        return [{"x": k / 100} for k in range(self.next - n, self.next)]

    def tell(self, trial: Any, outcome: Any) -> None:
        pass


@pytest.mark.parametrize("attribute", ["history_free", "independent"])
def test_points_that_need_no_outcomes_are_suggested_ahead(tmp_path: Path, attribute: str) -> None:
    most = {}
    for value in (False, True):
        optimizer = Counting()
        setattr(optimizer, attribute, value)
        tuner.optimize(
            lambda params: params["x"],
            {"x": tuner.Float(0, 1)},
            n_trials=8,
            backend="serial",
            optimizer=optimizer,
            store=tmp_path / str(value),
            register=False,
            progress=False,
        )
        most[value] = optimizer.most
    assert most == {False: 1, True: 8}
