"""Commands about records: find, compare, replay, lineage, tag, note and retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tuner
from tuner.cli.arguments import as_pair, as_trial, store_option
from tuner.cli.output import echo, print_json, when, write_rows, write_table
from tuner.records.numbers import distinct_texts, value_text
from tuner.study.export import FORMATS

if TYPE_CHECKING:
    from tuner.provenance.replay import Replay


SHOWN = 100
"""Maximum number of rows printed for a query without a limit."""

_LEAD = {
    "trials": ("study", "number", "state", "value"),
    "runs": ("study", "trial", "attempt", "purpose", "state"),
    "studies": ("study", "direction", "metric", "created"),
    "models": ("model", "version", "aliases", "value", "estimate.value", "study", "trial"),
}
"""The first columns of a table."""

_TIMES = ("created", "started", "ended")


@click.command()
@click.argument("query", default="")
@click.option(
    "--what",
    type=click.Choice(list(_LEAD)),
    default="trials",
    help="Records to search.",
    show_default=True,
)
@click.option("--study", metavar="NAME", help="Search in one study only.")
@click.option("--count", is_flag=True, help="Print only the number of matches.")
@click.option("--to", type=click.Choice(FORMATS), help="Write all columns in this format.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: standard output]",
)
@store_option
def find(
    query: str,
    what: str,
    study: str | None,
    count: bool,
    to: str | None,
    output: Path | None,
    store: str | None,
) -> None:
    """Find trials, runs, studies or models by a query.

    A query without a limit shows the first 100. The language is described in docs/find.md.

    \b
    Examples:
      tuner find "metrics.accuracy > 0.95 and params.model == 'svm' order by value limit 20"
      tuner find "state = 'failed' and started > -1d" --what runs
      tuner find "alias = 'champion' and tags.team = 'x'" --what models
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    if study is None:
        found = tuner.find(query, what=what, store=store)
    else:
        found = tuner.load_study(study, store=store).find(query, what=what)
    found.check_names()
    if count:
        echo(found.count())
    elif to is not None or output is not None:
        write_rows(found.to_rows(), to, output)
    else:
        _show(found)


def _show(found: tuner.query.QueryResult) -> None:
    """Print matches as a table of names and queried fields, or params if none are queried."""
    unlimited = found.query.limit is None
    if unlimited:
        found = replace(found, query=replace(found.query, limit=SHOWN + 1))
    rows = found.to_rows()
    asked = [".".join(field.path) for field in found.query.fields]
    names = dict.fromkeys([*_LEAD[found.what], *asked])
    if not any(name.startswith("params.") for name in names):
        names |= dict.fromkeys(name for row in rows[:1] for name in row if "params." in name)
    table = [{name: _shown(name, row) for name in names if name in row} for row in rows[:SHOWN]]
    write_table(table, nothing=f"no {found.what} found")
    if unlimited and len(rows) > SHOWN:
        echo(
            f"the first {SHOWN} are shown; for more, add a limit to the query or use --to", err=True
        )


def _shown(name: str, row: Mapping[str, Any]) -> Any:
    value = row[name]
    return when(value) if name in _TIMES and value is not None else value


DIFFERENT = 3
"""Exit code of a replay with different metrics."""


@click.command()
@click.argument("refs", nargs=-1, required=True, metavar="STUDY[/TRIAL[/RUN]]|MODEL@VERSION...")
@click.option("--all", "everything", is_flag=True, help="Show equal entries, too.")
@click.option("--no-code", is_flag=True, help="Omit the diff of the code.")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object.")
@store_option
def compare(
    refs: tuple[str, ...], everything: bool, no_code: bool, in_json: bool, store: str | None
) -> None:
    """Show studies, trials, runs or model versions side by side, with their differences.

    A study is represented by its best trial. The code of each is compared with the first one's.

    \b
    Examples:
      tuner compare digits/17 digits/23
      tuner compare digits digits-larger --no-code
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    show_comparison(refs, everything, no_code, in_json, store)


def show_comparison(
    refs: Sequence[str], everything: bool, no_code: bool, in_json: bool, store: str | None
) -> None:
    """Print studies, trials, runs or model versions side by side."""
    from tuner.provenance.compare import different_rows

    comparison = tuner.compare(*refs, store=store)
    if not everything:
        comparison = comparison.differing()
    if in_json:
        print_json(comparison.to_json())
        return
    table = [
        row
        for section, rows in comparison.sections.items()
        for row in different_rows(comparison.names, rows, prefix=f"{section}: ")
    ]
    write_table(table, nothing="nothing differs")
    for text in () if no_code else comparison.code.values():
        echo(f"\n{text}")


@click.command()
@click.argument("ref", metavar="STUDY/TRIAL[/RUN]")
@click.option(
    "--objective", metavar="SCRIPT.py:FUNCTION", help="Function to run instead of the recorded one."
)
@click.option(
    "--repository",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder of its git repository.  [default: the current folder]",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    help="File or folder of the data, whose fingerprint is compared.",
)
@click.option(
    "--metric", "metrics", multiple=True, help="Metric that must agree; repeatable.  [default: all]"
)
@click.option(
    "--tolerance", type=float, default=0.0, help="Relative tolerance of metrics.", show_default=True
)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
@store_option
def replay(
    ctx: click.Context,
    ref: str,
    objective: str | None,
    repository: Path | None,
    data: Path | None,
    metrics: tuple[str, ...],
    tolerance: float,
    in_json: bool,
    store: str | None,
) -> None:
    """Run a trial again from its record, and compare the metrics.

    Its commit is checked out into a temporary worktree if the repository is available. The exit
    code is 0 if the metrics are the same and 3 if they are not.

    \b
    Examples:
      tuner replay digits/17
      tuner replay digits/17 --objective train.py:objective --tolerance 1e-9
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    result = tuner.replay(
        ref,
        store=store,
        objective=objective,
        repository=repository,
        data=data,
        metrics=metrics,
        tolerance=tolerance,
    )
    if in_json:
        content = {
            "study": result.study,
            "trial": result.trial,
            "run": result.run.uid,
            "same": result.same,
            "metrics": {name: list(pair) for name, pair in result.metrics.items()},
            "changes": {c.fact: [c.recorded, c.now] for c in result.changes},
            "notes": list(result.notes),
        }
        print_json(content)
    else:
        for line in _replay_lines(result):
            echo(line)
    ctx.exit(0 if result.same else DIFFERENT)


