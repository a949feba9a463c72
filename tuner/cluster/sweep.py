"""A script for submission to a cluster: its command, its files, and the location of its store."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tuner.backends.ray.runtime_env import as_runtime_env
from tuner.errors import ArgumentError
from tuner.errors.credentials import hide

STORE = "~/.tuner"
"""Default store: in the home folder of the node that runs the script."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A script that runs on a cluster, to be submitted with `JobClient.submit`.

    Attributes
    ----------
    entrypoint
        The command, for a shell.
    runtime_env
        The files and the environment of the script, for Ray.
    store
        Location of the store unless the script sets one.
    """

    entrypoint: str
    runtime_env: dict[str, Any]
    store: str

    @classmethod
    def of_script(
        cls,
        script: str,
        arguments: Sequence[str] = (),
        *,
        working_dir: str = ".",
        py_modules: Sequence[str] = (),
        env_vars: Mapping[str, str] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        store: str | None = None,
        python: str = "python",
    ) -> Sweep:
        """Create a sweep from a script.

        Parameters
        ----------
        script
            The script, in `working_dir`.
        arguments
            Arguments of the script.
        working_dir
            The folder that is shipped, or a URI.
        py_modules, env_vars, runtime_env
            As in `RayBackend`.
        store
            Location of the store, as seen from the head; None for a database in this shell's
            ``TUNER_STORE``, else for ``~/.tuner`` on the head.
        python
            The interpreter on the head.

        Raises
        ------
        ArgumentError
            If the script is not in the folder, or the record would be lost.
        """
        env = as_runtime_env(
            working_dir=working_dir,
            py_modules=py_modules or None,
            env_vars=env_vars,
            runtime_env=runtime_env,
            caller="submit",
        )
        command = [python, _within(script, env["working_dir"]), *arguments]
        given = env.get("env_vars", {})
        place = _as_store(store or given.get("TUNER_STORE") or _own_database() or STORE)
        env["env_vars"] = {
            "PYTHONUNBUFFERED": "1",
            "TUNER_ARTIFACTS": f"{STORE}/artifacts",
            **given,
            "TUNER_STORE": place,
        }
        return cls(shlex.join(command), env, place)

    @property
    def place(self) -> str:
        """The store's name for messages, without credentials."""
        from sqlalchemy import make_url

        is_url = "://" in self.store
        return hide(make_url(self.store).render_as_string()) if is_url else self.store

    def __repr__(self) -> str:
        return f"<Sweep {hide(self.entrypoint)}, record in {self.place}>"


def _within(script: str, working_dir: str) -> str:
    """Return the script's path inside the copy of the folder."""
    if not Path(working_dir).is_dir():
        return script  # only the cluster sees the contents of an archive or a URI
    path = Path(script).expanduser().absolute()
    if not path.is_file() and not Path(script).is_absolute():
        path = Path(working_dir, script)
    if not path.is_file():
        raise ArgumentError(f"submit: script {script} does not exist; check the path")
    folder = Path(working_dir).resolve()
    if not path.resolve().is_relative_to(folder):
        raise ArgumentError(
            f"submit: {script} is not in {working_dir}, the folder copied to the cluster; name a "
            f"folder that holds it with --working-dir"
        )
    return str(PurePosixPath(path.resolve().relative_to(folder)))


def _own_database() -> str | None:
    """Return the store of this shell if a cluster can reach it: a server, not a file."""
    store = os.environ.get("TUNER_STORE", "")
    return store if "://" in store and not store.startswith("sqlite") else None


def _as_store(store: str) -> str:
    """Reject a location that is deleted with the job."""
    path = store
    if "://" in store:
        scheme, _, rest = store.partition(":///")
        if not scheme.startswith("sqlite"):
            return store
        path = rest
    if path.startswith(("/", "~")):
        return store
    raise ArgumentError(
        f"submit: --store {store}: on the cluster that is in the job's copy of the working folder, "
        f"which Ray deletes; write a place on the head such as {STORE} or /data/tuner, or a "
        f"database: postgresql://user@host/tuner"
    )
