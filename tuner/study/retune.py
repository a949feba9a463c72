"""Tune a registered model again on new data, starting from the study that it came from.

The old values were measured on other data, so they are no values of the new objective. The first
trial repeats the configuration of the model, and the old study guides the others; see
`tuner.optimizers.TransferOptimizer`.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError
from tuner.errors.boundary import public
from tuner.records import ModelVersion, Params, StudyInfo, Trial
from tuner.registry.retuned import NOTE, Retuned
from tuner.search_spaces import Space
from tuner.study.arguments import as_space
from tuner.study.fitting import Fitting, Misfit
from tuner.study.optimize import optimize
from tuner.study.study import Study
from tuner.tracking.references import find_study

if TYPE_CHECKING:
    from tuner.backends.protocol import Backend
    from tuner.engine.progress import Progress
    from tuner.optimizers.protocol import Optimizer
    from tuner.schedulers.protocol import Scheduler


@public()
def retune(
    ref: str,
    objective: Callable[..., Any],
    *,
    data: Any = None,
    n_trials: int = 15,
    timeout: float | None = None,
    space: Space | Mapping[str, Any] | None = None,
    optimizer: str | Optimizer = "transfer",
    scheduler: str | Scheduler | None = None,
    backend: str | Backend | None = None,
    workers: int | None = None,
    resources: Mapping[str, float] | None = None,
    seed: int | None = None,
    study: str | None = None,
    refit: Callable[[Params], Any] | None = None,
    profile: bool = True,
    confirm: int | None = None,
    callbacks: Sequence[Callable[[Study, Trial], None]] = (),
    progress: bool | Progress = True,
    store: str | Path | None = None,
) -> Study:
    """Tune a registered model again on new data, and register the winner under the same name.

    The new study has the space, the goal and the constraints of the model's study. Its first trial
    has the configuration of the model, and the old study guides the others.

    The winner becomes champion if the promotion rules allow it. As the data has changed, they
    compare it with the value that the configuration of `ref` has on the new data, and a tie is
    enough; see `tuner.registry.PromotionRule`. A winner that the rules refuse becomes challenger.

    Parameters
    ----------
    ref
        The model version, such as ``"name@champion"``.
    objective
        A function as for `tuner.optimize`, which evaluates params on the new data.
    data
        The new data, for its fingerprint and the profile of the new version.
    n_trials
        Total number of trials.
    space
        Another search space, whose points the old configurations are fitted to. None takes the
        space of the old study.
    optimizer
        As for `tuner.optimize`. ``"transfer"`` is guided by the old study; others start anew from
        the configuration of `ref`.
    study
        Name of the new study. Repeating a call with a name finishes an interrupted re-tune.
    timeout, scheduler, backend, workers, resources, seed, refit, profile, confirm, callbacks, \
progress, store
        As for `tuner.optimize`.

    Returns
    -------
    Study
        The new study; ``study.winner`` is the version that was registered.

    Raises
    ------
    ModelNotFound
        If the version does not exist.
    ArgumentError
        If an argument is invalid, or the configuration is not a point of `space`.

    Examples
    --------
    >>> import tempfile, tuner
    >>> folder = tempfile.mkdtemp()
    >>> options = dict(backend="serial", seed=0, store=folder, progress=False)
    >>> study = tuner.optimize(
    ...     lambda params: (params["x"] - 1) ** 2, {"x": tuner.Float(0, 4)}, n_trials=20,
    ...     data=[1], register="bowl", **options,
    ... )
    >>> new = tuner.retune(
    ...     "bowl@champion", lambda params: (params["x"] - 1.2) ** 2, data=[2], **options
    ... )
    >>> new.best_value < 0.01, tuner.list_models(store=folder)[1].aliases
    (True, ('champion',))
    """
    from tuner.registry import Registry

    registry = Registry(store)
    version = registry.get(ref)
    old = find_study(version.study, registry.store)
    searched = _space(version, old, space)
    first = _configuration(searched, version, old)
    found = optimize(
        objective,
        searched,
        direction=version.goal.direction.value,
        metric=version.goal.metric,
        constraints=[str(constraint) for constraint in old.constraints],
        n_trials=n_trials,
        timeout=timeout,
        optimizer=optimizer,
        scheduler=scheduler,
        backend=backend,
        workers=workers,
        resources=resources,
        seed=seed,
        study=study or _name(version),
        store=store,
        register=False,
        data=data,
        initial=[first],
        warm_start=[old.name] if optimizer == "transfer" else (),
        confirm=confirm,
        callbacks=callbacks,
        tags={"retune": f"{version.name}@{version.version}"},
        progress=progress,
    )
    if any(trial.eligible for trial in found):
        _note(found, version, first)
        found.register(version.name, refit=refit, data=data if profile else None)
    return found


def _configuration(space: Space, version: ModelVersion, old: StudyInfo) -> Params:
    """Return the configuration of a version as a point of the space.

    Raises
    ------
    ArgumentError
        If it is not a point of the space.
    """
    found = Fitting(space).fit(Space.from_dict(old.space).flatten(version.params))
    if isinstance(found, Misfit):
        raise ArgumentError(
            f"retune: the configuration of model '{version.name}@{version.version}' is not a point "
            f"of this space: {found.reason}; leave space= out, or extend the space"
        )
    return found


def _space(version: ModelVersion, old: StudyInfo, space: Space | Mapping[str, Any] | None) -> Space:
    if len(old.goals) > 1:
        raise ArgumentError(
            f"retune: study {old.name!r} of model '{version.name}@{version.version}' has "
            f"{len(old.goals)} goals, so it has no single winner; search again with "
            f"tuner.optimize, and register a trial"
        )
    return Space.from_dict(old.space) if space is None else as_space(space)


def _name(version: ModelVersion) -> str:
    return f"{version.name}-retune-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def _note(study: Study, version: ModelVersion, params: Params) -> None:
    """Record the value that the configuration of a version has on the data of a new study."""
    key = study.space.key(params)
    trial = next((t for t in study.trials if study.space.key(t.params) == key), None)
    note = Retuned(version.name, version.version)
    if trial is not None:
        value = trial.values[0] if trial.eligible else math.nan
        note = replace(
            note, trial=trial.number, value=value, estimate=study.winner.estimate_of(trial)
        )
    study.set_study_note(NOTE, note.to_json())
