"""A trial keeps its last complete checkpoint if a process dies while saving the next one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import examples
from tuner.engine.worker.files import PART, copy_checkpoint, send_checkpoint
from tuner.errors import ArgumentError, StoreReadOnly
from tuner.records import Checkpoint, CheckpointEnd, CheckpointPart, Message
from tuner.tracking.artifacts.checkpoint_store import CheckpointStore, checksum
from tuner.tracking.artifacts.folder import checksum as checksum_of_bytes

names = st.sampled_from(["state", "a/b", "a/c/d", "naïve ☃", "weights.bin", "a~2"])
contents = st.dictionaries(names, st.binary(max_size=50), min_size=1, max_size=4)
saves = st.lists(st.tuples(contents, st.booleans(), st.integers(0, 8)), max_size=6)


class Desk:
    """A channel that records the sent messages."""

    worker = "desk"

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages.append(message)

    def stop_requested(self) -> bool:
        return False


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def sent(folder: Path, files: dict[str, bytes], number: int = 1) -> list[Message]:
    desk = Desk()
    send_checkpoint(write(folder, files), number, desk)
    return desk.messages


def put(checkpoints: CheckpointStore, run: str, messages: list[Message], trial: int = 0) -> None:
    for message in messages:
        if isinstance(message, CheckpointPart):
            checkpoints.add(trial, run, message)
        else:
            assert isinstance(message, CheckpointEnd)
            checkpoints.keep(trial, run, message)


def restored(checkpoint: Checkpoint | None, target: Path) -> dict[str, bytes] | None:
    if checkpoint is None:
        return None
    assert copy_checkpoint(checkpoint, target)
    return read(target)


@pytest.mark.slow
@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(contents, st.booleans(), st.integers(0, 8)), max_size=6))
def test_the_last_complete_checkpoint_is_found(
    saves: list[tuple[dict[str, bytes], bool, int]],
) -> None:
    with tempfile.TemporaryDirectory() as root:
        checkpoints, expected, run = CheckpointStore(Path(root, "store"), "study"), None, 0
        for n, (files, whole, arrived) in enumerate(saves):
            messages = sent(Path(root, f"saved-{n}"), files, number=n + 1)
            if whole:
                expected = files
            else:  # its worker dies, or the driver does
                messages = messages[: min(arrived, len(messages) - 1)]
            put(checkpoints, f"run-{run}", messages)
            if not whole:
                run += 1
                if arrived % 2:
                    checkpoints = CheckpointStore(Path(root, "store"), "study")
                    checkpoints.tidy([0])
            assert restored(checkpoints.latest(0), Path(root, f"restored-{n}")) == expected
        left = list(Path(root, "store").glob("checkpoints/study/0/[!.]*"))
        assert len(left) == (expected is not None)
        checkpoints.remove(0)
        assert checkpoints.latest(0) is None


@given(contents)
def test_the_checksum_equals_that_of_artifacts(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = write(Path(root, "saved"), files)
        assert checksum(folder, files) == checksum_of_bytes(files)


def test_a_large_file_is_sent_in_parts(tmp_path: Path) -> None:
    content = random.Random(0).randbytes(2 * PART + 17)
    messages = sent(tmp_path / "saved", {"weights": content, "empty": b""})
    assert [len(m.data) for m in messages[:-1]] == [0, PART, PART, 17]
    checkpoints = CheckpointStore(tmp_path / "store", "study")
    put(checkpoints, "run", messages)
    assert restored(checkpoints.latest(0), tmp_path / "back") == {"weights": content, "empty": b""}


def test_a_checkpoint_damaged_in_transit_is_not_stored(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path / "store", "study")
    put(checkpoints, "run", sent(tmp_path / "1", {"state": b"good"}))
    *parts, end = sent(tmp_path / "2", {"state": b"better"}, number=2)
    put(checkpoints, "run", [CheckpointPart(2, "state", b"bitter"), end])
    assert restored(checkpoints.latest(0), tmp_path / "back") == {"state": b"good"}
    put(checkpoints, "run", [*parts, end])
    assert restored(checkpoints.latest(0), tmp_path / "again") == {"state": b"better"}


def test_a_checkpoint_damaged_on_disk_is_not_restored(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path / "store", "study")
    put(checkpoints, "run", sent(tmp_path / "1", {"state": b"good"}))
    checkpoint = checkpoints.latest(0)
    assert checkpoint is not None
    Path(checkpoint.folder, "state").write_bytes(b"goof")
    with pytest.warns(UserWarning, match=r"cannot be used: its checksum is.*starts over"):
        assert not copy_checkpoint(checkpoint, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_checkpoints_of_ended_trials_and_partial_ones_are_deleted(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path / "store", "study")
    for trial in range(3):
        put(checkpoints, f"run-{trial}", sent(tmp_path / str(trial), {"s": b"1"}), trial)
    put(checkpoints, "run-9", sent(tmp_path / "9", {"s": b"2"})[:1], trial=1)
    CheckpointStore(tmp_path / "store", "study").tidy([1])
    (left,) = (tmp_path / "store").glob("checkpoints/study/*/*")
    assert left.parent.name == "1"
    assert not left.name.startswith(".")


def test_an_empty_checkpoint_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentError, match="save at least one file"):
        send_checkpoint(tmp_path / "empty", 1, Desk())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    checkpoints = CheckpointStore(tmp_path / "store", "study")
    with pytest.raises(StoreReadOnly, match=r"checkpoint of trial 4 cannot be written below"):
        checkpoints.add(4, "run", CheckpointPart(1, "state", b"1"))


SAVES = """
import sys
from pathlib import Path
from tuner.engine.worker.files import send_checkpoint
from tuner.records import CheckpointPart
from tuner.tracking.artifacts.checkpoint_store import CheckpointStore

class Desk:
    worker = "desk"
    def send(self, message):
        if isinstance(message, CheckpointPart):
            checkpoints.add(0, "run", message)
        else:
            checkpoints.keep(0, "run", message)
            print(n, flush=True)

root = Path(sys.argv[1])
checkpoints = CheckpointStore(root / "store", "study")
checkpoints.tidy([0])
(root / "saved").mkdir(exist_ok=True)
for n in range(int(sys.argv[2]), 10**9):
    (root / "saved" / "count").write_text(str(n))
    (root / "saved" / "weights").write_bytes(str(n).encode() * 50_000)
    send_checkpoint(root / "saved", n, Desk())
"""


@pytest.mark.slow
@pytest.mark.process
def test_a_kill_at_any_step_loses_no_confirmed_checkpoint(tmp_path: Path) -> None:
    clock, said = random.Random(1), 0
    for kill in range(8):
        command = [sys.executable, "-c", SAVES, str(tmp_path), str(said + 1)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = int(process.stdout.readline())
        time.sleep(clock.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        said = max([said, *map(int, process.communicate()[0].split())])
        found = restored(
            CheckpointStore(tmp_path / "store", "study").latest(0), tmp_path / f"{kill}"
        )
        assert found is not None
        count = int(found["count"])
        assert count in (said, said + 1)  # one may be stored but not yet confirmed
        assert found["weights"] == str(count).encode() * 50_000
        said = count
