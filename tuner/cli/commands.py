"""The command ``tuner`` and its main subcommands; the Python API implements them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

import tuner
from tuner.backends import BACKENDS
from tuner.cli.arguments import NameOption, as_pair, load_objective, load_space, store_option
from tuner.cli.artifacts import artifacts
from tuner.cli.cluster import cluster, job, submit
from tuner.cli.drift import drift, profile
from tuner.cli.exchange import export, import_, mirror, plot, report
from tuner.cli.maintenance import db, gc, study
from tuner.cli.model_changes import model
from tuner.cli.model_export import export_model
from tuner.cli.models import echo_model, models, version_json, version_of_winner
from tuner.cli.output import (
    best_first,
    best_text,
    echo,
    echo_error,
    failures_of,
    goals_text,
    print_json,
    summary,
    tolerate_any_text,
    trial_lines,
    trial_rows,
    when,
    write_table,
)
from tuner.cli.record import compare, find, lineage, note, replay, retry, tag
from tuner.cli.serving import serve_model
from tuner.errors import QueryError, TunerError, TunerWarning
from tuner.errors.boundary import translated
from tuner.errors.credentials import hide
from tuner.errors.printable import one_line, printable
from tuner.optimizers import OPTIMIZERS
from tuner.records.numbers import literal_text, number_text
from tuner.schedulers import SCHEDULERS


class _Group(click.Group):
    """Command group that reports errors of tuner and its dependencies as one line and a code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command with output streams that accept any text."""
        tolerate_any_text()
        return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments of the command line."""
        with _printable_usage():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            what = f"tuner {ctx.invoked_subcommand or ''}".strip()
            with _printed_warnings(), _printable_usage(), translated(what):
                return super().invoke(ctx)
        except QueryError as error:
            echo_error(str(error))
            ctx.exit(1)
        except TunerError as error:
            echo_error(" ".join(str(error).split()))
            ctx.exit(1)
        except KeyboardInterrupt:
            echo("tuner: interrupted; repeat the command to resume", err=True)
            ctx.exit(130)


