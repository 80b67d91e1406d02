"""Masks secrets in a pod's output: the values of known API keys and of the job's own secrets.

Not masked: values of fewer than six characters, and other encodings than the plain text and its JSON-string form
(base64, say).
"""

import json
import os

from bizcharts_pipeline.core.api_keys import API_KEYS

_MIN_LENGTH = 6  # a shorter value is not a key, and masking it would hit ordinary words


class Blanker:
    """Replaces the values of secrets by ``<NAME>`` in a stream, even if a value is split between two chunks."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._secrets: dict[bytes, bytes] = {}
        for name in (*API_KEYS, *names):
            value = os.environ.get(name, "").strip()
            if len(value) >= _MIN_LENGTH:
                for form in {value, json.dumps(value)[1:-1]}:  # messages are JSON
                    self._secrets[form.encode(errors="surrogateescape")] = f"<{name}>".encode()
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return the output that can be shown; a trailing part that may begin a secret is held back for the next
        chunk."""
        content = self._replace(self._held + chunk)
        held = max((_begun(content, secret) for secret in self._secrets), default=0)
        self._held = content[len(content) - held :]
        return content[: len(content) - held]

    def rest(self) -> bytes:
        """Return the held-back part, at the end of the stream."""
        rest, self._held = self._held, b""
        return rest

    def _replace(self, content: bytes) -> bytes:
        for secret in sorted(self._secrets, key=len, reverse=True):
            content = content.replace(secret, self._secrets[secret])
        return content


def blank(content: bytes, names: tuple[str, ...]) -> bytes:
    """Return ``content`` with the values of API keys and of the variables ``names`` replaced by their names."""
    blanker = Blanker(names)
    return blanker.feed(content) + blanker.rest()


def blank_text(text: str | bytes) -> str:
    """Return a pod's or program's output for an error message, with the values of API keys masked. Truncate only
    afterwards: the rest of a truncated key is not recognised."""
    content = text.encode(errors="replace") if isinstance(text, str) else text
    return blank(content, ()).decode(errors="replace")


def _begun(content: bytes, secret: bytes) -> int:
    """Return the length of the longest suffix of ``content`` that is a prefix of ``secret``."""
    longest = min(len(content), len(secret) - 1)
    return next((length for length in range(longest, 0, -1) if content.endswith(secret[:length])), 0)
