"""Aliases of model versions: moving them by rules or by hand, undo, and their history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from tuner.errors import ArgumentError, ModelInUse
from tuner.errors.boundary import public_methods
from tuner.records import ModelVersion
from tuner.records.bounds import MAX_ANNOTATIONS, as_name
from tuner.records.lists import RecordList
from tuner.records.user import current_user
from tuner.registry import history, promotion
from tuner.registry.changes import Model, find_model, lock_model, lock_or_create_model
from tuner.registry.decisions import Decision
from tuner.registry.history import Act, ModelEvent
from tuner.registry.names import (
    CHAMPION,
    Reference,
    parse_reference,
    validate_alias,
    validate_model_name,
)
from tuner.registry.rules import Rules
from tuner.tracking import open_store, schema

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_MODELS = schema.models


@public_methods
class Aliases:
    """The part of a registry that moves aliases; see `tuner.registry.Registry`."""

    def __init__(self, store: Store | str | Path | None = None) -> None:
        self.store = open_store(store)

    def set_alias(
        self,
        name: str,
        alias: str,
        version: int,
        *,
        by: str | None = None,
        why: str = "",
        force: bool = False,
    ) -> None:
        """Point `alias` to this version of the model, also if it pointed to another one.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        PromotionRefused
            If a rule was set for the alias, the version does not meet it and `force` is False.
        ArgumentError
            If the alias is invalid.
        """
        validate_alias(alias)
        act = act_of("set", by, why)
        with self._locked(Reference(name, version)) as (model, found):
            promotion.set_alias(model, found, alias, act, force)

    def promote(
        self,
        ref: str,
        alias: str = CHAMPION,
        *,
        by: str | None = None,
        why: str = "",
        force: bool = False,
    ) -> Decision:
        """Give an alias to a version if the rules allow it, and return their decision.

        Parameters
        ----------
        ref
            The version, such as ``"name@challenger"``.
        alias
            The alias. One without a rule is given to any version.
        by, why
            The acting user and the reason, for the history.
        force
            Whether to move the alias even if the rules refuse; the history keeps the refusal.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        PromotionRefused
            If a condition fails and `force` is False; the message has the reasons.
        ArgumentError
            If the alias is invalid.
        """
        validate_alias(alias)
        act = act_of("promote", by, why)
        with self._locked(parse_reference(ref)) as (model, version):
            return promotion.promote(model, version, alias, act, force)

    def check(self, ref: str, alias: str = CHAMPION) -> Decision:
        """Return whether the rules would give an alias to a version; nothing changes.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        """
        validate_alias(alias)
        reference = parse_reference(ref)
        with self.store.reading() as connection:
            model = find_model(connection, self.store, reference.name, ref)
            return promotion.check(model, model.version(reference), alias)

    def approve(self, ref: str, *, by: str | None = None, why: str = "") -> ModelVersion:
        """Record that a user approves a version, for rules with `approved_by`.

        The name is not authenticated: whoever may write to the store may write any name.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        """
        act = act_of("approve", by, why)
        with self._locked(parse_reference(ref)) as (model, version):
            history.append(model.connection, model.id, act, after=version.version)
            return version

    def rollback(
        self, name: str, alias: str = CHAMPION, *, by: str | None = None, why: str = ""
    ) -> ModelVersion:
        """Return an alias to the version that had it before, and return that version.

        Rules do not apply. Another rollback goes one version further back. Deleted versions are
        skipped.

        Raises
        ------
        ModelNotFound
            If the model does not exist.
        RegistryError
            If the alias lacks an earlier version.
        """
        validate_alias(alias)
        act = act_of("rollback", by, why)
        with self.store.writing() as connection:
            model = lock_model(connection, self.store, name)
            return read_again(model, promotion.roll_back(model, alias, act))

    def delete_alias(
        self, name: str, alias: str, *, force: bool = False, by: str | None = None, why: str = ""
    ) -> None:
        """Delete an alias of a model; the version stays.

        Raises
        ------
        ModelNotFound
            If the model lacks this alias.
        ModelInUse
            If it is ``champion`` and `force` is False.
        """
        act = act_of("delete", by, why)
        with self._locked(Reference(name, alias=alias)) as (model, _):
            if alias == CHAMPION and not force:
                raise in_use(f"the alias {CHAMPION!r} of model {name!r}", name)
            model.move(alias, None, act)

    def get(self, ref: str) -> ModelVersion:
        """Return the version that ``"name"``, ``"name@alias"`` or ``"name@3"`` refers to.

        Raises
        ------
        ModelNotFound
            If it does not exist; the message names close matches.
        """
        reference = parse_reference(ref)
        with self.store.reading() as connection:
            which = reference.alias or str(reference.version)
            model = find_model(connection, self.store, reference.name, which)
            return model.version(reference)

    def history(self, name: str, alias: str | None = None) -> list[ModelEvent]:
        """Return the alias changes, approvals and rule changes of a model, oldest first.

        Parameters
        ----------
        name
            The model.
        alias
            The alias of which the changes are returned; None returns all events.

        Raises
        ------
        ModelNotFound
            If the model does not exist.
        """
        with self.store.reading() as connection:
            model = find_model(connection, self.store, name)
            return RecordList(history.events(connection, model.id, alias))

    # --- rules --------------------------------------------------------------------------------

    def rules(self, name: str) -> Rules:
        """Return the promotion rules of a model; the default ones if none were set."""
        with self.store.reading() as connection:
            query = select(_MODELS.c.id).where(_MODELS.c.name == name)
            model_id = connection.execute(query).scalar()
            if model_id is None:
                return Rules()
            return promotion.rules_of(Model(connection, self.store, model_id, name))

    def set_rules(
        self, name: str, rules: Rules | None, *, by: str | None = None, why: str = ""
    ) -> None:
        """Replace the promotion rules of a model, for everyone who uses this store.

        Aliases do not move until the next registration or promotion. The model need not exist.

        Parameters
        ----------
        name
            The model.
        rules
            The rules; None for the default ones.
        by, why
            The acting user and the reason, for the history.

        Raises
        ------
        ArgumentError
            If the name or the rules are invalid.
        """
        validate_model_name(name)
        if not isinstance(rules, Rules | None):
            raise ArgumentError(
                f"rules={rules!r:.80}: write Rules, such as Rules.from_yaml(text), or None"
            )
        act = act_of("rules", by, why)
        with self.store.writing() as connection:
            model = lock_or_create_model(connection, self.store, name)
            promotion.store_rules(model, rules, act)

    @contextmanager
    def _locked(self, reference: Reference) -> Iterator[tuple[Model, ModelVersion]]:
        """Provide a transaction with a locked model, and the version that a reference names."""
        which = reference.alias or str(reference.version)
        with self.store.writing() as connection:
            model = lock_model(connection, self.store, reference.name, which)
            yield model, model.version(reference)


def read_again(model: Model, version: int) -> ModelVersion:
    """Return a version as it is now in the transaction."""
    return model.version(Reference(model.name, version))


def act_of(action: str, by: str | None, why: str) -> Act:
    """Return an action with its checked user and reason."""
    if not isinstance(why, str) or len(why) > MAX_ANNOTATIONS:
        raise ArgumentError(f"why={why!r:.80}: write a text")
    return Act(action, acting_user(by), why)


def acting_user(by: str | None) -> str:
    """Return the checked name of a user, None for the user of this process."""
    if by is None:
        return current_user()
    if not isinstance(by, str) or not by.strip():
        raise ArgumentError(f"by={by!r}: write the name of a user, or None")
    return as_name(by, "user")


def in_use(what: str, name: str) -> ModelInUse:
    """Return the error for a deletion that `force` would allow."""
    return ModelInUse(
        f"{what} is not deleted, as {CHAMPION!r} is what load_model({name!r}) loads; point "
        f"{CHAMPION!r} to another version first, or write force=True (on the command line: --force)"
    )
