"""What makes two jobs the same job, and two installations different ones."""

import hashlib
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.pods.errors import PodError

KEY_LENGTH = 12
INSTALLATION_LENGTH = 8
INSTALLATION = "installation"  # file beside the ledger of pods


def job_key(asset: str, *parts: str | bytes) -> str:
    """Return 12 hexadecimal digits that name a job: of its asset and of the digests of all that decides its result
    (data set, settings, code). The same job is never paid twice at once."""
    digest = hashlib.sha256()
    for part in (asset, *parts):
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)  # "ab", "c" is not "a", "bc"
    return digest.hexdigest()[:KEY_LENGTH]


def installation_id(folder: Path) -> str:
    """Return the 8 hexadecimal digits that tell this installation's pods from those of others, made at random on first
    use and kept in ``folder``. A copy of the folder has the same digits: two copies must not rent at the same time.

    Raises:
        PodError: the file cannot be read or written, or holds something else.
    """
    file = folder / INSTALLATION
    try:
        if not file.exists():
            _make(file)
        found = read_regular(file).decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise PodError(f"{file}: the installation's id cannot be read or written: {error}") from error
    if not re.fullmatch(rf"[0-9a-f]{{{INSTALLATION_LENGTH}}}", found):
        raise PodError(f"{file} does not hold an installation's id; see that no pod runs, and delete the file")
    return found


def _make(file: Path) -> None:
    """Write a new id; where several processes do so at once, the first one counts."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as content:
            content.write(f"{secrets.token_hex(INSTALLATION_LENGTH // 2)}\n")
            content.flush()
            os.fsync(content.fileno())
        with suppress(FileExistsError):
            os.link(part, file)
    finally:
        part.unlink()
