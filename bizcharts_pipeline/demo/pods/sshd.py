"""A real sshd on loopback, as the SSH server of a simulated pod.

It accepts one key, for the user who started it. As root it needs the privilege separation folder below ``/run``, which
it creates. It is not confined: a session has all permissions of that user.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError

_START_SECONDS = 20
_PRIVILEGE_SEPARATION = Path("/run/sshd")
_CONFIGURATION = """\
ListenAddress 127.0.0.1
Port {port}
HostKey "{folder}/host_key"
AuthorizedKeysFile "{folder}/authorized_keys"
PidFile none
UsePAM no
UseDNS no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitUserRC no
PrintMotd no
MaxStartups 100
MaxSessions 100
LogLevel ERROR
{environment}
"""


@dataclass(frozen=True)
class Sshd:
    """A running sshd; its host key and log are in ``folder``."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        """Let the simulated pod's sshd accept no more connections; open sessions continue."""
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        """SIGKILL the simulated pod's sshd and its sessions with their processes. Processes detached from their
        session survive."""
        for process in (self.pid, *_descendants(self.pid)):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def start_sshd(folder: Path, public_key: str, environment: Mapping[str, str], port: int | None = None) -> Sshd:
    """Start the sshd of a simulated pod that accepts ``public_key`` and sets ``environment`` for its sessions; return
    it once it answers.

    The sessions' ``HOME`` is a separate folder unless ``environment`` sets it.

    An existing host key in ``folder`` is reused, so that the same folder and ``port`` are the same host to its clients;
    without ``port``, a free one is used.

    Raises:
        BizchartsError: this machine has no sshd, or it does not start.
    """
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise BizchartsError("there is no sshd on this machine: install openssh-server")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "host_key").exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "pod", "-f", str(folder / "host_key")]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    (folder / "authorized_keys").write_text(public_key.strip() + "\n")
    if os.geteuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, parents=True, exist_ok=True)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        sshd = _try(program, folder, environment, _free_port() if port is None else port)
        if _answers(sshd, deadline):
            return sshd
        sshd.process.kill()
        sshd.process.wait()
        if time.monotonic() > deadline:
            log = (folder / "sshd.log").read_text(errors="replace")[-500:]
            raise BizchartsError(f"sshd does not start in {folder}: {log}")
        time.sleep(0.1)  # the port was taken, or is not free yet


def _try(program: str, folder: Path, environment: Mapping[str, str], port: int) -> Sshd:
    # Only the first SetEnv counts. HOME is a separate folder, so that the user's shell start-up files are not run.
    home = folder / "home"
    home.mkdir(exist_ok=True)
    variables = " ".join(f'"{name}={value}"' for name, value in {"HOME": str(home), **environment}.items())
    configuration = folder / "sshd_config"
    configuration.write_text(_CONFIGURATION.format(port=port, folder=folder, environment=f"SetEnv {variables}"))
    with (folder / "sshd.log").open("ab") as log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Sshd(folder, port, process)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(sshd: Sshd, deadline: float) -> bool:
    """Wait until sshd sends its greeting; return ``False`` if it has ended, even if another process answers on the
    port."""
    while sshd.process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", sshd.port), timeout=1) as connection:
                if connection.recv(4) == b"SSH-":
                    return sshd.process.poll() is None
        except OSError:
            pass
        time.sleep(0.02)
    return False


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        of_one = children.get(waiting.pop(), [])
        found += of_one
        waiting += of_one
    return found
