"""Work of a module that is on the path of this process only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.backends.protocol import Work


@contextmanager
def unimportable_work(folder: Path) -> Iterator[Work]:
    """Provide the work of the module ``not_on_workers``, which no worker can import."""
    (folder / "not_on_workers.py").write_text("def work(job, channel):\n    pass\n")
    sys.path.insert(0, str(folder))
    try:
        import not_on_workers
    finally:
        sys.path.remove(str(folder))
    try:
        yield not_on_workers.work
    finally:
        del sys.modules["not_on_workers"]
