"""Masks secrets in what services and pods send: the values of known API keys, and of a job's own secrets.

Not masked: values of fewer than six characters, and other encodings than the plain text and JSON's escapes (base64,
say).
"""

import json
import os
import re

from bizcharts_pipeline.core.api_keys import API_KEYS

_MIN_LENGTH = 6  # a shorter value is not a key, and masking it would hit ordinary words
# JSON's ways to write a printable ASCII character; any other escape is passed over as a whole.
_ESCAPE = re.compile(rb"\\(?:u00([2-7][0-9a-fA-F])|(/)|.)", re.DOTALL)


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
        """Return the output that can be shown without secrets; a trailing part that may begin a secret is held back for
        the next chunk.
        """
        content = self._replace(self._held + chunk)
        held = max((_begun(content, secret) for secret in self._secrets), default=0)
        self._held = content[len(content) - held :]
        return content[: len(content) - held]

    def rest(self) -> bytes:
        """Return the part held back because a secret may begin there, at the end of the stream."""
        rest, self._held = self._held, b""
        return rest

    def _replace(self, content: bytes) -> bytes:
        for secret in sorted(self._secrets, key=len, reverse=True):
            content = content.replace(secret, self._secrets[secret])
        return content


def blank(content: bytes, names: tuple[str, ...]) -> bytes:
    """Return ``content`` with the secrets in it, the values of API keys and of the variables ``names``, replaced by
    their names, also where JSON's escapes hide one.
    """
    plain = _ESCAPE.sub(_unescaped, content) if b"\\" in content else content
    if plain != content and (masked := _masked(plain, names)) != plain:
        return masked
    return _masked(content, names)


def blank_text(text: str | bytes) -> str:
    """Return a pod's or program's output for an error message, with the values of API keys masked. Truncate only
    afterwards: the rest of a truncated key is not recognised."""
    content = text.encode(errors="replace") if isinstance(text, str) else text
    return blank(content, ()).decode(errors="replace")


def _masked(content: bytes, names: tuple[str, ...]) -> bytes:
    blanker = Blanker(names)
    return blanker.feed(content) + blanker.rest()


def _unescaped(found: re.Match[bytes]) -> bytes:
    character = bytes([int(found[1], 16)]) if found[1] else found[2]
    return found[0] if character in (None, b'"', b"\\") else character


def _begun(content: bytes, secret: bytes) -> int:
    """Return the length of the longest suffix of ``content`` that is a prefix of ``secret``."""
    longest = min(len(content), len(secret) - 1)
    return next((length for length in range(longest, 0, -1) if content.endswith(secret[:length])), 0)
