"""Another user of this machine, who tries to use a Ray that is not theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import psutil

NOBODY = 65534

METHODS = (
    "InternalKVGcsService/InternalKVPut", "InternalKVGcsService/InternalKVGet",
    "JobInfoGcsService/AddJob", "NodeInfoGcsService/GetAllNodeInfo",
    "ActorInfoGcsService/RegisterActor", "ActorInfoGcsService/CreateActor",
    "NodeManagerService/RequestWorkerLease", "NodeManagerService/GetNodeStats",
    "CoreWorkerService/PushTask", "CoreWorkerService/KillActor", "CoreWorkerService/Exit",
    "ObjectManagerService/Push", "ObjectManagerService/Pull",
    "ReporterService/GetTraceback", "RayletDriver/Init", "RayletDriver/ClusterInfo",
)  # fmt: skip
"""Calls that run something, or tell something, of each service that Ray has."""

METRICS = "# HELP "
"""Begins the pages of metrics of Ray's dashboard and autoscaler, which no option closes."""

ATTACK = """
import json, os, socket, sys, urllib.error, urllib.request
import encodings.idna
import grpc
import ray
from ray._raylet import AuthenticationTokenLoader, Config, GcsClient

target = json.load(sys.stdin)
try:  # what is imported late is in a folder that nobody may read
    grpc.insecure_channel("127.0.0.1:1").unary_unary("/a/b")(b"", timeout=0.5)
except grpc.RpcError:
    pass
if target["nobody"]:
    os.setgroups([])
    os.setgid(target["nobody"])
    os.setuid(target["nobody"])
token, found, tried = target["token"], [], set()

def look(path):
    try:
        if os.path.isdir(path):
            names = os.listdir(path)
            tried.add("entered a folder")
            for name in names:
                look(os.path.join(path, name))
        else:
            with open(path, "rb") as file:
                if token.encode() in file.read(10**7):
                    found.append(f"the token is in {path}")
    except OSError:
        tried.add("refused a path")

def reach_head(variables):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        os.environ.pop(name, None)
    os.environ.update(variables)
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        GcsClient(address=target["head"])
        found.append(f"joined {target['head']} with {variables}")
    except Exception as error:
        tried.add(type(error).__name__)

reach_head({})
reach_head({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64})

for path in target["paths"]:
    look(path)
for pid in target["pids"]:
    look(f"/proc/{pid}/environ")
    look(f"/proc/{pid}/cmdline")

for path in target["sockets"]:
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.settimeout(2.0)
            end.connect(path)
        found.append(f"connected to {path}")
    except OSError:
        tried.add("refused a socket")
    try:
        os.rename(path, path + "-mine")
        found.append(f"renamed {path}")
    except OSError:
        pass

shown = {"none": [], "wrong": [("authorization", "Bearer " + "0" * 64)], "empty": [
    ("authorization", "Bearer ")], "odd": [("authorization", token[:-1])]}
for port in target["ports"]:
    for how, metadata in shown.items():
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for method in target["methods"]:
                call = channel.unary_unary(f"/ray.rpc.{method}")
                try:
                    call(b"", timeout=5.0, metadata=metadata)
                    code = "OK"
                except grpc.RpcError as error:
                    code = error.code().name
                if code == "UNAVAILABLE":
                    break  # does not speak gRPC
                tried.add(f"{code} {method}")
                if code not in ("UNAUTHENTICATED", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"):
                    found.append(f"port {port} answers {code} to {method}, token: {how}")
    for path in ("/", "/metrics", "/api/version", "/api/jobs/", "/api/job_agent/jobs/", "/logs/",
                 "/get_runtime_envs_info", "/get_or_create_runtime_env", "/api/v0/nodes"):
        for body in (None, b"{}"):
            url = f"http://127.0.0.1:{port}{path}"
            request = urllib.request.Request(url, data=body)
            try:
                text = urllib.request.urlopen(request, timeout=5.0).read(2000)
                if not any(word.encode() in text for word in target["harmless"]):
                    found.append(f"port {port} answers {text!r} to {path}")
            except urllib.error.HTTPError as error:
                tried.add(f"HTTP {error.code}")
            except Exception:
                pass  # does not speak HTTP

if target["connect"]:
    try:
        ray.init(address=target["connect"], log_to_driver=False)
        ray.get(ray.remote(lambda: 1).remote(), timeout=20)
        found.append(f"ran a task at {target['connect']}")
    except Exception as error:
        tried.add(f"ray.init: {type(error).__name__}")
print(json.dumps({"found": found, "tried": sorted(tried)}), flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Target:
    """A Ray cluster to attack: its processes, head, folders and token."""

    pids: list[int]
    head: str
    paths: list[str]
    token: str

    def listeners(self) -> list[Any]:
        """Return the addresses (ip, port) on which the processes listen."""
        return [
            connection.laddr
            for pid in self.pids
            for connection in psutil.Process(pid).net_connections(kind="tcp")
            if connection.status == psutil.CONN_LISTEN
        ]

    def sockets(self) -> list[str]:
        """Return the paths of the Unix sockets on which the processes listen."""
        return sorted(
            {
                connection.laddr
                for pid in self.pids
                for connection in psutil.Process(pid).net_connections(kind="unix")
                if isinstance(connection.laddr, str) and connection.laddr.startswith("/")
            }
        )


def attack(
    target: Target,
    *,
    connect: str = "",
    harmless: tuple[str, ...] = (METRICS,),
    timeout: float = 120.0,
) -> tuple[list[str], list[str]]:
    """Return the successful attacks of another user, and all attempts.

    As root, the stranger is the user nobody. Else it is this user without the token, and files
    are left out. `connect` is an address for ``ray.init``, which takes half a minute to fail;
    `harmless` are texts of pages that everyone may read.
    """
    root = os.geteuid() == 0
    clean = {name: v for name, v in os.environ.items() if not name.startswith("RAY_")}
    told = {
        "nobody": NOBODY if root else 0,
        "pids": target.pids if root else [],
        "paths": target.paths if root else [],
        "sockets": target.sockets() if root else [],
        "ports": sorted({address.port for address in target.listeners()}),
        "head": target.head,
        "token": target.token,
        "methods": METHODS,
        "connect": connect,
        "harmless": harmless,
    }
    done = subprocess.run(
        [sys.executable, "-c", ATTACK],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd="/",
        env=clean | {"HOME": "/nonexistent", "RAY_BACKEND_LOG_LEVEL": "fatal"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["found"], answer["tried"]
