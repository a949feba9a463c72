"""Extract from Ray's errors the reason why a worker was lost."""

from __future__ import annotations

import re

_CAUSE = re.compile(r"Worker exit type: (\S+) Worker exit detail: (.*?)(?= Some common causes|$)")


def reason(error: Exception) -> str:
    """Return the reason why a worker was lost, given Ray's error."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return f"its worker was ended by {type(cause).__name__}: {cause}".rstrip(": ")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if found := _CAUSE.search(" ".join(lines)):
        return f"its worker process died ({found[1]}): {found[2]}"
    return lines[0] if lines else type(error).__name__
