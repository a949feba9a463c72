"""The models that remain after a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.study.search import ModelPolicy
    from tuner.study.study import Study


def apply_policy(study: Study, policy: ModelPolicy) -> None:
    """Register the best trial, and drop the models that the policy does not keep."""
    if policy.name is not None and any(trial.eligible for trial in study):
        study.register(policy.name or None, refit=policy.refit)
    if policy.keep is not None:
        from tuner.tracking.artifacts.retention import collect

        study.keep_models(policy.keep)
        collect(study.store)
