"""What makes two jobs the same job."""

import hashlib

KEY_LENGTH = 12


def job_key(asset: str, *parts: str | bytes) -> str:
    """Return 12 hexadecimal digits that name a job: of its asset and of the digests of all that decides its result
    (data set, settings, code). The same job is never paid twice at once."""
    digest = hashlib.sha256()
    for part in (asset, *parts):
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)  # "ab", "c" is not "a", "bc"
    return digest.hexdigest()[:KEY_LENGTH]
