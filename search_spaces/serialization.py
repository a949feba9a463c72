"""Convert spaces to and from JSON and YAML documents; compute their fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.errors import SpaceError
from tuner.search_spaces.categorical import Bool, Choice, Const, Ordinal, from_json_option
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.expressions import Expression
from tuner.search_spaces.numeric import Float, Int
from tuner.search_spaces.repeat import Repeat
from tuner.search_spaces.values import shown

VERSION = 1
"""Version of the document format."""

_NUMERIC = {"float": Float, "int": Int}
_FIELDS = {
    "float": {"low", "high", "log", "step", "default", "prior"},
    "int": {"low", "high", "log", "step", "default", "prior"},
    "choice": {"options", "branches", "default", "prior"},
    "ordinal": {"values", "default", "prior"},
    "bool": {"default", "prior"},
    "const": {"value"},
    "repeat": {"name", "count", "params"},
}
_NEEDED = {
    "float": "low high",
    "int": "low high",
    "choice": "options",
    "ordinal": "values",
    "bool": "",
    "const": "value",
    "repeat": "name count params",
}


def to_dict(params: Mapping[str, Domain], constraints: Sequence[Expression]) -> dict[str, Any]:
    """Return a space as a JSON-compatible document."""
    document: dict[str, Any] = {
        "version": VERSION,
        "params": {name: domain.to_dict() for name, domain in params.items()},
    }
    if constraints:
        document["constraints"] = [str(c) for c in constraints]
    return document


def from_dict(data: Any) -> tuple[dict[str, Domain], list[str]]:
    """Return the domains and constraints of a document.

    Raises
    ------
    SpaceError
        If `data` is not a valid document; the message names the path.
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
        raise SpaceError("search space: 'constraints' must be a list of strings")
    try:
        return _domains(data["params"], ""), constraints
    except RecursionError:
        raise SpaceError(
            "search space: the document is nested too deeply; write it with fewer branches within "
            "branches"
        ) from None


