"""Requested resources, and the resources of nodes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.backends.resources import as_needs, fitting_workers
from tuner.errors import ResourcesError

amounts = st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0, 3.0])
nodes = st.lists(st.fixed_dictionaries({"CPU": st.sampled_from([0.0, 1.0, 2.0, 8.0])}), max_size=4)


@pytest.mark.parametrize(
    ("resources", "needs"),
    [
        (None, {"CPU": 1.0}),
        ({}, {"CPU": 1.0}),
        ({"cpu": 2}, {"CPU": 2.0}),
        ({"gpu": 0.5}, {"CPU": 1.0, "GPU": 0.5}),
        ({"CPU": 0, "license": 1}, {"CPU": 0.0, "license": 1.0}),
    ],
)
def test_resources_accept_the_names_of_ray(resources, needs: dict[str, float]) -> None:
    assert as_needs(resources) == needs


@pytest.mark.parametrize("amount", [-1, math.nan, math.inf, "2", None, True])
def test_invalid_amounts_are_refused(amount: object) -> None:
    with pytest.raises(ResourcesError, match=r"'cpu' is .*; write a number from 0 up"):
        as_needs({"cpu": amount})


def test_a_worker_must_fit_on_one_node() -> None:
    two = [{"CPU": 2.0}, {"CPU": 2.0}]
    assert fitting_workers(None, {"CPU": 2.0}, two) == 2
    with pytest.raises(ResourcesError, match=r"needs 4 CPU.*there is 2 CPU; 2 CPU;"):
        fitting_workers(None, {"CPU": 4.0}, two)


def test_fractional_resources_add_up_exactly() -> None:
    assert fitting_workers(None, {"CPU": 0.1}, [{"CPU": 1.0}]) == 10


def test_every_resource_limits_the_workers() -> None:
    node = {"CPU": 16.0, "GPU": 1.0}
    assert fitting_workers(None, {"CPU": 1.0, "GPU": 0.25}, [node]) == 4


def test_more_workers_than_fit_are_refused_with_the_available_resources() -> None:
    with pytest.raises(ResourcesError, match=r"workers=3 with 1 CPU each.*2 CPU; write workers=2"):
        fitting_workers(3, {"CPU": 1.0}, [{"CPU": 2.0}])


def test_many_nodes_are_counted_instead_of_listed() -> None:
    with pytest.raises(ResourcesError, match=r"there is 1 CPU; 1 CPU; 1 CPU; 37 more nodes"):
        fitting_workers(None, {"CPU": 2.0}, [{"CPU": 1.0}] * 40)


def test_a_cluster_without_nodes_is_refused() -> None:
    with pytest.raises(ResourcesError, match="no node"):
        fitting_workers(None, {"CPU": 1.0}, [])


def test_workers_that_need_nothing_fit_in_any_number() -> None:
    assert fitting_workers(None, {"CPU": 0.0}, [{"CPU": 1.0}]) >= 1
    assert fitting_workers(50, {"CPU": 0.0}, [{"CPU": 1.0}]) == 50


@given(amounts, nodes)
def test_the_maximum_number_of_workers_is_accepted_and_one_more_is_refused(
    amount: float, there: list
) -> None:
    needs = {"CPU": amount}
    fit = sum(math.floor(node["CPU"] / amount + 1e-9) for node in there)
    if fit:
        assert fitting_workers(None, needs, there) == fit
        assert fitting_workers(fit, needs, there) == fit
    with pytest.raises(ResourcesError):
        fitting_workers(fit + 1, needs, there)
