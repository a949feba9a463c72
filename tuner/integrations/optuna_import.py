"""Import of the studies of an Optuna storage as studies of tuner."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError as BadUrl
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tuner.errors import ForeignRecordError, MissingExtra, TunerError
from tuner.errors.boundary import public, translated
from tuner.errors.credentials import hide, hide_in, remember
from tuner.integrations.importing import ForeignStudy, ForeignTrial, Imported, as_tag, write_foreign
from tuner.integrations.observed_space import ObservedSpace, Presence, can_branch
from tuner.optimizers.optuna_adapter import quiet
from tuner.records import Direction, Failure, Goal, Report, State, Trial
from tuner.search_spaces import Choice, Const, Domain, Float, Int
from tuner.study.warm_start import optuna_constraints

if TYPE_CHECKING:
    from tuner.tracking import Store


_DONE = {
    TrialState.COMPLETE: State.COMPLETED,
    TrialState.PRUNED: State.STOPPED,
    TrialState.FAIL: State.FAILED,
}
"""The final states of Optuna, and the states here."""


@public(files=ForeignRecordError)
def import_optuna(
    storage: str | Path | BaseStorage,
    study: str | None = None,
    *,
    name: str | None = None,
    store: str | Path | Store | None = None,
) -> list[Imported]:
    """Import Optuna studies: the trials that have an outcome and were not imported before.

    The space combines all distributions of the trials; see `observed_space` for parameters that
    only some trials had. Intermediate values become reports, study attributes become tags, and
    trial attributes become notes. Waiting and running trials are left for a later import.

    Parameters
    ----------
    storage
        An SQLAlchemy URL of SQLite, PostgreSQL or MySQL, the path of a SQLite or journal file, or a
        storage object of Optuna. It is never written to.
    study
        The name of the study; None imports all.
    name
        The name of the imported study; Optuna's name if None.
    store
        As for `tuner.optimize`.

    Raises
    ------
    ForeignRecordError
        If the storage cannot be read or lacks the study, or no trial of it has an outcome.
    StudyExists
        If a study of this name exists that was not imported from this storage.
    StudyMismatch
        If its parameters or ranges have changed in Optuna, or it was continued here.
    """
    with reading(storage) as (shown, opened):
        known = optuna.get_all_study_names(opened)
        chosen = [n for n in known if study is None or n == study]
        if not chosen:
            wanted = "a study" if study is None else repr(study)
            raise ForeignRecordError(
                f"optuna storage {shown} does not have {wanted}; it has "
                f"{', '.join(map(repr, known)) or 'none'}"
            )
        if name is not None and len(chosen) > 1:
            raise ForeignRecordError(
                f"optuna storage {shown} has {len(chosen)} studies; pass study= to name the one "
                f"that becomes {name!r}"
            )
        return [
            _import(optuna.load_study(study_name=n, storage=opened), name or _as_name(n), store)
            for n in chosen
        ]


def _import(study: optuna.Study, name: str, store: str | Path | Store | None) -> Imported:
    trials = study.get_trials(deepcopy=False)
    finished = [t for t in trials if t.state in _DONE]
    space = _observe(study.study_name, trials, finished)
    goals = _goals(study)
    foreign = ForeignStudy(
        source=f"optuna:{study.study_name}",
        name=name,
        space=space.space,
        goals=goals,
        created=_seconds(trials[0].datetime_start),
        tags={key: as_tag(value) for key, value in study.user_attrs.items()},
    )
    done = write_foreign(foreign, (_foreign_trial(t, space, goals) for t in finished), store)
    return Imported(done.study, done.added, done.known, len(trials) - len(finished))


def _observe(name: str, trials: list[FrozenTrial], finished: list[FrozenTrial]) -> ObservedSpace:
    """Return the space inferred from the trials of the study `name`."""
    distributions: dict[str, dict[str, BaseDistribution]] = {}
    values: dict[str, list[Any]] = {}
    for trial in trials:
        for param, distribution in trial.distributions.items():
            # Optuna equates 1, 1.0 and True.
            distributions.setdefault(param, {}).setdefault(repr(distribution), distribution)
            values.setdefault(param, []).append(trial.params[param])
    if not distributions:
        raise ForeignRecordError(
            f"optuna study {name!r} has no trial with a parameter; run trials before the import"
        )
    domains = {p: _domain(p, [*d.values()], values[p]) for p, d in distributions.items()}
    stepped = {p for p, d in domains.items() if isinstance(d, Float | Int) and d.step}
    presence = Presence(frozenset(p for p, d in domains.items() if can_branch(d)))
    for trial in finished:
        # A failed trial may lack parameters that it would have suggested later.
        if trial.state is not TrialState.FAIL:
            presence.add(trial.params)
        # Optuna allows a step to change between trials, and any value to be enqueued.
        for param in [
            p for p in stepped & trial.params.keys() if not domains[p].contains(trial.params[p])
        ]:
            domains[param] = _without_step(domains[param])
            stepped.discard(param)
    return ObservedSpace(domains, presence)


def _domain(param: str, distributions: list[BaseDistribution], values: list[Any]) -> Domain:
    """Return a domain that contains all distributions and all values of a parameter."""
    if all(isinstance(d, CategoricalDistribution) for d in distributions):
        options: list[Any] = []
        for option in (o for d in distributions for o in d.choices):
            if not any(type(o) is type(option) and o == option for o in options):
                options.append(option)
        return Choice(*options) if len(options) > 1 else Const(options[0])
    if not all(isinstance(d, FloatDistribution | IntDistribution) for d in distributions):
        raise ForeignRecordError(
            f"optuna parameter {param!r} has the distributions "
            f"{', '.join(sorted(type(d).__name__ for d in distributions))}; a parameter cannot "
            f"be both a number and a category"
        )
    whole = all(isinstance(d, IntDistribution) for d in distributions)
    kind: Any = Int if whole else Float
    number = int if whole else float
    low = number(min(*(d.low for d in distributions), *values))
    high = number(max(*(d.high for d in distributions), *values))
    if low == high:
        return Const(low)
    log = all(d.log for d in distributions) and low > 0
    steps = {d.step for d in distributions}
    (step,) = steps if len(steps) == 1 else (None,)
    if log or (whole and step == 1) or (step is not None and low + step > high):
        step = None
    made: Domain = kind(low, high, log=log, step=step)
    # A step that does not divide the range would cut off its end.
    return made if made.contains(low) and made.contains(high) else kind(low, high, log=log)


def _without_step(domain: Domain) -> Domain:
    assert isinstance(domain, Float | Int)
    return type(domain)(domain.low, domain.high, log=domain.log)


def _goals(study: optuna.Study) -> tuple[Goal, ...]:
    directions = [Direction[direction.name] for direction in study.directions]
    many = len(directions) > 1
    names = study.metric_names or [
        f"value_{i}" if many else "value" for i in range(len(directions))
    ]
    return tuple(map(Goal, names, directions))


def _foreign_trial(
    trial: FrozenTrial, space: ObservedSpace, goals: tuple[Goal, ...]
) -> ForeignTrial:
    fit = space.fit(trial.params)
    state = _DONE[trial.state]
    numbers = trial.values or [math.nan] * len(goals)
    reports = trial.intermediate_values
    if state is State.STOPPED and not trial.values and reports:
        numbers[0] = reports[max(reports)]
    metrics = {g.metric: n for g, n in zip(goals, numbers, strict=True) if not math.isnan(n)}
    finite = all(map(math.isfinite, numbers))
    error = None
    if state is State.COMPLETED and not finite:
        # Such a trial is recorded as failed: no optimizer can learn from the value.
        state, error = State.FAILED, Failure("NotFinite", f"the values were {numbers}")
    elif state is State.FAILED:
        reason = trial.system_attrs.get("fail_reason", "Optuna recorded no reason")
        error = Failure("Failed", hide(str(reason)))
    notes: dict[str, Any] = {}
    if trial.user_attrs:
        notes["user_attrs"] = trial.user_attrs
    if fit.filled:
        notes["never_asked_for"] = list(fit.filled)
    if fit.surplus:
        notes["surplus_params"] = fit.surplus
    return ForeignTrial(
        key=str(trial.number),
        trial=Trial(
            number=trial.number,
            params=fit.params,
            state=state,
            values=tuple(numbers) if finite and state is not State.FAILED else (),
            metrics=metrics,
            error=error,
            started=_seconds(trial.datetime_start),
            ended=_seconds(trial.datetime_complete),
            notes=notes,
            constraints=optuna_constraints(trial.system_attrs),
        ),
        reports=tuple(
            Report(step, {goals[0].metric: value})
            for step, value in sorted(reports.items())
            if step >= 0
        ),
    )


def _seconds(moment: datetime | None) -> float | None:
    # Optuna records local time without a time zone.
    return None if moment is None else moment.timestamp()


def _as_name(name: str) -> str:
    """Return a study's name without characters that are invalid in tuner."""
    return "".join("-" if c in "/@\n\r\0" else c for c in name)[:200]


