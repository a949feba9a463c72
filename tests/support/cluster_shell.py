"""Somebody at a shell who uses a cluster."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner

from support.heads import RunningHead, tuner_command
from tuner.backends.ray.auth import read_settings_again
from tuner.cli.commands import cli


class Shell:
    """Somebody at a shell who has the token of the head, or not."""

    def __init__(self, head: RunningHead, folder: Path) -> None:
        self.head = head
        self.folder = folder

    def __call__(
        self,
        command: Sequence[str],
        *,
        code: int = 0,
        home: Path | None = None,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.head.environment(home=home, **variables),
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def tuner(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in a separate process, because it may connect to a cluster."""
        return self(tuner_command(*args), **options)

    def tuner_here(
        self, *args: str, code: int = 0, home: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in this process: it only speaks HTTP, and is quicker so."""
        variables = self.head.environment(home=home, **variables)
        before = Path.cwd()
        try:
            os.chdir(self.folder)
            with patch.dict(os.environ, variables, clear=True):
                read_settings_again()  # this process may have read another token
                result = CliRunner().invoke(cli, args)
        finally:
            os.chdir(before)
        assert result.exit_code == code, f"{result.output}{result.exception!r}"
        return subprocess.CompletedProcess(args, code, result.stdout, result.stderr)
