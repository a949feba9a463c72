"""Register a trial of a study as a model version, and keep the models of the best trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError, MissingExtra, RegistryError
from tuner.errors.notices import raised_late
from tuner.optimizers import ranking
from tuner.records import (
    Artifact,
    ModelVersion,
    Params,
    Run,
    State,
    StudyInfo,
    Trial,
    Upload,
    ValueEstimate,
)
from tuner.records.attempts import last_attempt
from tuner.registry import Registry
from tuner.registry.formats import check_named, load_files, save_model
from tuner.registry.monitoring import keep_profile
from tuner.registry.names import REFIT
from tuner.registry.prediction import signature_of
from tuner.registry.protocol import ModelFormat
from tuner.signatures import Signature
from tuner.study.arguments import as_count, as_trial_number
from tuner.tracking.artifacts.retention import UnwantedModels, forget_models, unwanted_models
from tuner.tracking.batch import Batch

if TYPE_CHECKING:
    from tuner.study.results import StudyResults


def register_trial(
    registry: Registry,
    info: StudyInfo,
    trial: Trial,
    name: str,
    refit: Callable[[Params], Any] | None = None,
    *,
    format: str | ModelFormat | None = None,
    allow_pickle: bool = False,
    example: Any = None,
    signature: Signature | None = None,
    estimate: ValueEstimate | None = None,
    data: Any = None,
) -> ModelVersion:
    """Register a trial of a study under `name`; a repeated call returns the same version.

    The version keeps the estimate of the last call that has one, and the profile of the first
    `data`.

    The model is the result of `refit` on the params of the trial, or the model that its run logged.
    Without either, the version holds the params alone. The environment of a refitted model is that
    of this process.

    Raises
    ------
    RegistryError
        If `refit` fails, or no format accepts its result. The record of the study does not change.
    ArgumentError, MissingExtra
        If the format does not exist, is not allowed, or its library is not installed; `refit` is
        not called.
    """
    if isinstance(format, str):
        check_named(format, allow_pickle=allow_pickle)
    run = _completed_run(registry, info, trial)
    known = registry.find_version(name, run.uid)
    if known is not None:
        if example is not None or signature is not None:
            model = _loaded(registry, known.artifact, allow_pickle)
            found = signature_of(model, example, signature)
            assert found is not None
            known = registry.set_signature(f"{name}@{known.version}", found)
        if estimate not in (None, known.estimate):
            known = registry.set_estimate(known, estimate)
        if data is not None and registry.profile(f"{name}@{known.version}") is None:
            fitted = partial(_loaded, registry, known.artifact, allow_pickle)
            with raised_late():
                _keep_profile(registry, info, run, data, fitted)
        return known
    with raised_late():
        artifact, model = _logged_model(registry, info, run), None
        if refit is not None:
            from tuner.provenance.capture import current_environment

            model = _refitted(info, trial, refit)
            try:
                kind, files = save_model(
                    model, format=format, allow_pickle=allow_pickle, example=example
                )
            except RegistryError as error:
                raise RegistryError(
                    f"study {info.name!r}: {error}; the study itself is recorded: to register a "
                    f"model later, write study.register(refit=..., allow_pickle=...)"
                ) from error
            upload = Upload(REFIT, files, kind="model", format=kind)
            artifact = registry.store.put_artifact(run.uid, upload)
            registry.store.write(info.uid, Batch(artifacts=[artifact]))
            run = replace(run, environment=registry.store.put_environment(current_environment()))
        elif example is not None or data is not None:
            model = _loaded(registry, artifact, allow_pickle)
        if data is not None:
            _keep_profile(registry, info, run, data, lambda: model)
        return registry.register(
            name,
            study=info,
            trial=trial,
            run=run,
            artifact=artifact,
            goal=info.goal,
            value=trial.values[0],
            estimate=estimate,
            signature=signature_of(model, example, signature),
        )


def completed_trial(study: StudyResults, trial: Trial | int) -> Trial:
    """Return a completed trial, given as a record or by its number.

    Raises
    ------
    ArgumentError
        If the study lacks this trial, or it is not completed.
    """
    number = as_trial_number(trial)
    found = next((each for each in study.trials if each.number == number), None)
    if found is None:
        raise ArgumentError(f"study {study.name!r} has no trial {number}")
    if found.state is not State.COMPLETED:
        raise ArgumentError(
            f"study {study.name!r}: trial {number} is {found.state.value}; pass a completed trial"
        )
    return found


def _completed_run(registry: Registry, info: StudyInfo, trial: Trial) -> Run:
    run = last_attempt(registry.store.runs(info.uid, trial.number), State.COMPLETED)
    assert run is not None, f"trial {trial.number} is completed and has no such run"
    return run


def _logged_model(registry: Registry, info: StudyInfo, run: Run) -> Artifact | None:
    """Return the model that the run logged: the one called "model", else the first by name."""
    models = [a for a in registry.store.artifacts(info.uid, run.uid) if a.kind == "model"]
    return min(models, key=lambda a: (a.name != "model", a.name), default=None)


def _keep_profile(
    registry: Registry, info: StudyInfo, run: Run, data: Any, model: Callable[[], Any]
) -> None:
    """Store the profile of the data of a run that is registered, if the data is a table."""
    from tuner.study.profiling import profile_of

    seconds = (run.ended or 0.0) - (run.started or 0.0)
    profile = profile_of(data, model, seconds=seconds)
    if profile is not None:
        keep_profile(registry.store, info, run.uid, profile)


def _loaded(registry: Registry, artifact: Artifact | None, allow_pickle: bool) -> Any:
    """Return a model to predict its outputs, None if it cannot be loaded without permission."""
    if artifact is None:
        return None
    try:
        files = registry.store.read_artifact(artifact)
        return load_files(artifact.format, files, allow_pickle=allow_pickle)
    except (RegistryError, ArgumentError, MissingExtra):
        return None


def _refitted(info: StudyInfo, trial: Trial, refit: Callable[[Params], Any]) -> Any:
    try:
        return refit(trial.params)
    except Exception as error:
        raise RegistryError(
            f"study {info.name!r}: refit failed on the params {trial.params!r}: "
            f"{type(error).__name__}: {error}; the study itself is recorded"
        ) from error


def keep_models(study: StudyResults, k: int) -> int:
    """Forget the models of all trials but the `k` best; see `Study.keep_models`."""
    return forget_models(study.store, study.info.uid, _kept(study, k))


def models_to_forget(study: StudyResults, k: int) -> UnwantedModels:
    """Return the models that `keep_models` would forget."""
    return unwanted_models(study.store, study.info.uid, _kept(study, k))


def _kept(study: StudyResults, k: int) -> set[int]:
    """Return the trials that keep their models: unfinished ones, the `k` best and the front."""
    k = as_count("k", k) or 1
    trials = study.trials
    ranked = ranking.best_first(study.info.goal, [t for t in trials if t.eligible])
    kept = {t.number for t in trials if not t.state.finished}
    kept |= {t.number for t in ranked[:k]}
    if len(study.goals) > 1:
        kept |= {t.number for t in study.best_trials}
    return kept
