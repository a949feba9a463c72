"""YAML as people write it: 1e-3 is a number, ``no`` is a text, and no name is there twice.

PyYAML follows YAML 1.1, by which ``1e-3`` is a text and ``no``, ``on`` and ``off`` are truths. What
is read here follows YAML 1.2 in both; what is written is quoted so that both read it the same.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from tuner.errors import SpaceError

_BOOL = "tag:yaml.org,2002:bool"
_FLOAT = "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own way of settling it for a class)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = []
        for key, _ in node.value:
            name = key.value if key.tag == _MERGE else self.construct_object(key, deep=True)
            if name in seen:
                raise SpaceError(
                    f"search space: {name!r} is there twice, again in line "
                    f"{key.start_mark.line + 1}; name it once"
                )
            seen.append(name)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    pass


_Loader.add_implicit_resolver(_BOOL, re.compile("(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
for _either in (_Loader, _Dumper):
    _either.add_implicit_resolver(_FLOAT, _NUMBER, "-+.0123456789")


def load(text: str) -> Any:
    """Return the document of a YAML text.

    Raises
    ------
    SpaceError
        If it is no YAML, or has a name twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(f"search space: this is no YAML: {error}") from None


def dump(document: Any) -> str:
    """Return a document as YAML text that `load` gives back."""
    text = _dumped(document, allow_unicode=True)
    if load(text) == document:
        return text
    # Some characters, such as U+0085, are line breaks in YAML unless they are escaped.
    return _dumped(document, allow_unicode=False)


def _dumped(document: Any, *, allow_unicode: bool) -> str:
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode))
