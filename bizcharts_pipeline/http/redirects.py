"""Redirect policy: to the same origin (RFC 6454), or from plain HTTP to the same host's HTTPS."""

from urllib.parse import urljoin

from bizcharts_pipeline.core.addresses import BadAddress, Origin, masked, origin, refuse_unsafe
from bizcharts_pipeline.http.errors import UnexpectedAnswer


def redirect_target(url: str, location: str) -> str:
    """Return the address to which a response redirects from ``url`` by its ``location`` header.

    Raises:
        UnexpectedAnswer: the redirect is not allowed.
    """
    shown = repr(masked(location[:1000])[:200])
    try:
        here = origin(url)
        refuse_unsafe(location)  # before joining, which drops some characters
        target = urljoin(url, location)
        there = origin(target)
    except BadAddress as problem:
        raise UnexpectedAnswer(f"{url}: redirects to {shown}, which {problem.args[0]}") from None
    except ValueError:
        raise UnexpectedAnswer(f"{url}: redirects to {shown}, which is not a valid address") from None
    encrypted_now = here == Origin("http", here.host, 80) and there == Origin("https", here.host, 443)
    if there != here and not encrypted_now:
        raise UnexpectedAnswer(
            f"{url}: redirects to {shown}, another host, port or scheme, which is not followed; "
            "if that is the source's new home, set its URL in the settings"
        )
    return target
