"""The value that a model's params have on the data of a study that re-tunes the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from tuner.records import ModelVersion, Record, ValueEstimate
from tuner.registry.changes import Model
from tuner.tracking import schema

NOTE = "retune"
"""Name of the note of a study that re-tunes a model."""


@dataclass(frozen=True, slots=True)
class Retuned(Record):
    """The model version that a study re-tunes, and the trial of its params on the new data.

    Attributes
    ----------
    model : str
        Name of the model.
    version : int
        The version.
    trial : int or None
        The trial of the study that has the params of the version; None if it does not exist yet.
    value : float
        Its value; NaN if it failed.
    estimate : ValueEstimate or None
        The estimate of its true value, if it is one of the leading trials.
    """

    model: str
    version: int
    trial: int | None = None
    value: float = math.nan
    estimate: ValueEstimate | None = None


def remeasured(model: Model, version: ModelVersion, holder: ModelVersion) -> ModelVersion | None:
    """Return a version with the value of its params on the data of a re-tune of it, or None.

    Parameters
    ----------
    model
        The model of both versions, in a transaction.
    version
        A version that may come from a study which re-tunes `holder`.
    holder
        The version that has an alias.
    """
    studies, versions = schema.studies, schema.model_versions
    query = (
        select(studies.c.notes)
        .join(versions, versions.c.study == studies.c.uid)
        .where(*model.row_of(version.version))
    )
    notes = model.connection.execute(query).scalar() or {}
    found = _parsed(notes.get(NOTE))
    if found is None or (found.model, found.version) != (holder.name, holder.version):
        return None
    if found.trial is None:
        return None
    return replace(holder, value=found.value, estimate=found.estimate, data=version.data)


def _parsed(note: Any) -> Retuned | None:
    """Return the note of a re-tune; None for another note of this name, which users may write."""
    if not isinstance(note, Mapping):
        return None
    try:
        return Retuned.from_json(dict(note))
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
