"""Files that are either wholly there or not at all, through kills and power cuts."""

import errno
import os
import secrets
import shutil
import stat
from io import BufferedReader
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``; when this returns it survives a power cut. Makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def replacing_marker(folder: Path) -> Path:
    """The file that is there while a restore replaces ``folder``: nothing may be opened or made in it meanwhile."""
    return folder.with_name(f"{folder.name}.restoring")


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def owner_only(path: str, flags: int) -> int:
    """Open a file that no other user may read; an ``opener`` of :func:`open`."""
    return os.open(path, flags, 0o600)


def regular_only(path: str | Path, flags: int) -> int:
    """Open a file, readable for its owner alone, if it is a regular one; an ``opener`` of :func:`open`.

    The reader of a named pipe would wait until somebody writes to it.

    Raises:
        OSError: it is a pipe, a device, a socket or a folder.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file (a named pipe?); remove it", str(path))
    return descriptor


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading bytes; raises as :func:`regular_only` does."""
    return os.fdopen(regular_only(path, os.O_RDONLY), "rb")


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file; raises as :func:`regular_only` does."""
    with open_regular(path) as file:
        return file.read()


def link(source: str | Path, target: str | Path) -> None:
    """Give a file a second name, or copy it where the file system has none.

    Raises:
        FileNotFoundError: there is no ``source``.
    """
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
        sync(Path(target))
