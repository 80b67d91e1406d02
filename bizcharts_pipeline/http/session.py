"""Polite HTTP session: rate limits, retries, time and size limits, conditional requests."""

import hashlib
import json
import random
import time
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import requests
from urllib3.exceptions import HTTPError as Urllib3Error

from bizcharts_pipeline.core.addresses import address_problem, masked
from bizcharts_pipeline.core.blanking import blank
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.files import read_regular, write_atomically
from bizcharts_pipeline.http.causes import cause_of
from bizcharts_pipeline.http.dates import http_date, retry_after_seconds
from bizcharts_pipeline.http.deadline import Watchdog, cut_off_after
from bizcharts_pipeline.http.errors import (
    ResponseTooLarge,
    ResponseTruncated,
    SourceBlocked,
    SourceError,
    SourceNotFound,
    SourceUnreachable,
    UnexpectedAnswer,
)
from bizcharts_pipeline.http.exchange import BodyTooLarge, BodyTruncated, BoundedSession, UnrequestedEncoding
from bizcharts_pipeline.http.rate_limit import RateLimit
from bizcharts_pipeline.http.redirects import redirect_target

MAX_BODY_BYTES = 8 * 1024 * 1024  # as JSON, this takes 200 MB of memory once parsed
MAX_ATTEMPTS = 4
MAX_REDIRECTS = 3
EVIDENCE_BYTES = 64 * 1024
_KEPT_HEADERS = ("content-type", "date", "etag", "last-modified")


@dataclass(frozen=True)
class Timeouts:
    """Time limits in seconds.

    ``connect``: to establish a connection. ``read``: between two reads. ``total``: for one ``get`` with all waits and
    retries. ``back_off``: before the second attempt; doubled by every further one, with a jitter of half. ``patience``:
    additional wait for a slot, for example while the host demands a pause.
    """

    connect: float = 10.0
    read: float = 20.0
    total: float = 90.0
    back_off: float = 1.0
    patience: float = 0.0


@dataclass(frozen=True)
class Response:
    """A response. Times are naive UTC. ``body`` is decompressed.

    For a 304, ``body`` is empty and the Last-Modified is that of the remembered response, which is still current.
    """

    url: str
    status: int  # 200 or 304
    body: bytes
    fetched_at: datetime
    last_modified: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case names; only those in _KEPT_HEADERS


