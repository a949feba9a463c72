"""Check a cluster: its nodes, their resources and versions, and whether a search would run."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tuner.backends.ray.cluster import connect
from tuner.backends.ray.runtime_env import as_runtime_env, check_with_ray, uploaded
from tuner.errors import ObjectiveError

ANSWER = 60.0
"""Seconds within which each node must answer."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """Resources, versions and problems of one node.

    `python`, `ray` and `tuner` are versions, None if unknown or not installed; `memory` is in
    bytes; each problem names its remedy.
    """

    name: str
    head: bool
    cpus: float
    gpus: float
    memory: float
    python: str | None = None
    ray: str | None = None
    tuner: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """The nodes of a cluster, compared with this process.

    `gone` counts nodes that have left the cluster.
    """

    nodes: tuple[NodeReport, ...]
    gone: int
    python: str
    ray: str
    tuner: str

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong on any node."""
        return bool(self.nodes) and not any(node.problems for node in self.nodes)


def check(
    address: str | None,
    *,
    objective: str | Callable[..., Any] | None = None,
    packages: Sequence[str] = (),
    working_dir: str | Path | None = None,
    py_modules: Sequence[str] | None = None,
    timeout: float = ANSWER,
) -> ClusterReport:
    """Ask every node of a cluster.

    Parameters
    ----------
    address
        Address of the cluster, as in `RayBackend`.
    objective
        ``"module:function"`` that every node must be able to import; or a function, which is
        shipped as a search would ship it.
    packages
        Packages that every node must have in the version that is installed here.
    working_dir, py_modules
        Files that a search would ship, as in `RayBackend`.
    timeout
        Seconds within which each node must answer.

    Raises
    ------
    BackendError
        If no cluster answers, or it refuses access.
    """
    import ray

    env = as_runtime_env(working_dir=working_dir, py_modules=py_modules, caller="check")
    check_with_ray(env)
    shipped = _pickled(objective) if callable(objective) else objective
    cluster = connect(address, env)
    try:
        with TemporaryDirectory() as scratch:
            own = {} if cluster.own else uploaded(env, Path(scratch))
        everyone = ray.nodes()
        alive = [node for node in everyone if node["Alive"]]
        asked = {node["NodeID"]: _ask(node["NodeID"], shipped, packages, own) for node in alive}
        answers = _answers(asked, timeout)
    finally:
        cluster.leave()
    here = {name: _version(name) for name in ("ray", "tuner", *packages)}
    nodes = [_report(node, answers[node["NodeID"]], here) for node in alive]
    return ClusterReport(
        tuple(sorted(nodes, key=lambda node: (not node.head, node.name))),
        len(everyone) - len(alive),
        platform.python_version(),
        here["ray"] or "",
        here["tuner"] or "",
    )


def _ask(node: str, objective: str | bytes | None, packages: Sequence[str], env: Any) -> Any:
    """Start the inspection of one node, and return Ray's reference to its result."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def look(objective: str | bytes | None, packages: Sequence[str]) -> dict[str, Any]:
        # Ship the function as code, because tuner may be missing on the node.
        import importlib
        import importlib.metadata
        import pickle
        import platform

        def version(name: str) -> str | None:
            try:
                return importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                return None

        seen: dict[str, Any] = {"python": platform.python_version(), "failed": {}}
        seen["versions"] = {name: version(name) for name in ("ray", "tuner", *packages)}
        try:
            import tuner.backends.ray.worker  # noqa: F401 (this is the check)
        except BaseException as error:
            seen["failed"]["tuner"] = f"{type(error).__name__}: {error}"
        try:
            if isinstance(objective, bytes):
                pickle.loads(objective)
            elif objective is not None:
                module, _, name = objective.partition(":")
                found: Any
                try:
                    from tuner.errors.loading import loading
                except ImportError:  # reported above
                    found = importlib.import_module(module)
                else:
                    with loading():  # so that the module cannot start a search there
                        found = importlib.import_module(module)
                for part in name.split("."):
                    found = getattr(found, part)
        except BaseException as error:
            seen["failed"]["objective"] = f"{type(error).__name__}: {error}"
        return seen

    here = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    task = ray.remote(look).options(
        num_cpus=0, max_retries=0, scheduling_strategy=here, runtime_env=env or None
    )
    return task.remote(objective, packages)


def _answers(asked: Mapping[str, Any], timeout: float) -> dict[str, dict[str, Any] | str]:
    """Return the result of each node, or why it has none."""
    import ray

    answers: dict[str, dict[str, Any] | str] = {}
    deadline = time.monotonic() + timeout
    for node, reference in asked.items():
        try:
            answers[node] = ray.get(reference, timeout=max(0.0, deadline - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            answers[node] = f"it does not answer within {timeout:g} s; look at its machine"
        except ray.exceptions.RayError as error:
            answers[node] = " ".join(str(error).split())
    return answers


def _report(
    node: Mapping[str, Any], answer: Mapping[str, Any] | str, here: Mapping[str, str | None]
) -> NodeReport:
    has = node["Resources"]
    about: dict[str, Any] = {
        "name": f"{node['NodeManagerAddress']}/{node['NodeID'][:8]}",
        "head": "node:__internal_head__" in has,
        "cpus": has.get("CPU", 0.0),
        "gpus": has.get("GPU", 0.0),
        "memory": has.get("memory", 0.0),
    }
    if isinstance(answer, str):
        return NodeReport(**about, problems=(answer,))
    there = answer["versions"]
    return NodeReport(
        **about,
        python=answer["python"],
        ray=there["ray"],
        tuner=there["tuner"],
        problems=tuple(_problems(answer, here)),
    )


def _problems(answer: Mapping[str, Any], here: Mapping[str, str | None]) -> list[str]:
    there, failed, problems = answer["versions"], answer["failed"], []
    python = platform.python_version()
    if answer["python"].split(".")[:2] != python.split(".")[:2]:
        problems.append(f"Python is {answer['python']} there and {python} here; use the same")
    if "tuner" in failed:
        problems.append(
            f"tuner cannot be imported: {failed['tuner']}; install tuner {here['tuner']} there"
        )
    for name, version in here.items():
        if there[name] == version is not None:
            continue
        if name == "tuner" and there[name] is None:
            continue  # reported already, or shipped as a module, without a version
        if there[name] is None:
            wanted = name if version is None else f"{name}=={version}"
            problems.append(f"{name} is not installed; pip install {wanted} there")
        elif version is None:
            problems.append(f"{name} is {there[name]} there and not installed here; install it")
        else:
            problems.append(f"{name} is {there[name]} there and {version} here; use the same")
    if "objective" in failed:
        problems.append(
            f"the objective cannot be imported: {failed['objective']}; ship its folder with "
            f"working_dir or --working-dir, or install its imports there"
        )
    return problems


def _pickled(objective: Callable[..., Any]) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(objective))
    except Exception as error:
        # A user-defined __reduce__ may raise any exception.
        raise ObjectiveError(f"the objective cannot be shipped: {error}") from error


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
