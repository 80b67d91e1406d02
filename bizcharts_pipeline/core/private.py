"""What other users of the machine may not read, hold or plant: modes of files and folders, and this user's own folder.

A file that others can open they can lock, and a name in a shared folder they can take first. So everything is made
readable for its owner alone, and locks lie in folders that nobody else can enter.
"""

import os
import pwd
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError

OTHERS = 0o077
UMASK = 0o077


class UnsafeFolder(BizchartsError):
    """No folder can be had that is this user's alone."""


class ForeignHome(BizchartsError):
    """The home belongs to another user of the machine."""


def make_private() -> None:
    """Let this process and its children make files for their owner alone; every program of ours begins with it."""
    os.umask(UMASK)


def tighten(folders: Iterable[Path], files: Iterable[Path]) -> None:
    """Take from others what they may do with ``folders``, with everything in those that were open, and with ``files``.

    Left alone: what is not there, belongs to somebody else, is a link, or is a folder that all may write to (as /tmp).
    """
    for folder in folders:
        if _is_open(folder):
            for parent, inner, names in os.walk(folder):  # follows no links
                for name in (*inner, *names):
                    _close(Path(parent) / name)
            _close(folder)
    for file in files:
        _close(file)


def user_folder() -> Path:
    """Return this user's folder for locks and sockets that all processes of the user share; makes it on first use.

    In the runtime directory of the user's session where there is one, else in the system's temporary folder; where
    somebody has taken that name, in the user's own home.

    Raises:
        UnsafeFolder: none of these can be used.
    """
    user = os.getuid()
    session = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}")
    candidates = [session / "bizcharts"] if _is_ours(session) else []
    candidates += [Path(tempfile.gettempdir()) / f"bizcharts-{user}", _login_home() / ".cache" / "bizcharts"]
    for folder in candidates:
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True, parents=folder is candidates[-1])
            if _is_ours(folder):
                _close(folder)
                return folder
    named = " or ".join(map(str, candidates))
    raise UnsafeFolder(f"{named}: neither is a folder of user {user} alone; remove what is there, or set TMPDIR.")


def check_owner(home: Path) -> None:
    """Return if ``home`` is this user's, is not there yet, or this is the superuser.

    Raises:
        ForeignHome: it belongs to another user; names both.
    """
    try:
        owner = home.stat().st_uid
    except FileNotFoundError:
        return
    except PermissionError:
        raise ForeignHome(f"{home}: {_name(os.geteuid())} may not look into it; {_AS_OWNER}") from None
    if os.geteuid() not in (owner, 0):
        raise ForeignHome(f"{home} belongs to {_name(owner)}, and this runs as {_name(os.geteuid())}; {_AS_OWNER}")


_AS_OWNER = "run it as its owner (`sudo -u NAME bizcharts ...`), or set BIZCHARTS_HOME to a folder of your own."


def _is_ours(folder: Path) -> bool:
    """Whether ``folder`` is one, not a link to one, and this user's."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _is_open(folder: Path) -> bool:
    return _is_ours(folder) and bool(folder.lstat().st_mode & OTHERS) and not folder.lstat().st_mode & stat.S_ISVTX


def _close(path: Path) -> None:
    with suppress(OSError):  # gone meanwhile, or a read-only file system
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and status.st_uid == os.getuid() and status.st_mode & OTHERS:
            path.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS)


def _login_home() -> Path:
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # a user without an entry, as in containers
        return Path.home()


def _name(user: int) -> str:
    try:
        return f"user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"user {user}"
