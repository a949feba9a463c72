"""Promotion: the rules of a model applied to its versions, within a transaction."""

from __future__ import annotations

from sqlalchemy import select, update

from tuner.errors import ArgumentError, PromotionRefused, RegistryError
from tuner.records import ModelVersion, decode_params
from tuner.registry import history
from tuner.registry.changes import Model
from tuner.registry.decisions import Check, Decision, decide
from tuner.registry.history import Act
from tuner.registry.names import Reference
from tuner.registry.retuned import remeasured
from tuner.registry.rules import PromotionRule, Rules
from tuner.registry.versions import all_versions
from tuner.tracking import schema


def rules_of(model: Model) -> Rules:
    """Return the rules of a model: its own, or the default ones."""
    stored = _stored(model)
    return Rules() if stored is None else stored


def _stored(model: Model) -> Rules | None:
    query = select(schema.models.c.rules).where(schema.models.c.id == model.id)
    found = model.connection.execute(query).scalar()
    try:
        return None if found is None else Rules.from_dict(found)
    except ArgumentError as error:
        raise RegistryError(
            f"model {model.name!r}: its rules cannot be read ({error}); a newer tuner may have set "
            f"them: upgrade, or set them again"
        ) from error


def store_rules(model: Model, rules: Rules | None, act: Act) -> None:
    """Replace the rules of a model, None for the default ones, and record it."""
    table = schema.models
    value = None if rules is None else rules.to_dict()
    statement = update(table).where(table.c.id == model.id).values(rules=value)
    model.connection.execute(statement)
    history.append(model.connection, model.id, act, result=(rules or Rules()).to_dict())


def apply_rules(model: Model, version: ModelVersion, who: str, *, is_new: bool) -> None:
    """Move the aliases that have rules to a version that meets them, and note why others stay.

    An alias that the version had before does not return to it, so registering a run again does not
    undo a rollback.
    """
    refused = []
    for rule in rules_of(model).rules:
        past = history.events(model.connection, model.id, rule.alias)
        if any(event.after == version.version for event in past):
            continue
        decision = _decision(model, rule, version)
        if not rule.automatic:
            check = Check("automatic", False, f"{rule.alias} does not move by a registration")
            decision = Decision(
                decision.alias, decision.version, decision.holder, (*decision.checks, check)
            )
        if decision.allowed:
            _give(model, rule, version, Act("register", who), decision)
            continue
        reason = f"not {rule.alias}: {'; '.join(decision.reasons)}"
        refused.append(reason)
        if is_new and rule.otherwise is not None:
            act = Act("register", who, reason)
            model.move(rule.otherwise, version.version, act, decision.to_json())
    model.set_values(version.version, note="; ".join(refused) or None)


def check(model: Model, version: ModelVersion, alias: str) -> Decision:
    """Return whether the rules give an alias to a version; an alias without a rule is free."""
    holder = model.holder(alias)
    rule = rules_of(model).of(alias)
    if rule is None or holder == version.version:
        return Decision(alias, version.version, holder)
    return _decision(model, rule, version)


def promote(model: Model, version: ModelVersion, alias: str, act: Act, force: bool) -> Decision:
    """Give an alias to a version, and return the decision of the rules.

    Raises
    ------
    PromotionRefused
        If a condition fails and `force` is False.
    """
    decision = check(model, version, alias)
    if not decision.allowed and not force:
        raise PromotionRefused(
            f"version {version.version} of model {model.name!r} does not become {alias!r}: "
            f"{'; '.join(decision.reasons)}; meet the rule, or write force=True (on the command "
            f"line: --force)",
            decision,
        )
    _give(model, rules_of(model).of(alias), version, act, decision)
    return decision


def set_alias(model: Model, version: ModelVersion, alias: str, act: Act, force: bool) -> None:
    """Give an alias to a version; rules that were set for it count, the default rule does not.

    Raises
    ------
    PromotionRefused
        If a condition of a rule that was set fails and `force` is False.
    """
    promote(model, version, alias, act, force or _stored(model) is None)


def roll_back(model: Model, alias: str, act: Act) -> int:
    """Return an alias to the version that had it before, and return the version's number.

    Raises
    ------
    RegistryError
        If no earlier version of the alias is left.
    """
    versions = [version.version for version in all_versions(model.connection, model.name)]
    past = history.events(model.connection, model.id, alias)
    target = history.previous_holder(past, versions)
    if target is None:
        raise RegistryError(
            f"model {model.name!r}: {alias!r} has no earlier version to return to; set the alias, "
            f"or delete it"
        )
    model.move(alias, target, act)
    return target


def _decision(model: Model, rule: PromotionRule, version: ModelVersion) -> Decision:
    number = model.holder(rule.alias)
    holder = None if number is None else model.version(Reference(model.name, number))
    approved: tuple[str, ...] = ()
    if rule.approved_by:
        past = history.events(model.connection, model.id)
        approved = history.approvals(past, version.version)
    metrics = _metrics(model, version) if rule.metrics else {}
    again = None if holder is None else remeasured(model, version, holder)
    return decide(rule, version, holder, metrics=metrics, approvals=approved, remeasured=again)


def _metrics(model: Model, version: ModelVersion) -> dict[str, float]:
    """Return the final metrics of the version's trial."""
    trials, versions = schema.trials, schema.model_versions
    query = (
        select(trials.c.metrics)
        .join(schema.studies, schema.studies.c.id == trials.c.study_id)
        .join(versions, versions.c.study == schema.studies.c.uid)
        .where(trials.c.number == versions.c.trial, *model.row_of(version.version))
    )
    return decode_params(model.connection.execute(query).scalar() or {})


def _give(
    model: Model,
    rule: PromotionRule | None,
    version: ModelVersion,
    act: Act,
    decision: Decision,
) -> None:
    """Give an alias to a version, which then loses the one for versions that fail its rule."""
    moved = model.move(decision.alias, version.version, act, decision.to_json())
    if not moved or rule is None:
        return
    model.set_values(version.version, note=None)
    if rule.otherwise is not None and model.holder(rule.otherwise) == version.version:
        model.move(rule.otherwise, None, Act(act.action, act.who, f"became {rule.alias}"))
