"""Resolve the references ``study``, ``study/17`` and ``study/17/2`` to their records."""

from __future__ import annotations

import difflib
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError, StudyNotFound
from tuner.records import Code, Environment, Run, StudyInfo, Trial
from tuner.records.attempts import last_attempt
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_WRITE = "write 'study', 'study/17' for a trial, or 'study/17/2' for its second run"


@dataclass(frozen=True, slots=True)
class Subject:
    """The records of a referenced study, trial or run.

    If the reference names only a study, `trial` is its best trial. If it does not name a run, `run`
    is the last run that is not a replay. Both are None if missing.
    """

    name: str
    info: StudyInfo
    whole_study: bool
    trial: Trial | None = None
    run: Run | None = None
    code: Code | None = None
    environment: Environment | None = None

    @property
    def params(self) -> dict[str, Any]:
        """The params by dotted path."""
        if self.trial is None:
            return {}
        if not self.info.space:
            return self.trial.params
        return Space.from_dict(self.info.space).flatten(self.trial.params)


def resolve(ref: str, store: Store) -> Subject:
    """Resolve a reference.

    Raises
    ------
    ArgumentError
        If the reference is invalid, or the trial or run does not exist.
    StudyNotFound
        If the study does not exist.
    """
    name, number, attempt = _parts(ref)
    info = find_study(name, store)
    if number is None:
        trial = _best(info, store)
    else:
        trial = find_trial(info, number, store)
        if trial is None:
            raise ArgumentError(
                f"{ref!r}: study {name!r} has no trial {number}; trials are numbered from 0"
            )
    run = None if trial is None else _run(ref, info, trial, attempt, store)
    return Subject(
        name=ref,
        info=info,
        whole_study=number is None,
        trial=trial,
        run=run,
        code=store.get_code(run.code) if run is not None and run.code else None,
        environment=(
            store.get_environment(run.environment) if run is not None and run.environment else None
        ),
    )


def find_study(name: str, store: Store, uid: str = "") -> StudyInfo:
    """Return the study with that uid, or else that name.

    Raises
    ------
    StudyNotFound
        If the study does not exist; the message suggests similar names.
    """
    info = store.find_study(name, uid)
    if info is None:
        known = [study.name for study in store.studies()]
        close = difflib.get_close_matches(str(name), known) or known[-3:]
        remedy = f"it has {', '.join(map(repr, close))}" if close else "it has no studies"
        raise StudyNotFound(f"study {name!r} does not exist in {store}; {remedy}")
    return info


def find_trial(info: StudyInfo, number: int, store: Store) -> Trial | None:
    """Return the trial with the given number of a study, or None."""
    return next(store.trials(info.uid, number=number), None)


def _parts(ref: str) -> tuple[str, int | None, int | None]:
    if not isinstance(ref, str) or not ref:
        raise ArgumentError(f"{ref!r} is not a reference; {_WRITE}")
    name, *numbers = ref.split("/")
    if len(numbers) > 2 or not all(n.isdecimal() and len(n) < 19 for n in numbers):
        raise ArgumentError(f"{ref!r} is not a reference; {_WRITE}")
    number, attempt = [*map(int, numbers), None, None][:2]
    return name, number, attempt


def _best(info: StudyInfo, store: Store) -> Trial | None:
    """Return the best eligible trial by the first goal, or None."""
    with closing(store.best_trials(info.uid, info.goal.direction)) as trials:
        return next((trial for trial in trials if trial.eligible), None)


def _run(ref: str, info: StudyInfo, trial: Trial, attempt: int | None, store: Store) -> Run | None:
    runs = list(store.runs(info.uid, trial.number))
    if attempt is None:
        return last_attempt(runs)
    for run in runs:
        if run.attempt == attempt:
            return run
    raise ArgumentError(
        f"{ref!r}: trial {trial.number} has {len(runs)} runs, which are numbered from 1"
    )
