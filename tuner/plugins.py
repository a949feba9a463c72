"""Implementations of a protocol by name: built-in ones, and those that other packages register.

A package registers an implementation by an entry point::

    [project.entry-points."tuner.optimizers"]
    cmaes = "my_package.cmaes:CmaEs"

An implementation is imported when it is first used. A built-in name cannot be replaced.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True, slots=True)
class Plugins:
    """The values that a user may pass for one argument of the public API.

    Attributes
    ----------
    argument
        The name of the argument, such as ``"optimizer"``.
    group
        The group of entry points in which other packages register implementations.
    protocol
        ``"module:Class"`` of the protocol that a user's own object must implement.
    built_in
        Name to ``"module:Class"``; a name stands for the class without options.
    exports
        ``"module:Class"`` of classes without a name that the package exports as well.
    unknown
        The error for an unknown name.
    """

    argument: str
    group: str
    protocol: str
    built_in: Mapping[str, str]
    exports: tuple[str, ...] = ()
    unknown: type[ArgumentError] = field(default=ArgumentError)

    @property
    def names(self) -> list[str]:
        """All names: built-in ones first, then sorted names of other packages."""
        return [*self.built_in, *sorted(self._registered())]

    @property
    def listed(self) -> str:
        """All names as text, for error messages."""
        return ", ".join(map(repr, self.names))

    def resolve(self, spec: Any) -> Any:
        """Return the object that the name `spec` stands for, or the object `spec` itself.

        Raises
        ------
        ArgumentError
            If the name is unknown; the message suggests similar names. If the registered class
            cannot be imported or created. If an object lacks a member of the protocol.
        """
        if isinstance(spec, str):
            return self._named(spec)
        if isinstance(spec, type):
            raise ArgumentError(
                f"{self.argument}={spec.__name__} is a class: write {spec.__name__}()"
            )
        return self._checked(spec, f"{self.argument}={spec!r}")

    def class_of(self, name: str) -> Any:
        """Return the class of a built-in name, for a caller that has arguments for it."""
        return _load(self.built_in[name])

    def load(self, module: str, name: str) -> Any:
        """Return a class by its name, for the ``__getattr__`` of the package `module`."""
        for place in (*self.built_in.values(), *self.exports):
            if place.endswith(f":{name}"):
                return _load(place)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    def _named(self, name: str) -> Any:
        if name in self.built_in:
            return _load(self.built_in[name])()
        entry = self._registered().get(name)
        if entry is None:
            raise self._no_such(name)
        try:
            made = entry.load()()
        except Exception as error:
            # A package may raise anything while it is imported.
            raise ArgumentError(
                f"{self.argument}={name!r} is registered as {entry.value!r}, which cannot be used: "
                f"{type(error).__name__}: {error}"
            ) from error
        return self._checked(made, f"{self.argument}={name!r}, registered as {entry.value!r},")

    def _registered(self) -> dict[str, EntryPoint]:
        from importlib.metadata import entry_points  # a tenth of a worker's start

        found = {entry.name: entry for entry in entry_points(group=self.group)}
        return {name: entry for name, entry in found.items() if name not in self.built_in}

    def _checked(self, made: Any, described: str) -> Any:
        protocol = _load(self.protocol)
        members = [name for name in (*protocol.__annotations__, *vars(protocol)) if name[0] != "_"]
        if missing := [name for name in members if not hasattr(made, name)]:
            raise ArgumentError(
                f"{described} lacks {', '.join(missing)}: choose {self.listed}, "
                f"or pass an object with the members of {self.protocol.replace(':', '.')}"
            )
        return made

    def _no_such(self, name: str) -> ArgumentError:
        close = difflib.get_close_matches(name.lower(), self.names, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        return self.unknown(
            f"{self.argument}={name!r}: unknown {self.argument}; {hint}choose {self.listed}"
        )


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
