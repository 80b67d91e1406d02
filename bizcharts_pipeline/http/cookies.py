"""Lenient parser for one cookie of a Cookie header.

Browsers send the cookies of all ports of a host together, and another program there may set a malformed one:
``http.cookies`` then drops them all.
"""

from collections.abc import Iterator


def cookie_values(header: str, name: str) -> Iterator[str]:
    """Yield the values of the HTTP cookie ``name``: none, one, or several where paths or hosts differ."""
    for pair in header.split(";"):
        key, separator, value = pair.partition("=")
        if separator and key.strip() == name:
            yield value.strip().strip('"')
