"""The state in which a file is loaded for its objective, and in which no search may start.

``tuner run``, a replay and a worker that unpickles an objective run the file of the objective. If
the file starts a search outside of ``if __name__ == "__main__"``, it would start it there again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SearchWhileLoading(BaseException):
    """Raised by a call that starts or changes a search, to end the loading of the file.

    It is not an `Exception`, so that a script which catches the errors of its search ends as well.
    """


_depth = 0
"""Number of files that this process is loading; threads that a file starts count as its part."""


@contextmanager
def loading() -> Iterator[None]:
    """Make searches in this block raise `SearchWhileLoading`."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def is_loading() -> bool:
    """Return whether a file is being loaded for its objective."""
    return _depth > 0


def end_loading(call: str) -> None:
    """Raise `SearchWhileLoading` if a file is being loaded for its objective.

    Parameters
    ----------
    call
        The public call, such as ``"tuner.optimize"``, for the message.
    """
    if _depth:
        raise SearchWhileLoading(
            f"{call} is called while a file is loaded for its objective or for the class of a "
            f'model; guard the search with if __name__ == "__main__"'
        )