class _Retryable(Exception):
    """Wraps the error to raise if no further attempt succeeds."""

    def __init__(self, error: SourceError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class _Request:
    """Parameters of one ``get``. Headers may hold a key, so no message contains them."""

    url: str
    validator: str | None
    headers: Mapping[str, str] = field(repr=False)
    max_bytes: int
    redirects: bool


class PoliteSession:
    """Sends GETs with a rate limit per host, bounded retries, bounded time and bounded memory.

    Not thread-safe, like the ``requests`` session in it: use one for each thread.

    Args:
        seconds_per_request: minimum time between two requests to one host, over all processes of the machine.
        contact: e-mail or URL for the User-Agent.
        validators: folder for the validators of conditional requests, kept between runs.
        rate_folder: folder for the state of the rate limits; the user's machine-wide folder by default.
        attempts: maximum number of attempts after transient errors.
    """

    def __init__(
        self,
        seconds_per_request: float,
        *,
        contact: str = "",
        validators: Path | None = None,
        rate_folder: Path | None = None,
        timeouts: Timeouts = Timeouts(),
        attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self._seconds_per_request = seconds_per_request
        self._validators = validators
        self._rate_folder = rate_folder
        self._timeouts = timeouts
        self._attempts = attempts
        self._session = BoundedSession(gzip=True)
        agent = f"bizcharts/{version('bizcharts')}" + (f" (+{contact})" if contact else "")
        self._session.headers.update({"User-Agent": agent, "Accept": "*/*"})

    def __enter__(self) -> "PoliteSession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the session's HTTP connections."""
        self._session.close()

    def get(
        self,
        url: str,
        *,
        conditional: bool = False,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_BODY_BYTES,
        redirects: bool = True,
    ) -> Response:
        """Request ``url`` and return the response; if ``conditional``, a 304 when the remembered response is still
        current.

        ``headers`` are sent with this request only, and never to another origin. A body of more than ``max_bytes``,
        compressed or not, is not read. Without ``redirects``, exactly one request is sent per attempt.

        A 200 is *not* remembered by itself: call :meth:`remember` once its body is safe on disk.

        Raises:
            SourceError: one of its subclasses, within ``timeouts.total`` plus ``timeouts.patience`` seconds.
        """
        if problem := address_problem(url):
            raise UnexpectedAnswer(
                f"{masked(url)[:200]}: the address {problem} Nothing was sent; check the configured URL"
            )
        deadline = time.monotonic() + self._timeouts.total + self._timeouts.patience
        request = _Request(url, self._recall(url) if conditional else None, headers or {}, max_bytes, redirects)
        attempt = 1
        while True:
            try:
                return self._get_once(request, deadline)
            except _Retryable as failure:
                pause = self._timeouts.back_off * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
                if attempt >= self._attempts or time.monotonic() + pause >= deadline:
                    raise failure.error from failure.__cause__
            time.sleep(pause)
            attempt += 1

    def remember(self, response: Response) -> None:
        """Let conditional ``get``s of this response's URL, in this and later runs, request only newer content."""
        served = response.headers.get("last-modified")
        if self._validators is not None and response.status == 200:
            if served is not None and response.last_modified is not None:
                content = json.dumps({"url": response.url, "last_modified": served}).encode()
                write_atomically(self._validator_path(self._validators, response.url), content)
            else:
                self.forget(response.url)

    def forget(self, url: str) -> None:
        """Let the next conditional ``get`` of ``url`` return the complete body."""
        if self._validators is not None:
            self._validator_path(self._validators, url).unlink(missing_ok=True)

    def _recall(self, url: str) -> str | None:
        if self._validators is None:
            return None
        try:
            fields = json.loads(read_regular(self._validator_path(self._validators, url)))
            served = str(fields["last_modified"])
            return served if fields["url"] == url and http_date(served) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def _validator_path(folder: Path, url: str) -> Path:
        return folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"

    def postpone(self, url: str, seconds: float) -> None:
        """Block all requests from this machine to the host of ``url`` for ``seconds``."""
        self._limit(url).postpone(seconds)

    def _limit(self, url: str) -> RateLimit:
        return RateLimit(url, self._seconds_per_request, self._rate_folder)

    def _get_once(self, request: "_Request", deadline: float) -> Response:
        """Make one attempt: a request and its redirects."""
        url = target = request.url
        for _ in range(MAX_REDIRECTS + 1):
            with ExitStack() as exchange:
                watchdog = None
                try:
                    with self._limit(target).slot(deadline) as slot:
                        seconds = min(self._timeouts.total, deadline - time.monotonic())
                        watchdog = exchange.enter_context(cut_off_after(seconds))
                        answer = exchange.enter_context(self._send(target, request))
                        slot.sent_at = watchdog.sent_at
                    if answer.status_code in (429, 503):
                        pause = retry_after_seconds(answer.headers.get("Retry-After"), answer.headers.get("Date"))
                        self.postpone(target, pause or 0.0)
                    if answer.is_redirect and request.redirects:
                        target = redirect_target(target, answer.headers.get("Location", ""))
                        continue
                    response = self._read(request, answer, watchdog)
                except (_Retryable, requests.RequestException, Urllib3Error) as error:
                    if watchdog is not None and watchdog.expired:
                        raise self._too_slow(url) from error
                    if isinstance(error, _Retryable):
                        raise
                    raise _translated(url, error) from error
                # A truncated response may look complete: an end within a header looks like the end of all headers.
                if watchdog.expired:
                    raise self._too_slow(url)
                return response
        raise UnexpectedAnswer(f"{url}: more than {MAX_REDIRECTS} redirects; check the configured URL")

    def _too_slow(self, url: str) -> SourceUnreachable:
        return SourceUnreachable(f"{url}: no complete response in {self._timeouts.total:g} s; try again later")

    def _send(self, url: str, request: "_Request") -> requests.Response:
        condition = {"If-Modified-Since": request.validator} if request.validator else {}
        timeouts = (self._timeouts.connect, self._timeouts.read)
        return self._session.exchange("GET", url, timeouts=timeouts, headers={**request.headers, **condition})

    def _read(self, request: "_Request", answer: requests.Response, watchdog: Watchdog) -> Response:
        url, validator = request.url, request.validator
        headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        if answer.status_code == 304 and validator is not None:
            return Response(url, 304, b"", utc_now(), http_date(validator), headers | {"last-modified": validator})
        if answer.status_code != 200:
            _refuse(url, answer)
        last_modified = http_date(headers.get("last-modified", ""))
        try:
            body = self._session.body(answer, request.max_bytes, lambda: watchdog.expired)
        except BodyTooLarge as error:
            raise ResponseTooLarge(f"{url}: {error}; check the configured URL") from error
        except BodyTruncated as error:
            raise _truncated(url, str(error)) from error
        except UnrequestedEncoding as error:
            raise UnexpectedAnswer(f"{url}: {error}") from error
        return Response(url, 200, body, utc_now(), last_modified, headers)


def _truncated(url: str, how: str) -> _Retryable:
    return _Retryable(ResponseTruncated(f"{url}: {how}; try again later"))


def _refuse(url: str, answer: requests.Response) -> NoReturn:
    """Raise the error for a response without content, with the beginning of its body as evidence."""
    refusal = _refusal(url, answer)
    named = refusal.error if isinstance(refusal, _Retryable) else refusal
    named.evidence = _beginning(answer)
    raise refusal


def _refusal(url: str, answer: requests.Response) -> SourceError | _Retryable:
    status = answer.status_code
    html = "html" in answer.headers.get("Content-Type", "").lower()
    by = " with an HTML page, as Cloudflare's bot check does" if html else ""
    if status == 304:
        return UnexpectedAnswer(
            f"{url}: answered 'not modified' to an unconditional request; is a cache or proxy in between?"
        )
    if status in (404, 410):
        return SourceNotFound(f"{url}: not there ({status})")
    if status == 429:
        message = f"{url}: too many requests (429){by}; does another program send requests from this address?"
        return _Retryable(SourceBlocked(message))
    if status >= 500:
        return _Retryable(SourceUnreachable(f"{url}: server error {status}{by}; try again later"))
    if status in (401, 403, 451):
        return SourceBlocked(
            f"{url}: refused ({status}){by}; open it in a browser from this address; set BIZCHARTS_CONTACT"
        )
    return UnexpectedAnswer(f"{url}: unexpected status {status}; check the configured URL")


def _beginning(answer: requests.Response) -> bytes:
    """Return up to ``EVIDENCE_BYTES`` of an error response's body; empty if it cannot be read."""
    try:
        received = bytes(answer.raw.read(EVIDENCE_BYTES, decode_content=False))
        if "gzip" in answer.headers.get("Content-Encoding", "").lower():
            received = zlib.decompressobj(wbits=31).decompress(received, EVIDENCE_BYTES)
        return blank(received, ())
    except (Urllib3Error, requests.RequestException, OSError, zlib.error):
        return b""


def _translated(url: str, error: Exception) -> SourceError | _Retryable:
    """Translate an exception of ``requests`` or ``urllib3`` into one of our errors."""
    if isinstance(error, requests.exceptions.SSLError):
        return SourceUnreachable(
            f"{url}: no trusted certificate ({masked(str(error))}); check this machine's clock and CAs"
        )
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return _Retryable(SourceUnreachable(f"{url}: no connection in time; is the network up?"))
    if isinstance(error, requests.Timeout):
        return _Retryable(SourceUnreachable(f"{url}: no answer in time; the next run tries again"))
    if isinstance(error, requests.ConnectionError):
        return _Retryable(SourceUnreachable(f"{url}: no connection ({masked(cause_of(error))}); is the network up?"))
    if isinstance(error, requests.RequestException):
        return UnexpectedAnswer(f"{url}: {masked(str(error))}; check the configured URL")
    return _truncated(url, f"the connection broke within the body ({cause_of(error)})")
