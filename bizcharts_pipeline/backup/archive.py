"""Format of a backup file: a plain tar archive in which every byte is determined.

``FORMAT`` comes first, then the members, ``manifest.json`` with the size and SHA-256 of each, and ``manifest.sha256``,
the manifest's own. Headers contain only name and size, so a reader can recreate and compare them: links, devices,
unusual modes, and bytes between or after the members are all detected. `tar xf` and `sha256sum -c` work too.
"""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from bizcharts_pipeline.backup.errors import BackupDamaged, BackupFailed, NewerBackup
from bizcharts_pipeline.core.files import open_regular

FORMAT, MANIFEST, CHECKSUM = "FORMAT", "manifest.json", "manifest.sha256"
DATABASE = "bizcharts.duckdb"
FORMAT_TEXT = b"bizcharts-backup 1\n"
PARTS = ("database", "ledgers", "models", "datasets", "images")
CHUNK_BYTES = 1 << 20
MAX_MANIFEST_BYTES = 256 << 20
_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_ANY_FORMAT = re.compile(rb"bizcharts-backup (\d{1,9})\n")
_MAX_USTAR_BYTES = 8**11
_ODD = re.compile(r"[\x00-\x1f\x7f\\:]")
_LEDGER = re.compile(r"ledgers/([A-Za-z0-9_-]+\.sqlite|installation|rejected/[^/]+)")


@dataclass(frozen=True)
class Member:
    """A file in a backup. ``name`` is relative to the home."""

    name: str
    bytes: int
    sha256: str

    @property
    def part(self) -> str:
        """The one of the backup's :data:`PARTS` that the file belongs to."""
        return "database" if self.name == DATABASE else self.name.partition("/")[0]


@dataclass(frozen=True)
class Manifest:
    """Members of a backup, and ``facts``: time and versions of its creation, and rows by table."""

    members: tuple[Member, ...]
    facts: Mapping[str, Any]

    def content(self) -> bytes:
        """Return the bytes of the backup's ``manifest.json``."""
        rows = [[member.name, member.bytes, member.sha256] for member in self.members]
        return (json.dumps({**self.facts, "members": rows}, indent=0, sort_keys=True) + "\n").encode()


class Writer:
    """Writes an archive into ``file``, member by member; incomplete until :meth:`finish`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members: list[Member] = []
        self._put(FORMAT, FORMAT_TEXT)

    def add(self, name: str, path: Path) -> Member:
        """Add the file ``path`` to the backup under ``name``.

        Raises:
            FileNotFoundError: there is no such file.
            BackupFailed: the name is not allowed in an archive, or the file changed while it was read.
        """
        if not is_known(name):
            raise BackupFailed(f"{path}: its name is not allowed in a backup; rename it.")
        digest = hashlib.sha256()
        with open_regular(path) as source:
            size = os.fstat(source.fileno()).st_size
            self._file.write(_header(name, size))
            left = size
            while chunk := source.read(min(CHUNK_BYTES, left)):
                digest.update(chunk)
                self._file.write(chunk)
                left -= len(chunk)
            if left or source.read(1):
                raise BackupFailed(f"{path} changed while it was read; run the backup again.")
        self._file.write(bytes(-size % _BLOCK))
        member = Member(name, size, digest.hexdigest())
        self._members.append(member)
        return member

    def finish(self, facts: Mapping[str, Any]) -> Manifest:
        """Write the backup's manifest and close the archive."""
        manifest = Manifest(tuple(self._members), facts)
        content = manifest.content()
        self._put(MANIFEST, content)
        self._put(CHECKSUM, _checksum(content))
        self._file.write(_END)
        return manifest

    def _put(self, name: str, content: bytes) -> None:
        self._file.write(_header(name, len(content)) + content + bytes(-len(content) % _BLOCK))


def is_archive(path: Path) -> bool:
    """Whether ``path`` begins like a backup of this format, of any version."""
    with open_regular(path) as file:
        begin = file.read(_BLOCK)
    return begin[: len(FORMAT) + 1] == f"{FORMAT}\0".encode() and begin[257:262] == b"ustar"


