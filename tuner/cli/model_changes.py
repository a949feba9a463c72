"""Commands that change registered models: promote, rollback, alias, tag, rules and delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tuner
from tuner.cli.arguments import as_pair, read_text, store_option
from tuner.cli.models import json_option, models, open_registry, version_json
from tuner.cli.output import echo, print_json, write_table
from tuner.errors import PromotionRefused

if TYPE_CHECKING:
    from tuner.registry.decisions import Decision

REFUSED = 3
"""Exit code of a promotion that the rules refuse."""

force_option = click.option("--force", is_flag=True, help="Delete even the champion.")


def acting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that the history of a model keeps."""
    command = click.option("--why", default="", metavar="TEXT", help="Reason for the history.")(
        command
    )
    return click.option(
        "--by", metavar="NAME", help="Acting user for the history.  [default: this user]"
    )(command)


@models.command("promote")
@click.argument("ref", metavar="MODEL@VERSION")
@click.option("--to", "alias", default="champion", show_default=True, help="The alias.")
@click.option("--approve", is_flag=True, help="Record the approval of the acting user first.")
@click.option("--dry-run", is_flag=True, help="Print the decision, and change nothing.")
@click.option("--force", is_flag=True, help="Move the alias even if the rules refuse.")
@acting_options
@json_option
@click.pass_context
@store_option
def promote_model(
    ctx: click.Context,
    ref: str,
    alias: str,
    approve: bool,
    dry_run: bool,
    force: bool,
    by: str | None,
    why: str,
    in_json: bool,
    store: str | None,
) -> None:
    """Give an alias to a version if the rules of the model allow it.

    The exit code is 0 if they do and 3 if they do not.

    \b
    Examples:
      tuner models promote digits@challenger --why "audited"
      tuner models promote digits@3 --approve --by ann
      tuner models promote digits@3 --dry-run
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    if approve and dry_run:
        raise click.UsageError("--approve and --dry-run exclude each other")
    registry = open_registry(store)
    if approve:
        registry.approve(ref, by=by, why=why)
    promoted = not dry_run
    try:
        if dry_run:
            decision = registry.check(ref, alias)
        else:
            decision = registry.promote(ref, alias, by=by, why=why, force=force)
    except PromotionRefused as error:
        decision, promoted = error.decision, False
    name = ref.partition("@")[0]
    if in_json:
        print_json({"model": name, "promoted": promoted, **decision.to_json()})
    else:
        _echo_decision(f"{name}@{decision.version}", decision, promoted)
    ctx.exit(0 if promoted or decision.allowed else REFUSED)


def _echo_decision(version: str, decision: Decision, promoted: bool) -> None:
    if promoted:
        echo(f"{'promoted' if decision.allowed else 'forced'}: {version} is {decision.alias}")
    elif decision.allowed:
        echo(f"allowed: {version} may become {decision.alias}")
    else:
        echo(f"refused: {version} does not become {decision.alias}")
    for check in decision.checks:
        echo(f"  {'yes' if check.passed else 'no'}: {check.text}")


@models.command("rollback")
@click.argument("ref", metavar="MODEL[@ALIAS]")
@acting_options
@json_option
@store_option
def roll_back_model(ref: str, by: str | None, why: str, in_json: bool, store: str | None) -> None:
    """Return an alias, champion by default, to the version that had it before.

    \b
    Example:
      tuner models rollback digits --why "too slow"
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    name, _, alias = ref.partition("@")
    version = open_registry(store).rollback(name, alias or "champion", by=by, why=why)
    if in_json:
        print_json(version_json(version))
        return
    echo(f"rolled back: {alias or 'champion'} is {name}@{version.version}")


