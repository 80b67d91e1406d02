"""Where a redirect may lead: to the same origin (RFC 6454), or from plain HTTP to the same host's HTTPS."""

from urllib.parse import urljoin, urlsplit

from bizcharts_pipeline.sources.errors import UnexpectedAnswer

_PORTS = {"http": 80, "https": 443}


def redirect_target(url: str, location: str) -> str:
    """Return the address that the answer of ``url`` redirects to with its Location.

    Raises:
        UnexpectedAnswer: it is none that is followed.
    """
    try:
        target = urljoin(url, location)
        here, there = _origin(url), _origin(target)
    except ValueError:
        raise UnexpectedAnswer(f"{url}: redirects to {location[:200]!r}, which is no address") from None
    encrypted_now = here == ("http", here[1], 80) and there == ("https", here[1], 443)
    if there != here and not encrypted_now:
        raise UnexpectedAnswer(
            f"{url}: redirects to {target[:200]!r}, another host, port or scheme, which is not followed; "
            "if that is the source's new home, set its URL in the settings"
        )
    return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port; ``ValueError`` if it is no address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
