"""Import of Optuna studies from Optuna's database, independent of how they were created."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.boundary import public
from tuner.credentials import hide
from tuner.errors import ForeignRecordError
from tuner.integrations.importing import (
    ForeignStudy,
    ForeignTrial,
    Imported,
    as_tag,
    write_foreign,
)
from tuner.integrations.observed_space import ObservedSpace, Presence, can_branch
from tuner.integrations.optuna_tables import (
    Distribution,
    OptunaStudy,
    OptunaTables,
    OptunaTrial,
    reading,
)
from tuner.records import Direction, Failure, Goal, Report, State, Trial
from tuner.search_spaces import Choice, Const, Domain, Float, Int

if TYPE_CHECKING:
    from tuner.tracking import SqlStore

_DONE = {"COMPLETE": State.COMPLETED, "PRUNED": State.STOPPED, "FAIL": State.FAILED}
"""States of Optuna's that are final, and ours."""


@public(files=ForeignRecordError)
def import_optuna(
    storage: str,
    study: str | None = None,
    *,
    name: str | None = None,
    store: str | Path | SqlStore | None = None,
) -> list[Imported]:
    """Import Optuna studies: the trials that have an outcome and were not imported before.

    The space combines all distributions of the trials; see `observed_space` for parameters that
    only some trials had. Intermediate values become reports, study attributes become tags, and
    trial attributes become notes. Waiting and running trials are left for a later import.

    Parameters
    ----------
    storage
        Optuna's ``storage``: an SQLAlchemy URL of SQLite or PostgreSQL, or a SQLite file. It is
        only read.
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
    with reading(storage) as tables:
        there = tables.studies()
        chosen = [s for s in there if study is None or s.name == study]
        if not chosen:
            known = ", ".join(repr(s.name) for s in there) or "none"
            which = "a study" if study is None else repr(study)
            raise ForeignRecordError(
                f"optuna storage {tables.shown} has not {which}; it has {known}"
            )
        if name is not None and len(chosen) > 1:
            raise ForeignRecordError(
                f"optuna storage {tables.shown} has {len(chosen)} studies; say which one is to be "
                f"called {name!r}"
            )
        return [_import(tables, s, name or _as_name(s.name), store) for s in chosen]


def _import(
    tables: OptunaTables, study: OptunaStudy, name: str, store: str | Path | SqlStore | None
) -> Imported:
    distributions = tables.distributions(study.id)
    if not distributions:
        raise ForeignRecordError(
            f"optuna study {study.name!r} has no trial with a parameter, so there is nothing to "
            f"import"
        )
    space, decoder = _observe(tables, study, distributions)
    goals = _goals(study)
    foreign = ForeignStudy(
        source=f"optuna:{study.name}",
        name=name,
        space=space.space,
        goals=goals,
        created=next((t.started for t in tables.trials(study.id, params_only=True)), None),
        tags={key: as_tag(value) for key, value in study.user_attrs.items()},
    )
    unfinished = 0

    def finished() -> Iterator[ForeignTrial]:
        nonlocal unfinished
        for trial in tables.trials(study.id):
            if trial.state in _DONE:
                yield _foreign_trial(trial, space, decoder, goals)
            else:
                unfinished += 1

    done = write_foreign(foreign, finished(), store)
    return Imported(done.study, done.added, done.known, unfinished)


_Decoder = Callable[[OptunaTrial], dict[str, Any]]


def _observe(
    tables: OptunaTables, study: OptunaStudy, distributions: list[Distribution]
) -> tuple[ObservedSpace, _Decoder]:
    """Return the space inferred from the trials, and a function that decodes their values."""
    by_name: dict[str, list[Distribution]] = {}
    for distribution in distributions:
        by_name.setdefault(distribution.param, []).append(distribution)
    domains = {param: _domain(param, found) for param, found in by_name.items()}
    decode = _decoder(domains)
    stepped = {p for p, d in domains.items() if isinstance(d, Float | Int) and d.step}
    presence = Presence(frozenset(p for p, d in domains.items() if can_branch(d)))
    for trial in tables.trials(study.id, params_only=True):
        if trial.state not in _DONE:
            continue
        values = decode(trial)
        # A failed trial may lack parameters that it would have suggested later.
        if trial.state != "FAIL":
            presence.add(values)
        for param in [p for p in stepped & values.keys() if not domains[p].contains(values[p])]:
            # Optuna allows a step to change between trials, and any value to be enqueued.
            domains[param] = _without_step(domains[param])
            stepped.discard(param)
    return ObservedSpace(domains, presence), _decoder(domains)


def _decoder(domains: Mapping[str, Domain]) -> _Decoder:
    """Return a function that decodes a trial's values by parameter, as values of our domains."""
    choices: dict[str, list[Any]] = {}

    def decode(trial: OptunaTrial) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for param, (number, text) in trial.params.items():
            domain = domains[param]
            if isinstance(domain, Float | Int):
                values[param] = domain.type(number)
                continue
            if text not in choices:
                choices[text] = json.loads(text)["attributes"].get("choices", [])
            listed = choices[text]
            values[param] = listed[int(number)] if listed else _const(domain)
        return values

    return decode


