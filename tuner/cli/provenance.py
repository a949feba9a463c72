"""``tuner compare``, ``tuner replay`` and ``tuner lineage``: provenance commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

import tuner
from tuner.cli.options import store_option
from tuner.cli.output import echo
from tuner.cli.text import as_json, write_table

if TYPE_CHECKING:
    from tuner.provenance.replay import Replay

DIFFERENT = 3
"""Exit code of a replay whose metrics came out otherwise."""


@click.command()
@click.argument("refs", nargs=-1, required=True, metavar="STUDY[/TRIAL[/RUN]]...")
@click.option("--all", "everything", is_flag=True, help="Also what they have in common.")
@click.option("--no-code", is_flag=True, help="Without the diff of the code.")
@click.option("--json", "in_json", is_flag=True, help="As one JSON object.")
@store_option
def compare(
    refs: tuple[str, ...], everything: bool, no_code: bool, in_json: bool, store: str | None
) -> None:
    """Show studies, trials or runs side by side, with their differences.

    A study is represented by its best trial. The code of each is compared with the first one's.

    \b
    Examples:
      tuner compare digits/17 digits/23
      tuner compare digits digits-larger --no-code
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    comparison = tuner.compare(*refs, store=store)
    if not everything:
        comparison = comparison.differing()
    if in_json:
        echo(json.dumps(as_json(comparison.to_json())))
        return
    table = [
        {"": f"{section}: {name}", **dict(zip(comparison.names, values, strict=True))}
        for section, rows in comparison.sections.items()
        for name, values in rows.items()
    ]
    write_table(table, nothing="nothing differs")
    for text in () if no_code else comparison.code.values():
        echo(f"\n{text}")


@click.command()
@click.argument("ref", metavar="STUDY/TRIAL[/RUN]")
@click.option(
    "--objective", metavar="SCRIPT.py:FUNCTION", help="The function, in place of the recorded one."
)
@click.option(
    "--repository",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder of its git repository; here, if not given.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    help="The file or folder of the data, to compare its fingerprint.",
)
@click.option("--metric", "metrics", multiple=True, help="One that must agree; all if not given.")
@click.option(
    "--tolerance", type=float, default=0.0, help="Relative, for metrics.", show_default=True
)
@click.option("--json", "in_json", is_flag=True, help="As one JSON object.")
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
        echo(json.dumps(as_json(content)))
    else:
        for line in _replay_lines(result):
            echo(line)
    ctx.exit(0 if result.same else DIFFERENT)


@click.command()
@click.argument("model", metavar="MODEL[@ALIAS|@VERSION]")
@click.option("--json", "in_json", is_flag=True, help="As one JSON object.")
@store_option
def lineage(model: str, in_json: bool, store: str | None) -> None:
    """Show where a model came from: run, trial, study, code, environment and data.

    \b
    Examples:
      tuner lineage digits
      tuner lineage digits@3 --json
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    found = tuner.lineage(model, store=store)
    if in_json:
        echo(json.dumps(found.to_json()))
        return
    for line in found.lines():
        echo(line)


def _replay_lines(result: Replay) -> list[str]:
    lines = [f"trial {result.study}/{result.trial} ran again as run {result.run.attempt}"]
    if result.run.error is not None:
        lines.append(f"it failed: {result.run.error}")
    for name, (recorded, now) in result.metrics.items():
        verdict = "the same" if recorded == now else "recorded"
        lines.append(
            f"  {name}: {now!r}, {verdict}" + ("" if recorded == now else f" was {recorded!r}")
        )
    lines += [f"note: {note}" for note in result.notes]
    lines.append("the same came of it" if result.same else "something else came of it")
    if result.changes:
        lines.append(
            "what is not as it was:" if not result.same else "though not all is as it was:"
        )
        lines += [f"  {change}" for change in result.changes]
    elif not result.same:
        lines.append("every recorded fact is as it was: the objective is not deterministic")
    return lines
