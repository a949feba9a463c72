"""The MLflow client, if MLflow is installed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sqlalchemy import make_url

from tuner.errors import ArgumentError, ForeignRecordError, MissingExtra
from tuner.errors.credentials import remember

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
    return MlflowClient(tracking_uri=_as_text(uri))


def _as_text(uri: object) -> str:
    if not isinstance(uri, str | os.PathLike):
        raise ArgumentError(f"mlflow uri={uri!r}: write MLflow's tracking URI")
    text = os.fspath(uri)
    remember(text)
    return text


def check_is_there(uri: str) -> None:
    """Check that a local database or folder exists: MLflow would create it to read it.

    Raises
    ------
    ForeignRecordError
        If it does not exist.
    """
    text = _as_text(uri)
    parts = urlsplit(text)
    if parts.scheme in ("", "file"):
        path = url2pathname(parts.path) if parts.scheme else text
        missing = not os.path.isdir(path)
    elif parts.scheme.partition("+")[0] == "sqlite":
        path = make_url(text).database or ""
        missing = not os.path.isfile(path)
    else:
        return
    if missing:
        raise ForeignRecordError(f"mlflow at {uri}: {path!r} does not exist; check the path")


def find_experiment(client: MlflowClient, uri: str, name: str) -> Experiment:
    """Return the experiment of that name.

    Raises
    ------
    ForeignRecordError
        If it does not exist, or the server does not answer.
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
