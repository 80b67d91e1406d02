"""One HTTP exchange within bounds of time, memory and trust: the core of every client that uses ``requests``.

Redirects are not followed, no password from ``~/.netrc`` is sent, loopback uses no proxy, no connection outlives its
deadline (see :mod:`deadline`), and the client connects only to the host of the checked address. A body is decompressed
in one pass while it arrives, with a size cap before and after and a limit on the ratio. Header lines are bounded by
``http.client``, and lines between chunks by ``urllib3``.
"""

import logging
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import requests
from requests.adapters import BaseAdapter

from bizcharts_pipeline.core.addresses import BadAddress, address_problem, origin
from bizcharts_pipeline.core.blanking import blank
from bizcharts_pipeline.http.deadline import DeadlineAdapter
from bizcharts_pipeline.settings import is_loopback

MAX_GZIP_MEMBERS = 16  # servers send one; each needs a decoder
MAX_RATIO = 100  # JSON and HTML have about 10; zeros have 1,000
RATIO_FREE_BYTES = 1024 * 1024  # up to here any ratio is fine
_PIECE = 64 * 1024


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


# They warn of malformed headers, with a traceback, and of contradictions between them; this module uses or refuses what
# could be parsed. A filter stays where another library sets the level.
for _name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.response"):
    logging.getLogger(_name).addFilter(_is_error)


class BodyRefused(Exception):
    """A body was not read to its end; the message gives the reason, without the address."""


class BodyTooLarge(BodyRefused):
    """More bytes than allowed, or a compression bomb."""


class BodyTruncated(BodyRefused):
    """The body ended early, or its compression is damaged."""


class UnrequestedEncoding(BodyRefused):
    """The response has a content encoding that was not requested."""


class BoundedSession(requests.Session):
    """Sends one request at a time within the bounds above. ``gzip``: whether to request and decode compressed
    responses.
    """

    def __init__(self, *, gzip: bool = False) -> None:
        super().__init__()
        adapter: BaseAdapter = DeadlineAdapter()
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self.auth = lambda request: request  # or a password from ~/.netrc would be sent along
        self.headers["Accept-Encoding"] = "gzip" if gzip else "identity"
        self.gzip = gzip

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Disable redirects: before following one, ``requests`` would read its body without a limit."""
        return None

    def exchange(
        self,
        method: str,
        url: str,
        *,
        timeouts: tuple[float, float],
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> requests.Response:
        """Send an HTTP request to ``url``; return the response with its body unread; call it within
        :func:`deadline.cut_off_after`.

        ``timeouts`` in seconds: to connect, and between two reads. ``request`` holds the ``params``, ``json``, ``data``
        and ``auth`` of ``requests``.

        Raises:
            requests.exceptions.InvalidURL: the address is refused; nothing was sent.
            requests.RequestException: no response arrived.
        """
        if problem := address_problem(url):
            raise requests.exceptions.InvalidURL(f"the address {problem}")
        return self.request(
            method,
            url,
            headers=dict(headers or {}),
            timeout=timeouts,
            proxies={"http": None, "https": None, "all": None} if is_loopback(url) else None,  # type: ignore[dict-item]
            stream=True,
            allow_redirects=False,
            **request,
        )

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare an HTTP request and verify that the client connects to the host of the given address."""
        try:
            requested = origin(str(request.url))
            prepared = super().prepare_request(request)
            connects_to = origin(str(prepared.url))
        except BadAddress as problem:
            raise requests.exceptions.InvalidURL(f"the address {problem}") from None
        if requested != connects_to:
            raise requests.exceptions.InvalidURL("the client would connect to another host than the checked one")
        return prepared

    def body(self, answer: requests.Response, most: int, expired: Callable[[], bool] = lambda: False) -> bytes:
        """Return the complete, decompressed body of an HTTP response of this session, without the keys of this machine
        that it repeats.

        Raises:
            BodyTooLarge: it has more than ``most`` bytes, compressed or not, or is a compression bomb.
            BodyTruncated: it ended early, is damaged, or ``expired`` returned true.
            UnrequestedEncoding
            urllib3.exceptions.HTTPError: the connection broke.
        """
        return blank(b"".join(self.pieces(answer, most, expired)), ())

    def pieces(
        self, answer: requests.Response, most: int, expired: Callable[[], bool] = lambda: False
    ) -> Iterator[bytes]:
        """Yield the body of an HTTP response in pieces; raises like :meth:`body`."""
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        plain = encoding in ("", "identity")
        if not plain and not (self.gzip and encoding in ("gzip", "x-gzip")):
            raise UnrequestedEncoding(f"Content-Encoding {encoding[:40]!r} was not requested; is a proxy in between?")
        received = _received(answer, most, expired)
        return received if plain else gunzipped(received, most)


def _received(answer: requests.Response, most: int, expired: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
    """Yield the body as transmitted, at most ``most`` bytes."""
    declared = answer.headers.get("Content-Length", "")
    expected = int(declared) if re.fullmatch(r"\d{1,18}", declared) else None
    if expected is not None and expected > most:
        raise _too_large(most)
    count = 0
    for piece in _unframed(answer):
        count += len(piece)
        if count > most:
            raise _too_large(most)
        if expired():
            raise BodyTruncated("the time limit was exceeded")
        yield piece
    if expected is not None and count != expected:
        raise BodyTruncated(f"{count:,} of {expected:,} bytes arrived")


def _unframed(answer: requests.Response) -> Iterator[bytes]:
    """Yield the body of a response in chunked transfer encoding, decoded."""
    try:
        yield from answer.raw.stream(_PIECE, decode_content=False)
    except ValueError as error:  # urllib3 lets a chunk of a negative size through
        raise BodyTruncated(f"its chunked encoding is damaged ({error})") from error


def gunzipped(pieces: Iterable[bytes], most: int, max_ratio: int | None = MAX_RATIO) -> Iterator[bytes]:
    """Decompress the gzip stream of an HTTP response in one pass, at most ``most`` bytes; detects an early end, which
    ``urllib3`` ignores.

    Raises:
        BodyTooLarge, BodyTruncated
    """
    decoder: Any = None
    taken = made = members = 0
    for piece in pieces:
        taken += len(piece)
        rest, full = piece, False
        while rest or full:
            if decoder is None:
                members += 1
                if members > MAX_GZIP_MEMBERS:
                    raise BodyTooLarge(f"more than {MAX_GZIP_MEMBERS} gzip members in one response")
                decoder = zlib.decompressobj(wbits=31)
            try:
                body = decoder.decompress(rest, _PIECE)
            except zlib.error as error:
                raise BodyTruncated(f"damaged gzip ({error})") from error
            made += len(body)
            if made > most:
                raise _too_large(most)
            if max_ratio and made > max(RATIO_FREE_BYTES, max_ratio * taken):
                raise BodyTooLarge(f"decompressed to over {max_ratio} times its size (limit)")
            if body:
                yield body
            if decoder.eof:
                rest, decoder, full = decoder.unused_data, None, False
            else:
                rest, full = decoder.unconsumed_tail, len(body) == _PIECE
    if decoder is not None or not members:
        raise BodyTruncated("the gzip body ends early")


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"more than {most:,} bytes (limit)")
