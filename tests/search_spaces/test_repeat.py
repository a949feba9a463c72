"""Repeated blocks: one column for each parameter of block k, for every count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tuner
from tuner import Choice, Float, Int, P, Repeat, Space
from tuner.errors import InvalidParams, SpaceError
from tuner.optimizers import OptunaOptimizer, resolve
from tuner.records import Goal, Outcome, State, Trial
from tuner.testing import DomainConformance

LAYER = {"units": Int(16, 256), "act": Choice(relu={}, leaky={"slope": Float(0.01, 0.3)})}


@pytest.fixture
def space() -> Space:
    return Space({"lr": Float(1e-4, 1, log=True), "layers": Repeat("layer", Int(1, 5), LAYER)})


def test_a_block_is_the_same_parameter_in_all_counts(space: Space) -> None:
    paths = [column.path for column in space.columns]
    assert len(paths) == 2 + 5 * 3
    assert paths[1:4] == ["layers", "layers.layer_1.units", "layers.layer_1.act"]
    one = {"lr": 0.1, "layers": [{"units": 64, "act": ("relu", {})}]}
    two = {"lr": 0.1, "layers": [*one["layers"], {"units": 32, "act": ("leaky", {"slope": 0.1})}]}  # type: ignore[misc]
    X, active = space.encode([one, two])
    shared = paths.index("layers.layer_1.units")
    assert X[0, shared] == X[1, shared]
    assert active[:, shared].all()
    assert active.sum(axis=1).tolist() == [4, 7]
    assert space.flatten(two)["layers"] == 2
    assert space.flatten(two)["layers.layer_2.act.leaky.slope"] == 0.1


def test_points_survive_columns_documents_and_rows(space: Space) -> None:
    points = space.sample(np.random.default_rng(0), 200)
    assert {len(point["layers"]) for point in points} == {1, 2, 3, 4, 5}
    for point in points:
        assert space.validate(point) == point
        assert space.unflatten(space.flatten(point)) == point
    X, active = space.encode(points)
    again, same = space.snap(X)
    assert (same == active).all()
    np.testing.assert_allclose(again, X, atol=1e-9)
    assert [len(p["layers"]) for p in space.decode(X)] == [len(p["layers"]) for p in points]
    for copy in (Space.from_json(space.to_json()), Space.from_yaml(space.to_yaml())):
        assert copy == space
        assert copy.fingerprint == space.fingerprint


def test_the_fingerprint_ignores_defaults_only() -> None:
    def made(**options: Any) -> str:
        block = {"units": Int(1, 4, **options)}
        return Space({"l": Repeat("b", Int(1, 3, **options), block)}).fingerprint

    assert made() == made(default=2)
    assert made() != Space({"l": Repeat("b", Int(1, 3), {"units": Int(1, 5)})}).fingerprint


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([], "'layers' is 0, allowed: Int"),
        ([{"units": 64, "act": ("relu", {})}] * 6, "'layers' is 6, allowed: Int"),
        (3, "'layers' is 3, allowed: a list of 1 to 5 dicts, one for each layer"),
        ([{"units": 64}], "missing 'layers.layer_1.act'"),
        ([{"units": 1, "act": ("relu", {})}], "'layers.layer_1.units' is 1"),
        ([64], "'layers.layer_1' must be a dict"),
    ],
)
def test_a_wrong_list_is_refused(space: Space, layers: Any, says: str) -> None:
    with pytest.raises(InvalidParams, match=says):
        space.validate({"lr": 0.1, "layers": layers})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Repeat("layer", Float(1, 5), {"units": Int(1, 2)}),  # type: ignore[arg-type]
        lambda: Repeat("layer", Int(-1, 5), {"units": Int(1, 2)}),
        lambda: Repeat("layer", Int(1, 10_000), {"units": Int(1, 2)}),
        lambda: Repeat("a layer", Int(1, 5), {"units": Int(1, 2)}),
        lambda: Repeat("layer", Int(1, 5), {}),
        lambda: Repeat("layer", Int(1, 3), [{"units": Int(1, 2)}]),
        lambda: Repeat("layer", Int(1, 3), Int(1, 2)),  # type: ignore[arg-type]
        lambda: Space.from_dict({"params": {"l": {"type": "repeat", "name": "b"}}}),
        lambda: Space({"l": Repeat("b", Int(1, 2), {"u": 3})}),  # type: ignore[dict-item]
    ],
)
def test_an_invalid_repeat_is_refused(make: Any) -> None:
    with pytest.raises(SpaceError):
        make()


def test_points_are_counted_and_enumerated() -> None:
    space = Space({"l": Repeat("b", Int(0, 2), {"n": Int(1, 3)})})
    points = list(space.grid())
    assert space.size == len(points) == 1 + 3 + 9
    assert {"l": []} in points
    assert {"l": [{"n": 3}, {"n": 1}]} in points
    assert all(point in space for point in points)


def test_constraints_apply_to_the_active_blocks() -> None:
    falling = [P(f"l.b_{k}.n") >= P(f"l.b_{k + 1}.n") for k in (1, 2)]
    space = Space({"l": Repeat("b", Int(1, 3), {"n": Int(1, 9)})}).where(*falling)
    assert space.size == 9 + 45 + 165
    for point in space.sample(np.random.default_rng(0), 100):
        units = [block["n"] for block in point["l"]]
        assert units == sorted(units, reverse=True)


def test_spaces_with_blocks_are_narrowed_frozen_and_widened() -> None:
    space = Space({"l": Repeat("b", Int(1, 4), {"n": Int(1, 9)})})
    assert [len(p["l"]) for p in space.freeze({"l": 2}).grid()] == [2] * 81
    assert len(space.narrow({"l": (1, 2)}).columns) == 3
    assert len(space.widen({"l": (1, 6)}).columns) == 7
    first = space.narrow({"l.b_1.n": (1, 3)})
    assert first.columns[1].domain == Int(1, 3)
    assert first.columns[2].domain == Int(1, 9)
    assert Space.from_json(first.to_json()) == first
    with pytest.raises(SpaceError, match="exceeds"):
        space.narrow({"l": (1, 5)})


def test_blocks_have_defaults_and_nest() -> None:
    inner = {"convs": Repeat("conv", Int(1, 2), {"k": Int(1, 5, step=2)})}
    space = Space({"stages": Repeat("stage", Int(1, 2, default=2), inner)})
    assert space.defaults() == {"stages": [{"convs": [{"k": 3}, {"k": 3}]}] * 2}
    point = {"stages": [{"convs": [{"k": 1}, {"k": 5}]}, {"convs": [{"k": 3}]}]}
    assert space.flatten(point)["stages.stage_1.convs.conv_2.k"] == 5
    assert space.unflatten(space.flatten(point)) == point


class TestRepeatDomain(DomainConformance):
    domains = (
        Repeat("layer", Int(1, 5), {"units": Int(16, 256)}),
        Repeat("layer", Int(0, 6, step=2), [{"x": Float(0, k)} for k in range(1, 7)]),
    )

    def test_every_value_of_a_finite_domain_is_equally_likely(self) -> None:
        for domain in self.domains:
            assert set(domain.sample(self.rng(), 200)) == set(domain.grid(1))


def loss(params: dict[str, Any]) -> float:
    return abs(len(params["layers"]) - 2) + sum(
        abs(layer["units"] - 100) / 100 for layer in params["layers"]
    )


@pytest.mark.parametrize("name", ["random", "tpe", "bayesian", "auto", "optuna"])
def test_optimizers_search_blocks(space: Space, name: str) -> None:
    search = OptunaOptimizer("TPESampler") if name == "optuna" else resolve(name)
    search.reset(space, [Goal()], 0)
    for number in range(14):
        (params,) = search.ask(1)
        assert space.validate(params) == params
        search.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": loss(params)}))


def test_a_study_records_blocks_in_columns(tmp_path: Any) -> None:
    space = {"layers": Repeat("layer", Int(1, 3), {"units": Int(16, 256, log=True)})}
    study = tuner.optimize(
        loss, space, n_trials=12, optimizer="random", backend="serial", store=tmp_path, seed=0,
        study="blocks", progress=False,
    )  # fmt: skip
    again = tuner.load_study("blocks", store=tmp_path)
    assert [trial.params for trial in again.trials] == [trial.params for trial in study.trials]
    assert {"layers", "layers.layer_3.units"} <= set(study.to_rows()[0])
    deep = study.find("params.layers >= 2")
    assert {len(found.params["layers"]) for found in deep} <= {2, 3}
    assert sum(len(t.params["layers"]) >= 2 for t in study.trials) == len(list(deep))


@pytest.mark.slow
def test_plots_draw_blocks(tmp_path: Any) -> None:
    space = {"layers": Repeat("layer", Int(1, 3), {"units": Int(16, 256, log=True)})}
    study = tuner.optimize(
        loss, space, n_trials=40, optimizer="random", backend="serial", store=tmp_path, seed=0,
        progress=False,
    )  # fmt: skip
    for kind in ("importances", "slice", "contour", "parallel_coordinates", "rank"):
        getattr(study.plot, kind)(save=tmp_path / f"{kind}.png")
