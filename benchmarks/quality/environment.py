"""Virtual environments of the peers, created once by the benchmark."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(".build/quality/environments")

REQUIREMENTS = {
    "peers": ("optuna==5.0.0", "torch==2.13.0", "hyperopt==0.3.0", "smac==2.4.1", "setuptools<81"),
    "nevergrad": ("nevergrad==1.0.12",),
    "mlflow": ("mlflow-skinny==3.17.2", "sqlalchemy==2.1.9", "alembic", "psycopg2-binary"),
    "ax": ("ax-platform==1.3.1", "torch==2.13.0"),
}
"""The packages installed in each environment."""


def interpreter(name: str) -> Path:
    """Return the Python of an environment; create the environment if it is missing or outdated.

    If several processes call this at once, one creates it and the others wait.

    Raises
    ------
    RuntimeError
        If pip cannot install the packages; the message has its last lines.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _made(FOLDER.absolute() / name, REQUIREMENTS[name])


def _made(folder: Path, requirements: Sequence[str]) -> Path:
    """Return the Python of the environment in `folder`, created unless it has `requirements`."""
    ready = folder / "ready"
    python = folder / "bin" / "python"
    wanted = "\n".join(requirements)
    if ready.exists() and ready.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {', '.join(requirements)}", file=sys.stderr)
    venv.create(folder, with_pip=True)
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"the environment {folder.name!r} cannot be made:\n{done.stderr[-2000:]}"
        )
    ready.write_text(wanted)
    return python
