"""The command line: a thin layer over the Python API, one file per group of commands."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command ``tuner``."""
    from tuner.cli.commands import cli

    cli()
