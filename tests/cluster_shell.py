"""Somebody at a shell who uses a cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heads import RunningHead, tuner_command


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
        return self(tuner_command(*args), **options)
