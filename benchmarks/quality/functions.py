"""Functions with known minima: continuous, mixed and conditional spaces.

A fixed shift moves every optimum away from the center and the corners, so that the start point
gives no optimizer an advantage.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from benchmarks.quality.problem import Problem
from tuner.records import Params
from tuner.search_spaces import Bool, Choice, Float, Int, Ordinal, P, Space

Function = Callable[[np.ndarray], float]


def problems() -> list[Problem]:
    """Return all functions."""
    return continuous() + mixed() + conditional()


# --- continuous -------------------------------------------------------------------------------


def continuous() -> list[Problem]:
    """Return functions of 2 to 20 numbers."""
    hartmann_space = Space({f"x{i}": Float(0.0, 1.0) for i in range(6)})
    plane = Space({"x": Float(-5.0, 10.0), "y": Float(0.0, 15.0)})
    return [
        Problem("branin", "continuous", plane, branin, 0.39788735772973816),
        Problem("hartmann 6", "continuous", hartmann_space, hartmann, -3.322368011391339),
        _shifted("ackley 5", ackley, 5, 15.0),
        _shifted("rosenbrock 4", lambda z: rosenbrock(z + 1.0), 4, 2.0),
        _shifted("levy 8", levy, 8, 6.0),
        _shifted("rastrigin 4", rastrigin, 4, 3.0),
        _shifted("ill conditioned 6", ellipsoid, 6, 4.0),
        _shifted("few matter 20", lambda z: ackley(z[[2, 7, 11, 17]]), 20, 8.0),
    ]


def _shifted(name: str, function: Function, d: int, reach: float) -> Problem:
    """Return `function`, whose minimum is 0 at the origin, shifted within its cube."""
    shift = np.random.default_rng(d).uniform(-0.6, 0.6, d) * reach
    space = Space({f"x{i}": Float(-reach, reach) for i in range(d)})

    def loss(params: Params) -> float:
        return float(function(np.array(list(params.values())) - shift))

    return Problem(name, "continuous", space, loss, 0.0)


def branin(p: Params) -> float:
    """Return Branin's function; three minima."""
    x, y = p["x"], p["y"]
    inner = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return float(inner**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
     [17, 8, 0.05, 10, 0.1, 14]]
)  # fmt: skip
_P = 1e-4 * np.array(
    [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
     [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
)  # fmt: skip


def hartmann(p: Params) -> float:
    """Return Hartmann's function in six dimensions; four local minima."""
    x = np.array([p[f"x{i}"] for i in range(6)])
    return -float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-(_A * (x - _P) ** 2).sum(axis=1)))


def ackley(z: np.ndarray) -> float:
    """Return Ackley's function: a funnel in a plain of bumps."""
    spread = math.sqrt(float(np.mean(z**2)))
    bumps = float(np.mean(np.cos(2 * math.pi * z)))
    return 20.0 + math.e - 20.0 * math.exp(-0.2 * spread) - math.exp(bumps)


def rosenbrock(z: np.ndarray) -> float:
    """Return Rosenbrock's function: a bent valley; the minimum is at ones."""
    return float(np.sum(100.0 * (z[1:] - z[:-1] ** 2) ** 2 + (1.0 - z[:-1]) ** 2))


def levy(z: np.ndarray) -> float:
    """Return Levy's function, moved so that its minimum is at the origin."""
    w = 1.0 + z / 4.0
    middle = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2))
    ends = math.sin(math.pi * w[0]) ** 2
    return float(ends + middle + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2))


def rastrigin(z: np.ndarray) -> float:
    """Return Rastrigin's function: a bowl with a grid of local minima."""
    return float(np.sum(z**2 - 10.0 * np.cos(2 * math.pi * z / 2.0) + 10.0))


def ellipsoid(z: np.ndarray) -> float:
    """Return a turned bowl, a thousand times as steep one way as another."""
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(len(z), len(z))))
    return float(np.sum(np.geomspace(1.0, 1e3, len(z)) * (turn @ z) ** 2))


# --- mixed ------------------------------------------------------------------------------------


def mixed() -> list[Problem]:
    """Return functions of numbers, integers and categories."""
    network_space = Space(
        {
            "rate": Float(1e-6, 1.0, log=True),
            "decay": Float(1e-8, 1.0, log=True),
            "width": Int(8, 1024, log=True),
            "layers": Int(1, 10),
            "activation": Choice("relu", "gelu", "tanh", "sigmoid"),
            "skip": Bool(),
            "batch": Ordinal(16, 32, 64, 128, 256),
        }
    )
    letters = Space({f"c{i}": Choice("a", "b", "c", "d", "e") for i in range(8)})
    bounded = Space({"x": Float(-5, 10), "y": Float(0, 15), "n": Int(1, 9)}).where(
        P("x") + P("n") <= 8, P("y") >= P("n")
    )
    surfaces = Space(
        {
            "outer": Choice("a", "b", "c"),
            "inner": Choice("a", "b", "c", "d", "e"),
            "x": Float(-1.0, 1.0),
            "y": Float(-1.0, 1.0),
        }
    )
    integers = Space({f"n{i}": Int(0, 40) for i in range(6)})
    return [
        Problem("network", "mixed", network_space, network, 0.0),
        Problem("assignment", "mixed", letters, assignment, 0.0),
        Problem("bounded", "mixed", bounded, _bounded, 0.39788735772973816),
        Problem("surfaces", "mixed", surfaces, _surfaces, 0.0),
        Problem("integers", "mixed", integers, _integers, 0.0),
    ]


