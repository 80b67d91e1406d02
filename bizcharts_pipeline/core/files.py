"""Atomic, durable file writes and checks for regular files."""

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Collection
from contextlib import suppress
from io import BufferedReader
from itertools import takewhile
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
ABANDONED_SECONDS = 24 * 3600.0  # nothing is written for longer


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically and durably (fsync); creates the folder."""
    create_folder(path.parent)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def create_folder(path: Path) -> None:
    """Create the folder ``path``, and those above it that are missing, durably."""
    missing = list(takewhile(lambda each: not each.exists(), (path, *path.parents)))
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync(each.parent)


def remove_abandoned_files(home: Path, *, but: Collection[str] = (), dry_run: bool = False) -> tuple[int, int]:
    """Remove what killed processes left below ``home``: files and folders named as temporary ones in which nothing has
    changed for :data:`ABANDONED_SECONDS`. Return their number and bytes; the folders of ``home`` named in ``but`` are
    left out.
    """
    count = size = 0
    for folder, folders, files in os.walk(home):
        if folder == str(home):
            folders[:] = [name for name in folders if name not in but]
        temporary = [Path(folder, name) for name in (*folders, *files) if name.startswith(TEMPORARY_PREFIX)]
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY_PREFIX)]
        for path in temporary:
            with suppress(OSError):  # it was finished meanwhile, or cannot be removed
                status = [each.lstat() for each in (path, *path.rglob("*"))]
                if max(each.st_mtime for each in status) > time.time() - ABANDONED_SECONDS:
                    continue
                if not dry_run:
                    remove_tree(path)
                count += 1
                size += sum(each.st_size for each in status if stat.S_ISREG(each.st_mode))
    return count, size


def remove_tree(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; raises ``OSError`` if that is not possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def replacing_marker(folder: Path) -> Path:
    """The file that holds the path, from its own folder on, of the journal of the renames that replace ``folder`` or
    files in it; see :func:`is_being_replaced`."""
    return folder.with_name(f"{folder.name}.restoring")


def is_being_replaced(folder: Path) -> bool:
    """Whether renames that replace ``folder`` or files in it have begun and not ended; nothing in it may be opened or
    created meanwhile. They have begun once their journal exists, which the marker precedes."""
    marker = replacing_marker(folder)
    try:
        journal = read_regular(marker).decode(errors="surrogateescape")
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return not journal or (marker.parent / journal).exists()


def free_name(path: Path) -> Path:
    """Return ``path``, or the first numbered name after it that no file has."""
    name, number = path, 1
    while os.path.lexists(name):
        number += 1
        name = path.with_name(f"{path.name}.{number}")
    return name


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def owner_only(path: str, flags: int) -> int:
    """Open a file that no other user may read; an ``opener`` of :func:`open`."""
    return os.open(path, flags, 0o600)


def regular_only(path: str | Path, flags: int) -> int:
    """Open a file only if it is a regular one, with mode 0600 if created; an ``opener`` of :func:`open`.

    Opening a named pipe would block until another process writes to it.

    Raises:
        OSError: it is a pipe, a device, a socket or a folder.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, "it is a folder, not a regular file", str(path))
        raise OSError(errno.EINVAL, "it is not a regular file (a named pipe?); remove it", str(path))
    return descriptor


def is_special(path: Path) -> bool:
    """Whether ``path`` exists and is no regular file; the null device counts as an empty file."""
    return path.exists() and not path.is_file() and path.resolve() != Path(os.devnull)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading bytes; raises like :func:`regular_only`."""
    return os.fdopen(regular_only(path, os.O_RDONLY), "rb")


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file; raises like :func:`regular_only`."""
    with open_regular(path) as file:
        return file.read()


def link(source: str | Path, target: str | Path) -> None:
    """Hard-link ``source`` to ``target``, or copy it where the file system has no hard links.

    Raises:
        FileNotFoundError: ``source`` does not exist.
    """
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
        sync(Path(target))
