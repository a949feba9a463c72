"""The progress display of a running study: a live line, log lines or a notebook cell."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from tuner.errors.printable import one_line
from tuner.records import Goal
from tuner.records.html import in_notebook
from tuner.records.numbers import number_text


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a study.

    `done` counts all finished trials of the study; `failed` and `stopped` are among them.
    `elapsed` is in seconds since this call began, which is less than the study's age if resumed.
    """

    done: int = 0
    running: int = 0
    failed: int = 0
    stopped: int = 0
    best_value: float | None = None
    best_trial: int | None = None
    elapsed: float = 0.0


class Progress(Protocol):
    """Receiver of a study's progress. No method raises."""

    def start(
        self, study: str, done: int, n_trials: int | None, timeout: float | None, goal: Goal
    ) -> None:
        """Begin; `done` of `n_trials` trials finished in earlier calls (None: no limit)."""

    def note(self, text: str) -> None:
        """Show a step before the first trial, such as ``"starting workers"``."""

    def update(self, snapshot: Snapshot) -> None:
        """Receive the state of the study."""

    def close(self, reason: str) -> None:
        """Show the last state and the reason of the end, such as ``"finished"``."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One drawing of the state.

    `parts` has the most important part first; `fraction` is the used part of the budget, None
    without one; `last` is True for the final drawing.
    """

    study: str
    parts: list[str]
    fraction: float | None
    last: bool


class Screen(Protocol):
    """An output. `interval` is the time between two frames in seconds.

    `best_interval` replaces it if there is a better value.
    """

    interval: float
    best_interval: float

    def draw(self, frame: Frame) -> None:
        """Show the frame."""


def make_progress(enabled: bool, stream: TextIO | None = None) -> Progress:
    """Return the display for the place where the output goes.

    Parameters
    ----------
    enabled
        False returns a display that shows nothing.
    stream
        The output. None is the cell in a notebook, and standard error elsewhere. A terminal shows
        one live line; a file or pipe gets a line every ten seconds.
    """
    if not enabled:
        return Display(None)
    if stream is None and (cell := _notebook_display()) is not None:
        return Display(NotebookScreen(cell))
    stream = stream or sys.stderr
    if stream is None:  # a program without a console
        return Display(None)
    return Display(TerminalScreen(stream) if _is_live_terminal(stream) else LineScreen(stream))


