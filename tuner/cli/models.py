"""Commands that show registered models: list, show, compare and card."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tuner
from tuner.cli.arguments import store_option
from tuner.cli.output import echo, print_json, when, write_table
from tuner.cli.record import show_comparison
from tuner.errors.printable import one_line
from tuner.records import ModelVersion
from tuner.records.html import flat_params
from tuner.records.numbers import literal_text, number_text

if TYPE_CHECKING:
    from tuner.registry import Registry
    from tuner.registry.history import ModelEvent
    from tuner.tracking import Store

json_option = click.option("--json", "in_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@click.pass_context
@store_option
def models(ctx: click.Context, store: str | None) -> None:
    """List, show, compare, promote and delete registered models."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models, store=store, in_json=False)
    elif store is not None:
        ctx.default_map = {ctx.invoked_subcommand: {"store": store}}


@models.command("list")
@json_option
@store_option
def list_models(in_json: bool, store: str | None) -> None:
    """List the registered model versions."""
    found = tuner.list_models(store=store)
    if in_json:
        print_json([version_json(version) for version in found])
        return
    write_table([_row(version) for version in found], nothing="no models yet")


def _row(version: ModelVersion) -> dict[str, Any]:
    estimate = version.estimate
    return {
        "model": version.name,
        "version": version.version,
        "aliases": " ".join(version.aliases),
        "value": version.value,
        "metric": version.goal.metric,
        "estimate": None if estimate is None else estimate.value,
        "low": None if estimate is None else estimate.low,
        "high": None if estimate is None else estimate.high,
        "study": version.study,
        "trial": version.trial,
        "format": _format(version) + (" (runs code)" if _runs_code(version) else ""),
        "created": when(version.created),
        "note": version.note,
    }


def _format(version: ModelVersion) -> str:
    return "params" if version.artifact is None else version.artifact.format


def _runs_code(version: ModelVersion) -> bool:
    return _format(version) == "pickle"


def _loading(version: ModelVersion) -> str:
    from tuner.registry.formats import loading_text

    return loading_text(_format(version))


def version_json(version: ModelVersion) -> dict[str, Any]:
    """Return a version as JSON values."""
    artifact, estimate = version.artifact, version.estimate
    return {
        "model": version.name,
        "version": version.version,
        "aliases": list(version.aliases),
        "note": version.note,
        "tags": version.tags,
        "description": version.description,
        "metric": version.goal.metric,
        "direction": version.goal.direction.value,
        "value": version.value,
        "estimate": None if estimate is None else asdict(estimate),
        "signature": None if version.signature is None else version.signature.to_dict(),
        "params": version.params,
        "study": version.study,
        "trial": version.trial,
        "run": version.run,
        "data": version.data,
        "format": _format(version),
        "runs_code": _runs_code(version),
        "bytes": None if artifact is None else artifact.size,
        "sha256": None if artifact is None else artifact.sha256,
        "created": version.created,
    }


def open_registry(store: Store | str | None) -> Registry:
    """Return the registry of a store; imports SQLAlchemy only now."""
    from tuner.registry import Registry

    return Registry(store)


def version_of_winner(study: tuner.Study, name: str) -> ModelVersion | None:
    """Return the last version of a model that is the winner of a study, or None."""
    winner = (study.name, study.winner.trial.number)
    versions = reversed(open_registry(study.store).versions(name))
    return next((each for each in versions if (each.study, each.trial) == winner), None)


def echo_model(study: tuner.Study, name: str, *, err: bool = False) -> None:
    """Print the version that a search registered its winner as, and why it is not champion."""
    version = version_of_winner(study, name)
    if version is not None:
        aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
        note = f": {version.note}" if version.note else ""
        echo(f"model: {one_line(f'{name}@{version.version}{aliases}{note}')}", err=err)


@models.command("show")
@click.argument("ref", metavar="MODEL[@ALIAS|@VERSION]")
@json_option
@store_option
def show_model(ref: str, in_json: bool, store: str | None) -> None:
    """Show a version of a model, the champion by default, and the history of the model.

    \b
    Examples:
      tuner models show digits
      tuner models show digits@3 --json
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    registry = open_registry(store)
    version = registry.get(ref)
    history = registry.history(version.name)
    numbered = f"{version.name}@{version.version}"
    profile, last = registry.profile(numbered), registry.last_drift(numbered)
    if in_json:
        found = {
            "profile": None
            if profile is None
            else {"rows": profile.rows, "columns": list(profile.columns)},
            "drift": None if last is None else _event(last) | {"result": last.result},
            "history": [_event(event) for event in history],
        }
        print_json(version_json(version) | found)
        return
    monitored = {
        "profile": "none"
        if profile is None
        else f"{profile.rows} rows, {len(profile.columns)} columns",
        "drift": "not checked" if last is None else f"{when(last.at)}: {last.why}",
    }
    for name, text in (_facts(version) | monitored).items():
        echo(f"{name + ':':<13}{one_line(text)}")
    if history:
        echo()
        write_table([_event(event) | {"at": when(event.at)} for event in history])


def _facts(version: ModelVersion) -> dict[str, str]:
    facts = {
        "model": f"{version.name}@{version.version}",
        "aliases": ", ".join(version.aliases) or "none",
        "goal": str(version.goal),
        "value": number_text(version.value),
    }
    for line in [] if version.estimate is None else version.estimate.lines():
        name, _, text = line.partition(": ")
        facts["luck" if name.startswith("optimism") else name] = text
    optional = {
        "note": version.note,
        "tags": ", ".join(f"{k}={v}" for k, v in version.tags.items()),
        "description": version.description,
    }
    facts |= {name: text for name, text in optional.items() if text}
    facts |= {
        "params": ", ".join(
            f"{path}={literal_text(value, None)}"
            for path, value in flat_params(version.params).items()
        ),
        **({} if version.signature is None else version.signature.lines()),
        "study": version.study,
        "trial": str(version.trial),
        "data": version.data or "no fingerprint recorded",
        "format": _format(version),
        "loading": "returns the params" if version.artifact is None else _loading(version),
        "created": when(version.created),
    }
    return facts


def _event(event: ModelEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "action": event.action,
        "alias": event.alias,
        "before": event.before,
        "after": event.after,
        "who": event.who,
        "why": event.why,
    }


@models.command("compare")
@click.argument("refs", nargs=-1, required=True, metavar="MODEL@VERSION...")
@click.option("--all", "everything", is_flag=True, help="Show equal entries, too.")
@click.option("--no-code", is_flag=True, help="Omit the diff of the code.")
@json_option
@store_option
def compare_models(
    refs: tuple[str, ...], everything: bool, no_code: bool, in_json: bool, store: str | None
) -> None:
    """Show versions of models side by side, with their differences.

    A model is represented by its champion.

    \b
    Example:
      tuner models compare digits@2 digits@champion
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    full = tuple(ref if "@" in ref else f"{ref}@champion" for ref in refs)
    show_comparison(full, everything, no_code, in_json, store)


@models.command("card")
@click.argument("ref", metavar="MODEL[@ALIAS|@VERSION]")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: standard output]",
)
@json_option
@store_option
def card(ref: str, output: Path | None, in_json: bool, store: str | None) -> None:
    """Print the card of a version as Markdown: origin, quality, environment, history, loading.

    \b
    Example:
      tuner models card digits@champion --output CARD.md
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    found = tuner.model_card(ref, store=store)
    if in_json:
        text = json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n"
    else:
        text = found.to_markdown()
    if output is None:
        echo(text, nl=False)
        return
    output.write_text(text, encoding="utf-8")
    echo(output)
