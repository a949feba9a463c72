"""Samples what a run takes of its machine: CPU, memory, and GPUs where there are some.

A thread of the worker samples; what it saw travels with the run's next message, on the thread of
the objective, because channels belong to that one. The samples are metrics over steps like any
other, called ``system/...``; their step is how many seconds the run had taken.
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
"""Seconds between samples, if nothing else is said."""

MIN_INTERVAL = 0.1
"""Seconds that must be between two samples at least."""

ENVIRONMENT_VARIABLE = "TUNER_SYSTEM_METRICS"
"""The environment variable that turns it on: ``1``, or the seconds between samples."""

_MEBIBYTE = 1 << 20


def as_interval(system_metrics: bool | float | None) -> float | None:
    """Return the seconds between samples that a user means, None for no samples.

    Parameters
    ----------
    system_metrics
        Whether to sample, or how many seconds apart; None for what the environment variable says.

    Raises
    ------
    ArgumentError
        If it is neither.
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
    """Give a channel on which samples travel along; without an interval, the same channel."""
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
    """A channel that sends what a monitor has seen before each message."""

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
    """Samples this process and its children on a thread, and once more when it is stopped."""

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
        """Return what was seen since it was last asked."""
        if not self._seen:
            return []
        with self._lock:
            seen, self._seen = self._seen, []
        return seen

    def stop(self) -> None:
        """Sample a last time, and no more."""
        self._over.set()
        self._thread.join()
        self._record_sample()

    def _loop(self) -> None:
        while not self._over.wait(self._interval):
            self._record_sample()

    def _record_sample(self) -> None:
        try:
            sample = self._sample()
        except Exception:  # a GPU or a counter that is gone is no failure of the trial
            return
        report = Report(round(time.monotonic() - self._began), sample)
        with self._lock:
            # Two samples within a second have one step: the later one stands.
            if self._seen and self._seen[-1].step == report.step:
                self._seen.pop()
            self._seen.append(report)


def _sampler() -> Callable[[], dict[str, float]]:
    """Return a function that gives the system metrics since it was called before.

    ``system/cpu`` and ``system/memory`` are this process and its children, in cores and MiB;
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
        # A child that has ended takes its seconds with it.
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
    """Return the children of a process, and theirs.

    Linux tells the children of a process; elsewhere every process of the machine must be looked at,
    which takes many times as long.
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
            continue  # it has ended in the meantime
        for pid in map(int, " ".join(texts).split()):
            with suppress(psutil.Error):
                found.append(psutil.Process(pid))
                waiting.append(pid)
    return found


def _cpu_seconds(psutil: Any, processes: list[Any]) -> tuple[float, float]:
    """Return the CPU seconds that processes have used, and the bytes that they hold."""
    seconds = memory = 0.0
    for process in processes:
        try:
            with process.oneshot():
                times = process.cpu_times()
                memory += process.memory_info().rss
        except psutil.Error:
            continue  # it has ended in the meantime
        seconds += times.user + times.system
    return seconds, memory


@functools.cache
def _gpus() -> Callable[[], dict[str, float]]:
    """Return a function that gives the metrics of the GPUs, none without NVIDIA's library."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # whatever it is, there is no GPU that we can ask
        return dict

    def sample() -> dict[str, float]:
        found: dict[str, float] = {}
        for i, handle in enumerate(handles):
            found[f"{SYSTEM}gpu{i}"] = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            used = pynvml.nvmlDeviceGetMemoryInfo(handle).used
            found[f"{SYSTEM}gpu{i}_memory"] = float(used) / _MEBIBYTE
        return found

    return sample