def network(p: Params) -> float:
    """Return a loss such as a network's: rates and sizes that depend on each other."""
    rate, decay, width = map(math.log10, (p["rate"], p["decay"], p["width"]))
    loss = (rate + 2.5 + 0.3 * (width - 2)) ** 2 + 0.1 * (decay + 4) ** 2
    loss += 0.2 * (width - 2.1) ** 2 + 0.05 * abs(p["layers"] - 3)
    loss += {"relu": 0.0, "gelu": 0.02, "tanh": 0.3, "sigmoid": 0.8}[p["activation"]]
    return loss + (0.0 if p["skip"] else 0.1) + 0.1 * abs(math.log2(p["batch"] / 64))


def assignment(p: Params) -> float:
    """Return how many of eight categories are not the hidden ones; two count only together."""
    wrong = [p[f"c{i}"] != letter for i, letter in enumerate("cadbacbd")]
    return float(sum(wrong[2:]) + 2 * (wrong[0] or wrong[1]))


def _bounded(p: Params) -> float:
    return branin(p) + 0.5 * abs(p["n"] - 4)


def _surfaces(p: Params) -> float:
    """Return one of fifteen bumpy surfaces, chosen by two categories."""
    outer, inner = "abc".index(p["outer"]), "abcde".index(p["inner"])
    rng = np.random.default_rng([outer, inner])
    centre, tilt = rng.uniform(-0.7, 0.7, 2), rng.uniform(0.0, 0.6)
    offset = 0.3 * abs(outer - 1) + 0.2 * ((inner * 2) % 5)
    z = np.array([p["x"], p["y"]]) - centre
    return float(offset + z @ z + tilt * np.sum(1 - np.cos(6 * z)))


def _integers(p: Params) -> float:
    """Return a bowl over integers whose neighbours pull at each other."""
    z = np.array(list(p.values())) - np.array([7, 31, 22, 5, 36, 18])
    return float(np.sum(np.abs(z)) + 0.1 * np.sum((z[1:] - z[:-1]) ** 2))


# --- conditional ------------------------------------------------------------------------------


def conditional() -> list[Problem]:
    """Return functions whose parameters depend on choices."""
    model = Choice(
        "dummy",
        svm={
            "C": Float(1e-3, 1e3, log=True),
            "kernel": Choice(
                "linear", rbf={"gamma": Float(1e-5, 10, log=True)}, poly={"degree": Int(2, 5)}
            ),
        },
        forest={"trees": Int(10, 1000, log=True), "share": Float(0.05, 1.0)},
        boosting={
            "rate": Float(1e-3, 1.0, log=True),
            "depth": Int(1, 16),
            "subsample": Float(0.3, 1.0),
        },
    )
    stages = Choice(one=_stages(1), two=_stages(2), three=_stages(3), four=_stages(4))
    return [
        Problem(
            "pipeline",
            "conditional",
            Space({"scaler": Choice("none", "standard", "robust"), "model": model}),
            pipeline,
            0.0,
        ),
        Problem("stages", "conditional", Space({"stages": stages}), _stage_loss, 0.1),
        Problem(
            "solvers",
            "conditional",
            Space(
                {
                    "solver": Choice(
                        **{
                            name: {"x": Float(0, 1), "y": Float(0, 1), "z": Float(0, 1)}
                            for name in "abcdef"
                        }
                    ),
                    "shared": Float(0.0, 1.0),
                }
            ),
            _solvers,
            0.0,
        ),
    ]


def pipeline(p: Params) -> float:
    """Return a loss over three models, of which one is best if its parameters are."""
    loss = 0.0 if p["scaler"] == "standard" else 0.1
    kind, o = p["model"]
    if kind == "svm":
        kernel, inner = o["kernel"]
        loss += 0.15 + 0.05 * (math.log10(o["C"]) - 1) ** 2
        loss += {"linear": 0.3, "poly": 0.1}.get(kernel, 0.0)
        return loss + (0.1 * (math.log10(inner["gamma"]) + 2) ** 2 if kernel == "rbf" else 0.0)
    if kind == "forest":
        return loss + 0.2 + 0.1 * (o["share"] - 0.4) ** 2 + 10 / o["trees"]
    if kind == "boosting":
        loss += 0.1 * (math.log10(o["rate"]) + 1.2) ** 2 + 0.004 * abs(o["depth"] - 6)
        return loss + 0.1 * (o["subsample"] - 0.8) ** 2
    return loss + 1.0


def _stages(n: int) -> dict[str, Float]:
    return {f"s{i}": Float(0.0, 1.0) for i in range(n)}


def _stage_loss(p: Params) -> float:
    """Return a loss that more stages lower, if each of them is set well."""
    _, o = p["stages"]
    best = np.array([0.23, 0.71, 0.42, 0.87])[: len(o)]
    return 0.4 / len(o) + float(np.sum((np.array(list(o.values())) - best) ** 2))


def _solvers(p: Params) -> float:
    """Return one of six bowls with the same names in them; the shared number is best near 0.6."""
    name, o = p["solver"]
    k = "abcdef".index(name)
    centre = np.random.default_rng(k).uniform(0.1, 0.9, 3)
    z = np.array(list(o.values())) - centre
    return float([0.5, 0.3, 0.0, 0.1, 0.6, 0.05][k] + z @ z + (p["shared"] - 0.6) ** 2)
