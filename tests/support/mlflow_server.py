"""A real MLflow tracking server in a separate process, which a test may stop and restart."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

STARTUP = 120.0


class MlflowServer:
    """MLflow's REST API on a local port, its data in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = f"http://127.0.0.1:{self._port}"
        self.database = f"sqlite:///{folder / 'mlflow.db'}"

    def start(self) -> None:
        environment = {
            **os.environ,
            "_MLFLOW_SERVER_FILE_STORE": self.database,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(self._folder / "artifacts"),
        }
        command = [sys.executable, "-m", "flask", "--app", "mlflow.server:app", "run"]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self._port)], env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + STARTUP
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the MLflow server did not start"
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
