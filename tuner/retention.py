"""Retention of a study's models: keep the models of the best trials and drop the others."""

from __future__ import annotations

from tuner import ranking
from tuner.arguments import as_count
from tuner.boundary import public
from tuner.study import Study
from tuner.tracking.artifacts.retention import forget_models


@public()
def keep_best(study: Study, k: int) -> int:
    """Forget the models of a study but those of its `k` best trials, and return how many.

    Kept as well are the models of trials that have not ended, what a model version was registered
    from, and with several goals those of the Pareto front, whatever `k` is. Other artifacts than
    models stay. The files are deleted by ``tuner gc``.

    Raises
    ------
    ArgumentError
        If `k` is not an integer of at least 1.
    """
    k = as_count("k", k) or 1
    trials = study.trials
    ranked = ranking.best_first(study.info.goal, [t for t in trials if t.eligible])
    kept = {t.number for t in trials if not t.state.finished}
    kept |= {t.number for t in ranked[:k]}
    if len(study.goals) > 1:
        kept |= {t.number for t in study.best_trials}
    return forget_models(study.store, study.info.uid, kept)
