"""The commands of docs/cluster.md, run on a real cluster as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import tuner
from support.cluster_shell import Shell

PAGE = (Path(__file__).parent.parent.parent / "docs" / "cluster.md").read_text()
COMMANDS = re.findall(r"^    (tuner (?:cluster check|submit) .*)$", PAGE, re.MULTILINE)


def files_of_the_page() -> dict[str, str]:
    """Return the two files that the page shows: each begins with its name in a comment."""
    block = re.search(r"^    # shapes\.py\n(?:    .*\n|\n)+", PAGE, re.MULTILINE)
    assert block is not None
    text = re.sub(r"^    ", "", block[0], flags=re.MULTILINE)
    parts = re.split(r"^# (\w+\.py)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture
def there(shell: Shell) -> Shell:
    for name, text in files_of_the_page().items():
        (shell.folder / name).write_text(text)
    return shell


def test_the_page_shows_the_commands() -> None:
    assert list(files_of_the_page()) == ["shapes.py", "sweep.py"]
    assert [c.split()[1] for c in COMMANDS] == ["cluster"] * 3 + ["submit"]


@pytest.mark.ray
@pytest.mark.parametrize("command", COMMANDS[1:])
def test_the_commands_of_the_page_run(there: Shell, command: str) -> None:
    command = command.replace("10.0.0.5:6379", there.head.address)
    _, *args = shlex.split(command.replace("http://127.0.0.1:8265", there.head.dashboard))
    outside = there.head.dashboard in args
    done = there.tuner_here(*args) if outside else there.tuner(*args)
    if args[0] == "submit":
        assert "100 trials, best" in done.stdout
        store = there.head.home / ".tuner"
        assert len(tuner.load_study("valley", store=store).trials) == 100
    else:
        assert "\timports\tok\n" in done.stdout
