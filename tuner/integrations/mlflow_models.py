"""Models of a study in MLflow's registry: their artifacts, versions and aliases."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import MissingExtra, RegistryError
from tuner.packages.export import package_of
from tuner.packages.folders import write_files
from tuner.records import ModelVersion
from tuner.registry.registry import Registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tuner.integrations.mlflow_runs import MlflowRuns
    from tuner.study import Study

_PACKAGES, _ARTIFACTS = "models", "artifacts"
"""Folders of a run's artifacts: the packages of its model versions, and its other artifacts."""

_SENT = "tuner.files_of"
"""Prefix of the tag of a run whose files of a model version were sent."""

_VERSION_TAG = "tuner.version"

_NAME = re.compile(r"[/:.]")

_log = logging.getLogger(__name__)


def versions_of(study: Study) -> list[ModelVersion]:
    """Return the model versions of the trials of a study, by name and number."""
    registry = Registry(study.store)
    runs = {run.uid for run in study.runs()}
    found = (version for name in registry.models() for version in registry.versions(name))
    return [version for version in found if version.run in runs]


def send_model(client: MlflowClient, runs: MlflowRuns, study: Study, version: ModelVersion) -> None:
    """Send the artifacts of a version, register it in MLflow and set its present aliases.

    Files that the server has are not sent again. A model that cannot be exported is not registered;
    a log message has the reason, and its files are sent as artifacts.
    """
    run = runs.run_of(version.trial)
    if run is None:
        return  # its trial was dropped; catch_up sends both
    registry = Registry(study.store)
    name = _NAME.sub("_", version.name)
    number = _number_of(client, name, version)
    if number is None:
        place, tag = f"{_PACKAGES}/{name}/{version.version}", f"{_SENT}.{name}.{version.version}"
        if client.get_run(run).data.tags.get(tag) == "files":
            return
        package = _package_of(registry, version)
        _send_artifacts(client, run, study, version, package, place)
        client.set_tag(run, tag, "package" if package else "files")
        if not package:
            return
        number = _register(client, name, run, version, place)
    for alias in registry.get(f"{version.name}@{version.version}").aliases:
        client.set_registered_model_alias(name, alias, number)


def _package_of(registry: Registry, version: ModelVersion) -> dict[str, bytes]:
    """Return the package of a version; empty if it has none, which is logged for a model."""
    if version.artifact is None:
        return {}
    try:
        return package_of(registry, version)
    except (RegistryError, MissingExtra) as error:
        _log.warning("mlflow: the model is not registered there: %s", error)
        return {}


def _number_of(client: MlflowClient, name: str, version: ModelVersion) -> str | None:
    """Return the number of a version in MLflow's registry, or None if it lacks it."""
    for found in client.search_model_versions(f"name = {_quoted(name)}"):
        if found.tags.get(_VERSION_TAG) == _title(version):
            return str(found.version)
    return None


def _register(client: MlflowClient, name: str, run: str, version: ModelVersion, place: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name,
        f"{client.get_run(run).info.artifact_uri}/{place}",
        run,
        tags={_VERSION_TAG: _title(version), "tuner.study": version.study},
        description=version.description or None,
    )
    return str(made.version)


def _send_artifacts(
    client: MlflowClient,
    run: str,
    study: Study,
    version: ModelVersion,
    package: Mapping[str, bytes],
    place: str,
) -> None:
    """Send the package, and the artifacts of the run that are not in it."""
    files = {f"{place}/{name}": content for name, content in package.items()}
    for artifact in study.store.artifacts(study.info.uid, version.run):
        if not package or artifact != version.artifact:
            kept = study.store.read_artifact(artifact)
            files |= {f"{_ARTIFACTS}/{artifact.name}/{n}": data for n, data in kept.items()}
    if files:
        with tempfile.TemporaryDirectory(prefix="tuner-mlflow-") as folder:
            write_files(files, Path(folder))
            client.log_artifacts(run, folder)


def _title(version: ModelVersion) -> str:
    """Return the name, number and run of a version, as a deleted model may be made again."""
    return f"{version.name}@{version.version} {version.run}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
