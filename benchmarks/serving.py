"""Requests per second of a served model, against a bare Starlette endpoint around its predict.

Both servers are uvicorn processes with the same model. Clients on raw sockets keep connections
open and ask the servers in turns, so that the load of the machine meets both. CPU time is
measured of the server process, for each request.

    python -m benchmarks.serving [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

CASES = ("array", "frame", "batch")
"""One row of numbers, one row with categories for a pipeline, and 100 rows of it."""


def data_of(case: str) -> Any:
    """Return rows that the model of a case is trained on."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(1)
    X = random.normal(size=(500, 10))
    if case == "array":
        return X
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(10)])
    towns = ["Rome", "Oslo", "Bern"]
    return frame.assign(town=pd.Categorical(random.choice(towns, 500), categories=towns))


def body_of(case: str) -> bytes:
    """Return the JSON of a request."""
    data = data_of(case)
    if case == "array":
        return json.dumps(data[:1].tolist()).encode()
    return data[: 100 if case == "batch" else 1].to_json(orient="records").encode()


def make_store(folder: str, case: str) -> None:
    """Register the model of a case."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    import tuner

    X = data_of(case)
    y = (X[:, 0] if case == "array" else X["f0"].to_numpy()) > 0

    def objective(_: dict[str, Any], trial: tuner.LiveTrial) -> float:
        if case == "array":
            model: Any = LogisticRegression().fit(X, y)
        else:
            columns = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
            forest = RandomForestClassifier(n_estimators=20, random_state=1)
            model = make_pipeline(columns, forest).fit(X, y)
        trial.log_model(model, example=X)
        return 1.0

    tuner.optimize(
        objective,
        {"x": tuner.Int(1, 2)},
        n_trials=1,
        backend="serial",
        store=folder,
        register=case,
        progress=False,
    )


def serve(kind: str, folder: str, case: str) -> None:
    """Serve in this process, and print the port."""
    if kind == "tuner":
        from tuner.serving import serve as serve_model

        serve_model(
            case,
            store=folder,
            port=0,
            started=lambda url: print(url.rpartition(":")[2], flush=True),
        )
        return
    import socket

    import numpy as np
    import pandas as pd
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    import tuner

    model = tuner.load_model(case, store=folder)

    async def predict(request: Request) -> JSONResponse:
        rows = await request.json()
        data = np.array(rows) if case == "array" else pd.DataFrame(rows)
        return JSONResponse({"predictions": model.predict(data).tolist()})

    bound = socket.create_server(("127.0.0.1", 0))
    print(bound.getsockname()[1], flush=True)
    app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
    config = uvicorn.Config(app, log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[bound])


@dataclass
class Server:
    """A server process, with its measurements."""

    port: int
    pid: int
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process until now."""
        import psutil

        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)


@contextmanager
def started(kind: str, folder: str, case: str) -> Iterator[Server]:
    """Start a server process."""
    command = [sys.executable, "-m", "benchmarks.serving", "--serve", kind, folder, case]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Server(int(process.stdout.readline()), process.pid)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


async def load(server: Server, body: bytes, clients: int, seconds: float) -> None:
    """Ask a server from several connections, and keep rate, CPU time and latencies."""
    head = (
        f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    latencies: list[float] = []
    cpu, begin = server.cpu_seconds(), time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while time.perf_counter() - begin < seconds:
            sent = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            await reader.readexactly(int(length))
            latencies.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    server.rates.append(len(latencies) / (time.perf_counter() - begin))
    server.cpu.append((server.cpu_seconds() - cpu) / len(latencies))
    server.latencies += latencies


def measure(case: str, rounds: int, seconds: float, clients: int) -> dict[str, Any]:
    """Measure both servers with the model of a case."""
    body = body_of(case)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        make_store(folder, case)
        servers = {
            kind: stack.enter_context(started(kind, folder, case)) for kind in ("bare", "tuner")
        }
        for server in servers.values():
            asyncio.run(load(server, body, clients, seconds / 2))  # warms up
            server.rates, server.cpu, server.latencies = [], [], []
        for number in range(rounds):
            order = list(servers.values())[:: 1 if number % 2 else -1]
            for server in order:
                asyncio.run(load(server, body, clients, seconds))
        bare, ours = servers["bare"], servers["tuner"]
        ratios = [own / other for own, other in zip(ours.rates, bare.rates, strict=True)]
        found: dict[str, Any] = {"case": case, "ratio": round(statistics.median(ratios), 3)}
        for kind, server in servers.items():
            found[kind] = {
                "requests_per_s": round(statistics.median(server.rates)),
                "cpu_us": round(statistics.median(server.cpu) * 1e6),
                **{f"p{p}_ms": round(_quantile(server.latencies, p) * 1e3, 1) for p in (50, 99)},
            }
        found["cpu_ratio"] = round(found["bare"]["cpu_us"] / found["tuner"]["cpu_us"], 3)
        return found


def _quantile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def main() -> None:
    """Print the table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve)
        return
    rounds, seconds = (6, 0.5) if arguments.quick else (10, 2.0)
    print(f"{arguments.clients} connections, {rounds} rounds of {seconds:g} s in turns")
    print(
        f"{'case':<8}{'server':<8}{'req/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{'ratio':>8}"
    )
    results = []
    for case in CASES:
        found = measure(case, rounds, seconds, arguments.clients)
        results.append(found)
        for kind in ("bare", "tuner"):
            row = found[kind]
            ratio = f"{found['ratio']:.2f}" if kind == "tuner" else ""
            print(
                f"{case:<8}{kind:<8}{row['requests_per_s']:>8}{row['p50_ms']:>9}{row['p99_ms']:>9}"
                f"{row['cpu_us']:>9}{ratio:>8}"
            )
    print(json.dumps({"machine": platform.machine(), "results": results}))


if __name__ == "__main__":
    main()
