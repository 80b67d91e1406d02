"""Commands and file transfers to one machine, through the programs ``ssh`` and ``rsync``.

Programs instead of a library: rsync resumes and is the fastest over long distances, ssh detects a dead peer, and a
broken connection leaves nothing in this process. ssh's exit status is ambiguous: 255 may be its own, the command's, or
a signal. So a command prints a token when it starts, and again with its status when it ends.
"""

import errno
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bizcharts_pipeline.core.blanking import blank_text
from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.pods import manifest, transfer
from bizcharts_pipeline.pods.errors import (
    BadHost,
    HostChanged,
    LinkError,
    LinkLost,
    LocalDiskError,
    LoginRefused,
    PodError,
    TransferError,
)
from bizcharts_pipeline.pods.execute import Ended, execute
from bizcharts_pipeline.pods.keys import KNOWN_HOSTS, PRIVATE_KEY
from bizcharts_pipeline.pods.local_disk import storing
from bizcharts_pipeline.pods.protocol import Address

ANSWER_BYTES = 16_000_000  # maximum output of a command
CONNECT_SECONDS = 10
ALIVE_SECONDS = 5  # a peer that is silent for three times as long counts as dead
ALIVE_TIMES = 3
TRANSFER_SECONDS = 3 * 3600.0
SILENT_SECONDS = 120  # rsync's own time-out without a byte
_ALIAS = "pod"
_HOST_CHANGED = re.compile(r"Host key verification failed|IDENTIFICATION HAS CHANGED")
_REFUSED = re.compile(r"Permission denied \([a-z,-]+\)|Too many authentication failures")
_NO_RSYNC = re.compile(r"rsync: (command )?not found|rsync: No such file|rsync.*command not found")
_FULL = "No space left on device"
# On a pull, the receiver or the generator writes; rsync before 3.2 does not name them.
_LOCAL_DISK = re.compile(
    r"(?:\[(?:receiver|generator|Receiver)[^]]*\]|rsync: write failed on ).*"
    r"(?:No space left on device|Disk quota exceeded|Read-only file system|Permission denied|Input/output error"
    r"|File name too long|File too large|Too many open files|Not a directory|Operation not permitted"
    r"|Stale file handle|Structure needs cleaning)"
)
_KEPT_VARIABLES = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|LANG|LC_\w+|LD_LIBRARY_PATH|CUDA_\w+|HF_HOME|HF_HUB_\w+|OMP_NUM_THREADS"
    r"|SSL_CERT_\w+|https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY"
)


class CommandFailed(PodError):
    """A command on the machine ended with a non-zero status."""

    def __init__(self, command: str, status: int, stderr: str) -> None:
        super().__init__(
            f"`{blank_text(command):.80}` ended with status {status}: {stderr[-500:] or 'it gave no reason'}"
        )
        self.status = status
        self.stderr = stderr