@contextmanager
def _printed_warnings() -> Iterator[None]:
    """Print warnings of tuner without the place in its code."""
    other = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, TunerWarning):
            echo(f"tuner: warning: {message}", err=True)
        else:
            other(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def _printable_usage() -> Iterator[None]:
    """Make click's usage errors printable, as they quote the wrong arguments."""
    try:
        yield
    except click.ClickException as error:
        error.message = printable(hide(error.message), keep="\n")  # type: ignore[misc]
        raise


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tuner")
def cli() -> None:
    """Hyperparameter tuning with tracking: search, inspect, plot, export."""


_COMMANDS = (
    *(find, compare, replay, retry, lineage, tag, note, plot),
    *(export, import_, mirror, report),
    *(submit, job, cluster),
    *(study, models, model, drift, profile),
    *(artifacts, db, gc),
)

for command in _COMMANDS:
    cli.add_command(command)
models.add_command(export_model)
models.add_command(serve_model)


@cli.command()
@click.argument("objective", metavar="SCRIPT.py:FUNCTION")
@click.option(
    "--space",
    metavar="FILE|SCRIPT.py:NAME|MODULE:NAME",
    help="A .yaml or .json file, or a variable of a script or module.  [default: `space` of the "
    "objective's script]",
)
@click.option(
    "--n-trials",
    type=int,
    help="Total number of trials of the study, including earlier calls.  [default: 100, or the "
    "size of a smaller space]",
)
@click.option("--timeout", type=float, help="Seconds after which no trial starts.")
@click.option("--trial-timeout", type=float, help="Time limit of a trial in seconds.")
@click.option(
    "--direction",
    type=click.Choice(["minimize", "maximize"]),
    multiple=True,
    help="Direction of the goal; repeat it for several goals.  [default: minimize]",
)
@click.option(
    "--metric",
    multiple=True,
    help="Name of the goal if the objective returns a dict; repeat it for several goals.",
)
@click.option(
    "--constraint",
    "constraints",
    metavar="'METRIC <= NUMBER'",
    multiple=True,
    help="Constraint that a metric of a feasible trial satisfies; repeatable.",
)
@click.option(
    "--optimizer",
    cls=NameOption,
    names=lambda: OPTIMIZERS.names,
    default="auto",
    show_default=True,
    summary="Suggests the params of the next trial",
)
@click.option(
    "--scheduler", cls=NameOption, names=lambda: SCHEDULERS.names, summary="Stops bad trials early"
)
@click.option(
    "--backend",
    cls=NameOption,
    names=lambda: BACKENDS.names,
    summary="Runs the trials (default: ray)",
)
@click.option(
    "--workers",
    type=int,
    help="Number of concurrent trials.  [default: the whole machine or cluster]",
)
@click.option("--cpus", type=float, help="CPUs per trial.")
@click.option("--gpus", type=float, help="GPUs per trial.")
@click.option("--max-retries", type=int, default=0, help="Number of retries of a failed trial.")
@click.option(
    "--max-identical-failures",
    type=int,
    default=5,
    help="End if this many first trials fail for the same reason; 0 goes on.",
    show_default=True,
)
@click.option("--seed", type=int, help="Seed; a serial search with the same seed repeats exactly.")
@click.option(
    "--deterministic",
    is_flag=True,
    help="Make a parallel search repeatable, too; workers may wait.",
)
@click.option("--study", metavar="NAME", help="Name of the study; an existing name resumes it.")
@click.option(
    "--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Tag of the study; repeatable."
)
@click.option(
    "--register",
    metavar="NAME",
    help="Model name for the winner.  [default: the name of the study]",
)
@click.option("--no-register", is_flag=True, help="Do not register a model.")
@click.option(
    "--system-metrics",
    is_flag=True,
    default=None,
    help="Record the CPU, memory and GPU use of each run.",
)
@click.option(
    "--confirm",
    type=int,
    help="Number of further runs of the leading trials, before the winner is registered.",
)
@click.option("--quiet", is_flag=True, help="Do not show progress.")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object.")
@store_option
def run(
    objective: str,
    space: str | None,
    cpus: float | None,
    gpus: float | None,
    register: str | None,
    no_register: bool,
    quiet: bool,
    in_json: bool,
    tags: tuple[str, ...],
    max_identical_failures: int,
    direction: tuple[str, ...],
    metric: tuple[str, ...],
    **options: Any,
) -> None:
    """Search for the params that optimize a function of a script.

    The function takes params, or params and a trial, and returns a number or a dict of metrics. A
    function of a module works too: MODULE:FUNCTION.

    \b
    Examples:
      tuner run train.py:objective --n-trials 50 --direction maximize --study digits
      tuner run train.py:objective --space space.yaml --timeout 600 --backend serial
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    if register is not None and no_register:
        raise click.UsageError("--register and --no-register exclude each other")
    function = load_objective(objective)
    resources = {name: n for name, n in (("cpu", cpus), ("gpu", gpus)) if n is not None}
    study = tuner.optimize(
        function,
        load_space(space, objective),
        register=False if no_register else register,
        resources=resources or None,
        progress=not quiet,
        tags=dict(map(as_pair, tags)),
        max_identical_failures=max_identical_failures or None,
        direction=direction or "minimize",
        metric=metric or None,
        **options,
    )
    if in_json:
        print_json(_outcome_json(study, None if no_register else register or study.name))
        return
    echo(f"study: {study.name}")
    if any(trial.eligible for trial in study):
        _echo_best(study)
        if not no_register and len(study.goals) == 1:
            echo_model(study, register or study.name)


@cli.command()
@click.option("--archived", is_flag=True, help="Include archived studies.")
@store_option
def studies(archived: bool, store: str | None) -> None:
    """List the studies, oldest first."""
    table = []
    for info in tuner.list_studies(archived=archived, store=store):
        study = tuner.load_study(info.name, store=store)
        trials = study.trials
        done = [t for t in trials if t.state is tuner.State.COMPLETED]
        table.append(
            {
                "study": info.name,
                "goal": goals_text(study),
                "trials": len(trials),
                "completed": len(done),
                "best": best_text(study),
                "created": when(info.created),
                **({"archived": info.archived and when(info.archived)} if archived else {}),
            }
        )
    write_table(table, nothing="no studies yet")


@cli.command("confirm")
@click.argument("study")
@click.argument("objective", metavar="SCRIPT.py:FUNCTION")
@click.option(
    "--runs",
    type=int,
    required=True,
    help="Total number of repeats of the study, including earlier calls.",
)
@click.option(
    "--confidence",
    type=float,
    default=0.95,
    show_default=True,
    help="Probability that the winner is the best of the leading trials, which ends the race.",
)
@click.option(
    "--tolerance",
    type=float,
    help="Difference of two true values that does not matter.  [default: a quarter of the noise]",
)
@click.option("--prefer", metavar="METRIC", help='Cost that decides ties, or "duration".')
@click.option("--timeout", type=float, help="Seconds after which no run starts.")
@click.option("--trial-timeout", type=float, help="Time limit of a run in seconds.")
@click.option(
    "--backend",
    cls=NameOption,
    names=lambda: BACKENDS.names,
    summary="Makes the runs (default: ray)",
)
@click.option("--workers", type=int, help="Number of concurrent runs.")
@click.option("--quiet", is_flag=True, help="Do not show progress.")
@store_option
def confirm_(study: str, objective: str, quiet: bool, store: str | None, **options: Any) -> None:
    """Run the leading trials of a study again, until one of them is the best.

    \b
    Example:
      tuner confirm digits train.py:objective --runs 10
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    loaded = tuner.load_study(study, store=store)
    function = load_objective(objective)
    winner = loaded.confirm(function, progress=not quiet, **options)
    echo(f"winner: {winner.in_words()}")
    write_table(winner.to_rows())


@cli.command()
@click.argument("study")
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=10,
    help="Number of trials to list.",
    show_default=True,
)
@click.option("--trial", "number", type=int, help="Show one trial with its runs instead.")
@store_option
def show(study: str, top: int, number: int | None, store: str | None) -> None:
    """Show a summary of a study, its best trials, and the reasons of failures."""
    loaded = tuner.load_study(study, store=store)
    if number is not None:
        for line in trial_lines(loaded, number):
            echo(line)
        return
    for name, text in summary(loaded).items():
        echo(f"{name + ':':<13}{text}")
    best = best_first(loaded)[:top]
    if best:
        echo()
        write_table(trial_rows(loaded, best))
    for line in failures_of(loaded):
        echo(line)


