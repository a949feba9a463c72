"""Detect whether a path is on a local disk or on a network file system."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|glusterfs|orangefs|pvfs2|ncpfs|"
    r"fuse\.(sshfs|s3fs|gcsfuse|goofys|rclone|glusterfs|ceph|davfs.*|juicefs|beegfs.*)"
)
"""File systems without locks, or with locks that other machines may not see."""


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the network file system of a path, which may not exist yet; None if local.

    Parameters
    ----------
    path
        The path; it need not exist.
    mounts
        The content of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)); read if None. On a system
        without this file, every path counts as local.

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
        # Octal escapes represent spaces and similar characters.
        point = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), before.split()[4])
        # Of several mounts on the same place, the last one is visible.
        if len(point) >= len(place) and path.is_relative_to(point):
            place, kind = point, after.split()[0]
    return kind if _NETWORK.fullmatch(kind) else None