class SshTransport:
    """Transport to a machine with an sshd.

    ``keys`` is the folder of a pod's own pair (`pods.keys`). The host key is pinned there after the first successful
    login, and any other is refused from then on; a wrong host that refuses the login is not pinned. With
    ``known_host``, ``keys`` is the private key for a host of your own, whose host key is in that file.
    """

    def __init__(self, address: Address, keys: Path, known_host: Path | None = None) -> None:
        self._where = f"{address.user}@{address.host}:{address.port}"
        self._host_keys = known_host or keys / KNOWN_HOSTS
        options = {
            "HostName": address.host,
            "Port": str(address.port),
            "User": address.user,
            "IdentityFile": _quoted(keys / PRIVATE_KEY if keys.is_dir() else keys),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": _known_name(address) if known_host else _ALIAS,
            "UpdateHostKeys": "no",
            "BatchMode": "yes",
            "ControlPath": "none",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": str(ALIVE_SECONDS),
            "ServerAliveCountMax": str(ALIVE_TIMES),
            "LogLevel": "ERROR",
        }
        self._options = [f"-o{name}={value}" for name, value in options.items()]
        self._own_host = known_host is not None

    def run(self, command: str, *, stdin: bytes = b"", timeout_seconds: float = 60) -> bytes:
        """Run a shell command on the pod by ssh: see `protocol.Transport`; the output is limited to
        ``ANSWER_BYTES``."""
        token = secrets.token_hex(8)
        unpinned = None if self._is_pinned() else self._host_keys.with_name(f"{KNOWN_HOSTS}.{token}")
        try:
            return self._run(command, token, stdin, timeout_seconds, unpinned)
        finally:
            if unpinned is not None:
                unpinned.unlink(missing_ok=True)

    def _run(self, command: str, token: str, stdin: bytes, timeout_seconds: float, unpinned: Path | None) -> bytes:
        wrapped = f"printf '%s\\n' {token}; ({command}\n); printf '\\n%s %d\\n' {token} $?"
        ended = _execute(
            [*self._ssh(unpinned), _ALIAS, f"exec sh -c {shlex.quote(wrapped)}"],
            stdin=stdin,
            timeout_seconds=timeout_seconds,
            most_bytes=ANSWER_BYTES,
        )
        _, began, said = ended.stdout.partition(f"{token}\n".encode())
        if began and unpinned is not None and unpinned.exists():
            unpinned.replace(self._host_keys)
        answer, reported, status = said.rpartition(f"\n{token} ".encode())
        if not reported or not status.endswith(b"\n"):
            raise self._lost(ended, logged_in=bool(began))
        if int(status):
            raise CommandFailed(command, int(status), ended.stderr)
        return answer

    def _is_pinned(self) -> bool:
        return self._own_host or self._host_keys.exists()

    def _ssh(self, unpinned: Path | None = None) -> list[str]:
        """Return the ssh command; it accepts an unknown host key only with the file ``unpinned``."""
        known = unpinned or self._host_keys
        checked = ["-oStrictHostKeyChecking=" + ("accept-new" if unpinned else "yes")]
        return ["ssh", "-F", "none", "-T", *self._options, f"-oUserKnownHostsFile={_quoted(known)}", *checked]

    def push(self, source: Path, target: str, progress: Callable[[], None] = lambda: None) -> None:
        """Send a folder to the pod over ssh: see `protocol.Transport`; other files in ``target`` are removed, and
        every file is verified."""
        wanted = manifest.of_folder(source)
        self.run(f"mkdir -p {shlex.quote(target)}")
        arguments = ["--delete", f"--exclude={manifest.LEFT_OUT}", f"{source}/", f"{_ALIAS}:{target}/"]
        if not self._rsync(arguments, progress):
            transfer.push(_reporting(self.run, progress), source, target, wanted)
        if wrong := transfer.differing(self.run, target, wanted):
            raise TransferError(f"{len(wrong)} files arrived damaged at {self._where}, such as {wrong[0]:.80}")

    def pull(self, source: str, target: Path, progress: Callable[[], None] = lambda: None) -> None:
        """Fetch a folder from the pod over ssh: see `protocol.Transport`; links are left out, and more than
        ``manifest.MAX_BYTES`` is an error."""
        if not self._is_pinned():
            self.run("true")
        target.mkdir(parents=True, exist_ok=True)
        arguments = ["--delete", "--no-links", f"--max-size={manifest.MAX_BYTES}", f"{_ALIAS}:{source}/", f"{target}/"]
        if not self._rsync(arguments, progress, into=target):
            transfer.pull(_reporting(self.run, progress), source, target)

    def _rsync(self, arguments: Sequence[str], progress: Callable[[], None], into: Path | None = None) -> bool:
        """Transfer with rsync; return ``False`` if either machine has no rsync.

        ``--inplace`` keeps partial files under their own names if either end dies, and ``--checksum`` detects changed
        files of the same size: rsync then sends only the differences.
        """
        if shutil.which("rsync") is None:
            return False
        options = ["--recursive", "--checksum", "--inplace", "--progress", "-s", f"--timeout={SILENT_SECONDS}"]
        ended = _execute(
            ["rsync", *options, "-e", " ".join(_for_rsync(word) for word in self._ssh()), *arguments],
            timeout_seconds=TRANSFER_SECONDS,
            most_bytes=ANSWER_BYTES,
            stop=lambda: _too_big(into),
            progress=progress,
        )
        if ended.status == 0:
            return True
        if into is not None and _LOCAL_DISK.search(ended.stderr):
            raise LocalDiskError(f"{into} cannot store the pod's files: {ended.stderr[-300:]}")
        if _NO_RSYNC.search(ended.stderr):
            return False
        if ended.status in (11, 23, 24) or ended.stopped or _FULL in ended.stderr:
            kind = BadHost if _FULL in ended.stderr and into is None else TransferError
            raise kind(f"Files to or from {self._where} did not arrive: {ended.stopped or ended.stderr[-500:]}")
        raise self._lost(ended, logged_in=False)

    def _lost(self, ended: Ended, *, logged_in: bool) -> LinkError:
        why = ended.stopped or ended.stderr[-300:] or "no reason given"
        if not logged_in and _HOST_CHANGED.search(ended.stderr):
            return HostChanged(f"{self._where} does not have the host key in {self._host_keys}: {why}")
        if not logged_in and _REFUSED.search(ended.stderr):
            return LoginRefused(f"{self._where} refuses the login: {why}")
        return LinkLost(f"{self._where} does not answer, or the connection broke: {why}")


