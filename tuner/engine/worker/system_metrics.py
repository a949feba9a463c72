"""Sample the resource use of a run: CPU, memory, and GPUs if present.

A thread of the worker takes samples. They are sent with the run's next message, on the thread of
the objective, because channels are not thread-safe. The samples are metrics named ``system/...``;
their step is the number of seconds since the start of the run.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tuner.backends.protocol import Channel
from tuner.errors import ArgumentError
from tuner.records import SYSTEM, Message, Report

DEFAULT_INTERVAL = 5.0
"""Default seconds between samples."""

MIN_INTERVAL = 0.1
"""Minimum seconds between samples."""

ENVIRONMENT_VARIABLE = "TUNER_SYSTEM_METRICS"
"""The environment variable that enables sampling: ``1``, or the seconds between samples."""

_MEBIBYTE = 1 << 20


def as_interval(system_metrics: bool | float | None) -> float | None:
    """Return the seconds between samples, None to disable sampling.

    Parameters
    ----------
    system_metrics
        Whether to sample, or the seconds between samples; None uses the environment variable.

    Raises
    ------
    ArgumentError
        If it is not a bool or a number of at least `MIN_INTERVAL`.
    """
    given: Any = system_metrics
    if given is None:
        text = os.environ.get(ENVIRONMENT_VARIABLE, "").strip().lower()
        given = {"": False, "0": False, "false": False, "1": True, "true": True}.get(text, text)
    if isinstance(given, bool):
        return DEFAULT_INTERVAL if given else None
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = float("nan")
    if not MIN_INTERVAL <= seconds < float("inf"):
        raise ArgumentError(
            f"system_metrics={given!r}: write True, or the seconds between samples, at least "
            f"{MIN_INTERVAL}"
        )
    return seconds


@contextmanager
def monitored(channel: Channel, interval: float | None) -> Iterator[Channel]:
    """Yield a channel that also sends samples; without an interval, yield `channel` itself."""
    if interval is None:
        yield channel
        return
    monitor = _Monitor(interval)
    monitored_channel = _MonitoredChannel(channel, monitor)
    try:
        yield monitored_channel
    finally:
        monitor.stop()
    monitored_channel.flush()


class _MonitoredChannel:
    """A channel that sends the samples of a monitor before each message."""

    def __init__(self, channel: Channel, monitor: _Monitor) -> None:
        self.worker = channel.worker
        self._channel = channel
        self._monitor = monitor

    def send(self, message: Message) -> None:
        self.flush()
        self._channel.send(message)

    def stop_requested(self) -> bool:
        self.flush()
        return self._channel.stop_requested()

    def flush(self) -> None:
        for report in self._monitor.take():
            self._channel.send(report)


class _Monitor:
    """Samples this process and its children on a thread, and a last time when it is stopped."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._seen: list[Report] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._began = time.monotonic()
        self._sample = _sampler()
        self._thread = threading.Thread(target=self._loop, name="tuner-monitor", daemon=True)
        self._thread.start()

    def take(self) -> list[Report]:
        """Remove and return the samples."""
        if not self._seen:
            return []
        with self._lock:
            seen, self._seen = self._seen, []
        return seen

    def stop(self) -> None:
        """Take a last sample, and end the thread."""
        self._over.set()
        self._thread.join()
        self._record_sample()

    def _loop(self) -> None:
        while not self._over.wait(self._interval):
            self._record_sample()

    def _record_sample(self) -> None:
        try:
            sample = self._sample()
        except Exception:  # a missing GPU or counter must not fail the trial
            return
        report = Report(round(time.monotonic() - self._began), sample)
        with self._lock:
            # Samples within one second share a step; the later one replaces the earlier.
            if self._seen and self._seen[-1].step == report.step:
                self._seen.pop()
            self._seen.append(report)


def _sampler() -> Callable[[], dict[str, float]]:
    """Return a function that returns the system metrics since its previous call.

    ``system/cpu`` and ``system/memory`` cover this process and its children, in cores and MiB;
    ``system/host_cpu`` and ``system/host_memory`` the whole machine, in percent;
    ``system/gpu0`` and ``system/gpu0_memory`` a GPU, in percent and MiB.
    """
    import psutil

    this = psutil.Process()
    gpus = _gpus()
    psutil.cpu_percent()
    before = (time.monotonic(), _cpu_seconds(psutil, [this])[0])

    def sample() -> dict[str, float]:
        nonlocal before
        family = [this, *_descendants(psutil, this)]
        used, memory = _cpu_seconds(psutil, family)
        now = time.monotonic()
        elapsed = max(now - before[0], 1e-9)
        # The sum decreases when a child ends.
        cores = max(0.0, used - before[1]) / elapsed
        before = (now, used)
        return {
            f"{SYSTEM}cpu": cores,
            f"{SYSTEM}memory": memory / _MEBIBYTE,
            f"{SYSTEM}host_cpu": psutil.cpu_percent(),
            f"{SYSTEM}host_memory": psutil.virtual_memory().percent,
            **gpus(),
        }

    return sample


def _descendants(psutil: Any, process: Any) -> list[Any]:
    """Return the descendants of a process.

    Linux lists the children of a process. Elsewhere psutil must inspect all processes, which takes
    many times as long.
    """
    found: list[Any] = []
    waiting = [process.pid]
    while waiting:
        tasks = Path("/proc", str(waiting.pop()), "task")
        try:
            texts = [Path(task.path, "children").read_text() for task in os.scandir(tasks)]
        except OSError:
            if not found and not tasks.joinpath(tasks.parent.name, "children").exists():
                children: list[Any] = process.children(recursive=True)
                return children
            continue  # it has ended
        for pid in map(int, " ".join(texts).split()):
            with suppress(psutil.Error):
                found.append(psutil.Process(pid))
                waiting.append(pid)
    return found


def _cpu_seconds(psutil: Any, processes: list[Any]) -> tuple[float, float]:
    """Return the total CPU seconds and resident bytes of processes."""
    seconds = memory = 0.0
    for process in processes:
        try:
            with process.oneshot():
                times = process.cpu_times()
                memory += process.memory_info().rss
        except psutil.Error:
            continue  # it has ended
        seconds += times.user + times.system
    return seconds, memory


@functools.cache
def _gpus() -> Callable[[], dict[str, float]]:
    """Return a function that returns GPU metrics, empty without NVIDIA's library."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # without a usable driver there are no metrics
        return dict

    def sample() -> dict[str, float]:
        found: dict[str, float] = {}
        for i, handle in enumerate(handles):
            found[f"{SYSTEM}gpu{i}"] = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            used = pynvml.nvmlDeviceGetMemoryInfo(handle).used
            found[f"{SYSTEM}gpu{i}_memory"] = float(used) / _MEBIBYTE
        return found

    return sample
