"""One HTTP exchange within bounds of time, memory and trust: the core of every client here that uses ``requests``.

No redirect is followed, no password from ``~/.netrc`` is sent, no proxy is asked for loopback, no connection outlives
its deadline (see :mod:`deadline`), and the host that is connected to is the one of the address that was checked. A
body is decompressed in one pass while it arrives, with a cap before and after and a limit on their ratio. Header
lines are bounded by ``http.client`` and lines between chunks by ``urllib3``.
"""

import logging
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import requests
from requests.adapters import BaseAdapter

from bizcharts_pipeline.core.addresses import BadAddress, address_problem, origin
from bizcharts_pipeline.http.deadline import DeadlineAdapter
from bizcharts_pipeline.settings import is_loopback

MAX_GZIP_MEMBERS = 16  # a server sends one; each costs a decoder
MAX_RATIO = 100  # JSON and HTML have about 10; zeros have 1,000
RATIO_FREE_BYTES = 1024 * 1024  # up to here any ratio is fine
_PIECE = 64 * 1024
# Of headers that cannot be parsed it would write a traceback; what could be parsed is used, or refused here.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)


class BodyRefused(Exception):
    """A body that was not read to its end; the message says why, without the address."""


class BodyTooLarge(BodyRefused):
    """More bytes than allowed, or a compression bomb."""


class BodyTruncated(BodyRefused):
    """It ended early, or its compression is damaged."""


class UnaskedEncoding(BodyRefused):
    """A content encoding that was not asked for."""


class BoundedSession(requests.Session):
    """Sends one request at a time, as the module says. ``gzip``: whether compressed answers are asked for and read."""

    def __init__(self, *, gzip: bool = False) -> None:
        super().__init__()
        adapter: BaseAdapter = DeadlineAdapter()
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self.auth = lambda request: request  # or a password from ~/.netrc would be sent along
        self.headers["Accept-Encoding"] = "gzip" if gzip else "identity"
        self.gzip = gzip

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Leave redirects alone: prepared to follow one, ``requests`` would read its whole body."""
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
        """Return the answer of ``url``, its body still unread; to be called within :func:`deadline.cut_off_after`.

        ``timeouts`` in seconds: until connected, and between two reads. ``request`` is what ``requests`` calls
        ``params``, ``json``, ``data`` and ``auth``.

        Raises:
            requests.exceptions.InvalidURL: the address is refused; nothing was sent.
            requests.RequestException: there was no answer.
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
        """Prepare a request and make sure that the client connects to the host of the address as it was given."""
        try:
            asked = origin(str(request.url))
            prepared = super().prepare_request(request)
            connects_to = origin(str(prepared.url))
        except BadAddress as problem:
            raise requests.exceptions.InvalidURL(f"the address {problem}") from None
        if asked != connects_to:
            raise requests.exceptions.InvalidURL("the address names another host to the client than to its caller")
        return prepared

    def body(self, answer: requests.Response, most: int, expired: Callable[[], bool] = lambda: False) -> bytes:
        """Return the whole body of an answer of this session, decompressed.

        Raises:
            BodyTooLarge: it has more than ``most`` bytes, compressed or not, or is a compression bomb.
            BodyTruncated: it ended early, is damaged, or ``expired`` came true.
            UnaskedEncoding
            urllib3.exceptions.HTTPError: the connection broke.
        """
        return b"".join(self.pieces(answer, most, expired))

    def pieces(
        self, answer: requests.Response, most: int, expired: Callable[[], bool] = lambda: False
    ) -> Iterator[bytes]:
        """Yield the body of :meth:`body` piece by piece; raises as that does."""
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        plain = encoding in ("", "identity")
        if not plain and not (self.gzip and encoding in ("gzip", "x-gzip")):
            raise UnaskedEncoding(f"Content-Encoding {encoding[:40]!r} was not asked for; is a proxy in between?")
        received = _received(answer, most, expired)
        return received if plain else gunzipped(received, most)


def _received(answer: requests.Response, most: int, expired: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
    """Yield the body as it was sent, at most ``most`` bytes."""
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
            raise BodyTruncated("its time is over")
        yield piece
    if expected is not None and count != expected:
        raise BodyTruncated(f"{count:,} of {expected:,} bytes came")


def _unframed(answer: requests.Response) -> Iterator[bytes]:
    """Yield the body without its chunks' framing."""
    try:
        yield from answer.raw.stream(_PIECE, decode_content=False)
    except ValueError as error:  # urllib3 lets a chunk of a negative size through
        raise BodyTruncated(f"its chunks are damaged ({error})") from error


def gunzipped(pieces: Iterable[bytes], most: int, max_ratio: int | None = MAX_RATIO) -> Iterator[bytes]:
    """Decompress a gzip stream in one pass, at most ``most`` bytes; an early end, which ``urllib3`` lets pass, is seen.

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
                    raise BodyTooLarge(f"more than {MAX_GZIP_MEMBERS} gzip members, which no true answer has")
                decoder = zlib.decompressobj(wbits=31)
            try:
                body = decoder.decompress(rest, _PIECE)
            except zlib.error as error:
                raise BodyTruncated(f"damaged gzip ({error})") from error
            made += len(body)
            if made > most:
                raise _too_large(most)
            if max_ratio and made > max(RATIO_FREE_BYTES, max_ratio * taken):
                raise BodyTooLarge(f"over {max_ratio} times as large as its compression, which no true answer is")
            if body:
                yield body
            if decoder.eof:
                rest, decoder, full = decoder.unused_data, None, False
            else:
                rest, full = decoder.unconsumed_tail, len(body) == _PIECE
    if decoder is not None or not members:
        raise BodyTruncated("the gzip body ends early")


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"more than {most:,} bytes, which no true answer has")