def _const(domain: Domain) -> Any:
    return domain.grid(1)[0]


def _domain(param: str, found: list[Distribution]) -> Domain:
    """Return a domain that contains all distributions and all observed values of a parameter."""
    kinds = {d.kind for d in found}
    attributes = [d.attributes for d in found]
    if kinds == {"CategoricalDistribution"}:
        options: list[Any] = []
        for option in (o for a in attributes for o in a["choices"]):
            if not any(type(o) is type(option) and o == option for o in options):
                options.append(option)
        return Choice(*options) if len(options) > 1 else Const(options[0])
    numeric = {"FloatDistribution": Float, "IntDistribution": Int}
    if not kinds <= numeric.keys():
        raise ForeignRecordError(
            f"optuna parameter {param!r} has the distributions {', '.join(sorted(kinds))}; numbers "
            f"and categories cannot be one parameter, and older kinds need: optuna storage upgrade"
        )
    kind: Any = Float if "FloatDistribution" in kinds else Int
    low = kind(0, 1).type(min(*(a["low"] for a in attributes), *(d.low for d in found)))
    high = kind(0, 1).type(max(*(a["high"] for a in attributes), *(d.high for d in found)))
    if low == high:
        return Const(low)
    log = all(a["log"] for a in attributes) and low > 0
    steps = {a["step"] for a in attributes}
    (step,) = steps if len(steps) == 1 else (None,)
    if log or (kind is Int and step == 1) or (step is not None and low + step > high):
        step = None
    made: Domain = kind(low, high, log=log, step=step)
    # A step that does not divide the range would cut off its end.
    return made if made.contains(low) and made.contains(high) else kind(low, high, log=log)


def _without_step(domain: Domain) -> Domain:
    assert isinstance(domain, Float | Int)
    return type(domain)(domain.low, domain.high, log=domain.log)


def _goals(study: OptunaStudy) -> tuple[Goal, ...]:
    many = len(study.directions) > 1
    named = study.system_attrs.get("study:metric_names")
    names = named or [f"value_{i}" if many else "value" for i in range(len(study.directions))]
    directions = [
        Direction.MAXIMIZE if direction == "maximize" else Direction.MINIMIZE
        for direction in study.directions
    ]
    return tuple(map(Goal, names, directions))


def _foreign_trial(
    trial: OptunaTrial, space: ObservedSpace, decode: _Decoder, goals: tuple[Goal, ...]
) -> ForeignTrial:
    fit = space.fit(decode(trial))
    state = _DONE[trial.state]
    numbers = [trial.values.get(i, math.nan) for i in range(len(goals))]
    if state is State.STOPPED and not trial.values and trial.reports:
        numbers[0] = trial.reports[max(trial.reports)]
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
            started=trial.started,
            ended=trial.ended,
            notes=notes,
            constraints=_constraints(trial.system_attrs),
        ),
        reports=tuple(
            Report(step, {goals[0].metric: value})
            for step, value in trial.reports.items()
            if step >= 0
        ),
    )


def _constraints(system_attrs: Mapping[str, Any]) -> dict[str, float]:
    """Return the values of constraints: named ones, or a list from a constraint function."""
    listed = system_attrs.get("constraints") or ()
    found = {f"constraint_{i}": float(value) for i, value in enumerate(listed)}
    for key, value in system_attrs.items():
        group, colon, name = key.partition(":")
        if group == "constraints" and colon and isinstance(value, int | float):
            found[name] = float(value)
    return found


def _as_name(name: str) -> str:
    """Return a study's name without characters that are invalid in tuner."""
    return "".join("-" if c in "/@\n\r\0" else c for c in name)[:200]
