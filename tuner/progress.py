"""The one progress display of a running study: a live line, plain lines or a notebook cell.

`make_progress` picks the screen. A `Display` keeps the numbers and decides when to draw; a screen
knows how. A display never raises into the study: a screen that fails is not used again.
"""

from __future__ import annotations

import html
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TextIO

from tuner.printable import one_line
from tuner.records import Goal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a study stands.

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
    """What the driver of a study tells while it runs. No method raises."""

    def start(
        self, study: str, done: int, n_trials: int | None, timeout: float | None, goal: Goal
    ) -> None:
        """Begin: `done` of `n_trials` trials were finished before (None: no such budget)."""

    def note(self, text: str) -> None:
        """Say what takes time before the first trial, such as ``"starting workers"``."""

    def update(self, snapshot: Snapshot) -> None:
        """Take in where the study stands; draws only when a drawing is due."""

    def close(self, reason: str) -> None:
        """Draw a last time and say why the study ended, such as ``"finished"``."""


class NoProgress:
    """Shows nothing."""

    def start(
        self, study: str, done: int, n_trials: int | None, timeout: float | None, goal: Goal
    ) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def update(self, snapshot: Snapshot) -> None:
        """Do nothing."""

    def close(self, reason: str) -> None:
        """Do nothing."""


def make_progress(enabled: bool, stream: TextIO | None = None) -> Progress:
    """Return the display that suits where the output goes.

    Parameters
    ----------
    enabled
        False gives a display that shows nothing.
    stream
        Where to write, standard error if None. A terminal gets one live line, anything else
        plain lines; in a notebook the cell's output is used instead.
    """
    if not enabled:
        return NoProgress()
    if stream is None:
        display = _notebook_display()
        if display is not None:
            return Display(NotebookScreen(display))
        stream = sys.stderr
    if stream is None:  # standard error of a program without a console
        return NoProgress()
    if _is_live_terminal(stream):
        return Display(TerminalScreen(stream))
    return Display(LineScreen(stream))


# --- What there is to say -------------------------------------------------------------------------


@dataclass(slots=True)
class Status:
    """All that a screen may show."""

    study: str = ""
    goal: Goal = field(default_factory=Goal)
    n_trials: int | None = None
    timeout: float | None = None
    done_before: int = 0
    note: str = ""
    snapshot: Snapshot = Snapshot()

    @property
    def fraction(self) -> float | None:
        """The part of the budget that is used up, None if there is no budget."""
        parts = []
        if self.n_trials:
            parts.append(self.snapshot.done / self.n_trials)
        if self.timeout:
            parts.append(self.snapshot.elapsed / self.timeout)
        return min(1.0, max(parts)) if parts else None

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time left from this call's mean pace, None if nothing is known."""
        bounds = []
        new = self.snapshot.done - self.done_before
        if self.n_trials is not None and new > 0:
            bounds.append(self.snapshot.elapsed / new * max(0, self.n_trials - self.snapshot.done))
        if self.timeout is not None:
            bounds.append(max(0.0, self.timeout - self.snapshot.elapsed))
        return min(bounds) if bounds else None

    @property
    def count(self) -> str:
        """``"37/100 trials"``."""
        of = "" if self.n_trials is None else f"/{self.n_trials:,}"
        return f"{self.snapshot.done:,}{of} trials"

    @property
    def states(self) -> str:
        """``"2 running, 1 failed"``; what is zero is left out."""
        s = self.snapshot
        counts = ((s.running, "running"), (s.failed, "failed"), (s.stopped, "stopped"))
        return ", ".join(f"{count:,} {word}" for count, word in counts if count)

    @property
    def best(self) -> str:
        """``"best accuracy 0.973 (trial 24)"``; empty before the first value."""
        s = self.snapshot
        if s.best_value is None:
            return ""
        metric = "" if self.goal.metric == "value" else f"{self.goal.metric} "
        where = "" if s.best_trial is None else f" (trial {s.best_trial})"
        return f"best {metric}{s.best_value:.6g}{where}"

    @property
    def times(self) -> str:
        """``"0:41 elapsed, 1:10 left"``."""
        left = self.seconds_left
        text = f"{clock_text(self.snapshot.elapsed)} elapsed"
        return text if left is None else f"{text}, {clock_text(left)} left"


