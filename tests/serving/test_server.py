"""A real server: a process that serves by HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.command_line import call
from support.served_models import make_store
from tuner.registry import Registry

TOKEN = "a-token-of-tests-1234"
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
RECORD = {"a": 3, "b": 0}


class Server:
    """A server in a process of its own."""

    def __init__(self, store: Path) -> None:
        self.store = store
        command = [sys.executable, "-m", "tuner.cli", "models", "serve", "m@live", "--port", "0"]
        options = ["--poll", "0.05", "--max-bytes", "1000", "--store", str(store)]
        self.process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"TUNER_SERVE_TOKEN": TOKEN},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("serving m@live at http://127.0.0.1:"), line
        self.port = int(line.rpartition(":")[2])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def post(self, data: Any, headers: dict[str, str] = HEADERS) -> tuple[int, Any]:
        connection = self.connect()
        connection.request("POST", "/predict", json.dumps(data), headers)
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = make_store(tmp_path_factory.mktemp("served"))
    tuner.set_alias("m@1", "live", store=store)
    server = Server(store)
    yield server
    server.process.kill()
    server.process.wait()
    assert server.process.stdout is not None
    server.process.stdout.close()


pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_a_server_predicts_and_refuses(server: Server):
    assert server.post([RECORD]) == (200, {"predictions": ["yes"], "model": "m", "version": 1})
    status, answer = server.post([RECORD | {"b": "x"}])
    assert (status, answer["error"]["column"]) == (422, "b")
    assert server.post([RECORD] * 200)[0] == 413
    assert server.post([RECORD], {"Content-Type": "application/json"})[0] == 401


def test_an_alias_that_moves_under_load_fails_no_request(server: Server):
    stop, seen = threading.Event(), []

    def ask() -> None:
        connection = server.connect()
        while not stop.is_set():
            connection.request("POST", "/predict", json.dumps([RECORD]), HEADERS)
            answer = connection.getresponse()
            seen.append((answer.status, json.loads(answer.read()).get("version")))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    registry, current = Registry(server.store), 1
    for number in (2, 1, 2):
        registry.set_alias("m", "live", number)
        while current != number:
            current = server.post([RECORD])[1]["version"]
    stop.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {1, 2}


def test_sigterm_answers_the_request_that_runs_and_exits_with_0(server: Server):
    body = json.dumps([RECORD]).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        start = f"POST /predict HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n"
        connection.sendall(start.encode() + body[:5])
        # The server answers another connection only after it has accepted this one.
        server.post([RECORD])
        server.process.send_signal(signal.SIGTERM)
        connection.sendall(body[5:])
        answer = b""
        while part := connection.recv(10_000):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"predictions":["yes"]' in answer or b'"predictions":["no"]' in answer
    assert server.process.wait(20) == 0
    assert len(Registry(server.store).served_samples("m")) > 0


def test_a_model_that_cannot_be_served_exits_with_1(tmp_path: Path):
    result = call("models", "serve", "none", "--store", str(tmp_path / "new"), code=1)
    assert "no model 'none'" in result.stderr
    token = tmp_path / "token"
    token.write_text("a-token-of-tests-1234\n")
    both = ("--token-file", str(token), "--token", "x")
    assert "not both" in call("models", "serve", "none", *both, code=1).stderr
    public = ("--host", "0.0.0.0", "--port", "0", "--store", str(tmp_path / "new"))
    assert "needs a token" in call("models", "serve", "none", *public, code=1).stderr
    with_token = call("models", "serve", "none", *public, "--token-file", str(token), code=1)
    assert "no model 'none'" in with_token.stderr
