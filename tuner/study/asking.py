"""The calls that ask what was recorded: studies, trials, where a model came from, and the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.boundary import public
from tuner.errors import StoreCorrupt
from tuner.records import ModelVersion, StudyInfo
from tuner.study.create import fingerprint_of

if TYPE_CHECKING:
    from tuner.provenance.compare import Comparison
    from tuner.provenance.lineage import Lineage
    from tuner.provenance.replay import Replay
    from tuner.query import QueryResult
    from tuner.registry.protocol import ModelFormat


@public()
def list_studies(*, store: str | Path | None = None) -> list[StudyInfo]:
    """Return what is fixed about each study of the store, oldest first."""
    from tuner.tracking import open_store

    return list(open_store(store).studies())


@public()
def find(query: str = "", *, what: str = "trials", store: str | Path | None = None) -> QueryResult:
    """Return what a query finds in a store, to be gone through or made a DataFrame.

    Parameters
    ----------
    query
        Such as ``"metrics.accuracy > 0.95 and params.model == 'svm' order by value limit 20"``;
        an empty one finds everything.
    what
        ``"trials"`` gives pairs of a study's name and a `Trial`, ``"runs"`` pairs with a `Run`,
        ``"studies"`` each `StudyInfo` and ``"models"`` each `ModelVersion`.
    store
        As for `optimize`.

    Raises
    ------
    QueryError
        If the query is none, or names a field that there is not; says where.

    Examples
    --------
    >>> import tempfile, tuner
    >>> folder = tempfile.mkdtemp()
    >>> study = tuner.create_study({"x": tuner.Int(1, 9)}, study="s", store=folder, seed=0)
    >>> for _ in range(9):
    ...     trial = study.ask()
    ...     told = study.tell(trial, trial.params["x"])
    >>> query = "params.x in (2, 3) or value > 8 order by value desc"
    >>> [(name, trial.params["x"]) for name, trial in tuner.find(query, store=folder)]
    [('s', 9), ('s', 3), ('s', 2)]
    """
    from tuner.query import search
    from tuner.tracking import open_store

    return search(open_store(store), query, what=what)


@public()
def compare(*refs: str, store: str | Path | None = None) -> Comparison:
    """Return studies, trials or runs side by side.

    Parameters
    ----------
    refs
        Two of ``"study"`` (its best trial), ``"study/17"`` (a trial) or ``"study/17/2"`` (a run of
        it), or more.
    store
        As for `optimize`.

    Returns
    -------
    Comparison
        Tables of params, metrics, packages and other facts, and the diff of the code;
        ``.differing()`` leaves out what they have in common.

    Raises
    ------
    ArgumentError, StudyNotFound
        If there are fewer than two, or one is not there.
    """
    from tuner.provenance.compare import compare as compare_in
    from tuner.tracking import open_store

    return compare_in(refs, open_store(store))


@public()
def replay(
    ref: str,
    *,
    store: str | Path | None = None,
    objective: Callable[..., Any] | str | None = None,
    repository: str | Path | None = None,
    data: Any = None,
    metrics: Sequence[str] = (),
    tolerance: float = 0.0,
) -> Replay:
    """Run a trial again from its record, and say whether the same came of it.

    It is recorded as a further run of the trial, whose outcome does not change.

    Parameters
    ----------
    ref
        ``"study/17"``; ``"study/17/2"`` compares with its second run.
    store
        As for `optimize`.
    objective
        The function, to run in this process; or ``"script.py:function"``. None finds it by the
        record: its commit in a temporary worktree if the repository is at hand, else its file as it
        is now, else its recorded source. That runs in a fresh process.
    repository
        A folder of the git repository; None takes the working directory.
    data
        The data as they are now, to compare their fingerprint with the recorded one.
    metrics
        The metrics that must agree; all if none are named.
    tolerance
        How far two values may be apart, relative to the larger one.

    Raises
    ------
    ArgumentError
        If there is no such trial, it has no outcome, or its objective cannot be found.
    """
    from tuner.provenance.replay import replay as replay_in
    from tuner.tracking import open_store

    return replay_in(
        ref,
        open_store(store),
        objective=objective,
        repository=None if repository is None else Path(repository),
        data=fingerprint_of(data),
        metrics=metrics,
        tolerance=tolerance,
    )


@public()
def lineage(ref: str, *, store: str | Path | None = None) -> Lineage:
    """Return where a model version came from: run, trial, study, code, environment and data.

    Parameters
    ----------
    ref, store
        As for `load_model`.

    Raises
    ------
    ModelNotFound
        If there is no such version.
    """
    from tuner.provenance.lineage import lineage as lineage_in
    from tuner.tracking import open_store

    return lineage_in(ref, open_store(store))


@public()
def load_model(
    ref: str,
    *,
    store: str | Path | None = None,
    format: ModelFormat | None = None,
    allow_pickle: bool = False,
    trusted: Sequence[str] = (),
) -> Any:
    """Return a registered model, its checksum verified and no code of its own executed.

    Parameters
    ----------
    ref
        ``"name"`` (its champion), ``"name@champion"`` or another alias, ``"name@3"`` for a version.
    store
        As for `optimize`.
    format
        A format of one's own that the model was kept in.
    allow_pickle
        Load a model that was kept as a pickle; that runs whatever code it carries.
    trusted
        Type names to allow besides those that tuner and the operator allow.

    Returns
    -------
    object
        The model; the params, for a version that holds a configuration alone.

    Raises
    ------
    ModelNotFound, UntrustedModel, ChecksumMismatch
    """
    from tuner.registry import Registry
    from tuner.tracking import open_store

    return Registry(open_store(store)).load(
        ref, format=format, allow_pickle=allow_pickle, trusted=trusted
    )


@public(data=StoreCorrupt)
def list_models(*, store: str | Path | None = None) -> list[ModelVersion]:
    """Return every registered model version, by name and version."""
    from tuner.registry import Registry
    from tuner.tracking import open_store

    registry = Registry(open_store(store))
    return [version for name in registry.models() for version in registry.versions(name)]
