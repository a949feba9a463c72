"""Where a file lies: on a disk of this machine, or across a network."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|glusterfs|orangefs|pvfs2|ncpfs|"
    r"fuse\.(sshfs|s3fs|gcsfuse|goofys|rclone|glusterfs|ceph|davfs.*|juicefs|beegfs.*)"
)
"""File systems whose locks other machines may not see, or that have none."""


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """Return the kind of network file system that a path lies on, or will; None if it is local.

    Parameters
    ----------
    path
        It need not be there yet.
    mounts
        What ``/proc/self/mountinfo`` says (proc_pid_mountinfo(5)); read if not given. Where the
        system has no such file, every path counts as local.

    Examples
    --------
    >>> mounts = "36 35 98:0 / /home rw,noatime - nfs4 server:/export rw"
    >>> network_file_system(Path("/home/ada/.tuner/tuner.db"), mounts)
    'nfs4'
    >>> network_file_system(Path("/var/tuner.db"), mounts)
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        path = Path(os.path.realpath(path))
    place, kind = "", ""
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        if not separator:
            continue
        # Octal escapes stand for spaces and the like.
        point = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), before.split()[4])
        # Of mounts on the same place the last one is seen.
        if len(point) >= len(place) and path.is_relative_to(point):
            place, kind = point, after.split()[0]
    return kind if _NETWORK.fullmatch(kind) else None
