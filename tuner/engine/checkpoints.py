"""The worker's side of checkpoints: sent piece by piece, and checked when they are read again."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

from tuner.backends.protocol import Channel
from tuner.errors import ArgumentError
from tuner.records import Checkpoint, CheckpointEnd, CheckpointPart
from tuner.tracking.checkpoints import checksum, files_below

PART = 4 * 2**20
"""Bytes of a file that travel at once, and all that is held in memory of a checkpoint."""


def send_checkpoint(folder: Path, number: int, channel: Channel) -> None:
    """Send the files below a folder as the checkpoint of this `number` of a run.

    Raises
    ------
    ArgumentError
        If there are none.
    """
    files = files_below(folder)
    if not files:
        raise ArgumentError(
            "trial.checkpoint: the folder is still empty at the end of the block; save at least "
            "one file in it: with trial.checkpoint() as folder: torch.save(state, folder / 'state')"
        )
    size = 0
    for name, path in files.items():
        with path.open("rb") as file:
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
        shutil.copytree(checkpoint.folder, target)
        found = checksum(target, files_below(target))
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