class Display:
    """A `Progress` that draws on a screen, at most once an interval.

    A screen that fails is not used again, so that a closed terminal does not end a study.

    Parameters
    ----------
    screen
        The output; None shows nothing.
    clock
        Monotonic time in seconds.
    """

    def __init__(self, screen: Screen | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._clock = clock
        self._study, self._metric = "", ""
        self._budget: tuple[int | None, float | None] = (None, None)
        self._done_before = 0
        self._snapshot = Snapshot(done=0)
        self._shown_best: float | None = None
        self._drawn = clock()

    def start(
        self, study: str, done: int, n_trials: int | None, timeout: float | None, goal: Goal
    ) -> None:
        """Begin a study and restart the interval of the drawings."""
        self._study = "".join(c if c.isprintable() else "?" for c in study)
        self._budget = (n_trials, timeout)
        self._done_before = done
        self._metric = "" if goal.metric == "value" else f"{one_line(goal.metric)} "
        self._snapshot = Snapshot(done=done)
        self._shown_best = None
        self._drawn = self._clock()

    def note(self, text: str) -> None:
        """Show `text` at once; the next update replaces it."""
        self._draw(one_line(text))

    def update(self, snapshot: Snapshot) -> None:
        """Keep the snapshot, and draw it if a drawing is due."""
        self._snapshot = snapshot
        screen = self._screen
        waited = self._clock() - self._drawn
        if screen is None or waited < screen.best_interval:
            return
        if waited >= screen.interval or snapshot.best_value != self._shown_best:
            self._draw(self._times())

    def close(self, reason: str) -> None:
        """Draw a last time."""
        self._draw(f"{one_line(reason)} after {clock_text(self._snapshot.elapsed)}", last=True)
        self._screen = None

    def _draw(self, word: str, last: bool = False) -> None:
        self._drawn, self._shown_best = self._clock(), self._snapshot.best_value
        if self._screen is None:
            return
        try:
            self._screen.draw(Frame(self._study, self._parts(word), self._fraction(), last))
        except Exception:
            self._screen = None

    def _parts(self, word: str) -> list[str]:
        s, (n_trials, _) = self._snapshot, self._budget
        best = ""
        if s.best_value is not None:
            trial = "" if s.best_trial is None else f" (trial {s.best_trial})"
            best = f"best {self._metric}{number_text(s.best_value)}{trial}"
        counts = ((s.running, "running"), (s.failed, "failed"), (s.stopped, "stopped"))
        states = ", ".join(f"{count:,} {state}" for count, state in counts if count)
        total = "" if n_trials is None else f"/{n_trials:,}"
        return [part for part in (f"{s.done:,}{total} trials", best, word, states) if part]

    def _fraction(self) -> float | None:
        used = zip((self._snapshot.done, self._snapshot.elapsed), self._budget, strict=True)
        return max((min(1.0, part / whole) for part, whole in used if whole), default=None)

    def _times(self) -> str:
        """Return the elapsed time, and the time left at this call's mean pace."""
        s, (n_trials, timeout) = self._snapshot, self._budget
        left = []
        if n_trials is not None and s.done > self._done_before:
            pace = s.elapsed / (s.done - self._done_before)
            left.append(pace * max(0, n_trials - s.done))
        if timeout is not None:
            left.append(max(0.0, timeout - s.elapsed))
        text = f"{clock_text(s.elapsed)} elapsed"
        return f"{text}, {clock_text(min(left))} left" if left else text


def clock_text(seconds: float) -> str:
    """Return a duration in hours, minutes and seconds.

    >>> clock_text(41.2), clock_text(3725), clock_text(90000)
    ('0:41', '1:02:05', '1d 1:00:00')
    """
    minutes, second = divmod(round(max(0.0, min(seconds, 1e9))), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if not hours:
        return f"{minute}:{second:02}"
    return f"{f'{days}d ' if days else ''}{hour}:{minute:02}:{second:02}"


class LineScreen:
    """Plain lines for log files and pipes."""

    interval, best_interval = 10.0, 2.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def draw(self, frame: Frame) -> None:
        """Write one line."""
        self._stream.write(_encodable(f"{frame.study}: {', '.join(frame.parts)}\n", self._stream))
        self._stream.flush()


class TerminalScreen:
    """One line of a terminal, redrawn in place; rich draws the bar and cuts a long line off."""

    interval = best_interval = 0.1

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._stream = stream
        self._console = Console(file=stream, force_jupyter=False)
        self._cut: Any = "ellipsis" if _encodable("…", stream) == "…" else "crop"

    def draw(self, frame: Frame) -> None:
        """Redraw the line; the last one stays."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        console = self._console
        console.width = _columns(self._stream) - 1  # a full line would wrap
        text = _encodable("  ".join([*frame.parts, frame.study]), self._stream)
        row: list[Any] = [Text(text, no_wrap=True, overflow=self._cut)]
        if frame.fraction is not None and console.width >= 72:
            row.insert(0, ProgressBar(total=1.0, completed=frame.fraction, width=20))
        line = Table.grid(padding=(0, 2))
        line.add_row(*row)
        with console.capture() as capture:
            console.print(line, end="")
        end = "\n" if frame.last else ""
        self._stream.write(f"\r\x1b[2K{capture.get().rstrip()}{end}")
        self._stream.flush()


class NotebookScreen:
    """The output of a notebook cell, replaced in place; `display` is IPython's."""

    interval = best_interval = 0.5

    def __init__(self, display: Callable[..., Any]) -> None:
        self._display = display
        self._handle: Any = None

    def draw(self, frame: Frame) -> None:
        """Replace the output by a bar with a line below it."""
        from html import escape

        used = frame.fraction
        bar = "" if used is None else f'<progress value="{used:.3f}"></progress>'
        line = " &nbsp;·&nbsp; ".join(map(escape, frame.parts))
        data = {
            "text/plain": f"{frame.study}: {', '.join(frame.parts)}",
            "text/html": f"<div><b>{escape(frame.study)}</b> {bar}<div>{line}</div></div>",
        }
        if self._handle is None:
            self._handle = self._display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


def _encodable(text: str, stream: TextIO) -> str:
    """Return `text` with question marks for the characters that the stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _is_live_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # ValueError: the stream is closed
        return False


def _notebook_display() -> Callable[..., Any] | None:
    """Return IPython's display function if this process is a notebook kernel."""
    if not in_notebook():
        return None
    from IPython.display import display

    shown: Callable[..., Any] = display
    return shown
