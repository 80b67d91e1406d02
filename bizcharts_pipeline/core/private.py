"""Protection from other users of the machine: file modes, and a private folder for locks and sockets.

Other users could lock a file that they can open, and could create a name in a shared folder first. So every file and
folder is created with access for its owner only, and locks are kept in folders that only their owner can enter.
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
    """No folder is available that only this user controls."""


class ForeignHome(BizchartsError):
    """The home belongs to another user of the machine."""


def make_private() -> None:
    """Set the umask so that this process and its children create files for their owner only; every entry point calls
    it.
    """
    os.umask(UMASK)


def tighten(folders: Iterable[Path], files: Iterable[Path]) -> None:
    """Remove other users' permissions from ``folders``, from everything in those that were accessible, and from
    ``files``.

    Skips missing files, files of other users, symbolic links, and sticky folders that all may write to (such as /tmp).
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
    """Return this user's folder for locks and sockets shared by all of the user's processes; creates it on first use.

    It is in the session's runtime directory if that exists, else in the system's temporary folder; if another user has
    taken that name, in the home directory.

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
    raise UnsafeFolder(f"{named}: none of these is a private folder of user {user}; remove them, or set TMPDIR.")


def check_owner(home: Path) -> None:
    """Check that this user may use ``home``: it is the user's own, does not exist yet, or the user is root.

    Raises:
        ForeignHome: it belongs to another user; names both.
    """
    try:
        owner = home.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        raise ForeignHome(f"{home}: {_name(os.geteuid())} has no access to it; {_AS_OWNER}") from None
    if os.geteuid() not in (owner, 0):
        raise ForeignHome(f"{home} belongs to {_name(owner)}, and this runs as {_name(os.geteuid())}; {_AS_OWNER}")


_AS_OWNER = "run it as its owner (`sudo -u NAME bizcharts ...`), or set BIZCHARTS_HOME to a folder of your own."


def _is_ours(folder: Path) -> bool:
    """Whether ``folder`` is a folder of this user, and not a symbolic link to one."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _is_open(folder: Path) -> bool:
    return _is_ours(folder) and bool(folder.lstat().st_mode & OTHERS) and not folder.lstat().st_mode & stat.S_ISVTX


def _close(path: Path) -> None:
    with suppress(OSError):  # deleted meanwhile, or a read-only file system
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
