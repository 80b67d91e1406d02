"""URL validation: accepts only addresses that every parser reads alike.

Two parsers can read ``http://a.example\\@b.example/`` as two different hosts, and some drop tabs and line ends. So an
address is refused unless its authority (RFC 3986, 3.2) is a plain ASCII host with an optional port: the host that was
checked is then the host that the client connects to. User names and passwords are refused, because addresses are logged
and stored.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")  # parsers drop these, or read a backslash as a slash
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^#]*)(#.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.IGNORECASE)
_USER_INFORMATION = re.compile(r"//[^\s'\"<>]*@")  # up to the last @: a password may hold a slash


class BadAddress(ValueError):
    """An address is refused. The message follows the address or its variable's name and repeats no part of it."""


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port (RFC 6454) in lower case; a missing port is filled in with the scheme's default."""

    scheme: str
    host: str
    port: int


def refuse_unsafe(text: str) -> None:
    """Refuse an http(s) address, or a part of one, with characters that parsers drop or read differently.

    Raises:
        BadAddress: ``text`` holds such a character.
    """
    if _UNSAFE.search(text):
        raise BadAddress("holds a blank, a control character or a backslash; correct it.")


def origin(url: str) -> Origin:
    """Return the origin (scheme, host and port) of an http(s) address.

    Raises:
        BadAddress: ``url`` is not an http(s) URL, or two parsers could read it differently.
    """
    refuse_unsafe(url)
    parts = _ADDRESS.fullmatch(url)
    if parts is None or parts[1].lower() not in PORTS:
        raise BadAddress("is not an http(s) address; correct or unset it.")
    if "@" in parts[2]:
        raise BadAddress("holds a user name or password; leave it out.")
    authority = _AUTHORITY.fullmatch(parts[2])
    if authority is None:
        raise BadAddress("has a malformed host or port; a host is written in ASCII (xn--...).")
    try:
        read = urlsplit(url)
        port = read.port
    except ValueError:
        raise BadAddress("is not an http(s) address; correct or unset it.") from None
    if port == 0 or read.hostname is None:
        raise BadAddress("is not an http(s) address; correct or unset it.")
    return Origin(read.scheme, read.hostname, port or PORTS[read.scheme])


def address_problem(url: str) -> str | None:
    """Return the fault of a service's address, worded to follow its variable's name; ``None`` if it is valid."""
    try:
        origin(url)
    except BadAddress as problem:
        return str(problem)
    return None


def masked(text: str) -> str:
    """Return ``text`` with the secrets in it, the user name and password of each address, replaced by ``***``."""
    return _USER_INFORMATION.sub("//***@", text)
