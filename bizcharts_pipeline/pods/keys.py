"""A key pair for one pod: made before it, gone with it, never an account's."""

import shutil
import subprocess
from pathlib import Path

from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.pods.errors import PodError
from bizcharts_pipeline.pods.execute import child_environment

PRIVATE_KEY = "id_ed25519"
KNOWN_HOSTS = "known_hosts"  # the host key that the pod showed at the first login
_SECONDS = 30


def make_keys(folder: Path) -> str:
    """Return the public key of the pair in ``folder``, which is made where there is none.

    The private key is readable by its owner alone and has no passphrase: nobody is there to type it.

    Raises:
        PodError: ``ssh-keygen`` is not installed, or cannot write there.
    """
    private = folder / PRIVATE_KEY
    if not private.exists():
        program = shutil.which("ssh-keygen")
        if program is None:
            raise PodError("ssh-keygen is not installed: pods are reached by OpenSSH (package openssh-client)")
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
        part.replace(private)  # last: a private key has its public one beside it
    return read_regular(_public(private)).decode().strip()


def remove_keys(folder: Path) -> None:
    """Remove the pair and the known host; none there is no error."""
    _remove(folder / PRIVATE_KEY)
    for known in folder.glob(f"{KNOWN_HOSTS}*"):
        known.unlink(missing_ok=True)


def _public(private: Path) -> Path:
    return private.with_name(private.name + ".pub")


def _remove(private: Path) -> None:
    private.unlink(missing_ok=True)
    _public(private).unlink(missing_ok=True)
