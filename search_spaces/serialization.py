"""Spaces as JSON and YAML documents, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors import SpaceError
from tuner.search_spaces.categorical import Choice, Const, Ordinal, from_json_option
from tuner.search_spaces.domains import Bool, Domain
from tuner.search_spaces.numeric import Float, Int

if TYPE_CHECKING:
    from tuner.search_spaces.space import Space

VERSION = 1
"""Version of the document."""

_NUMERIC = {"float": Float, "int": Int}
_FIELDS = {
    "float": {"low", "high", "log", "step", "default"},
    "int": {"low", "high", "log", "step", "default"},
    "choice": {"options", "branches", "default"},
    "ordinal": {"values", "default"},
    "bool": {"default"},
    "const": {"value"},
}


def to_dict(space: Space) -> dict[str, Any]:
    """Return the document of a space."""
    document: dict[str, Any] = {
        "version": VERSION,
        "params": {name: domain.to_dict() for name, domain in space.params.items()},
    }
    if space.constraints:
        document["constraints"] = [str(c) for c in space.constraints]
    return document


def from_dict(data: Any) -> tuple[dict[str, Domain], list[str]]:
    """Return the domains and constraints of a document.

    Raises
    ------
    SpaceError
        If it is no such document; names the path.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("params"), Mapping):
        raise SpaceError("search space: the document has no 'params' with a domain for each name")
    version = data.get("version", VERSION)
    if version != VERSION:
        raise SpaceError(
            f"search space: the document has version {version!r}, this tuner reads {VERSION}; "
            f"upgrade tuner"
        )
    unknown = data.keys() - {"version", "params", "constraints"}
    if unknown:
        raise SpaceError(
            f"search space: the document has {min(map(str, unknown))!r}; it may have "
            f"version, params and constraints"
        )
    constraints = data.get("constraints") or []
    if not isinstance(constraints, list) or not all(isinstance(c, str) for c in constraints):
        raise SpaceError("search space: 'constraints' must be a list of texts")
    return _domains(data["params"], ""), constraints


def to_json(space: Space) -> str:
    """Return the document as JSON text."""
    return json.dumps(to_dict(space), indent=2, ensure_ascii=False)


def from_json(text: str) -> tuple[dict[str, Domain], list[str]]:
    """Return the domains and constraints of a JSON text."""
    try:
        return from_dict(json.loads(text))
    except json.JSONDecodeError as error:
        raise SpaceError(f"search space: this is no JSON: {error}") from None


def to_yaml(space: Space) -> str:
    """Return the document as YAML text."""
    import yaml

    document = to_dict(space)
    text = str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    if yaml.safe_load(text) == document:
        return text
    # Some characters, such as U+0085, are line breaks in YAML unless they are escaped.
    return str(yaml.safe_dump(document, sort_keys=False))


def from_yaml(text: str) -> tuple[dict[str, Domain], list[str]]:
    """Return the domains and constraints of a YAML text."""
    import yaml

    try:
        return from_dict(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise SpaceError(f"search space: this is no YAML: {error}") from None


def fingerprint(space: Space) -> str:
    """Return the SHA-256 of the document without defaults."""
    document = _without_defaults(to_dict(space))
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _domains(params: Mapping[Any, Any], prefix: str) -> dict[str, Domain]:
    return {str(name): _domain(data, f"{prefix}{name}") for name, data in params.items()}


def _domain(data: Any, path: str) -> Domain:
    kind = data.get("type") if isinstance(data, Mapping) else None
    if kind not in _FIELDS:
        raise SpaceError(
            f"search space: {path!r} is {data!r}; write a 'type' of {', '.join(_FIELDS)}"
        )
    unknown = data.keys() - _FIELDS[kind] - {"type"}
    if unknown:
        raise SpaceError(
            f"search space: {path!r} has {min(map(str, unknown))!r}; {kind} may have "
            f"{', '.join(sorted(_FIELDS[kind]))}"
        )
    try:
        return _build(kind, data, path)
    except KeyError as error:
        raise SpaceError(f"search space: {path!r}: {kind} needs {error.args[0]!r}") from None
    except SpaceError as error:
        text = str(error)
        prefix = "" if text.startswith("search space: ") else f"search space: {path!r}: "
        raise SpaceError(prefix + text) from None


def _build(kind: str, data: Mapping[str, Any], path: str) -> Domain:
    default = from_json_option(data.get("default"))
    if kind in _NUMERIC:
        return _NUMERIC[kind](
            data["low"],
            data["high"],
            log=data.get("log", False),
            step=data.get("step"),
            default=default,
        )
    if kind == "bool":
        return Bool(default)
    if kind == "const":
        return Const(from_json_option(data["value"]))
    if kind == "ordinal":
        return Ordinal(*map(from_json_option, data["values"]), default=default)
    if "branches" in data:
        branches = {
            str(option): _domains(branch or {}, f"{path}.{option}.")
            for option, branch in data["branches"].items()
        }
        return Choice(default=default, **branches)
    return Choice(*map(from_json_option, data["options"]), default=default)


def _without_defaults(value: Any) -> Any:
    """Leave out the default of each domain; a parameter may be called "default" itself."""
    document = dict(value)
    document["params"] = _names_without_defaults(document["params"])
    return document


def _names_without_defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _domain_without_default(data) for name, data in params.items()}


def _domain_without_default(data: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in data.items() if key != "default"}
    if "branches" in kept:
        kept["branches"] = {
            option: _names_without_defaults(branch) for option, branch in kept["branches"].items()
        }
    return kept
