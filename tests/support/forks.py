"""Scripts in forks of this process and functions in forks of a server, which have the imports.

A new Python needs 0.6 seconds of CPU time until it has imported what a search needs. Tests of the
first import, of signals and of the command line start a new one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import types
from multiprocessing.context import ForkServerContext
from typing import Any


def new_processes() -> ForkServerContext:
    """Return a way to start processes that share nothing with this one but what is imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tuner.study", "tuner.engine.ask_tell"])
    return context


class Fork:
    """A script in a forked process, with the methods of `subprocess.Popen` that tests need.

    Parameters
    ----------
    code, args
        The script and its arguments.
    folder
        Its working directory, by default that of this process.
    environ
        Variables in addition to those of this process.
    """

    def __init__(self, code: str, *args: object, folder: Any = ".", **environ: str) -> None:
        self._streams = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
        self._process = multiprocessing.get_context("fork").Process(
            target=self._run, args=(code, [*map(str, args)], folder, environ)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def _run(self, code: str, args: list[str], folder: Any, environ: dict[str, str]) -> None:
        os.chdir(folder)
        os.environ.update(environ)
        for number, stream in enumerate(self._streams, 1):
            os.dup2(stream.fileno(), number)
        sys.stdout, sys.stderr = self._streams
        sys.argv = ["-c", *args]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(code, main.__dict__)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end, and return what was written to the output and to the error stream."""
        self._process.join(timeout)
        assert self.returncode is not None, f"process {self.pid} runs for {timeout} seconds"
        for stream in self._streams:
            stream.seek(0)
        out, err = (stream.read() for stream in self._streams)
        return out, err
