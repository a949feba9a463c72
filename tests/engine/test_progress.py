"""The progress display: its text, the times of its updates, and its failures."""

import io
import os
import pty
import select
import subprocess
import sys

import pytest
from jupyter_client.manager import start_new_kernel

from support import pace
from tuner.engine.progress import (
    Display,
    LineScreen,
    NotebookScreen,
    Snapshot,
    TerminalScreen,
    clock_text,
    make_progress,
)
from tuner.records import Direction, Goal

ACCURACY = Goal("accuracy", Direction.MAXIMIZE)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def terminal():
    """Return (stream, read): a real pseudo-terminal of 120 columns."""
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios

    def resize(columns):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    resize(120)
    stream = os.fdopen(slave, "w", encoding="utf-8")

    def read(until=""):
        """Return the bytes written so far; wait for `until`, which may arrive with a delay."""
        data = b""
        while select.select([master], [], [], 2.0 if until else 0.0)[0]:
            data += os.read(master, 1_000_000)
            if until and data.endswith(until.encode()):
                break
        return data.decode()

    stream.resize = resize
    yield stream, read
    if not stream.closed:
        stream.close()
    os.close(master)


def started(screen, clock, done=0, n_trials=100, timeout=None, goal=ACCURACY):
    display = Display(screen, clock)
    display.start("wine", done, n_trials, timeout, goal)
    return display


# --- The text -------------------------------------------------------------------------------------


def test_a_line_has_counts_best_value_and_times(clock):
    stream = io.StringIO()
    display = started(LineScreen(stream), clock)
    clock.now += 11
    display.update(
        Snapshot(
            done=37,
            running=2,
            failed=1,
            stopped=3,
            best_value=0.97312345,
            best_trial=24,
            elapsed=41,
        )
    )
    assert stream.getvalue() == (
        "wine: 37/100 trials, best accuracy 0.973123 (trial 24), 0:41 elapsed, 1:10 left, "
        "2 running, 1 failed, 3 stopped\n"
    )


def test_the_last_line_gives_the_reason(clock):
    stream = io.StringIO()
    display = started(LineScreen(stream), clock, goal=Goal())
    display.update(Snapshot(done=100, best_value=1.5, best_trial=3, elapsed=62))
    display.close("finished")
    assert stream.getvalue() == "wine: 100/100 trials, best 1.5 (trial 3), finished after 1:02\n"


def test_without_a_budget_no_total_and_no_time_left_are_shown(clock):
    stream = io.StringIO()
    display = started(LineScreen(stream), clock, n_trials=None)
    clock.now += 11
    display.update(Snapshot(done=5, elapsed=10.0))
    assert stream.getvalue() == "wine: 5 trials, 0:10 elapsed\n"


@pytest.mark.parametrize(
    ("n_trials", "timeout", "done_before", "done", "elapsed", "left"),
    [
        (100, None, 0, 50, 10.0, 10.0),
        (100, None, 40, 50, 10.0, 50.0),  # the pace of this call, not of the study
        (100, None, 40, 40, 10.0, None),  # no pace yet
        (100, 12.0, 0, 50, 10.0, 2.0),  # the budget that ends first
        (None, 60.0, 0, 5, 10.0, 50.0),
        (100, None, 0, 120, 10.0, 0.0),
        (None, 5.0, 0, 1, 10.0, 0.0),
    ],
)
def test_time_left(clock, n_trials, timeout, done_before, done, elapsed, left):
    stream = io.StringIO()
    display = started(LineScreen(stream), clock, done_before, n_trials, timeout)
    clock.now += 11
    display.update(Snapshot(done=done, elapsed=elapsed))
    end = "0:10 elapsed" if left is None else f"0:10 elapsed, {clock_text(left)} left"
    assert stream.getvalue().endswith(f"trials, {end}\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.6, "1:00"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (90061, "1d 1:01:01"),
        (-3, "0:00"),
        (float("inf"), "11574d 1:46:40"),
    ],
)
def test_durations(seconds, text):
    assert clock_text(seconds) == text


