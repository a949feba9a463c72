"""References to functions and classes of the user, ``"module:qualname"``, and the trust in them.

To load a model by such a reference imports the user's module, which runs its code. As for a user's
class in a skops file, the caller or the operator must therefore trust the name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from importlib import import_module
from typing import Any

from tuner.errors import UntrustedModel
from tuner.registry.limits import Refused
from tuner.registry.load_failures import why_not_elsewhere, why_not_here
from tuner.registry.trusted import VARIABLE

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def reference_to(target: Any) -> str:
    """Return the reference to a function or class that another process can import.

    Raises
    ------
    ValueError
        If it lacks a name, such as a lambda, or its name leads to another object.
    """
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    remedy = "define it with def or class at the top of a module that can be imported"
    if not isinstance(module, str) or not isinstance(name, str):
        raise Refused(f"{target!r:.80} has no name to import it by; {remedy}")
    if "<" in name:
        kind = "a lambda" if name.endswith("<lambda>") else "defined within a function"
        raise Refused(f"{module}.{name} is {kind}, so no other program can import it; {remedy}")
    if reason := why_not_elsewhere(f"{module}.{name.partition('.')[0]}"):
        raise Refused(f"{reason}, so no other program can import it; {remedy}")
    reference = f"{module}:{name}"
    if _found(reference) is not target:
        raise Refused(
            f"the name {module}.{name} leads to another object, so loading would not return this "
            f"one; {remedy}"
        )
    return reference


def resolve_reference(reference: Any, trusted: Collection[str], act: str) -> Any:
    """Import the object that a file names, if it is trusted.

    Parameters
    ----------
    reference
        The text in the file.
    trusted
        The allowed names, such as ``"package.module.Type"``.
    act
        A verb for the error, such as ``"call"``.

    Raises
    ------
    UntrustedModel
        If the name is not trusted; nothing is imported.
    ValueError
        If it is not a reference, or leads to nothing.
    """
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        raise Refused(f"{reference!r:.80} is not a reference such as 'package.module:name'")
    name = reference.replace(":", ".")
    if name not in trusted:
        what = f"loading this model would import and {act} {name}, which is not allowed"
        module, _, attribute = reference.partition(":")
        if reason := why_not_here(f"{module}.{attribute.partition('.')[0]}"):
            raise UntrustedModel(
                f"{what}; to trust it is not enough, as it cannot be imported here: {reason}; load "
                f"the model where it can be imported",
                importable=False,
            )
        raise UntrustedModel(f"{what}; if you know it, write trusted={[name]!r}, or set {VARIABLE}")
    return _found(reference)


def _found(reference: str) -> Any:
    module, _, name = reference.partition(":")
    found: Any = sys.modules.get(module) or import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
