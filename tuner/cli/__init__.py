"""The command line: a thin face over the Python API, one file a group of commands."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command ``tuner``."""
    from tuner.cli.commands import cli

    cli()