def clock_text(seconds: float) -> str:
    """Return a duration as people read it.

    >>> clock_text(41.2), clock_text(3725), clock_text(90000)
    ('0:41', '1:02:05', '1d 1:00:00')
    """
    minutes, second = divmod(round(max(0.0, min(seconds, 1e9))), 60)
    hours, minute = divmod(minutes, 60)
    if not hours:
        return f"{minute}:{second:02}"
    days, hour = divmod(hours, 24)
    return f"{f'{days}d ' if days else ''}{hour}:{minute:02}:{second:02}"


# --- When to draw ---------------------------------------------------------------------------------


class Screen(Protocol):
    """Draws a `Status` somewhere."""

    interval: float
    """Seconds between two drawings."""

    best_interval: float
    """Seconds between two drawings when a better value was found."""

    def draw(self, status: Status) -> None:
        """Show the status."""

    def finish(self, status: Status, reason: str) -> None:
        """Show the last status and why it is the last."""


class Display:
    """A `Progress` that draws on a screen, at most once an interval.

    Parameters
    ----------
    screen
        How to draw.
    clock
        Seconds that only go forward.
    """

    def __init__(self, screen: Screen, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._clock = clock
        self._status = Status()
        self._shown_best: float | None = None
        self._drawn = -float("inf")
        self._broken = False

    def start(
        self, study: str, done: int, n_trials: int | None, timeout: float | None, goal: Goal
    ) -> None:
        """Begin a study and restart the clock of the drawings."""
        self._status = Status(
            study="".join(c if c.isprintable() else "?" for c in study),
            goal=replace(goal, metric=one_line(goal.metric)),
            n_trials=n_trials,
            timeout=timeout,
            done_before=done,
            snapshot=Snapshot(done=done),
        )
        self._drawn = self._clock()

    def note(self, text: str) -> None:
        """Show `text` at once; the next update replaces it."""
        self._status.note = one_line(text)
        self._draw()

    def update(self, snapshot: Snapshot) -> None:
        """Keep the snapshot, and draw it if a drawing is due."""
        # No-op trials come at thousands a second: until a drawing is due, this is all.
        status = self._status
        status.snapshot = snapshot
        waited = self._clock() - self._drawn
        if waited < self._screen.best_interval:
            return
        if waited < self._screen.interval and snapshot.best_value == self._shown_best:
            return
        status.note = ""
        self._draw()

    def close(self, reason: str) -> None:
        """Draw a last time."""
        self._status.note = ""
        if not self._broken:
            self._guard(lambda: self._screen.finish(self._status, one_line(reason)))
        self._broken = True

    def _draw(self) -> None:
        self._drawn = self._clock()
        self._shown_best = self._status.snapshot.best_value
        if not self._broken:
            self._guard(lambda: self._screen.draw(self._status))

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            # A closed terminal or a gone notebook must never end a study of many hours.
            self._broken = True


# --- How to draw ----------------------------------------------------------------------------------


BAR_WIDTH = 20
"""Characters of the bar of a terminal; fixed, so that it does not jump about."""


class LineScreen:
    """Plain lines, for log files and pipes: one every ten seconds, sooner for a better value."""

    interval = 10.0
    best_interval = 2.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def draw(self, status: Status) -> None:
        """Write one line."""
        self._write(status, status.note or _sentence(status, status.times))

    def finish(self, status: Status, reason: str) -> None:
        """Write the last line."""
        elapsed = clock_text(status.snapshot.elapsed)
        self._write(status, f"{reason} after {elapsed}: {_sentence(status)}")

    def _write(self, status: Status, text: str) -> None:
        self._stream.write(_encodable(f"{status.study}: {text}", self._stream) + "\n")
        self._stream.flush()


class TerminalScreen:
    """One line of a terminal, drawn over and over."""

    interval = 0.1
    best_interval = 0.1

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = "NO_COLOR" not in os.environ
        self._bar = "━─" if _encodable("━─", stream) == "━─" else "#-"

    def draw(self, status: Status) -> None:
        """Draw over the line."""
        self._stream.write(f"\r\x1b[2K{self._line(status, status.note)}")
        self._stream.flush()

    def finish(self, status: Status, reason: str) -> None:
        """Draw the line a last time and leave it."""
        self._stream.write(f"\r\x1b[2K{self._line(status, reason, keep=True)}\n")
        self._stream.flush()

    def _line(self, status: Status, word: str, keep: bool = False) -> str:
        """Return what fits: the least important parts are left out first."""
        width = self._width() - 1  # a full line would wrap, and then not be drawn over
        bar = ""
        if status.fraction is not None and width >= 72:
            bar = self._draw_bar(status.fraction) + "  "
            width -= BAR_WIDTH + 2
        times = clock_text(status.snapshot.elapsed) if keep else status.times
        parts = [_shorten(status.study, 24), status.count, word, status.best, status.states, times]
        texts = [_encodable(part, self._stream) for part in parts]
        for dropped in ((), (0,), (0, 4), (0, 4, 5), (0, 2, 4, 5)):
            text = "  ".join(t for i, t in enumerate(texts) if t and i not in dropped)
            if len(text) <= width:
                break
        return bar + _shorten(text, width)

    def _draw_bar(self, fraction: float) -> str:
        full = int(fraction * BAR_WIDTH)
        used, left = self._bar[0] * full, self._bar[1] * (BAR_WIDTH - full)
        return f"\x1b[34m{used}\x1b[2m{left}\x1b[0m" if self._colour else used + left

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


class NotebookScreen:
    """The output of a notebook cell, replaced in place.

    Parameters
    ----------
    display
        ``IPython.display.display``.
    """

    interval = 0.5
    best_interval = 0.5

    def __init__(self, display: Callable[..., Any]) -> None:
        self._display = display
        self._handle: Any = None

    def draw(self, status: Status) -> None:
        """Replace the cell's output."""
        self._show(status, status.note or status.times)

    def finish(self, status: Status, reason: str) -> None:
        """Replace the cell's output a last time."""
        self._show(status, f"{reason} after {clock_text(status.snapshot.elapsed)}")

    def _show(self, status: Status, word: str) -> None:
        data = {"text/plain": _as_text(status, word), "text/html": _as_html(status, word)}
        if self._handle is None:
            self._handle = self._display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


def _sentence(status: Status, *more: str) -> str:
    return ", ".join(filter(None, (status.count, status.states, status.best, *more)))


def _as_text(status: Status, word: str) -> str:
    return f"{status.study}: {_sentence(status, word)}"


def _as_html(status: Status, word: str) -> str:
    """Return a bar and one line below it; colours that read on light and dark pages."""
    parts = [status.count, status.states, status.best, word]
    line = " &nbsp;·&nbsp; ".join(html.escape(part) for part in parts if part)
    percent = 100 * (status.fraction or 0.0)
    bar = "" if status.fraction is None else (
        '<div style="height:4px;background:rgba(128,128,128,.25);margin:4px 0;max-width:40em">'
        f'<div style="height:4px;width:{percent:.1f}%;background:#2a6fb0"></div></div>'
    )  # fmt: skip
    return f"<div><b>{html.escape(status.study)}</b>{bar}<div>{line}</div></div>"


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "~"


def _encodable(text: str, stream: TextIO) -> str:
    """Return `text` with what the stream cannot encode replaced by question marks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _is_live_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # ValueError: the stream is closed
        return False


def _notebook_display() -> Callable[..., Any] | None:
    """Return IPython's display function if this process is a notebook kernel."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython
    from IPython.display import display

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return display  # type: ignore[no-any-return]