# --- When it draws --------------------------------------------------------------------------------


def test_lines_come_every_ten_seconds_and_sooner_for_a_better_value(clock):
    stream = io.StringIO()
    display = started(LineScreen(stream), clock)
    times = []
    best = 0.0
    for tick in range(160):  # 40 seconds, four updates a second
        clock.now += 0.25
        if tick in (40, 41, 42, 60):  # at 10.25 s, again while that is fresh, at 15.25 s
            best += 0.1
        before = stream.tell()
        display.update(Snapshot(done=tick, best_value=best, best_trial=tick, elapsed=1.0))
        if stream.tell() > before:
            times.append(clock.now - 100)
    # 2.0: the first value; 12.25: the values at 10.5 and 10.75 s, two seconds after the line before
    assert times == [2.0, 10.25, 12.25, 15.25, 25.25, 35.25]


def test_a_terminal_is_drawn_at_most_ten_times_a_second(clock, terminal):
    stream, read = terminal
    display = started(TerminalScreen(stream), clock)
    drawings = 0
    for i in range(1, 10_001):  # ten seconds
        clock.now += 0.001
        display.update(Snapshot(done=i, best_value=float(i), best_trial=i, elapsed=i / 1000))
        drawings += read().count("\r")
    assert 95 <= drawings <= 101


def test_a_note_is_shown_at_once_and_then_replaced(clock, terminal):
    stream, read = terminal
    display = started(TerminalScreen(stream), clock)
    display.note("starting workers")
    assert "starting workers" in read()
    clock.now += 1
    display.update(Snapshot(done=1, elapsed=1))
    assert "starting workers" not in read()


def test_an_update_that_is_not_due_costs_under_five_microseconds():
    stream = io.StringIO()
    display = Display(LineScreen(stream))
    display.start("wine", 0, 10, None, Goal())
    snapshot = Snapshot(done=3)

    def update_two_thousand_times() -> None:
        for _ in range(2_000):
            display.update(snapshot)

    assert pace.seconds(update_two_thousand_times, 20) / 2_000 < 5e-6
    assert stream.getvalue() == ""