@cli.command()
@click.argument("study")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object.")
@store_option
def best(study: str, in_json: bool, store: str | None) -> None:
    """Print the best params of a study, or the Pareto front if it has several goals."""
    loaded = tuner.load_study(study, store=store)
    if in_json:
        print_json(_best_json(loaded))
    else:
        _echo_best(loaded)


def _outcome_json(study: tuner.Study, model: str | None) -> dict[str, Any]:
    """Return the outcome of a search as JSON values; `model` is the name of its model."""
    states = Counter(trial.state.value for trial in study)
    found = any(trial.eligible for trial in study)
    version = None
    if model is not None and found and len(study.goals) == 1:
        version = version_of_winner(study, model)
    return {
        "study": study.name,
        "trials": dict(sorted(states.items())),
        "best": _best_json(study) if found else None,
        "model": None if version is None else version_json(version),
    }


def _best_json(study: tuner.Study) -> dict[str, Any] | list[dict[str, Any]]:
    """Return the best trial, or the Pareto front, as JSON values."""
    if len(study.goals) > 1:
        return [
            {"trial": t.number, "values": list(t.values), "params": t.params}
            for t in study.best_trials
        ]
    trial = study.best_trial
    return {"trial": trial.number, "value": trial.value, "params": trial.params}


def _echo_best(study: tuner.Study) -> None:
    if len(study.goals) > 1:
        front = study.best_trials
        echo(f"Pareto front: {len(front)} of {len(study.trials)} trials")
        write_table(trial_rows(study, front), nothing="no feasible trial yet")
        return
    trial = study.best_trial
    value = number_text(trial.values[0])
    echo(f"best: {one_line(study.info.goal.metric)} = {value} in trial {trial.number}")
    for path, value in study.space.flatten(trial.params).items():
        echo(f"  {one_line(path)}: {literal_text(value, None)}")
