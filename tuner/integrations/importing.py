"""Record the studies of another tool as studies of tuner, each trial once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tuner.errors import StudyExists, StudyMismatch
from tuner.optimizers import describe, resolve
from tuner.records import Goal, Report, Run, StudyInfo, Trial
from tuner.records.seeds import fresh_seed, trial_seed
from tuner.search_spaces import Space
from tuner.study import Study
from tuner.study.arguments import as_study_name, lease_seconds
from tuner.tracking import Batch, Store, open_store
from tuner.tracking.lease import Lease, new_lease_owner
from tuner.tracking.uuid7 import uuid7

AT_ONCE = 500
"""Number of trials written in one transaction."""

SOURCE = "imported.from"
"""Tag of a study: the source of the import."""

KEY = "imported"
"""Note of a trial: its key in the other tool."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Imported:
    """Result of an import: trials `added` now, and trials `known` from an earlier import.

    `unfinished` trials lack an outcome in the other tool and are left for a later import.
    """

    study: Study
    added: int
    known: int
    unfinished: int = 0


@dataclass(frozen=True, slots=True)
class ForeignStudy:
    """A study of another tool.

    `source` identifies it, such as ``"optuna:digits"``.
    """

    source: str
    name: str
    space: Space
    goals: tuple[Goal, ...]
    created: float | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForeignTrial:
    """A finished trial of another tool; `key` identifies it there.

    A `trial` with the number -1 gets the next free number.
    """

    key: str
    trial: Trial
    reports: tuple[Report, ...] = ()
    host: str = ""


def write_foreign(
    foreign: ForeignStudy, trials: Iterable[ForeignTrial], store: str | Path | Store | None
) -> Imported:
    """Record a study of another tool, and its trials that are not recorded yet.

    Raises
    ------
    StudyExists
        If a study of this name exists that was not imported from this source.
    StudyMismatch
        If its space or goals have changed since the last import, or it was continued here.
    StudyBusy
        If another process runs it.
    """
    opened = open_store(store)
    info = _study_info(foreign, opened)
    # The lease prevents other processes from writing the study during the import.
    lease = opened.acquire_lease(info, new_lease_owner(), lease_seconds())
    try:
        known = {t.number: str(t.notes.get(KEY, "")) for t in opened.trials(info.uid)}
        added, already = _write_new(opened, info, lease, known, trials)
    finally:
        opened.release_lease(lease)
    opened.pack_metrics(info.uid)
    return Imported(Study(info, opened), added, already)


def _study_info(foreign: ForeignStudy, store: Store) -> StudyInfo:
    name = as_study_name(foreign.name)
    known = store.find_study(name)
    if known is None:
        return StudyInfo(
            uid=uuid7(),
            name=name,
            space=foreign.space.to_dict(),
            fingerprint=foreign.space.fingerprint,
            goals=foreign.goals,
            seed=fresh_seed(),
            created=time.time() if foreign.created is None else foreign.created,
            optimizer=describe(resolve("auto")),
            tags={**foreign.tags, SOURCE: foreign.source},
        )
    if known.tags.get(SOURCE) != foreign.source:
        raise StudyExists(
            f"study {name!r} is in {store} already and was not imported from {foreign.source}; "
            f"import under another name"
        )
    if known.goals != foreign.goals or known.fingerprint != foreign.space.fingerprint:
        what = "goals" if known.goals != foreign.goals else "space"
        raise StudyMismatch(
            f"study {name!r}: its {what} has changed in {foreign.source} since it was imported; "
            f"import it again under another name"
        )
    return known


def _write_new(
    store: Store,
    info: StudyInfo,
    lease: Lease,
    known: dict[int, str],
    trials: Iterable[ForeignTrial],
) -> tuple[int, int]:
    """Write the trials that are not known; return the numbers of new and of known trials."""
    keys = set(known.values())
    following = max(known, default=-1) + 1
    added = already = 0
    for chunk in _chunks(trials, AT_ONCE):
        batch = Batch()
        for foreign in chunk:
            number = foreign.trial.number
            if foreign.key in keys:
                already += 1
                continue
            if number < 0:
                number, following = following, following + 1
            if number in known:
                raise StudyMismatch(
                    f"study {info.name!r}: trial {number} differs from the one in "
                    f"{info.tags[SOURCE]}, because both studies were continued; import under "
                    f"another name"
                )
            _add(batch, info, foreign, number)
            added += 1
        store.write(info.uid, batch, lease)
    return added, already


def _add(batch: Batch, info: StudyInfo, foreign: ForeignTrial, number: int) -> None:
    trial = replace(
        foreign.trial,
        number=number,
        seed=trial_seed(info.seed, number),
        attempts=1,
        notes={**foreign.trial.notes, KEY: foreign.key},
    )
    run = Run(
        uid=_run_uid(info.uid, foreign.key),
        trial=number,
        state=trial.state,
        metrics=trial.metrics,
        error=trial.error,
        host=foreign.host,
        started=trial.started,
        ended=trial.ended,
    )
    batch.trials.append(trial)
    batch.runs.append(run)
    batch.reports.extend((run.uid, report) for report in foreign.reports)


def _run_uid(study: str, key: str) -> str:
    """Return a uid derived from the trial, so that repeated writes are idempotent."""
    return hashlib.sha256(f"{study} {key}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def as_tag(value: Any) -> str:
    """Return a value of another tool as the text of a tag."""
    return value if isinstance(value, str) else repr(value)
