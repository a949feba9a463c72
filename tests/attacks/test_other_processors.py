"""A seed gives the same suggestions on another type of CPU and with another number of threads.

OpenBLAS and NumPy are configured to use the code of another CPU. Random search and TPE are
identical bit for bit. The Gaussian process is identical if rounding hides the differences of linear
algebra; this is guaranteed only for the same type of CPU, and holds for these seeds.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info

SEARCHES = """
import json, sys
from threadpoolctl import threadpool_info
from tuner.optimizers import resolve
from tuner.records import Goal, Outcome, State, Trial
from tuner.search_spaces import Choice, Float, Int, Space

MIXED = Space({
    "rate": Float(1e-4, 1.0, log=True),
    "model": Choice(tree={"depth": Int(1, 40, log=True)}, net={"width": Float(-5, 5)}),
    "kind": Choice("p", "q", "r"),
})

def loss(params):
    (model, options), kind = params["model"], "pqr".index(params["kind"])
    own = (options["depth"] - 7) ** 2 / 99 if model == "tree" else (options["width"] - 1) ** 2 / 9
    return own + kind / 10 + (params["rate"] * 9 - 1) ** 2

def search(name, seed, n):
    optimizer = resolve(name)
    optimizer.reset(MIXED, [Goal()], seed=seed)
    told = []
    for number in range(n):
        (params,) = optimizer.ask(1)
        told.append(repr(params))
        outcome = Outcome(State.COMPLETED, {"value": float(loss(params))})
        optimizer.tell(Trial(number, params), outcome)
    return told

plan = json.loads(sys.argv[1])
kernels = [library["architecture"] for library in threadpool_info()]
print(json.dumps([kernels, {
    f"{name} {seed}": search(name, seed, n) for name, n in plan["trials"] for seed in plan["seeds"]
}]))
"""

OTHERS = {
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
    "Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "no AVX-512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
    "no AVX": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
    "threads": {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"},
}

np.linalg.inv(np.eye(2))  # loads the library that is asked for below

ON_X86_WITH_OPENBLAS = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64")
    or not any(library["internal_api"] == "openblas" for library in threadpool_info()),
    reason="OpenBLAS on x86-64 can be told which CPU's code to use",
)


def searched(variables: dict[str, str], trials: list[tuple[str, int]], seeds: list[int]):
    plan = json.dumps({"trials": trials, "seeds": seeds})
    done = subprocess.run(
        [sys.executable, "-c", SEARCHES, plan],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def first_differences(
    others: list[str], trials: list[tuple[str, int]], seeds: list[int]
) -> dict[str, int]:
    """Return where searches part, for those that do."""
    plans = [{}, *(OTHERS[name] for name in others)]
    with ThreadPoolExecutor(2) as pool:
        (_, here), *found = pool.map(lambda plan: searched(plan, trials, seeds), plans)
    parts = {}
    for name, (kernels, there) in zip(others, found, strict=True):
        if name in ("Haswell", "Nehalem"):
            assert set(kernels) == {name}
        for key, params in here.items():
            pairs = zip(params, there[key], strict=True)
            at = next((n for n, (a, b) in enumerate(pairs) if a != b), None)
            if at is not None:
                parts[f"{name}, {key}"] = at
    return parts


@pytest.mark.process
@ON_X86_WITH_OPENBLAS
def test_suggestions_are_equal_on_other_processors() -> None:
    trials = [("random", 40), ("tpe", 40), ("bayesian", 25)]
    assert first_differences(["Haswell", "no AVX-512", "threads"], trials, [0]) == {}


@pytest.mark.soak
@ON_X86_WITH_OPENBLAS
def test_long_searches_are_equal_on_other_processors() -> None:
    others, seeds = list(OTHERS), list(range(8))
    assert first_differences(others, [("random", 200), ("tpe", 200)], seeds) == {}
    parts = first_differences(others, [("bayesian", 60), ("auto", 60)], seeds)
    # As in docs/optimizers.md: the same with any number of threads, nearly always elsewhere.
    assert not any(name.startswith("threads") for name in parts)
    assert len(parts) <= 0.2 * 2 * len(others) * len(seeds), parts
