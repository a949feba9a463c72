"""The manifests for Kubernetes, as far as they can be checked without one."""

from __future__ import annotations

import copy
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml

import tuner
from support.cluster_shell import Shell
from support.rayjob_fields import RAY_JOB

FOLDER = Path(__file__).parent.parent.parent / "examples" / "kubernetes"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def job_of(path: Path) -> dict[str, Any]:
    (job,) = (d for d in documents(path) if d["kind"] == "RayJob")
    return job


def templates(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"] for group in groups]


def check_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def check_ray_job(job: dict[str, Any]) -> None:
    jsonschema.validate(job, RAY_JOB)
    for template in templates(job):
        check_kubernetes({"apiVersion": "v1", "kind": "Pod", "metadata": {}, **template})


def test_manifests_exist() -> None:
    assert [p.name for p in MANIFESTS] == ["sweep-on-a-volume.yaml", "sweep-on-postgres.yaml"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.name)
def test_every_document_fits_its_schema(path: Path) -> None:
    for document in documents(path):
        check_ray_job(document) if document["kind"] == "RayJob" else check_kubernetes(document)


@pytest.mark.parametrize(
    "path",
    [
        ("entryPoint",),
        ("rayClusterSpec", "rayversion"),
        ("rayClusterSpec", "headGroupSpec", "replicas"),
        ("rayClusterSpec", "headGroupSpec", "template", "spec", "volume"),
        ("rayClusterSpec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "envs"),
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_a_misspelled_field_is_refused(path: tuple[Any, ...]) -> None:
    job = copy.deepcopy(job_of(MANIFESTS[0]))
    place: Any = job["spec"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = "x"
    with pytest.raises(Exception, match=str(path[-1])):
        check_ray_job(job)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.name)
def test_every_node_asks_for_a_token_and_has_one_version_of_ray(path: Path) -> None:
    cluster = job_of(path)["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert (
        f"FROM rayproject/ray:{cluster['rayVersion']}-py311\n"
        in (FOLDER / "Dockerfile").read_text()
    )
    assert re.match(r"2\.(5[2-9]|[6-9]\d)\.", cluster["rayVersion"]), ray.__version__
    images = {c["image"] for t in templates(job_of(path)) for c in t["spec"]["containers"]}
    assert images == {"REGISTRY/tuner-sweep:1"}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.name)
def test_the_store_is_on_storage_that_outlives_the_cluster(path: Path) -> None:
    (head, *_) = templates(job_of(path))
    (container,) = head["spec"]["containers"]
    variables = {v["name"]: v for v in container["env"]}
    (mount,) = container["volumeMounts"]
    claims = [v["persistentVolumeClaim"]["claimName"] for v in head["spec"]["volumes"]]
    assert claims == [d["metadata"]["name"] for d in documents(path) if d["kind"] != "RayJob"]
    kept = variables.get("TUNER_ARTIFACTS", variables["TUNER_STORE"])["value"]
    assert kept.startswith(mount["mountPath"] + "/")
    assert "secretKeyRef" in variables["TUNER_STORE"].get("valueFrom", {"secretKeyRef": None})


@pytest.mark.ray
def test_the_sweep_runs_as_a_job_of_a_real_cluster(shell: Shell, tmp_path: Path) -> None:
    _, script, *arguments = shlex.split(job_of(MANIFESTS[0])["spec"]["entrypoint"])
    assert arguments == ["--n-trials", "100"]
    done = shell.tuner_here(
        "submit", Path(script).name, "--working-dir", str(FOLDER), "--address",
        shell.head.dashboard, "--store", str(tmp_path), "--", "--n-trials", "2",
    )  # fmt: skip
    assert re.search(r"^2 trials, best 0\.\d+: ", done.stdout, re.MULTILINE)
    assert len(tuner.load_study("digits-forest", store=tmp_path).trials) == 2
