"""The runtime environment of a cluster's workers: files, modules, variables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tuner.errors import ArgumentError, BackendError

ARCHIVES = (".zip", ".tar.gz", ".tgz")
"""Accepted types of a working directory."""

MODULE_FILES = (".py", ".whl", ".zip")
"""Accepted types of a module's folder."""

EXCLUDED = (".tuner",)
"""Excluded from shipped folders: a store can be large and is useless on workers."""

_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


def as_runtime_env(
    *,
    working_dir: str | Path | None = None,
    py_modules: Iterable[str | Path | ModuleType] | None = None,
    env_vars: Mapping[str, str] | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    caller: str = "RayBackend",
) -> dict[str, Any]:
    """Return a validated `runtime_env` for Ray, with absolute local paths; may be empty.

    Parameters
    ----------
    working_dir
        A folder, an archive (.zip, .tar.gz) or a URI that Ray can download.
    py_modules
        Folders of packages, files of modules, wheels, URIs or imported modules.
    env_vars
        Environment variables.
    runtime_env
        Other fields of Ray (``pip``, ``conda``, ``container``, ...); may include the three above.
    caller
        Name of the called function, for messages.

    Raises
    ------
    ArgumentError
        If one of them is invalid; the message names the value and the remedy.

    Examples
    --------
    >>> as_runtime_env(env_vars={"OMP_NUM_THREADS": "2"})
    {'env_vars': {'OMP_NUM_THREADS': '2'}}
    """
    env = _as_mapping(runtime_env, "runtime_env", caller)
    named = {"working_dir": working_dir, "py_modules": py_modules, "env_vars": env_vars}
    for name, value in named.items():
        if value is None:
            continue
        if name in env:
            raise ArgumentError(f"{caller}: {name} is given twice; write it once")
        env[name] = value
    if "working_dir" in env:
        env["working_dir"] = _as_working_dir(env["working_dir"], caller)
        if not _URI.match(env["working_dir"]):
            env["excludes"] = [*_as_excludes(env.get("excludes", ()), caller), *EXCLUDED]
    if "py_modules" in env:
        env["py_modules"] = _as_py_modules(env["py_modules"], caller)
    if "env_vars" in env:
        env["env_vars"] = _as_env_vars(env["env_vars"], caller)
    return env


def check_with_ray(env: Mapping[str, Any]) -> None:
    """Let Ray validate the fields that only it knows, such as ``pip``.

    Raises
    ------
    ArgumentError
        If Ray rejects a field.
    """
    from ray.runtime_env import RuntimeEnv

    unknown = set(env) - set(RuntimeEnv.known_fields)
    if unknown:
        known = ", ".join(sorted(n for n in RuntimeEnv.known_fields if not n.startswith("_")))
        raise ArgumentError(
            f"runtime_env: Ray knows no {', '.join(sorted(map(repr, unknown)))}; choose of {known}"
        )
    try:
        RuntimeEnv(**env)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"runtime_env: {error}") from error


def uploaded(env: Mapping[str, Any], temp_dir: Path) -> dict[str, Any]:
    """Upload local folders to the connected cluster; return the other fields unchanged.

    Ray itself uploads only folders given to ``ray.init``, not those given to one actor.

    Raises
    ------
    BackendError
        If the upload fails, for instance because a folder is too large.
    """
    shipped = dict(env)
    if not shipped.keys() & {"working_dir", "py_modules"}:
        return shipped
    from ray._private.runtime_env.py_modules import upload_py_modules_if_needed
    from ray._private.runtime_env.working_dir import upload_working_dir_if_needed

    try:
        for upload in (upload_py_modules_if_needed, upload_working_dir_if_needed):
            shipped = upload(shipped, include_gitignore=True, scratch_dir=str(temp_dir))
    except Exception as error:
        # Ray raises its own errors, ValueError, OSError, ...
        raise BackendError(
            f"the working directory or the modules cannot be sent to the cluster: {error}"
        ) from error
    return shipped


def _as_mapping(value: Any, name: str, caller: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ArgumentError(
            f"{caller}: {name}={value!r}: write a dict, such as {{'pip': ['lightgbm']}}"
        )
    return dict(value)


def _as_working_dir(value: Any, caller: str) -> str:
    if not isinstance(value, str | Path):
        raise ArgumentError(f"{caller}: working_dir={value!r}: write a folder, such as '.'")
    text = str(value)
    if _URI.match(text):
        return text
    path = Path(text).expanduser().absolute()
    if path.is_dir() or (path.is_file() and path.name.endswith(ARCHIVES)):
        return str(path)
    raise ArgumentError(
        f"{caller}: working_dir={text!r}: the folder {path} does not exist; write a folder of this "
        f"machine, an archive ({', '.join(ARCHIVES)}), or a URI such as 's3://bucket/code.zip'"
    )


def _as_excludes(value: Any, caller: str) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ArgumentError(f"{caller}: excludes={value!r}: write a list, such as ['*.csv']")
    return list(value)


def _as_py_modules(value: Any, caller: str) -> list[str]:
    if isinstance(value, str | Path | ModuleType) or not isinstance(value, Iterable):
        raise ArgumentError(
            f"{caller}: py_modules={value!r}: write a list, such as ['src/my_package']"
        )
    return [_as_py_module(item, caller) for item in value]


def _as_py_module(item: Any, caller: str) -> str:
    if isinstance(item, ModuleType):
        places = [*getattr(item, "__path__", ()), getattr(item, "__file__", None)]
        item = places[0]
        if item is None:
            raise ArgumentError(f"{caller}: py_modules: that module has no files to be shipped")
    if not isinstance(item, str | Path):
        raise ArgumentError(
            f"{caller}: py_modules: {item!r} is not a path; write the folder of a package, such as "
            f"'src/my_package', or an imported module"
        )
    text = str(item)
    if _URI.match(text):
        return text
    path = Path(text).expanduser().absolute()
    if path.is_dir() or (path.is_file() and path.suffix in MODULE_FILES):
        return str(path)
    raise ArgumentError(
        f"{caller}: py_modules: {text!r}: {path} is not a module; write the folder of a "
        f"package or a file ({', '.join(MODULE_FILES)})"
    )


def _as_env_vars(value: Any, caller: str) -> dict[str, str]:
    variables = _as_mapping(value, "env_vars", caller)
    for name, text in variables.items():
        if not isinstance(text, str):
            raise ArgumentError(
                f"{caller}: env_vars: {name!r} is {text!r}; write a text, such as {str(text)!r}"
            )
    return variables
