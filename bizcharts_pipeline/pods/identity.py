"""Identity of jobs and of installations."""

import hashlib
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.pods.errors import PodError

KEY_LENGTH = 12
INSTALLATION_LENGTH = 8
INSTALLATION = "installation"  # file next to the ledger of pods


def job_key(asset: str, *parts: str | bytes) -> str:
    """Return the key of a job on pods, 12 hexadecimal digits: a hash of its asset and of everything that determines
    its result (data set, settings, code). The same job is never paid for twice at once."""
    digest = hashlib.sha256()
    for part in (asset, *parts):
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)  # "ab", "c" is not "a", "bc"
    return digest.hexdigest()[:KEY_LENGTH]


def installation_id(folder: Path) -> str:
    """Return the 8 hexadecimal digits that distinguish this installation's pods from others'. They are random, made on
    first use and kept in ``folder``. A copy of the folder has the same digits, so two copies must not rent at the same
    time.

    Raises:
        PodError: the file cannot be read or written, or its content is invalid.
    """
    file = folder / INSTALLATION
    try:
        if not file.exists():
            _make(file)
        found = read_regular(file).decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise PodError(f"{file}: the installation's id cannot be read or written: {reason_of(error)}") from error
    if not re.fullmatch(rf"[0-9a-f]{{{INSTALLATION_LENGTH}}}", found):
        raise PodError(f"{file} does not contain an installation id; check that no pod runs, then delete the file")
    return found


def _make(file: Path) -> None:
    """Write a new id; if several processes do so at once, the first one wins."""
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