def read(path: Path, take: Callable[[str, BinaryIO, int], Member] | None = None) -> Manifest:
    """Read the complete backup file ``path``, verify every byte, and return its manifest.

    Args:
        take: receives name, file and size of each member, reads exactly that size, and returns the member as read; by
            default the members are only verified.

    Raises:
        BackupDamaged: it is incomplete, damaged, or has an entry not allowed in a backup; names the position.
        NewerBackup: a newer version of BizCharts has written it.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        try:
            return _Reader(file, take or _verify).manifest()
        except _Fault as fault:
            raise BackupDamaged(path, str(fault)) from None
        except _Newer as newer:
            raise NewerBackup(
                f"{path} has format {newer}, of a newer version of BizCharts; update BizCharts. Nothing was replaced."
            ) from None


def is_known(name: str) -> bool:
    """Whether ``name`` is allowed in a backup: a relative path in one of the backup's parts, such as ``ledgers``, that
    does not lead out of it."""
    folders = name.split("/")
    if _ODD.search(name) or any(folder in ("", ".", "..") for folder in folders):
        return False
    if folders[0] == "ledgers":
        return _LEDGER.fullmatch(name) is not None
    return name == DATABASE or (folders[0] in PARTS[2:] and len(folders) > 1)


class _Fault(Exception):
    """A fault of an archive."""


class _Newer(Exception):
    """The version number of an unknown, newer format."""


class _Reader:
    def __init__(self, file: BinaryIO, take: Callable[[str, BinaryIO, int], Member]) -> None:
        self._file = file
        self._take = take

    def manifest(self) -> Manifest:
        self._check_format()
        members: dict[str, Member] = {}
        while (header := self._next())[0] != MANIFEST:
            name, size = header
            if not is_known(name) or name in members:
                raise _Fault(f"unexpected entry {name!r:.200}")
            members[name] = self._take(name, self._file, size)
            if members[name].bytes != size:
                raise _Fault(f"it ends in {name}")
            self._skip_padding(size, name)
        content = self._content(header[1], MANIFEST, MAX_MANIFEST_BYTES)
        name, size = self._next()
        if name != CHECKSUM or self._content(size, CHECKSUM, _BLOCK) != _checksum(content):
            raise _Fault(f"{MANIFEST} does not match its checksum")
        if self._file.read(len(_END) + 1) != _END:
            raise _Fault("its end is missing or damaged")
        return _agreed(content, members)

    def _check_format(self) -> None:
        name, size = self._next()
        content = self._content(size, name, _BLOCK) if name == FORMAT else b""
        if content != FORMAT_TEXT:
            if found := _ANY_FORMAT.fullmatch(content):
                raise _Newer(found[1].decode())
            raise _Fault("it does not begin with the backup header")

    def _next(self) -> tuple[str, int]:
        """Return name and size of the next member."""
        place = self._file.tell()
        block = self._file.read(_BLOCK)
        if len(block) < _BLOCK:
            raise _Fault(f"it ends at byte {place:,}, before its manifest")
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            if _header(info.name, info.size) == block:
                return info.name, info.size
        except (tarfile.HeaderError, ValueError, OverflowError):
            pass
        raise _Fault(f"it is damaged at byte {place:,}, or has an entry that is not a regular file")

    def _content(self, size: int, name: str, most: int) -> bytes:
        if size > most:
            raise _Fault(f"{name} is too large")
        content = self._file.read(size)
        if len(content) < size:
            raise _Fault(f"it ends in {name}")
        self._skip_padding(size, name)
        return content

    def _skip_padding(self, size: int, name: str) -> None:
        if self._file.read(-size % _BLOCK) != bytes(-size % _BLOCK):
            raise _Fault(f"it is damaged after {name}")


def _agreed(content: bytes, found: Mapping[str, Member]) -> Manifest:
    """Return the manifest if it lists exactly the members found."""
    try:
        facts = json.loads(content)
        listed = [Member(str(name), int(size), str(sha256)) for name, size, sha256 in facts.pop("members")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _Fault(f"{MANIFEST} is malformed") from None
    manifest = Manifest(tuple(listed), facts)
    if manifest.content() != content:
        raise _Fault(f"{MANIFEST} is malformed")
    for member in listed:
        if member.name not in found:
            raise _Fault(f"{member.name} is missing")
        if found[member.name] != member:
            raise _Fault(f"{member.name} is damaged")
    if len(listed) != len(found):
        raise _Fault("it contains files that its manifest does not list")
    return manifest


def _verify(name: str, file: BinaryIO, size: int) -> Member:
    return copy_member(name, file, size, None)


def copy_member(name: str, file: BinaryIO, size: int, target: BinaryIO | None) -> Member:
    """Read a member of a backup from ``file``, copy it to ``target`` if given, and return it as read."""
    digest, left = hashlib.sha256(), size
    while chunk := file.read(min(CHUNK_BYTES, left)):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
        left -= len(chunk)
    return Member(name, size - left, digest.hexdigest())


def _header(name: str, size: int) -> bytes:
    """Return the only possible header of a member with this name and size.

    Raises:
        ValueError: the name is too long.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    # Only GNU's format supports more than 8 GB; the database's name is short enough for it.
    kind: Literal[0, 1] = tarfile.USTAR_FORMAT if size < _MAX_USTAR_BYTES else tarfile.GNU_FORMAT
    header = info.tobuf(kind, "utf-8", "strict")
    if len(header) != _BLOCK:
        raise ValueError("the name is too long")
    return header


def _checksum(content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n".encode()
