"""The files of a package, by their paths."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files as resources
from types import ModuleType
from typing import Any

from tuner.packages import texts
from tuner.packages.mlmodel import mlmodel
from tuner.packages.requirements import lock_text
from tuner.packages.runtime.manifest import CODE, MANIFEST, MODEL, SIGNATURE
from tuner.records import Environment, ModelVersion
from tuner.registry.card import ModelCard

_NOT_OF_ALL = "load_"
"""Prefix of the modules that only packages of one format have."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of a package.

    Attributes
    ----------
    version, environment, card
        Records of the model.
    model : dict
        The files of the model by path.
    loader, settings
        The loader of the format, and its settings.
    versions : dict
        Exact versions of the required packages.
    signature : dict or None
        The signature of the model.
    code : dict
        Files of the user's modules by path.
    """

    version: ModelVersion
    environment: Environment
    card: ModelCard
    model: Mapping[str, bytes]
    format: str
    loader: ModuleType
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    signature: dict[str, Any] | None
    code: Mapping[str, bytes]


def content_of(parts: Parts) -> dict[str, bytes]:
    """Return the files of a package; equal parts give equal bytes."""
    module, code = _code(parts.format, parts.signature is not None)
    title = f"{parts.version.name}, version {parts.version.version}"
    python = parts.environment.python
    found = {
        **{f"{MODEL}/{name}": content for name, content in parts.model.items()},
        **{f"{CODE}/{name}": content for name, content in (code | dict(parts.code)).items()},
        "predict.py": _source("predict.py"),
        "requirements.lock": lock_text(parts.versions, title, python).encode(),
        "MODEL_CARD.md": parts.card.to_markdown().encode(),
        "card.json": _json(parts.card.to_json()),
        "MLmodel": mlmodel(parts.version, module, CODE, python, parts.signature).encode(),
        "requirements.txt": b"-r requirements.lock\nmlflow-skinny\n",
        "python_env.yaml": f"python: {python}\ndependencies:\n- -r requirements.txt\n".encode(),
    }
    if parts.signature is not None:
        found[SIGNATURE] = _json(parts.signature)
    modules = sorted({name.partition("/")[0].removesuffix(".py") for name in parts.code})
    found["README.md"] = texts.readme(
        parts.version, parts.format, parts.signature is not None, modules
    ).encode()
    top = {*found, MANIFEST}
    system = getattr(parts.loader, "SYSTEM", ())
    found["Dockerfile"] = texts.dockerfile(python, system, top).encode()
    found[".dockerignore"] = texts.dockerignore(top).encode()
    found[MANIFEST] = _manifest(parts, module, found)
    return found


def _manifest(parts: Parts, module: str, found: Mapping[str, bytes]) -> bytes:
    return _json(
        {
            "kind": "tuner model package",
            "model": parts.version.name,
            "version": parts.version.version,
            "format": parts.format,
            "settings": dict(parts.settings),
            "module": module,
            "files": {
                name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
                for name, content in sorted(found.items())
            },
        }
    )


def _code(format: str, has_signature: bool) -> tuple[str, dict[str, bytes]]:
    """Return the name of the module in a package, and its files in the folder of the code.

    Equal names mean equal code, as one process of MLflow may load several packages.
    """
    chosen = {
        name: _source(name)
        for name in _sources("runtime")
        if not name.startswith(_NOT_OF_ALL) and name != "predict.py"
    }
    loader = f"{_NOT_OF_ALL}{format}.py"
    chosen[loader] = _source(loader)
    if has_signature:
        chosen |= {
            f"signatures/{name}": _standalone(_source(name, "tuner.signatures"))
            for name in _sources("", "tuner.signatures")
        }
    digest = hashlib.sha256(b"\0".join(name.encode() + chosen[name] for name in sorted(chosen)))
    module = f"packaged_model_{digest.hexdigest()[:12]}"
    return module, {f"{module}/{name}": content for name, content in chosen.items()}


def _sources(folder: str, package: str = "tuner.packages") -> Collection[str]:
    place = resources(package).joinpath(folder)
    return sorted(entry.name for entry in place.iterdir() if entry.name.endswith(".py"))


def _source(name: str, package: str = "tuner.packages.runtime") -> bytes:
    return resources(package).joinpath(name).read_bytes()


def _standalone(source: bytes) -> bytes:
    """Return a module of the signatures, importing from the package instead of tuner."""
    text = re.sub(r"\bfrom tuner\.errors import\b", "from ..errors import", source.decode())
    text = re.sub(r"\bfrom tuner\.signatures\.(\w+) import\b", r"from .\1 import", text)
    return text.encode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
