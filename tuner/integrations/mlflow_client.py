"""The client of MLflow, where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.errors import ForeignRecordError, MissingExtra

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment


def connect(uri: str) -> MlflowClient:
    """Return a client of the tracking server, database or folder at `uri`.

    MLflow's own settings, such as the current tracking URI and run, stay as they are.

    Raises
    ------
    MissingExtra
        If MLflow is not installed.
    """
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise MissingExtra("MLflow is not installed; run: pip install 'tuner[mlflow]'") from error
    return MlflowClient(tracking_uri=uri)


def find_experiment(client: MlflowClient, uri: str, name: str) -> Experiment:
    """Return the experiment of that name.

    Raises
    ------
    ForeignRecordError
        If there is none, or the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_experiment_by_name(name)
        known = [] if found else [e.name for e in client.search_experiments(max_results=20)]
    except MlflowException as error:
        raise ForeignRecordError(f"mlflow at {uri} does not answer: {error}") from error
    if found is None:
        raise ForeignRecordError(
            f"mlflow at {uri} has no experiment {name!r}; it has {', '.join(map(repr, known))}"
        )
    return found
