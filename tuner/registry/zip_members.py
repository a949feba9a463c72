"""Members of zip archives, read within the sizes that the archive declares."""

from __future__ import annotations

import io
import zipfile
from typing import IO

from tuner.registry.limits import Budget, Refused

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


def members_of(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an archive by name; refuses names that stand twice, and encryption."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename in members:
            raise Refused(f"{name} has two members {info.filename!r}")
        if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
            raise Refused(f"{name} has the member {info.filename!r}, packed in an unusual way")
        members[info.filename] = info
    return members


def opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """Open a member for reading."""
    try:
        return archive.open(info)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, OSError) as error:
        raise Refused(f"{info.filename!r} cannot be read: {error}") from error


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the content of a member, and unpack at most its declared size."""
    with opened(archive, info) as file:
        content: bytes = file.read(info.file_size)
        if len(content) != info.file_size or file.read(1):
            raise Refused(f"{info.filename!r} has another size than the archive declares")
    return content


def unpacked(content: bytes, name: str) -> dict[str, bytes]:
    """Return the content of each member of an archive in memory, within the limit of its size."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise Refused(f"{name} is not a zip archive: {error}") from error
    members = members_of(archive, name)
    Budget(len(content)).spend(sum(info.file_size for info in members.values()))
    return {member: read_member(archive, info) for member, info in members.items()}


def packed(members: dict[str, bytes]) -> bytes:
    """Return an uncompressed archive with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()