@click.command()
@click.argument("model", metavar="MODEL[@ALIAS|@VERSION]")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object.")
@store_option
def lineage(model: str, in_json: bool, store: str | None) -> None:
    """Show the run, trial, study, code, environment and data of a model.

    \b
    Examples:
      tuner lineage digits
      tuner lineage digits@3 --json
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    found = tuner.lineage(model, store=store)
    if in_json:
        print_json(found.to_json())
        return
    for line in found.lines():
        echo(line)


def _replay_lines(result: Replay) -> list[str]:
    lines = [f"trial {result.study}/{result.trial} ran again as run {result.run.attempt}"]
    if result.run.error is not None:
        lines.append(f"it failed: {result.run.error}")
    for name, (recorded, now) in result.metrics.items():
        if recorded == now:
            lines.append(f"  {name}: {value_text(now)}, the same")
        else:
            now_text, recorded_text = distinct_texts([now, recorded])
            lines.append(f"  {name}: {now_text}, recorded was {recorded_text}")
    lines += [f"note: {note}" for note in result.notes]
    lines.append("the metrics are the same" if result.same else "the metrics differ")
    if result.changes:
        lines.append("changes since the recorded run:")
        lines += [f"  {change}" for change in result.changes]
    elif not result.same:
        lines.append(
            "nothing in the record has changed since the recorded run: the objective is not "
            "deterministic, or depends on values that are not recorded, such as the arguments of "
            "a partial function"
        )
    return lines


@click.command()
@click.argument("study")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", metavar="KEY", multiple=True, help="Tag to remove; repeatable.")
@store_option
def tag(study: str, tags: tuple[str, ...], remove: tuple[str, ...], store: str | None) -> None:
    """Set tags of a study, and show them.

    \b
    Example:
      tuner tag digits team=vision stage=review --remove draft
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    loaded = tuner.load_study(study, store=store)
    changes = {**dict(map(as_pair, tags)), **dict.fromkeys(remove)}
    if changes:
        loaded.set_tags(changes)
    write_table(
        [{"tag": key, "value": value} for key, value in loaded.info.tags.items()],
        nothing="no tags",
    )


@click.command()
@click.argument("ref", metavar="STUDY[/TRIAL]")
@click.argument("notes", nargs=-1, metavar="[KEY=TEXT]...")
@click.option("--remove", metavar="KEY", multiple=True, help="Note to remove; repeatable.")
@store_option
def note(ref: str, notes: tuple[str, ...], remove: tuple[str, ...], store: str | None) -> None:
    """Set notes on a study or on a finished trial, and show them.

    \b
    Examples:
      tuner note digits question="does a deeper network help?"
      tuner note digits/17 verdict="overfits, do not ship"
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    changes = {**dict(map(as_pair, notes)), **dict.fromkeys(remove)}
    if "/" in ref:
        name, number = as_trial(ref)
        known = tuner.load_study(name, store=store).set_notes(number, changes)
    else:
        known = tuner.load_study(ref, store=store).set_study_notes(changes)
    write_table(
        [{"note": key, "text": str(value)} for key, value in known.items()], nothing="no notes"
    )


@click.command()
@click.argument("study")
@click.option(
    "--trial",
    "numbers",
    type=int,
    multiple=True,
    help="A failed trial; repeatable.  [default: all]",
)
@store_option
def retry(study: str, numbers: tuple[int, ...], store: str | None) -> None:
    """Let failed trials of a study run again under their numbers.

    The next search of the study runs them first; repeat the command or the call that ran it.

    \b
    Examples:
      tuner retry digits
      tuner retry digits --trial 4 --trial 7
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    loaded = tuner.load_study(study, store=store)
    retried = loaded.retry(numbers, failed=not numbers)
    write_table(
        [{"trial": trial.number, "state": trial.state.value} for trial in retried],
        nothing="no failed trials",
    )
