"""Output of the commands: tables, summaries, and text that is safe in any terminal."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TextIO

import click

import tuner
from tuner.errors import ArgumentError
from tuner.errors.credentials import hide
from tuner.errors.printable import one_line, printable
from tuner.optimizers import ranking
from tuner.records import NOT_SAVED
from tuner.records.json_form import strict_json
from tuner.records.numbers import (
    count_text,
    literal_text,
    number_text,
    seconds_text,
    value_text,
)
from tuner.study.failures import unsaved_lines
from tuner.tracking.activity import run_by

_LAYOUT = "\n\t"
"""Control characters that are printed unchanged."""


def echo(text: Any = "", *, err: bool = False, nl: bool = True) -> None:
    r"""Print a text, with terminal control characters as escapes, such as ``\x1b``.

    Credentials are removed from text for standard error.
    """
    shown = hide(str(text)) if err else str(text)
    click.echo(printable(shown, keep=_LAYOUT), err=err, nl=nl)


def echo_log(text: str) -> None:
    """Print output of another program; carriage returns stay."""
    click.echo(printable(text, keep=_LAYOUT + "\r"), nl=False)


def echo_error(message: str) -> None:
    """Print an error on standard error."""
    echo(f"tuner: error: {message}", err=True)


def write_bytes(content: bytes) -> None:
    """Write the content of a file to standard output; in a terminal, control characters escaped."""
    if sys.stdout.isatty():
        echo(content.decode("utf-8", "replace"), nl=False)
        return
    sys.stdout.flush()
    stream: IO[bytes] = sys.stdout.buffer
    stream.write(content)
    stream.flush()


def write_rows(rows: Sequence[dict[str, Any]], to: str | None, output: Path | None) -> None:
    """Write rows to a file and print its path, or print them in the format `to`."""
    from tuner.study.export import format_table
    from tuner.study.export import write_table as write_table_file

    if output is not None:
        echo(write_table_file(rows, output, to))
        return
    if to == "parquet" and sys.stdout.isatty():
        raise click.UsageError("parquet is a binary format: give --output FILE")
    write_bytes(format_table(rows, to or "csv"))


def tolerate_any_text() -> None:
    """Make both streams escape characters that they cannot encode, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        _tolerate(stream)


def _tolerate(stream: TextIO | None) -> None:
    # A caller may have replaced the stream by an object of another type, or closed it.
    with suppress(AttributeError, ValueError, OSError):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def write_table(table: Sequence[Mapping[str, Any]], nothing: str = "") -> None:
    """Print a table; outside of a terminal, one tab-separated line per row."""
    if not table:
        if nothing:
            echo(nothing, err=True)
        return
    names = list(table[0])
    if not sys.stdout.isatty():
        echo("\t".join(map(one_line, names)))
        for row in table:
            echo("\t".join(_cell(row[name]) for name in names))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*map(one_line, names), box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column, name in zip(drawn.columns, names, strict=True):
        column.overflow = "fold"
        if isinstance(table[0][name], int | float):
            column.justify = "right"
    for row in table:
        drawn.add_row(*(_cell(row[name]) for name in names))
    Console(markup=False, highlight=False, emoji=False).print(drawn)


def summary(study: tuner.Study) -> dict[str, str]:
    """Return the description and progress of a study, one line per entry."""
    info = study.info
    trials = study.trials
    states = Counter(trial.state.value for trial in trials)
    lines = {
        "study": info.name,
        "goal": goals_text(study),
        "trials": f"{len(trials)} ({', '.join(f'{n} {s}' for s, n in sorted(states.items()))})",
        "optimizer": _optimizer_text(info.optimizer),
        "seed": str(info.seed),
        "created": when(info.created),
        "space": f"{len(study.space.columns)} parameters, fingerprint {info.fingerprint[:12]}",
    }
    if (owner := run_by(study.store, info.uid, trials)) is not None:
        lines["run by"] = owner
    if info.constraints:
        lines["constraints"] = ", ".join(map(str, info.constraints))
    if len(info.goals) > 1:
        lines["best"] = best_text(study) or "none yet"
    elif any(trial.eligible for trial in trials):
        lines["best"] = f"{number_text(study.best_value)} in trial {study.best_trial.number}"
        from tuner.optimizers.forecast import forecast

        winner = study.winner
        lines["winner"] = winner.in_words()
        if winner.noise and winner.optimism > 0.0:
            lines["luck"] = (
                f"the best value is {number_text(winner.optimism, 3)} better than a new run of its "
                f"trial is expected to be"
            )
        lines["forecast"] = forecast(info.goal, trials, winner).in_words()
    if info.data:
        lines["data"] = info.data
    if info.user:
        lines["user"] = info.user
    if info.archived is not None:
        lines["archived"] = when(info.archived)
    if info.notes:
        lines["notes"] = ", ".join(f"{k}={v}" for k, v in info.notes.items())
    if info.tags:
        lines["tags"] = ", ".join(f"{k}={v}" for k, v in info.tags.items())
    return {name: one_line(text) for name, text in lines.items()}


