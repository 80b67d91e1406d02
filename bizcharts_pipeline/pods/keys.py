"""SSH key pair of one pod: created before the pod, deleted with it, never the account's."""

import shutil
import subprocess
from pathlib import Path

from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.pods.errors import PodError
from bizcharts_pipeline.pods.execute import child_environment

PRIVATE_KEY = "id_ed25519"
KNOWN_HOSTS = "known_hosts"  # with the host key that the pod presented at the first login
_SECONDS = 30


def make_keys(folder: Path) -> str:
    """Return the public key of the pod's SSH key pair in ``folder``, which is created if missing.

    The private key is readable by its owner only and has no passphrase, as nobody could enter it.

    Raises:
        PodError: ``ssh-keygen`` is not installed, or cannot write there.
    """
    private = folder / PRIVATE_KEY
    if not private.exists():
        program = shutil.which("ssh-keygen")
        if program is None:
            raise PodError("ssh-keygen is not installed; install the package openssh-client to connect to pods")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = folder / f"{PRIVATE_KEY}.part"
        _remove(part)
        command = [program, "-q", "-t", "ed25519", "-N", "", "-C", "bizcharts", "-f", str(part)]
        made = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env=child_environment(),
        )
        if made.returncode:
            raise PodError(f"ssh-keygen made no key in {folder}: {made.stderr.decode(errors='replace')[-300:].strip()}")
        _public(part).replace(_public(private))
        part.replace(private)  # last, so that a private key always has its public key next to it
    return read_regular(_public(private)).decode().strip()


def remove_keys(folder: Path) -> None:
    """Remove the pod's SSH key pair and its known host, if there are any."""
    _remove(folder / PRIVATE_KEY)
    for known in folder.glob(f"{KNOWN_HOSTS}*"):
        known.unlink(missing_ok=True)


def _public(private: Path) -> Path:
    return private.with_name(private.name + ".pub")


def _remove(private: Path) -> None:
    private.unlink(missing_ok=True)
    _public(private).unlink(missing_ok=True)
