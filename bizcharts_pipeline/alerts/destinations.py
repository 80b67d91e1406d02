"""Where alerts are sent: Apprise URLs from the environment, which hold passwords and tokens.

An address is never logged, stored or shown. A destination is named by its scheme and a hash of the address under a
random key of the installation, so that nobody can test guesses of a password against the name.
"""

import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from bizcharts_pipeline.alerts.errors import BadDestination

VARIABLE = "BIZCHARTS_ALERT_URLS"
MAX_DESTINATIONS = 20
MAX_URL = 2_000  # characters
# Services that take a message over HTTPS or SMTP and do nothing else. Apprise's others include files, commands, the
# desktop, D-Bus, syslog and configuration from elsewhere.
SCHEMES = (
    *("discord", "form", "forms", "gotify", "gotifys", "json", "jsons", "mailto", "mailtos", "matrix", "matrixs"),
    *("ntfy", "ntfys", "pover", "signal", "signals", "slack", "tgram", "workflows"),
)
# Parameters by which Apprise follows redirects, repeats a message, skips the check of certificates, hides a failure,
# stores something, reads or writes files, or adds recipients.
REFUSED_PARAMETERS = frozenset(
    {"redirect", "retry", "wait", "verify", "optional", "store", "template", "pgp", "pgppub", "pgpprv", "pgpkey"}
    | {"pgpmode", "wkd", "pem", "key", "keyfile", "cert", "attach", "config", "tag", "cc", "bcc", "email"}
)
_OF_HEADER = " +"  # before a header of a message; an unquoted plus sign is read as a blank
_URL = re.compile(r"([a-z]+)://[\x21-\x7e]+", re.IGNORECASE)


@dataclass(frozen=True)
class Destination:
    """One place that alerts are sent to. ``url`` is secret."""

    name: str
    url: str = field(repr=False)


def is_set() -> bool:
    """Whether a destination of alerts is set."""
    return bool(os.environ.get(VARIABLE, "").strip())


def check_destinations() -> None:
    """Check the destinations of alerts that the environment names; raises like :func:`destinations`."""
    destinations(b"")


def destinations(hash_key: bytes) -> list[Destination]:
    """Return the destinations of alerts that the environment names, separated by white space.

    Args:
        hash_key: the random key of this installation.

    Raises:
        BadDestination: one of them is not allowed; names its position.
    """
    urls = os.environ.get(VARIABLE, "").split()
    if len(urls) > MAX_DESTINATIONS:
        raise BadDestination(f"{VARIABLE} has {len(urls)} addresses; at most {MAX_DESTINATIONS} are allowed.")
    return list({url: _destination(url, position, hash_key) for position, url in enumerate(urls, 1)}.values())


def _destination(url: str, position: int, hash_key: bytes) -> Destination:
    if problem := _problem(url):
        raise BadDestination(f"{VARIABLE}: address {position} {problem}")
    scheme = url.partition("://")[0].lower()
    return Destination(f"{scheme}-{hmac.new(hash_key, url.encode(), hashlib.sha256).hexdigest()[:8]}", url)


def _problem(url: str) -> str | None:
    """Return why an address is refused, without any part of it but a known word; ``None`` if it may be used."""
    found = _URL.fullmatch(url)
    if found is None or len(url) > MAX_URL:
        return "is not an Apprise URL in ASCII (scheme://...); white space separates two addresses."
    if found[1].lower() not in SCHEMES:
        return f"has a scheme that is not allowed. Allowed are {', '.join(SCHEMES)}."
    try:
        names = [name.lower() for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)]
    except ValueError:
        return "is malformed."
    if refused := sorted(name for name in names if name.lstrip(_OF_HEADER) in REFUSED_PARAMETERS):
        return f"has the parameter {refused[0].lstrip(_OF_HEADER)}, which is not allowed; leave it out."
    return None