def goals_text(study: tuner.Study) -> str:
    """Return the goals, such as ``"minimize loss, maximize accuracy"``."""
    return ", ".join(map(str, study.goals))


def best_text(study: tuner.Study) -> str | None:
    """Return the best value, the size of the Pareto front for several goals, or None."""
    front = study.best_trials
    if not front:
        return None
    if len(study.goals) > 1:
        return count_text(len(front), "trial")
    return number_text(front[0].values[0])


def best_first(study: tuner.Study) -> list[tuner.Trial]:
    """Return the completed trials from best to worst."""
    completed = [t for t in study if t.state is tuner.State.COMPLETED and t.values]
    return ranking.best_first(study.info.goal, completed)


def trial_rows(study: tuner.Study, trials: Sequence[tuner.Trial]) -> list[dict[str, Any]]:
    """Return trials as the rows of a table."""
    limited = any(trial.constraints for trial in trials)
    table: list[dict[str, Any]] = []
    for trial in trials:
        names = [g.metric for g in study.goals] if len(study.goals) > 1 else ["value"]
        row: dict[str, Any] = {"trial": trial.number}
        row |= dict(zip(names, trial.values, strict=True))
        if limited:
            row["feasible"] = "yes" if trial.feasible else "no"
        table.append(row | {"params": params_text(study, trial)})
    return table


def trial_lines(study: tuner.Study, number: int) -> Iterator[str]:
    """Yield the record of one trial and its runs, line by line.

    Raises
    ------
    ArgumentError
        If the study does not have this trial.
    """
    trials = study.trials
    trial = next((t for t in trials if t.number == number), None)
    if trial is None:
        raise ArgumentError(
            f"study {study.name!r} has no trial {number}; its {len(trials)} trials count from 0"
        )
    running = trial.state is tuner.State.RUNNING
    owner = run_by(study.store, study.info.uid, [trial]) if running else None
    yield f"trial {number}: {trial.state}{'' if owner is None else f', run by {owner}'}"
    for path, value in study.space.flatten(trial.params).items():
        yield "  " + one_line(f"{path}: {literal_text(value, None)}")
    for name, metric in trial.metrics.items():
        yield one_line(f"metric {name}: {number_text(metric)}")
    for name, value in trial.constraints.items():
        kept = "kept" if value <= 0 else f"broken by {number_text(value)}"
        yield one_line(f"constraint {name}: {kept}")
    for name, note in trial.notes.items():
        yield one_line(f"note {name}: {literal_text(note)}")
    artifacts = study.artifacts(number)
    for run in study.runs(number):
        where = f" on {run.worker} ({run.host})" if run.host else ""
        begun = "" if run.started is None else f", began {when(run.started)}"
        lasted = "" if run.duration is None else f", took {seconds_text(run.duration)}"
        yield one_line(f"run {run.title}: {run.state}{where}{begun}{lasted}")
        for name, metric in {} if run.is_attempt else run.metrics.items():
            yield one_line(f"metric {name} of run {run.title}: {number_text(metric)}")
        for artifact in artifacts:
            if artifact.run == run.uid:
                of = f"{artifact.kind} in format {artifact.format}, " if artifact.format else ""
                yield one_line(f"artifact {artifact.name}: {of}{artifact.size:,} bytes")
        if run.error is not None and run.error.kind == NOT_SAVED:
            yield one_line(f"not saved: {run.error.message}")
        if run.error is not None:
            yield (run.error.traceback or str(run.error)).rstrip()
        if run.output:
            yield f"output of run {run.title}:\n{run.output.rstrip()}"


def failures_of(study: tuner.Study) -> Iterator[str]:
    """Yield one line per reason why trials failed, and why others could not save something."""
    failed = [t for t in study if t.state is tuner.State.FAILED and t.error is not None]
    reasons = Counter(t.error.reason for t in failed if t.error is not None)
    for reason, n in reasons.most_common(5):
        first = next(t for t in failed if t.error is not None and t.error.reason == reason)
        yield one_line(f"failed {n}x: {first.error} (first in trial {first.number})")
    yield from unsaved_lines(study)


def params_text(study: tuner.Study, trial: tuner.Trial) -> str:
    """Return the params of a trial as one line."""
    return ", ".join(
        f"{one_line(path)}={_cell(value)}"
        for path, value in study.space.flatten(trial.params).items()
    )


def when(seconds: float) -> str:
    """Return a time as the local date and time of day, to the minute."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON; see `strict_json`."""
    echo(json.dumps(strict_json(value), allow_nan=False))


def _optimizer_text(description: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key}: {value}" for key, value in description.items() if key != "name")
    return f"{description.get('name', 'unknown')}{f' ({options})' if options else ''}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return one_line(value_text(value))
