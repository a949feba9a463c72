"""The worker's side of checkpoints: send them in parts, and verify them when they are restored."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

from tuner.backends.protocol import Channel
from tuner.errors import ArgumentError
from tuner.records import Checkpoint, CheckpointEnd, CheckpointPart
from tuner.tracking.artifacts.checkpoint_store import checksum, files_below
from tuner.tracking.artifacts.regular_files import NotRegular, open_regular, regular_files

PART = 4 * 2**20
"""Bytes of one part; a worker holds one part of a checkpoint in memory."""


def send_checkpoint(folder: Path, number: int, channel: Channel) -> None:
    """Send the files below a folder as checkpoint `number` of a run.

    Raises
    ------
    ArgumentError
        If the folder is empty or contains anything but regular files and folders.
    """
    try:
        files = files_below(folder)
    except NotRegular as error:
        raise ArgumentError(f"trial.checkpoint: {error}; save only regular files") from error
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
    """Copy a checkpoint's files to `target`; return whether the copy matches its checksum.

    A damaged checkpoint is not used: the trial starts over, with a warning in its output.
    """
    try:
        found = _copied(Path(checkpoint.folder), target, checkpoint.size)
    except OSError as error:
        why = str(error)
    else:
        if found == checkpoint.sha256:
            return True
        why = f"its checksum is {found[:12]}…, expected {checkpoint.sha256[:12]}…"
    shutil.rmtree(target, ignore_errors=True)
    warnings.warn(
        f"the checkpoint in {checkpoint.folder} cannot be used: {why}; the trial starts over",
        stacklevel=3,
    )
    return False


def _copied(source: Path, target: Path, size: int) -> str:
    """Copy regular files with a total of `size` bytes, and return the checksum of the copy.

    Raises
    ------
    OSError
        If the folder contains anything else, or the total size differs.
    """
    found = list(regular_files(source))
    if (total := sum(length for _, _, length in found)) != size:
        raise OSError(f"it has {total} bytes, expected {size}")
    target.mkdir(parents=True)
    for name, path, length in found:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with open_regular(path) as file, (target / name).open("xb") as copy:
            # The file may grow during the copy.
            while length > 0 and (data := file.read(min(PART, length))):
                copy.write(data)
                length -= len(data)
    return checksum(target, files_below(target))
