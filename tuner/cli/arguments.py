"""Arguments of the commands: shared options, pairs, and the objectives and spaces of scripts."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click

import tuner
from tuner.cli.output import echo
from tuner.errors import ArgumentError
from tuner.provenance.scripts import load_module, load_script, skipped_search
from tuner.study.arguments import as_space


class NameOption(click.Option):
    """An option that takes a registered name; its help and completion list the names."""

    def __init__(
        self, *args: Any, names: Callable[[], list[str]], summary: str, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.names, self.summary = names, summary

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the help of the option; reads the names only when help is shown."""
        self.help = f"{self.summary}: {', '.join(self.names())}."
        return super().get_help_record(ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:  # noqa: ARG002
        """Return the names that begin with `incomplete`."""
        names = (name for name in self.names() if name.startswith(incomplete))
        return [click.shell_completion.CompletionItem(name) for name in names]


store_option = click.option(
    "--store",
    metavar="FOLDER|URL",
    help="Location of the store.  [default: $TUNER_STORE, else ./.tuner]",
)


def as_pair(text: str) -> tuple[str, str]:
    """Return the key and value of ``KEY=VALUE``; the value may be empty or contain ``=``.

    >>> as_pair("filter=a=b")
    ('filter', 'a=b')
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ArgumentError(f"{text!r}: write KEY=VALUE")
    return key, value


def as_trial(text: str) -> tuple[str, int]:
    """Return the study and the number of ``STUDY/TRIAL``.

    >>> as_trial("digits/17")
    ('digits', 17)
    """
    study, _, number = text.rpartition("/")
    if not study or not number.isdecimal():
        raise ArgumentError(f"{text!r}: write STUDY/TRIAL, such as digits/17")
    return study, int(number)


SPACE_FILES = (".yaml", ".yml", ".json")


def load_objective(spec: str) -> Callable[..., Any]:
    """Return the function named by ``script.py:function`` or ``package.module:function``.

    Raises
    ------
    ArgumentError
        If the script, module or function does not exist, or the script fails.
    """
    objective = _attribute(spec, "objective")
    if not callable(objective):
        raise ArgumentError(f"objective {spec!r}: {objective!r} is not a function")
    function: Callable[..., Any] = objective
    return function


def read_text(path: Path, what: str) -> str:
    """Return the text of a file.

    Raises
    ------
    ArgumentError
        If it cannot be read; the message says `what` it is.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError(f"{what} {str(path)!r} cannot be read: {reason}") from None


def load_space(spec: str | None, objective: str) -> tuner.Space:
    """Return the space of a .yaml or .json file, or of a variable of a script or module.

    The variable may be a function without arguments that returns the space, as in
    `tuner.search_spaces.sklearn`.

    Parameters
    ----------
    spec
        The value of the option. None takes the variable ``space`` of the objective's module.
    objective
        The value of the argument ``objective``.

    Raises
    ------
    ArgumentError
        If the file or variable does not exist.
    SpaceError
        If it is not a space.
    """
    if spec is None:
        spec = f"{objective.rpartition(':')[0]}:space"
    path = Path(spec)
    if path.suffix in SPACE_FILES:
        text = read_text(path, "space")
        return (
            tuner.Space.from_json(text) if path.suffix == ".json" else tuner.Space.from_yaml(text)
        )
    found = _attribute(spec, "space", noted=objective.rpartition(":")[0])
    if callable(found) and not isinstance(found, tuner.Space):
        found = _called(found, spec)
    return as_space(found)


def _attribute(spec: str, what: str, noted: str = "") -> Any:
    """Return the attribute of a script or module; print the skipped part, if not `noted`."""
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        files = f", or a {', '.join(SPACE_FILES)} file" if what == "space" else ""
        raise ArgumentError(
            f"{what} {spec!r}: write SCRIPT.py:NAME or MODULE:NAME, such as train.py:{what}{files}"
        )
    module = _script(Path(place)) if _is_path(place) else _module(place, what)
    note = skipped_search(module)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            why = f" ({note})" if note else ""
            raise ArgumentError(f"{what} {spec!r}: {place} has no {name!r}{why}")
        found = getattr(found, part)
    if note and place != noted:
        echo(f"note: {note}", err=True)
    return found


def _is_path(place: str) -> bool:
    return place.endswith(".py") or "/" in place or "\\" in place or Path(place).is_file()


def _module(name: str, what: str) -> ModuleType:
    """Import a module as ``python -m`` does: from the current folder, or an installed one."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = load_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ArgumentError(_failed(name, error)) from error
        raise ArgumentError(
            f"{what}: module {name!r} is neither in this folder nor installed; write the path of a "
            f"script, or change to the folder of the module"
        ) from None
    except ArgumentError:
        raise
    except (Exception, SystemExit) as error:
        # Any exception of the user's module makes it unusable.
        raise ArgumentError(_failed(name, error)) from error
    if skipped_search(module):
        _ship(module)  # a worker that imports it would reach its search
    return module


def _script(path: Path) -> ModuleType:
    """Run the script once and return it as a module, which is pickled by value for workers.

    Modules beside it can be imported, here and on workers, as if Python ran the script: Ray passes
    the folder of ``sys.argv[0]`` to its workers.
    """
    if not path.is_file():
        raise ArgumentError(f"script {str(path)!r} does not exist; check the path")
    folder = str(path.resolve().parent)
    if sys.path[0] != folder:
        sys.path.insert(0, folder)
    try:
        module = load_script(path)
    except ArgumentError:
        raise
    except (Exception, SystemExit) as error:
        # Any exception of the user's script makes it unusable.
        raise ArgumentError(_failed(str(path), error)) from error
    _ship(module)
    return module


def _ship(module: ModuleType) -> None:
    """Pickle the functions of a module by value, so that workers need not import it."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)


def _called(make: Callable[[], Any], spec: str) -> Any:
    try:
        return make()
    except Exception as error:
        raise ArgumentError(_failed(f"space {spec!r}", error)) from error


def _failed(what: str, error: BaseException) -> str:
    """Return a message for an error of the user's code, with its file and line."""
    if isinstance(error, SyntaxError):
        place = f" ({error.filename}, line {error.lineno})"
        return f"{what} failed: SyntaxError: {error.msg}{place}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = {__file__, load_script.__code__.co_filename}
    own = [f for f in frames if f.filename not in ours and not f.filename.startswith("<frozen")]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    if isinstance(error, SystemExit):
        return (
            f"{what} exited while it was loaded{place}; guard that with if __name__ == '__main__'"
        )
    return f"{what} failed: {type(error).__name__}: {error}{place}"
