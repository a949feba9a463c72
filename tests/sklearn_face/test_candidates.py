"""Spaces in the forms of scikit-learn, and the params of their points."""

import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from tuner import Choice, Const, Float, Int, Ordinal, Space
from tuner.errors import SpaceError
from tuner.sklearn.candidates import as_candidates, check_names


def domain(value):
    return as_candidates({"x": value}).space.params["x"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (stats.uniform(1, 2), Float(1.0, 3.0)),
        (stats.loguniform(1e-3, 10), Float(1e-3, 10.0, log=True)),
        (stats.reciprocal(1e-3, 10), Float(1e-3, 10.0, log=True)),
        (stats.randint(1, 5), Int(1, 4)),
        (stats.randint(3, 4), Int(3, 3)),
        ([1, 10, 100], Ordinal(1, 10, 100)),
        (np.array([1.0, 0.5]), Choice(1.0, 0.5)),
        ([None, 1, None], Choice(None, 1)),
        ([(1,), (2, 2)], Choice((1,), (2, 2))),
        (["a"], Const("a")),
        ([True, False], Choice(True, False)),
        ((1, 1.0), Choice(1, 1.0)),
        (Float(0, 1), Float(0, 1)),
    ],
)
def test_the_domain_of_a_value(value, expected):
    assert domain(value) == expected


def test_a_normal_distribution_becomes_a_prior():
    found = domain(stats.norm(5, 2))
    assert (found.prior.loc, found.prior.scale) == (5.0, 2.0)
    assert found.low < 0 < 10 < found.high


@pytest.mark.parametrize(
    "value", [stats.expon(scale=100), stats.gamma(2), stats.loguniform(1, 9, loc=1)]
)
def test_the_quantiles_of_another_distribution(value):
    found = domain(value)
    assert len(found.options) == 100
    draws = found.sample(np.random.default_rng(0), 2000)
    assert stats.kstest(draws, value.cdf).statistic < 0.05


def test_the_weights_of_a_discrete_distribution():
    found = domain(stats.poisson(2))
    assert found.options[:3] == (0, 1, 2)
    np.testing.assert_allclose(
        np.array(found.prior) / sum(found.prior), stats.poisson(2).pmf(found.options), atol=0.01
    )


class OnlyDraws:
    def rvs(self, random_state=None):
        return 1


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"x": OnlyDraws()}, "'x' is a OnlyDraws, which has no quantile function"),
        ({"x": 3}, "'x' is 3; write a list of values"),
        ({"x": "abc"}, "'x' is 'abc'; write a list"),
        ({"x": {"a": 1}}, "write a list"),
        ({"x": []}, "'x' is an empty list"),
        ([], "write a dict"),
        ([1], "write a dict"),
        ("C", "write a dict"),
    ],
)
def test_a_space_that_cannot_be_converted(space, message):
    with pytest.raises(SpaceError, match=message):
        as_candidates(space)


@pytest.mark.parametrize(
    "space",
    [
        {"b": [1, 2], "a": ["x", None]},
        [{"kernel": ["linear"], "C": [1, 10]}, {"kernel": ["rbf"], "gamma": [0.1, 1]}],
        [{}, {"a": [1, 2]}],
    ],
)
def test_the_grid_has_the_order_of_scikit_learn(space):
    candidates = as_candidates(space)
    assert list(map(candidates.params, candidates.space.grid())) == list(ParameterGrid(space))


def test_objects_are_options():
    first, second = SVC(), SVC()
    candidates = as_candidates({"model": [first, second, "passthrough", len, [1, 2]]})
    assert candidates.space.params["model"].options == (
        "SVC()",
        "SVC() (2)",
        "passthrough",
        "len",
        "[1, 2]",
    )
    values = [candidates.params(point)["model"] for point in candidates.space.grid()]
    assert values[0] is first
    assert values[1] is second
    assert values[2:] == ["passthrough", len, [1, 2]]


def test_a_branch_becomes_plain_arguments():
    space = Space({"svc__kernel": Choice(rbf={"svc__gamma": Float(0, 1)}, linear={})})
    candidates = as_candidates(space)
    point = {"svc__kernel": ("rbf", {"svc__gamma": 0.5})}
    assert candidates.params(point) == {"svc__kernel": "rbf", "svc__gamma": 0.5}


def test_names_are_checked():
    pipeline = Pipeline([("reduce", PCA()), ("model", Ridge())])
    check_names(as_candidates({"reduce__n_components": [1, 2], "model__alpha": [1]}), pipeline)
    check_names(as_candidates([{"model": [SVC()], "model__C": [1]}, {"reduce": ["x"]}]), pipeline)
    with pytest.raises(SpaceError, match=r"'model__alpa' is not a parameter.*'model__alpha'"):
        check_names(as_candidates({"model__alpa": [1]}), pipeline)
    with pytest.raises(SpaceError, match=r"'gama' is not a parameter of SVC.*'gamma'"):
        check_names(as_candidates({"kernel": Choice(rbf={"gama": Float(0, 1)}, linear={})}), SVC())
