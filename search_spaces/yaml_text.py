"""YAML 1.2 input and output: ``1e-3`` is a number, ``no`` is a string, names are unique.

PyYAML follows YAML 1.1, in which ``1e-3`` is a string and ``no``, ``on`` and ``off`` are booleans.
The loader follows YAML 1.2 in both cases. The output is quoted such that both versions read the
same values.
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


LONGEST = 2_000_000
"""Maximum number of characters of a document."""

DEEPEST = 64
"""Maximum nesting depth of mappings and lists; each level of branches needs four."""

ALIASES = 10
"""Maximum ratio of the expanded size of a document, with its aliases, to its written size."""

FEW = 10_000
"""Number of expanded nodes that are always allowed, regardless of the written number."""

_KINDS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("map", "seq", "str", "int", "float", "bool", "null", "merge", "timestamp")
)
"""Supported tags; a timestamp is rejected later, with its path in the error message."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own interface for subclasses)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Read a value; reject deep nesting early, because PyYAML needs quadratic time for it."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise _too_deep(self.line + 1)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key, _ in node.value:
            name = key.value if key.tag == _MERGE else self.construct_object(key, deep=True)
            if not isinstance(name, Hashable):
                raise SpaceError(
                    f"search space: the name in line {key.start_mark.line + 1} is a list or "
                    f"mapping; write a text"
                )
            if name in seen:
                raise SpaceError(
                    f"search space: {name!r} is there twice, again in line "
                    f"{key.start_mark.line + 1}; name it once"
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    pass


_Loader.add_implicit_resolver(_BOOL, re.compile("(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
for _either in (_Loader, _Dumper):
    _either.add_implicit_resolver(_FLOAT, _NUMBER, "-+.0123456789")


def load(text: str) -> Any:
    """Parse a YAML document.

    Raises
    ------
    SpaceError
        If the text is not valid YAML, contains a duplicate name, is too long or nested too deeply,
        or its aliases expand to many times its written size.
    """
    if len(text) > LONGEST:
        raise SpaceError(
            f"search space: the YAML has {len(text)} characters, more than {LONGEST}; write JSON, "
            f"or split the space"
        )
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(f"search space: invalid YAML: {error}") from None


def _check_size(root: yaml.Node) -> None:
    """Reject deep nesting, self-reference and alias expansion before the document is built."""
    sizes: dict[int, int] = {}
    _size(root, sizes, depth=0)
    written, built = len(sizes), sizes[id(root)]
    if built > max(FEW, ALIASES * written):
        raise SpaceError(
            f"search space: {written} values are written, which aliases (*name) make {built} of; "
            f"write the parameters out, or make the space in Python"
        )


def _too_deep(line: int) -> SpaceError:
    return SpaceError(f"search space: line {line} is nested more than {DEEPEST} levels deep")


def _size(node: yaml.Node, sizes: dict[int, int], depth: int) -> int:
    """Return the number of values of a node with its aliases expanded; `sizes` is a cache."""
    line = node.start_mark.line + 1
    if depth > DEEPEST:
        raise _too_deep(line)
    known = sizes.get(id(node))
    if known == 0:
        raise SpaceError(f"search space: line {line} has an alias of a value that it is a part of")
    if known is not None:
        return known
    if node.tag not in _KINDS:
        raise SpaceError(
            f"search space: line {line} has the tag {node.tag!r}; write plain numbers, texts, "
            f"lists and mappings"
        )
    sizes[id(node)] = 0  # marks a node in progress, to detect cycles
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        parts = list(node.value)
    size = sizes[id(node)] = 1 + sum(_size(part, sizes, depth + 1) for part in parts)
    return size


def dump(document: Any) -> str:
    """Return a document as YAML text; `load` restores the same document."""
    text = _dumped(document, allow_unicode=True)
    if load(text) == document:
        return text
    # Some characters, such as U+0085, are line breaks in YAML unless they are escaped.
    return _dumped(document, allow_unicode=False)


def _dumped(document: Any, *, allow_unicode: bool) -> str:
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode))
