from __future__ import annotations

from pathlib import Path

import pytest

from tuner.errors import StoreError
from tuner.records import Code
from tuner.tracking import open_store
from tuner.tracking.database import creation
from tuner.tracking.database.creation import network_file_system

# As machines have them; the last two lie over the same place.
MOUNTS = r"""
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
40 22 0:35 / /home rw,relatime shared:20 - nfs4 server:/home rw,vers=4.2
41 40 0:36 / /home/ada/local rw shared:21 - xfs /dev/sdb1 rw
42 22 0:37 / /mnt/two\040words rw - cifs //server/share rw
43 22 0:38 / /data rw master:1 - fuse.sshfs ada@host: rw
44 22 0:39 / /scratch rw - lustre 10.0.0.1@tcp:/scratch rw
45 22 0:40 / /srv rw - nfs server:/srv rw
46 45 0:41 / /srv rw - tmpfs tmpfs rw
"""


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
def test_the_file_system_of_a_path(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_this_machine_says_where_a_link_leads(tmp_path: Path) -> None:
    assert network_file_system(tmp_path / "new" / "tuner.db") is None


def test_a_store_on_a_network_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = f"36 35 98:0 / {tmp_path} rw - nfs4 server:/export rw"
    monkeypatch.setattr(
        creation, "network_file_system", lambda path: network_file_system(path, here)
    )
    with pytest.raises(StoreError, match=r"network file system \(nfs4\).*a PostgreSQL URL"):
        open_store(tmp_path / "store").put_code(Code())
    assert list(tmp_path.iterdir()) == []
