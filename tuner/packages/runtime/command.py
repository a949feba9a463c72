"""The command ``python -m predict``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import PackageError
from .manifest import Manifest
from .model import PackagedModel
from .tables import FORMATS, read_table, write_table


def main(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after an error, which is printed in one line."""
    options = _parser().parse_args(arguments)
    if options.allow_pickle:
        os.environ["MODEL_ALLOW_PICKLE"] = "1"
    try:
        if options.verify:
            manifest = Manifest(folder)
            manifest.check_all()
            print(f"verified: {manifest.title}, {len(manifest.checksums)} files")
            return 0
        if options.input is None:
            raise PackageError("no input: write a file, or - for standard input")
        model = PackagedModel(folder)
        table = read_table(options.input, options.input_format, model.signature)
        write_table(model.predict(table), options.output)
    except PackageError as error:
        print(f"predict: error: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # a library may raise anything for data that its model cannot take
        print(f"predict: error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m predict", description="Write the predictions of the model as CSV."
    )
    parser.add_argument(
        "input", nargs="?", help="file of type .csv, .jsonl or .parquet; - for standard input"
    )
    parser.add_argument("--input-format", choices=FORMATS, help="type of the input")
    parser.add_argument("--output", type=Path, help="file to write (default: standard output)")
    parser.add_argument(
        "--allow-pickle", action="store_true", help="load a pickled model, which runs its code"
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare every file with its checksum, and end"
    )
    return parser
