"""The worker's side of checkpoints: sent piece by piece, and checked when they are read again."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

from tuner.backends.protocol import Channel
from tuner.errors import ArgumentError
from tuner.records import Checkpoint, CheckpointEnd, CheckpointPart
from tuner.tracking.artifacts.checkpoint_store import checksum, files_below
from tuner.tracking.artifacts.files import NotRegular, open_regular, regular_files

PART = 4 * 2**20
"""Bytes of a file that travel at once, and all that is held in memory of a checkpoint."""


def send_checkpoint(folder: Path, number: int, channel: Channel) -> None:
    """Send the files below a folder as the checkpoint of this `number` of a run.

    Raises
    ------
    ArgumentError
        If there are none, or there is something else than regular files.
    """
    try:
        files = files_below(folder)
    except NotRegular as error:
        raise ArgumentError(f"trial.checkpoint: {error}; save regular files only") from error
    if not files:
        raise ArgumentError(
            "trial.checkpoint: the folder is still empty at the end of the block; save at least "
            "one file in it: with trial.checkpoint() as folder: torch.save(state, folder / 'state')"
        )
    size = 0
    for name, path in files.items():
        with open_regular(path, follow=True) as file:
            data = file.read(PART)
            while True:
                size += len(data)
                channel.send(CheckpointPart(number, name, data))
                if not (data := file.read(PART)):
                    break
    channel.send(CheckpointEnd(number, checksum(folder, files), size))


def copy_checkpoint(checkpoint: Checkpoint, target: Path) -> bool:
    """Copy a checkpoint's files to `target`; return whether they are what was saved.

    What is damaged is worth less than nothing: the trial begins anew, and its output says so.
    """
    try:
        found = _copied(Path(checkpoint.folder), target, checkpoint.size)
    except OSError as error:
        why = str(error)
    else:
        if found == checkpoint.sha256:
            return True
        why = f"it has the checksum {found[:12]}…, saved was {checkpoint.sha256[:12]}…"
    shutil.rmtree(target, ignore_errors=True)
    warnings.warn(
        f"the checkpoint in {checkpoint.folder} cannot be used: {why}; the trial begins anew",
        stacklevel=3,
    )
    return False


def _copied(source: Path, target: Path, size: int) -> str:
    """Copy regular files that have `size` bytes in sum, and return the checksum of the copy.

    Raises
    ------
    OSError
        If there is anything else in the folder, or the files have another size.
    """
    found = list(regular_files(source))
    if (total := sum(length for _, _, length in found)) != size:
        raise OSError(f"it has {total} bytes, saved were {size}")
    target.mkdir(parents=True)
    for name, path, length in found:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with open_regular(path) as file, (target / name).open("xb") as copy:
            # No more than was announced, though it may grow meanwhile.
            while length > 0 and (data := file.read(min(PART, length))):
                copy.write(data)
                length -= len(data)
    return checksum(target, files_below(target))
