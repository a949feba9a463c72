"""The fields of a RayJob that our manifests may use, and their types.

Written from KubeRay's API types (`ray.io/v1`, `rayjob_types.go` and `raycluster_types.go`) and the
release notes of 1.5.1 (`authOptions`). The published CRD is 1.3 MB, most of it Kubernetes' own pod
template several times over; those parts are checked against Kubernetes' schema instead.
"""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
SWITCH = {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
POD_TEMPLATE = {"type": "object", "required": ["spec"]}


def fields(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


HEAD_GROUP = fields(
    ("rayStartParams", "template"),
    serviceType=TEXT,
    enableIngress=SWITCH,
    rayStartParams=TEXTS,
    template=POD_TEMPLATE,
)

WORKER_GROUP = fields(
    ("groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"),
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    numOfHosts=COUNT,
    rayStartParams=TEXTS,
    template=POD_TEMPLATE,
)

CLUSTER = fields(
    ("headGroupSpec",),
    headGroupSpec=HEAD_GROUP,
    workerGroupSpecs={"type": "array", "items": WORKER_GROUP},
    rayVersion=TEXT,
    enableInTreeAutoscaling=SWITCH,
    autoscalerOptions={"type": "object"},
    authOptions=fields(("mode",), mode={"enum": ["disabled", "token"]}),
)

JOB = fields(
    activeDeadlineSeconds=COUNT,
    backoffLimit=COUNT,
    rayClusterSpec=CLUSTER,
    metadata=TEXTS,
    clusterSelector=TEXTS,
    submitterConfig=fields(backoffLimit=COUNT),
    submitterPodTemplate=POD_TEMPLATE,
    entrypoint=TEXT,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
    entrypointResources=TEXT,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    ttlSecondsAfterFinished=COUNT,
    shutdownAfterJobFinishes=SWITCH,
    suspend=SWITCH,
)

RAY_JOB = fields(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata={"type": "object"},
    spec=JOB,
)