class LocalTransport:
    """This machine as a pod, in its own folder; commands are not confined to it.

    Commands get only the environment variables that programs need to run: a pod has no keys either.
    """

    def __init__(self, root: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if _KEPT_VARIABLES.fullmatch(name)}
        self._environment: Mapping[str, str] = {**kept, "BIZCHARTS_WORKSPACE": str(root.absolute())}

    def run(self, command: str, *, stdin: bytes = b"", timeout_seconds: float = 60) -> bytes:
        """Run a shell command on this machine in place of a pod: see `protocol.Transport`."""
        ended = _execute(
            ["/bin/sh", "-c", command],
            stdin=stdin,
            timeout_seconds=timeout_seconds,
            most_bytes=ANSWER_BYTES,
            environment=self._environment,
        )
        if ended.stopped:
            raise LinkLost(f"`{blank_text(command):.80}` was killed: {ended.stopped}")
        if ended.status:
            raise CommandFailed(command, ended.status, ended.stderr)
        return ended.stdout

    def push(self, source: Path, target: str, progress: Callable[[], None] = lambda: None) -> None:
        """Copy a folder on this machine in place of a pod: see `protocol.Transport`."""
        manifest.of_folder(source)
        try:
            _copy(source, Path(target))
        except OSError as error:
            kind = BadHost if error.errno == errno.ENOSPC else TransferError
            raise kind(f"{source} was not copied to {target}: {reason_of(error)}") from None

    def pull(self, source: str, target: Path, progress: Callable[[], None] = lambda: None) -> None:
        """Copy a folder on this machine in place of a pod: see `protocol.Transport`."""
        with storing(target):
            try:
                _copy(Path(source), target)
            except OSError as error:
                of_source = error.filename is not None and Path(error.filename).is_relative_to(source)
                if not of_source or error.filename2 is not None:  # with two names, the copy itself failed
                    raise
                raise TransferError(f"{source} was not copied to {target}: {reason_of(error)}") from None


def _reporting(run: transfer.Run, progress: Callable[[], None]) -> transfer.Run:
    """Return ``run``, extended to report progress after each command: transfers through a shell are chunked."""

    def reporting(command: str, *, stdin: bytes = b"", timeout_seconds: float = 60) -> bytes:
        answer = run(command, stdin=stdin, timeout_seconds=timeout_seconds)
        progress()
        return answer

    return reporting


def _execute(command: Sequence[str], **how: object) -> Ended:
    try:
        return execute(command, **how)  # type: ignore[arg-type]
    except FileNotFoundError:
        raise PodError(f"{command[0]} is not installed on this machine") from None


def _copy(source: Path, target: Path) -> None:
    """Make ``target`` contain the regular files of a folder; links are left out."""

    def fail(error: OSError) -> None:
        raise error

    shutil.rmtree(target, ignore_errors=True)
    for parent, folders, names in os.walk(source, onerror=fail):
        folders[:] = [name for name in folders if name != manifest.LEFT_OUT]
        into = target / Path(parent).relative_to(source)
        into.mkdir(parents=True, exist_ok=True)
        for file in (Path(parent, name) for name in names):
            if not file.is_symlink():
                shutil.copyfile(file, into / file.name)


def _too_big(folder: Path | None) -> str | None:
    """Return an error if a download exceeds the size limit, counted while it is read: a host may announce less."""
    if folder is None:
        return None
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return f"more than {manifest.MAX_BYTES:,} bytes were received" if size > manifest.MAX_BYTES else None


def _known_name(address: Address) -> str:
    """Return a host's name as ssh writes it to a known-hosts file."""
    return address.host if address.port == 22 else f"[{address.host}]:{address.port}"


def _quoted(path: Path) -> str:
    """Return a path quoted for an ssh option, in which blanks separate words and % starts a token."""
    return '"' + str(path.absolute()).replace("%", "%%") + '"'


def _for_rsync(word: str) -> str:
    """Return a word quoted for rsync's ``-e``, in which a doubled quote stands for one."""
    return "'" + word.replace("'", "''") + "'"
