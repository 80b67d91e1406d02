"""File transfers through a shell only, for machines without rsync: only missing files are sent, large ones resume.

Small files are sent together as a tar; a large one grows as ``<name>.part`` and is renamed when its hash is right.
"""

import io
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from bizcharts_pipeline.core.files import open_regular, read_regular, regular_only
from bizcharts_pipeline.pods.errors import TransferError
from bizcharts_pipeline.pods.manifest import MAX_BYTES, MAX_FILES, Entry, Manifest, entry, is_plain

CHUNK_BYTES = 8_000_000  # per command
PART = ".part"
_SECONDS = 300.0


class Run(Protocol):
    """Signature of `protocol.Transport.run`."""

    def __call__(self, command: str, *, stdin: bytes = b"", timeout_seconds: float = 60) -> bytes: ...


def differing(run: Run, target: str, wanted: Manifest) -> list[str]:
    """Return the paths of ``wanted`` that are missing or different in ``target`` on the pod's machine."""
    lines = "".join(f"{one.sha256}  {path}\n" for path, one in wanted.items())
    found = _below(run, target, "sha256sum --check 2>/dev/null || true", stdin=lines.encode()).decode(errors="replace")
    right = {line.removesuffix(": OK") for line in found.splitlines() if line.endswith(": OK")}
    return [path for path in wanted if path not in right]


def push(run: Run, source: Path, target: str, wanted: Manifest) -> None:
    """Make ``target`` on the pod's machine contain exactly ``wanted`` from the local folder ``source``.

    Raises:
        TransferError: a file did not arrive unchanged.
    """
    there = set(_files(run, target))
    missing = differing(run, target, wanted)
    spare = sorted(there - set(wanted) - {path + PART for path in missing})
    for batch in _batches(spare, {path: len(path) for path in spare}):
        _below(run, target, "xargs -0 rm -f --", stdin="\0".join(batch).encode())
    small = [path for path in missing if wanted[path].size < CHUNK_BYTES]
    for batch in _batches(small, {path: wanted[path].size for path in small}):
        _below(run, target, "tar -xf -", stdin=_tar(source, batch))
    for path in missing:
        if wanted[path].size >= CHUNK_BYTES:
            _push_large(run, source, target, path, wanted[path])


def pull(run: Run, source: str, target: Path) -> None:
    """Make the local folder ``target`` contain the regular files of ``source`` on the pod's machine.

    Raises:
        TransferError: a file did not arrive unchanged, or more than ``MAX_BYTES`` are offered.
    """
    sizes = _files(run, source)
    if sum(sizes.values()) > MAX_BYTES or len(sizes) > MAX_FILES:
        raise TransferError(f"{source:.100} is more than {MAX_BYTES:,} bytes or {MAX_FILES:,} files")
    listed = _below(run, source, "find . -type f -print0 | xargs -0 -r sha256sum --zero").decode(errors="replace")
    digests = {line[66:].removeprefix("./"): line[:64] for line in listed.split("\0")}
    for path, size in sizes.items():
        if not is_plain(path) or path not in digests:
            raise TransferError(f"{source:.100} changed meanwhile, or has an unsafe path: {path!r:.80}")
        _pull_one(run, source, target, path, Entry(size, digests[path]))


def _files(run: Run, folder: str) -> dict[str, int]:
    """Return the sizes of the regular files in a folder on the machine, by path."""
    listed = _below(run, folder, "find . -type f -printf '%s %P\\0'").decode(errors="surrogateescape")
    lines = (line.partition(" ") for line in listed.split("\0") if line)
    return {path: int(size) for size, _, path in lines}


def _push_large(run: Run, source: Path, target: str, path: str, wanted: Entry) -> None:
    part, name, parent = (shlex.quote(f"./{one}") for one in (path + PART, path, PurePosixPath(path).parent))
    # queried each time: an interrupted command may have written a part of its chunk
    arrived = int(_below(run, target, f"mkdir -p {parent}; stat -c %s {part} 2>/dev/null || echo 0"))
    if arrived > wanted.size:
        _below(run, target, f"rm -f {part}")
        arrived = 0
    with open_regular(source / path) as file:
        file.seek(arrived)
        while chunk := file.read(CHUNK_BYTES):
            _below(run, target, f"cat >> {part}", stdin=chunk)
    right = f'[ "$(sha256sum < {part})" = "{wanted.sha256}  -" ]'
    if not _below(run, target, f"if {right}; then mv -f {part} {name} && echo right; else rm -f {part}; fi"):
        raise TransferError(f"{path:.100} arrived damaged; the next attempt sends all of it")


def _pull_one(run: Run, source: str, folder: Path, path: str, wanted: Entry) -> None:
    target = folder / PurePosixPath(path)
    if target.is_file() and entry(target) == wanted:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART)
    with open(part, "ab", opener=regular_only) as file:
        if file.tell() > wanted.size:
            file.truncate(0)
        while (arrived := file.seek(0, io.SEEK_END)) < wanted.size:
            command = f"tail -c +{arrived + 1} {shlex.quote(f'./{path}')} | head -c {CHUNK_BYTES}"
            chunk = _below(run, source, command)
            if not chunk or arrived + len(chunk) > wanted.size:
                break
            file.write(chunk)
    if entry(part) != wanted:
        part.unlink()
        raise TransferError(f"{path:.100} arrived damaged; the next attempt fetches all of it")
    part.replace(target)


def _below(run: Run, folder: str, command: str, stdin: bytes = b"") -> bytes:
    return run(f"cd {shlex.quote(folder)} && {{ {command}\n}}", stdin=stdin, timeout_seconds=_SECONDS)


def _batches(paths: Sequence[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    """Yield paths in batches of about ``CHUNK_BYTES``."""
    batch: list[str] = []
    size = 0
    for path in paths:
        batch.append(path)
        size += sizes[path]
        if size >= CHUNK_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _tar(source: Path, paths: Sequence[str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path in paths:
            information = tarfile.TarInfo(path)
            data = read_regular(source / path)
            information.size = len(data)
            information.mode = 0o644
            tar.addfile(information, io.BytesIO(data))
    return content.getvalue()
