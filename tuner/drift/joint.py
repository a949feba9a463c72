"""The joint test: a tree classifier that tells new rows from reference rows.

If both come from one distribution, no classifier can rank held-out rows better than by chance. The
test sees changes that no single column shows, such as another correlation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FOLDS = 3

MOST_LEVELS = 100
"""Number of categories of a column that the classifier distinguishes."""


def classifier_test(
    reference: list[np.ndarray[Any, Any]], new: list[np.ndarray[Any, Any]], seed: int
) -> tuple[float, float, list[float]]:
    """Return the held-out AUC, its p-value, and an importance for each column.

    Parameters
    ----------
    reference, new
        The columns of both samples, in the same order: float64, or text or None.
    seed
        Seed of the folds and of the classifier.

    Returns
    -------
    auc : float
        Mean area under the ROC curve over the folds; 0.5 is chance.
    p_value : float
        In each fold, the Mann-Whitney test of held-out scores is valid given the classifier.
        The p-values of 3 folds depend on each other, because the training rows overlap. 3/2 times
        the second smallest is a p-value for any dependence (Rüger).
    importances : list of float
        Decrease of the AUC if the column is permuted in held-out rows; at least 0.

    References
    ----------
    Lopez-Paz, D. and Oquab, M. (2017). Revisiting classifier two-sample tests.
    Rüger, B. (1978). Das maximale Signifikanzniveau des Tests: "Lehne H0 ab, wenn k unter n
    gegebenen Tests zur Ablehnung führen".
    """
    import numpy as np
    from scipy import stats
    from sklearn.model_selection import StratifiedKFold

    rows, is_text = _encoded(reference, new)
    is_new = np.repeat([0, 1], [len(reference[0]), len(new[0])])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    rng = np.random.default_rng(seed)
    p_values, aucs = [], []
    importances = np.zeros(rows.shape[1])
    for i, (train, held_out) in enumerate(folds.split(rows, is_new)):
        model = _model(is_text, seed + i)
        model.fit(rows[train], is_new[train])
        truth = is_new[held_out] == 1
        scores = model.predict_proba(rows[held_out])[:, 1]
        tested = stats.mannwhitneyu(scores[truth], scores[~truth], alternative="greater")
        p_values.append(float(tested.pvalue))
        pairs = truth.sum() * (~truth).sum()
        aucs.append(float(tested.statistic) / pairs)
        if i == 0:
            importances = _importances(model, rows[held_out], truth, aucs[0], rng)
    p_value = min(1.0, 1.5 * sorted(p_values)[1])
    return float(np.mean(aucs)), p_value, importances.tolist()


def _model(is_text: list[bool], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=0.1,
        max_iter=60,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        l2_regularization=1.0,
        early_stopping=False,
        categorical_features=is_text,
        random_state=seed,
    )


def _encoded(
    reference: list[np.ndarray[Any, Any]], new: list[np.ndarray[Any, Any]]
) -> tuple[np.ndarray[Any, Any], list[bool]]:
    """Return both samples as one matrix of finite numbers and NaN; labels have no influence."""
    import numpy as np
    import pandas as pd

    encoded, is_text = [], []
    for old, fresh in zip(reference, new, strict=True):
        both = np.concatenate([old, fresh])
        text = both.dtype == object
        if text:
            codes, names = pd.factorize(pd.Series(both), sort=True)
            frequent = np.argsort(-np.bincount(codes[codes >= 0], minlength=len(names)))
            place = np.empty(len(names))
            place[frequent] = np.minimum(np.arange(len(names)), MOST_LEVELS)
            both = np.where(codes < 0, np.nan, place[codes] if len(names) else np.nan)
        largest = np.finfo(np.float32).max
        encoded.append(np.clip(both.astype(np.float64), -largest, largest))
        is_text.append(text)
    return np.column_stack(encoded), is_text


def _importances(
    model: Any,
    rows: np.ndarray[Any, Any],
    truth: np.ndarray[Any, Any],
    auc: float,
    rng: np.random.Generator,
) -> np.ndarray[Any, Any]:
    import numpy as np
    from sklearn.metrics import roc_auc_score

    losses = np.zeros(rows.shape[1])
    for j in range(rows.shape[1]):
        kept = rows[:, j].copy()
        rows[:, j] = rng.permutation(kept)
        losses[j] = auc - roc_auc_score(truth, model.predict_proba(rows)[:, 1])
        rows[:, j] = kept
    return np.maximum(losses, 0.0)
