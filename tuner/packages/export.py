"""Export of a registered model as a package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ExportError, RegistryError
from tuner.errors.boundary import public
from tuner.packages.content import Parts, content_of
from tuner.packages.folders import check_target, files_of, put
from tuner.packages.loaders import loader_of, modules_of, settings_of
from tuner.packages.requirements import locked, packages_of
from tuner.packages.runtime.manifest import MANIFEST
from tuner.records import ModelVersion
from tuner.registry.card import model_card
from tuner.registry.registry import Registry
from tuner.tracking import open_store

if TYPE_CHECKING:
    from tuner.tracking.store import Store


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A package that was written.

    Attributes
    ----------
    path : Path
        The folder.
    model, version
        The name and number of the version.
    format : str
        The format of the model's files.
    files : int
        Number of files.
    sha256 : str
        SHA-256 of the manifest, which has the checksum of every other file.
    """

    path: Path
    model: str
    version: int
    format: str
    files: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "path": str(self.path),
            "model": self.model,
            "version": self.version,
            "format": self.format,
            "files": self.files,
            "sha256": self.sha256,
        }


@public(files=ExportError)
def export_model(
    ref: str,
    to: str | Path,
    *,
    force: bool = False,
    code: Iterable[str | Path] = (),
    allow_pickle: bool = False,
    trusted: Sequence[str] = (),
    store: Store | str | Path | None = None,
) -> ExportedModel:
    """Write a registered model into a folder that predicts alone, and that MLflow loads.

    The folder needs Python and the packages in its ``requirements.lock``, but not tuner. It appears
    as a whole or not at all. Exports of one version are equal byte for byte, unless its record has
    changed, such as its aliases.

    Parameters
    ----------
    ref
        As for `load_model`.
    to
        The folder to write.
    force
        Whether to replace an earlier package in this folder.
    code
        Python files and packages (folders) of your own that the model's classes are defined in.
    allow_pickle
        Whether to export a pickled model; to load it, the package asks for permission again.
    trusted
        Names of types to allow in addition to those that tuner and the operator allow.
    store
        As for `optimize`.

    Raises
    ------
    ModelNotFound, UntrustedModel, ChecksumMismatch
        As for `load_model`.
    RegistryError
        If the version lacks a model that can predict alone; the message has the remedy.
    ExportError
        If the folder is not empty, or cannot be written.

    Examples
    --------
    >>> import tempfile, tuner
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> study = tuner.create_study({"x": tuner.Int(1, 9)}, store=tempfile.mkdtemp())
    >>> trial = study.tell(study.ask(), 1.0)
    >>> version = study.register("small", refit=lambda params: (
    ...     DecisionTreeClassifier().fit([[0.0], [1.0]], ["no", "yes"])
    ... ))
    >>> folder = tempfile.mkdtemp()
    >>> exported = tuner.export_model("small", folder, store=study.store)
    >>> (exported.path / "predict.py").exists()
    True
    """
    target = Path(to)
    check_target(target, force)
    registry = Registry(open_store(store))
    version = registry.get(ref)
    content = package_of(registry, version, code=code, allow_pickle=allow_pickle, trusted=trusted)
    put(content, target, force)
    digest = hashlib.sha256(content[MANIFEST]).hexdigest()
    format = json.loads(content[MANIFEST])["format"]
    return ExportedModel(target, version.name, version.version, format, len(content), digest)


def package_of(
    registry: Registry,
    version: ModelVersion,
    *,
    code: Iterable[str | Path] = (),
    allow_pickle: bool = False,
    trusted: Sequence[str] = (),
) -> dict[str, bytes]:
    """Return the files of the package of a version; see `export_model`."""
    what = f"model '{version.name}@{version.version}'"
    format = _format_of(version, what)
    loader = loader_of(format, what)
    if not version.environment:
        raise RegistryError(f"{what}: its run has no recorded environment; register it again")
    ref = f"{version.name}@{version.version}"
    model = registry.load(ref, allow_pickle=allow_pickle, trusted=trusted)
    assert version.artifact is not None, "it has a format"
    files = registry.store.read_artifact(version.artifact)
    settings = settings_of(format, files, model, trusted)
    packages, own = packages_of(modules_of(format, files, settings, model))
    given = files_of(code)
    if missing := own - {name.partition("/")[0].removesuffix(".py") for name in given}:
        named = ", ".join(sorted(missing))
        raise RegistryError(
            f"{what} needs your own module {named}, which no package installs; export it with "
            f"the file or folder of the module: code=['{min(missing)}.py'], or --code"
        )
    environment = registry.store.get_environment(version.environment)
    return content_of(
        Parts(
            version=version,
            environment=environment,
            card=model_card(ref, store=registry.store),
            model=files,
            format=format,
            loader=loader,
            settings=settings,
            versions=locked(environment, {*loader.REQUIRES, *packages}, what),
            signature=None if version.signature is None else version.signature.to_dict(),
            code=given,
        )
    )


def _format_of(version: ModelVersion, what: str) -> str:
    """Return the format of a version; raises a RegistryError for a configuration."""
    format = "json" if version.artifact is None else version.artifact.format
    if format == "json":
        raise RegistryError(
            f"{what} is a configuration, which predicts nothing: register a model with "
            f"study.register(refit=...) or trial.log_model, or write tuner.load_model to read it"
        )
    return format