def to_json(document: Mapping[str, Any]) -> str:
    """Return a document as JSON text."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def from_json(text: str) -> tuple[dict[str, Domain], list[str]]:
    """Parse JSON text to domains and constraints."""
    try:
        return from_dict(json.loads(text, object_pairs_hook=_named_once))
    except (RecursionError, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(f"search space: invalid JSON: {error}") from None


def to_yaml(document: Mapping[str, Any]) -> str:
    """Return a document as YAML text."""
    from tuner.search_spaces import yaml_text

    return yaml_text.dump(document)


def from_yaml(text: str) -> tuple[dict[str, Domain], list[str]]:
    """Parse YAML text to domains and constraints."""
    from tuner.search_spaces import yaml_text

    return from_dict(yaml_text.load(text))


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in pairs:
        if name in named:
            raise SpaceError(f"search space: {name!r} is there twice; name it once")
        named[name] = value
    return named


def fingerprint(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 in hex of a document without its defaults and priors."""
    text = json.dumps(_without_defaults(document), separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _domains(params: Any, prefix: str) -> dict[str, Domain]:
    if not isinstance(params, Mapping):
        place = prefix.rstrip(".") or "params"
        raise SpaceError(
            f"search space: {place!r} is {shown(params)}; write a domain for each name"
        )
    for name in params:
        if not isinstance(name, str):
            raise SpaceError(
                f"search space: {prefix}{name!r} is a {type(name).__name__}, no name; write it in "
                f"quotes"
            )
    return {name: _domain(data, f"{prefix}{name}") for name, data in params.items()}


def _domain(data: Any, path: str) -> Domain:
    kind = data.get("type") if isinstance(data, Mapping) else None
    own = _own_domain(kind)
    if not isinstance(kind, str) or (kind not in _FIELDS and own is None):
        raise SpaceError(
            f"search space: {path!r} is {shown(data)}; write a 'type' of {', '.join(_FIELDS)}, or "
            f"import the module with a domain of your own first"
        )
    try:
        if own is not None:
            return own.from_dict(data)
        _check_fields(kind, data)
        return _build(kind, data, path)
    except SpaceError as error:
        text = str(error)
        prefix = "" if text.startswith("search space: ") else f"search space: {path!r}: "
        raise SpaceError(prefix + text) from None
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        raise SpaceError(f"search space: {path!r} is not a valid {kind}: {error}") from None


def _own_domain(kind: Any) -> type[Domain] | None:
    """Return the user-defined domain class of this kind, or None."""
    waiting = Domain.__subclasses__()
    while waiting:
        domain = waiting.pop()
        if domain.__dict__.get("kind") == kind and kind not in _FIELDS:
            return domain
        waiting += domain.__subclasses__()
    return None


def _check_fields(kind: str, data: Mapping[str, Any]) -> None:
    unknown = data.keys() - _FIELDS[kind] - {"type"}
    if unknown:
        raise SpaceError(
            f"it has {min(map(str, unknown))!r}; {kind} may have {', '.join(sorted(_FIELDS[kind]))}"
        )
    needed = "branches" if "branches" in data else _NEEDED[kind]
    for field in needed.split():
        if field not in data:
            raise SpaceError(f"{kind} needs {field!r}")
    for field in ("options", "values"):
        if field in data and not isinstance(data[field], list):
            raise SpaceError(f"{field!r} is {shown(data[field])}; write a list")
    if "options" in data and "branches" in data:
        raise SpaceError("it has 'options' and 'branches'; write bare options as empty branches")


def _build(kind: str, data: Mapping[str, Any], path: str) -> Domain:
    default, prior = from_json_option(data.get("default")), data.get("prior")
    if kind in _NUMERIC:
        return _NUMERIC[kind](
            data["low"],
            data["high"],
            log=data.get("log", False),
            step=data.get("step"),
            default=default,
            prior=prior,
        )
    if kind == "bool":
        return Bool(default, prior)
    if kind == "repeat":
        return _build_repeat(data, path)
    if kind == "const":
        return Const(from_json_option(data["value"]))
    if kind == "ordinal":
        return Ordinal(*map(from_json_option, data["values"]), default=default, prior=prior)
    if "branches" in data:
        return _build_branches(data["branches"], default, prior, path)
    return Choice(*map(from_json_option, data["options"]), default=default, prior=prior)


def _build_branches(branches: Any, default: Any, prior: Any, path: str) -> Choice:
    if not isinstance(branches, Mapping) or not branches:
        raise SpaceError(f"'branches' is {shown(branches)}; write the parameters of each option")
    for word in ("default", "prior"):
        if word in branches:
            raise SpaceError(f"no option with branches can be called {word!r}; write another name")
    for option in branches:
        if not isinstance(option, str):
            raise SpaceError(f"the option {option!r} is not a string; write it in quotes")
    built = {
        option: _domains({} if branch is None else branch, f"{path}.{option}.")
        for option, branch in branches.items()
    }
    return Choice(default=default, prior=prior, **built)


def _build_repeat(data: Mapping[str, Any], path: str) -> Repeat:
    count = _domain(data["count"], f"{path}.count")
    params = data["params"]
    if not isinstance(params, list):
        return Repeat(data["name"], count, _domains(params, f"{path}.{data['name']}."))  # type: ignore[arg-type]
    blocks = [_domains(block, f"{path}.{data['name']}.") for block in params]
    return Repeat(data["name"], count, blocks)  # type: ignore[arg-type]


def _without_defaults(value: Any) -> Any:
    """Remove the defaults and priors of domains, but not parameters that are named "default"."""
    document = dict(value)
    document["params"] = _names_without_defaults(document["params"])
    return document


def _names_without_defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _domain_without_default(data) for name, data in params.items()}


def _domain_without_default(data: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in data.items() if key not in ("default", "prior")}
    if "branches" in kept:
        kept["branches"] = {
            option: _names_without_defaults(branch) for option, branch in kept["branches"].items()
        }
    if kept["type"] == "repeat":
        blocks = kept["params"]
        kept["count"] = _domain_without_default(kept["count"])
        kept["params"] = (
            list(map(_names_without_defaults, blocks))
            if isinstance(blocks, list)
            else _names_without_defaults(blocks)
        )
    return kept