_READABLE = "v3.0.0.d"
"""A revision of Optuna's schema, of Optuna 3.0 and 3.1, that differs in an index only."""

_READ_ONLY: dict[str, dict[str, Any]] = {
    "postgresql": {"execution_options": {"postgresql_readonly": True}},
    "mysql": {"connect_args": {"init_command": "SET SESSION TRANSACTION READ ONLY"}},
}
"""Arguments of ``create_engine`` under which a server refuses to write."""


@contextmanager
def reading(storage: str | os.PathLike[str] | BaseStorage) -> Iterator[tuple[str, BaseStorage]]:
    """Open an Optuna storage; yield its name for messages, and the storage.

    Parameters
    ----------
    storage
        An SQLAlchemy URL, the path of a SQLite or journal file, or a storage object of Optuna.

    Raises
    ------
    ForeignRecordError
        If the storage does not exist, is not Optuna's, is damaged, or has an unknown schema.
    MissingExtra
        If the driver of the database is not installed.
    """
    shown = _shown(storage)
    with (
        translated(f"optuna storage {shown}", files=ForeignRecordError, data=ForeignRecordError),
        _as_foreign(shown),
        quiet(),
    ):
        if isinstance(storage, BaseStorage):
            yield shown, storage
            return
        opened = _open(os.fspath(storage), shown)
        try:
            yield shown, opened
        finally:
            if isinstance(opened, RDBStorage):
                opened.remove_session()
                opened.engine.dispose()