@models.command("alias")
@click.argument("ref", metavar="MODEL@VERSION")
@click.argument("alias", required=False)
@click.option("--delete", is_flag=True, help="Delete the alias MODEL@ALIAS instead.")
@click.option("--force", is_flag=True, help="Override a rule, or delete even champion.")
@acting_options
@json_option
@store_option
def set_alias(
    ref: str, alias: str | None, delete: bool, in_json: bool, store: str | None, **how: Any
) -> None:
    """Point an ALIAS to a version of a model, or delete an alias.

    \b
    Examples:
      tuner models alias digits@3 staging
      tuner models alias digits@staging --delete
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    if delete == (alias is not None):
        raise click.UsageError("write an ALIAS for the version, or --delete")
    if alias is None:
        tuner.delete_alias(ref, store=store, **how)
        text = f"deleted: {ref}"
    else:
        tuner.set_alias(ref, alias, store=store, **how)
        text = f"alias: {alias} is {ref}"
    if in_json:
        name = ref.partition("@")[0]
        found = open_registry(store).versions(name)
        held = {each: version.version for version in found for each in version.aliases}
        print_json({"model": name, "aliases": held})
        return
    echo(text)


@models.command("tag")
@click.argument("ref", metavar="MODEL@VERSION")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", metavar="KEY", multiple=True, help="Tag to remove; repeatable.")
@click.option("--description", metavar="TEXT", help="Set the description of the version.")
@json_option
@store_option
def tag_model(
    ref: str,
    tags: tuple[str, ...],
    remove: tuple[str, ...],
    description: str | None,
    in_json: bool,
    store: str | None,
) -> None:
    """Set tags and the description of a version, and show its tags.

    \b
    Example:
      tuner models tag digits@3 stage=review --remove draft
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    registry = open_registry(store)
    version = registry.get(ref)
    changes: Mapping[str, str | None] = {**dict(map(as_pair, tags)), **dict.fromkeys(remove)}
    if changes:
        version = registry.set_tags(ref, changes)
    if description is not None:
        version = registry.set_description(ref, description)
    if in_json:
        print_json({"tags": version.tags, "description": version.description})
        return
    table = [{"tag": key, "value": value} for key, value in version.tags.items()]
    write_table(table, nothing="no tags")


@models.command("rules")
@click.argument("model")
@click.option(
    "--set",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Replace the rules by those of a .yaml or .json file.",
)
@click.option("--default", is_flag=True, help="Return to the default rules.")
@acting_options
@json_option
@store_option
def rules(
    model: str,
    file: Path | None,
    default: bool,
    by: str | None,
    why: str,
    in_json: bool,
    store: str | None,
) -> None:
    """Show or replace the promotion rules of a model, which everyone who uses the store shares.

    \b
    Examples:
      tuner models rules digits
      tuner models rules digits --set rules.yaml
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    from tuner.registry import Rules

    if file is not None and default:
        raise click.UsageError("--set and --default exclude each other")
    registry = open_registry(store)
    if file is not None:
        text = read_text(file, "rules")
        new = Rules.from_json(text) if file.suffix == ".json" else Rules.from_yaml(text)
        registry.set_rules(model, new, by=by, why=why)
    elif default:
        registry.set_rules(model, None, by=by, why=why)
    found = registry.rules(model)
    if in_json:
        print_json(found.to_dict())
        return
    echo(found.to_yaml(), nl=False)


@models.command("delete")
@click.argument("refs", nargs=-1, required=True, metavar="MODEL[@VERSION]...")
@force_option
@json_option
@store_option
def delete_model(refs: tuple[str, ...], force: bool, in_json: bool, store: str | None) -> None:
    """Delete versions of models, or whole models.

    `tuner gc` frees the files that only they used.

    \b
    Examples:
      tuner models delete digits@3
      tuner models delete digits --force
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    for ref in refs:
        tuner.delete_model(ref, force=force, store=store)
        if not in_json:
            echo(f"deleted: {ref}")
    if in_json:
        print_json({"deleted": list(refs)})


@click.group(hidden=True, deprecated="write tuner models")
def model() -> None:
    """Delete models and versions, set and delete aliases."""


model.add_command(delete_model)
model.add_command(set_alias)


@model.command("delete-alias")
@click.argument("ref", metavar="MODEL@ALIAS")
@force_option
@store_option
def delete_alias(ref: str, force: bool, store: str | None) -> None:
    """Delete an alias of a model; the version stays."""
    tuner.delete_alias(ref, force=force, store=store)
    echo(f"deleted: {ref}")
