"""Optuna's RDB storage: the same trials, recorded through its public API."""

from __future__ import annotations

import time
import uuid
import warnings

import optuna

COLOURS = ("red", "green", "blue")


def trials_a_second(url: str, n: int, reports: int) -> float:
    """Return trials of ten parameters recorded per second: ask, suggest, report, tell."""
    study = _study(url)
    _one(study, reports)
    began = time.perf_counter()
    for _ in range(n):
        _one(study, reports)
    return n / (time.perf_counter() - began)


def load_seconds(url: str, n: int) -> float:
    """Return the seconds that a new storage takes to load a study of `n` trials."""
    name = _filled(url, n)
    study = optuna.load_study(study_name=name, storage=url)
    began = time.perf_counter()
    trials = study.get_trials(deepcopy=False)
    seconds = time.perf_counter() - began
    assert len(trials) == n
    return seconds


def _study(url: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(storage=url, study_name=uuid.uuid4().hex, sampler=sampler)


def _one(study: optuna.Study, reports: int) -> None:
    trial = study.ask()
    value = sum(trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(6))
    for i in range(2):
        trial.suggest_int(f"n{i}", 1, 100)
        trial.suggest_categorical(f"c{i}", COLOURS)
    for k in range(reports):
        trial.report(value / (k + 1), k)
    study.tell(trial, value)


def _filled(url: str, n: int) -> str:
    """Create a study of `n` trials by inserting copies of one trial's rows; return its name.

    Recording 50,000 trials through the public API takes half an hour.
    """
    import sqlalchemy

    study = _study(url)
    _one(study, 0)
    (first,) = study.trials
    engine = sqlalchemy.create_engine(url)
    tables = sqlalchemy.MetaData()
    tables.reflect(engine)
    with engine.begin() as connection:
        trials, params, values = (
            tables.tables[name] for name in ("trials", "trial_params", "trial_values")
        )
        of_first = sqlalchemy.select(trials).where(trials.c.trial_id == first._trial_id)
        trial = dict(connection.execute(of_first).mappings().one())
        ids = range(trial["trial_id"] + 1, trial["trial_id"] + n)
        connection.execute(
            trials.insert(),
            [trial | {"trial_id": k, "number": place} for place, k in enumerate(ids, 1)],
        )
        for table in (params, values):
            query = sqlalchemy.select(table).where(table.c.trial_id == first._trial_id)
            (key,) = table.primary_key.columns
            rows = [dict(row) for row in connection.execute(query).mappings()]
            copies = [
                {name: value for name, value in row.items() if name != key.name} | {"trial_id": k}
                for k in ids
                for row in rows
            ]
            for start in range(0, len(copies), 50_000):
                connection.execute(table.insert(), copies[start : start + 50_000])
    engine.dispose()
    return study.study_name
