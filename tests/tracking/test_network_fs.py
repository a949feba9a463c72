from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tuner.errors import StoreError
from tuner.records import Code
from tuner.tracking import open_store
from tuner.tracking.database import init_db
from tuner.tracking.database.location import network_file_system

# As machines have them; the last two lie over the same place.
MOUNTS = [
    SimpleNamespace(mountpoint=place, fstype=kind)
    for place, kind in (
        ("/", "ext4"),
        ("/home", "nfs4"),
        ("/home/ada/local", "xfs"),
        ("/mnt/two words", "cifs"),
        ("/data", "fuse.sshfs"),
        ("/scratch", "lustre"),
        ("/srv", "nfs"),
        ("/srv", "tmpfs"),
    )
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/tuner.db", None),
        ("/home/ada/.tuner/tuner.db", "nfs4"),
        ("/home/ada/local/tuner.db", None),
        ("/homework/tuner.db", None),
        ("/mnt/two words/tuner.db", "cifs"),
        ("/data/tuner.db", "fuse.sshfs"),
        ("/scratch/tuner.db", "lustre"),
        ("/srv/tuner.db", None),
    ],
)
def test_the_file_system_of_a_path_is_detected(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_links_are_resolved_before_the_check(tmp_path: Path) -> None:
    assert network_file_system(tmp_path / "new" / "tuner.db") is None


def test_a_store_on_a_network_file_system_is_refused_before_creation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")]
    monkeypatch.setattr(
        init_db, "network_file_system", lambda path: network_file_system(path, here)
    )
    with pytest.raises(StoreError, match=r"network file system \(nfs4\).*a PostgreSQL URL"):
        open_store(tmp_path / "store").put_code(Code())
    assert list(tmp_path.iterdir()) == []