def _shown(storage: Any) -> str:
    if isinstance(storage, BaseStorage):
        return type(storage).__name__
    if not isinstance(storage, str | os.PathLike):
        raise ForeignRecordError(
            f"optuna storage {storage!r}: pass an SQLAlchemy URL, the path of a SQLite or journal "
            f"file, or an Optuna storage"
        )
    text = os.fspath(storage)
    remember(text)
    return hide(text) if "://" in text else repr(text)


@contextmanager
def _as_foreign(shown: str) -> Iterator[None]:
    try:
        yield
    except TunerError:  # some are also a RuntimeError
        raise
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        raise ForeignRecordError(
            f"optuna storage {shown} cannot be read: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> object:
    """Return the message of the database, if any; hide credentials in all messages."""
    hide_in(error)
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    return getattr(cause, "orig", None) or cause


def _open(storage: str, shown: str) -> BaseStorage:
    if "://" in storage:
        url = _url(storage)
        if url.get_backend_name() != "sqlite":
            return _server(url, shown)
        storage = url.database or ""
    # A path is taken literally: '#', '?' and '%' in it are ordinary characters.
    file = Path(storage).expanduser().absolute()
    if not file.is_file():
        raise ForeignRecordError(f"optuna storage {shown}: the file {file} does not exist")
    with file.open("rb") as opened:
        is_journal = opened.read(1) == b"{"
    if is_journal:
        return JournalStorage(JournalFileBackend(str(file)))
    connect = partial(sqlite3.connect, f"{file.as_uri()}?mode=ro", uri=True)
    return _tables("sqlite://", shown, creator=connect, poolclass=NullPool)


def _url(text: str) -> URL:
    try:
        return make_url(text)
    except (BadUrl, ValueError) as error:
        hide_in(error)
        raise ForeignRecordError(
            f"optuna storage {text!r} is not an SQLAlchemy URL: {error}; write "
            f"sqlite:///optuna.db or postgresql://user@host/database"
        ) from error


def _server(url: URL, shown: str) -> RDBStorage:
    backend = url.get_backend_name()
    if url.drivername in ("postgresql", "postgres"):
        url, backend = url.set(drivername="postgresql+psycopg"), "postgresql"
    if backend not in _READ_ONLY:
        raise ForeignRecordError(
            f"optuna storage {shown}: URLs of SQLite, PostgreSQL and MySQL are read; pass another "
            f"storage as Optuna's object, such as JournalStorage(JournalRedisBackend(...))"
        )
    text = url.render_as_string(hide_password=False)
    # Optuna formats the URL.
    return _tables(text.replace("{", "{{").replace("}", "}}"), shown, **_READ_ONLY[backend])


def _tables(url: str, shown: str, **engine: Any) -> RDBStorage:
    try:
        storage = RDBStorage(
            url, engine_kwargs=engine, skip_compatibility_check=True, skip_table_creation=True
        )
        revision = storage.get_current_version()
    except ImportError as error:
        raise MissingExtra(
            f"optuna storage {shown}: its database driver is not installed ({error.__cause__}); "
            f"run pip install 'tuner[postgres]' for PostgreSQL, pip install PyMySQL for MySQL"
        ) from error
    except optuna.exceptions.StorageInternalError as error:
        raise ForeignRecordError(
            f"optuna storage {shown} cannot be read, or lacks tables of Optuna: {_reason(error)}"
        ) from error
    if revision not in (_READABLE, storage.get_head_version()):
        storage.engine.dispose()
        raise ForeignRecordError(
            f"optuna storage {shown} has schema {revision}, which Optuna {optuna.__version__} "
            f"cannot read; upgrade an older one by: optuna storage upgrade --storage {shown}"
        )
    return storage