# --- Terminals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [200, 120, 80, 60, 40, 20, 8])
def test_the_live_line_never_wraps(clock, terminal, columns, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream, read = terminal
    stream.resize(columns)
    display = Display(TerminalScreen(stream), clock)
    display.start("a-study-with-a-very-long-name-indeed", 0, 1000, None, ACCURACY)
    clock.now += 1
    display.update(
        Snapshot(
            done=371, running=16, failed=12, stopped=3, best_value=0.97, best_trial=3, elapsed=99
        )
    )
    line = read().removeprefix("\r\x1b[2K")
    assert len(line) < columns
    if columns >= 40:
        assert "371/1,000 trials" in line
        assert "best accuracy 0.97" in line or columns == 40
    if columns >= 120:
        assert line.startswith("━━━━━━━")
    elif columns < 72:
        assert line.endswith("…")


def test_the_last_line_of_a_terminal_stays(clock, terminal):
    stream, read = terminal
    display = started(TerminalScreen(stream), clock)
    display.update(Snapshot(done=100, elapsed=5))
    display.close("finished")
    text = read(until="\n")
    assert text.endswith("\n")
    assert "finished" in text
    display.update(Snapshot(done=101, elapsed=100))
    display.note("late")
    display.close("again")
    assert read() == ""


def test_color_can_be_turned_off(clock, terminal, monkeypatch):
    stream, read = terminal
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for expected in (True, False):
        if not expected:
            monkeypatch.setenv("NO_COLOR", "1")
        display = started(TerminalScreen(stream), clock, done=50)
        display.note("x")
        text = read().removeprefix("\r\x1b[2K")
        assert ("\x1b[" in text) is expected


def test_a_terminal_without_unicode_gets_ascii(clock):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    display = Display(TerminalScreen(stream), clock)
    display.start("größe", 5, 10, None, Goal())
    display.note("…")
    assert b"gr??e" in raw.getvalue()
    assert b"---" in raw.getvalue()


def test_control_characters_in_a_name_do_not_reach_the_terminal(clock):
    stream = io.StringIO()
    display = Display(LineScreen(stream), clock)
    display.start("a\x1b[2J\nb", 0, 10, None, Goal())
    display.note("x")
    assert stream.getvalue() == "a?[2J?b: 0/10 trials, x\n"


# --- Which display --------------------------------------------------------------------------------


def test_a_pipe_gets_lines_and_a_terminal_the_live_line(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    display = make_progress(True, terminal[0])
    assert isinstance(display, Display)
    assert isinstance(display._screen, TerminalScreen)
    assert isinstance(make_progress(True, io.StringIO())._screen, LineScreen)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_progress(True, terminal[0])._screen, LineScreen)


def test_disabled_prints_nothing(capsys):
    display = make_progress(False)
    display.start("wine", 0, 1, None, Goal())
    display.note("x")
    display.update(Snapshot())
    display.close("finished")
    assert capsys.readouterr() == ("", "")


def test_without_standard_error_nothing_is_printed(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    display = make_progress(True)
    display.start("wine", 0, 1, None, Goal())
    display.note("x")
    display.close("finished")


# --- Never raises ---------------------------------------------------------------------------------


@pytest.mark.parametrize("screen", [LineScreen, TerminalScreen])
def test_a_closed_stream_ends_the_display_not_the_study(clock, screen):
    stream = io.StringIO()
    display = started(screen(stream), clock)
    stream.close()
    display.note("x")
    clock.now += 60
    display.update(Snapshot(done=1))
    display.close("finished")


def test_a_broken_pipe_ends_the_display_not_the_study(clock):
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    os.close(reader)
    display = started(LineScreen(stream), clock)
    display.note("x")
    display.close("finished")
    with pytest.raises(BrokenPipeError):
        stream.close()


# --- Notebooks ------------------------------------------------------------------------------------


class Handle:
    def __init__(self):
        self.shown = []

    def display(self, data, *, raw, display_id):
        assert raw
        assert display_id
        self.shown.append(data)
        return self

    def update(self, data, *, raw):
        self.shown.append(data)


def test_a_notebook_cell_is_replaced_in_place(clock):
    handle = Handle()
    display = Display(NotebookScreen(handle.display), clock)
    display.start("<wine>", 0, 10, None, ACCURACY)
    display.note("starting workers")
    clock.now += 1
    display.update(Snapshot(done=5, best_value=0.5, best_trial=2, elapsed=1))
    display.close("finished")
    first, second, last = (cell["text/html"] for cell in handle.shown)
    assert "starting workers" in first
    assert "&lt;wine&gt;" in first
    assert 'value="0.500"' in second
    assert "best accuracy 0.5 (trial 2)" in second
    assert "finished after 0:01" in last


KERNEL_CELL = """
from tuner.engine.progress import Snapshot, make_progress
from tuner.records import Goal
display = make_progress(True)
display.start("wine", 0, 10, None, Goal())
display.note("starting workers")
display.update(Snapshot(done=10, elapsed=2.0))
display.close("finished")
"""


@pytest.mark.process
def test_in_a_real_kernel_one_cell_output_is_updated():
    manager, kernel = start_new_kernel()
    try:
        messages = []
        kernel.execute_interactive(KERNEL_CELL, timeout=60, output_hook=messages.append)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    kinds = [m["header"]["msg_type"] for m in messages]
    shown = [m["content"] for m in messages if "display_data" in m["header"]["msg_type"]]
    assert [k for k in kinds if "display" in k] == ["display_data", "update_display_data"]
    assert "stream" not in kinds
    assert shown[0]["transient"]["display_id"] == shown[1]["transient"]["display_id"]
    assert "finished" in shown[1]["data"]["text/html"]


@pytest.mark.process
def test_importing_the_progress_display_imports_nothing_heavy():
    code = (
        "import sys, tuner.engine.progress; "
        "assert not {'rich', 'IPython', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
