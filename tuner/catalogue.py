"""Implementations of a protocol by name, imported when they are first used."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from tuner.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a user may write for one argument of the public call.

    Attributes
    ----------
    argument
        What the argument is called, such as ``"optimizer"``.
    protocol
        ``"module:Class"`` of the protocol that a user's own object must have.
    named
        Name to ``"module:Class"`` of what is there; a name stands for the class without options.
    others
        ``"module:Class"`` of classes that have no name, but can be imported beside the others.
    unknown
        The error for a name that is none of these.
    """

    argument: str
    protocol: str
    named: Mapping[str, str]
    others: tuple[str, ...] = ()
    unknown: type[ArgumentError] = field(default=ArgumentError)

    def resolve(self, spec: Any) -> Any:
        """Return what the name `spec` stands for, or the object `spec` itself.

        Raises
        ------
        ArgumentError
            If there is nothing of that name; says what comes close. If the object does not have
            the protocol; says what it lacks.
        """
        if isinstance(spec, str):
            if spec not in self.named:
                raise self._no_such(spec)
            return _load(self.named[spec])()
        if isinstance(spec, type):
            raise ArgumentError(
                f"{self.argument}={spec.__name__} is a class: write {spec.__name__}()"
            )
        protocol = _load(self.protocol)
        lacking = [m for m in vars(protocol) if not m.startswith("_") and not hasattr(spec, m)]
        if lacking:
            raise ArgumentError(
                f"{self.argument}={spec!r} has no {', no '.join(lacking)}: choose {self._names()}, "
                f"or give an object with the methods of {self.protocol.replace(':', '.')}"
            )
        return spec

    def load(self, module: str, name: str) -> Any:
        """Return the class of that name: what the ``__getattr__`` of the package `module` does."""
        for place in (*self.named.values(), *self.others):
            if place.endswith(f":{name}"):
                return _load(place)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    def _names(self) -> str:
        return ", ".join(map(repr, self.named))

    def _no_such(self, name: str) -> ArgumentError:
        close = difflib.get_close_matches(name.lower(), self.named, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        return self.unknown(
            f"{self.argument}={name!r}: there is no such {self.argument}; {hint}"
            f"choose {self._names()}"
        )


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
