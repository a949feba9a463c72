"""Where trials run: on the caller's thread, or on a pool of Ray workers. One backend a file."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError

if TYPE_CHECKING:
    from tuner.backends.protocol import Backend
    from tuner.backends.ray_pool import RayBackend
    from tuner.backends.serial import SerialBackend

__all__ = ["RayBackend", "SerialBackend", "resolve"]

_NAMES = {"ray": "RayBackend", "serial": "SerialBackend"}
_MODULES = {"RayBackend": "tuner.backends.ray_pool", "SerialBackend": "tuner.backends.serial"}


def resolve(spec: str | Backend | None) -> Backend:
    """Return the backend that `spec` names, or `spec` itself; None is Ray.

    Raises
    ------
    ArgumentError
        If there is no backend of that name, or `spec` is none.
    """
    from tuner.backends.protocol import Backend

    if spec is None:
        spec = "ray"
    if isinstance(spec, str):
        if spec not in _NAMES:
            close = difflib.get_close_matches(spec, _NAMES, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose {' or '.join(_NAMES)}"
            raise ArgumentError(f"backend={spec!r}: there is no such backend; {hint}")
        made: Backend = __getattr__(_NAMES[spec])()
        return made
    if isinstance(spec, type) or not isinstance(spec, Backend):
        raise ArgumentError(
            f"backend={spec!r}: write {' or '.join(map(repr, _NAMES))}, or an object with the "
            f"methods of tuner.backends.protocol.Backend"
        )
    return spec


def __getattr__(name: str) -> Any:
    """Import a backend when it is first used."""
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
