"""Detect whether a path is on a local disk or on a network file system."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|glusterfs|orangefs|pvfs2|ncpfs|"
    r"fuse\.(sshfs|s3fs|gcsfuse|goofys|rclone|glusterfs|ceph|davfs.*|juicefs|beegfs.*)"
)
"""File systems without locks, or with locks that other machines may not see."""


class Mount(Protocol):
    """A mounted file system, as psutil returns it."""

    mountpoint: str
    fstype: str


def network_file_system(path: Path, mounts: Iterable[Mount] | None = None) -> str | None:
    """Return the type of the network file system of a path; None if it is local.

    Parameters
    ----------
    path
        The path; it need not exist.
    mounts
        The mounted file systems in the order of mounting; None reads them from this machine.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> mounts = [SimpleNamespace(mountpoint="/home", fstype="nfs4")]
    >>> network_file_system(Path("/home/ada/.tuner/tuner.db"), mounts)
    'nfs4'
    >>> network_file_system(Path("/var/tuner.db"), mounts)
    """
    if mounts is None:
        import psutil

        path = Path(os.path.realpath(path))
        try:
            mounts = psutil.disk_partitions(all=True)
        except OSError:  # such as a system without /proc
            return None
    around = [mount for mount in mounts if path.is_relative_to(mount.mountpoint)]
    # Of several mounts on the same place, the last one is visible.
    innermost = max(reversed(around), key=lambda m: len(m.mountpoint), default=None)
    return innermost.fstype if innermost and _NETWORK.fullmatch(innermost.fstype) else None
