"""Minimal client of GitHub's REST API for releases: JSON calls, upload, download.

The token is read from ``GITHUB_TOKEN`` at each request, sent only to the API's own hosts, and never in a message.
Idempotent requests are retried; before creating something, the caller checks whether it exists.
"""

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
from urllib3.exceptions import HTTPError as Urllib3Error

from bizcharts_pipeline.core.addresses import BadAddress, masked, origin, refuse_unsafe
from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.http.causes import cause_of
from bizcharts_pipeline.http.dates import http_date, retry_after_seconds
from bizcharts_pipeline.http.deadline import cut_off_after
from bizcharts_pipeline.http.exchange import BodyRefused, BodyTooLarge, BoundedSession
from bizcharts_pipeline.settings import is_loopback, key_address_problem

_log = logging.getLogger(__name__)

TOKEN = "GITHUB_TOKEN"
JSON_BYTES = 8 * 2**20
CALL_SECONDS = 60.0  # for a complete JSON exchange
MIN_BYTES_A_SECOND = 50_000  # a slower transfer is aborted
PATIENCE_SECONDS = 120.0  # maximum total wait
ATTEMPTS = 4
MAX_REDIRECTS = 3
_TIMEOUTS = (10.0, 30.0)  # to connect; between two reads
_TOKEN_FORM = re.compile(r"[\x21-\x7e]{1,512}")
_SAFE_TO_REPEAT = ("GET", "PATCH", "DELETE")


class GitHubError(BizchartsError):
    """A request to GitHub failed."""


class NoToken(GitHubError):
    """There is no token with write access."""


class Refused(GitHubError):
    """GitHub refused a request permanently. ``status`` is the HTTP status, ``codes`` are GitHub's error codes."""

    def __init__(self, message: str, status: int, codes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status, self.codes = status, codes


class Busy(GitHubError):
    """GitHub demands a longer pause than this client waits."""


class Uncertain(GitHubError):
    """No response, or one that leaves the outcome unknown."""


class GitHub:
    """Client of the API of github.com or of an Enterprise server.

    Args:
        api_url: ``https://api.github.com``, or ``https://HOST/api/v3``.
        sleep: function for waiting.
    """

    def __init__(self, api_url: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._api = api_url.rstrip("/")
        self._sleep = sleep
        self._session = BoundedSession()
        self._session.headers["User-Agent"] = f"bizcharts/{version('bizcharts')}"

    def require_token(self) -> None:
        """Raise :class:`NoToken` without a token for GitHub."""
        if not _token():
            raise NoToken(f"{TOKEN} is not set; a release needs a token with write access to the repository.")

    def call(self, method: str, path: str, payload: Mapping[str, Any] | None = None) -> Any:
        """Call GitHub's API; return the JSON of its response (``None`` if it is empty).

        Raises:
            Refused, Busy
            Uncertain: no response in all attempts; a POST is sent only once.
        """
        body = json.dumps(payload).encode() if payload is not None else None
        headers = {"Accept": "application/vnd.github+json", "Content-Type": "application/json"}
        return self._with_retries(
            method, lambda: self._exchange(method, f"{self._api}{path}", headers, body, CALL_SECONDS)
        )

    def upload(self, url: str, file: Path, content_type: str) -> Any:
        """Send a release's file to GitHub's ``url`` once, and return the JSON of the response.

        Raises:
            Refused, Busy, Uncertain
        """
        if not self._trusted(url):
            raise Refused(f"{_shown(url)} is not an upload address of {self._api}", 0)
        seconds = CALL_SECONDS + file.stat().st_size / MIN_BYTES_A_SECOND
        headers = {"Accept": "application/vnd.github+json", "Content-Type": content_type}

        def send() -> Any:
            with file.open("rb") as content:
                return self._exchange("POST", url, headers, content, seconds)

        return self._with_retries("POST", send)

    def download(self, path: str, into: Path, most: int) -> str:
        """Write the asset of a GitHub release at ``path`` to the file ``into`` and return its SHA-256.

        The API redirects to a storage host, which gets no token.

        Raises:
            Refused: also for more than ``most`` bytes.
            Busy, Uncertain
        """

        def fetch() -> str:
            url = f"{self._api}{path}"
            for _ in range(MAX_REDIRECTS + 1):
                with self._answer("GET", url, {"Accept": "application/octet-stream"}, None, _seconds(most)) as answer:
                    if answer.is_redirect:
                        url = _redirected(url, answer.headers.get("Location", ""))
                        continue
                    self._check(url, answer)
                    return _written(_chunks(url, self._session, answer, most), into)
            raise Refused(f"{_shown(url)}: more than {MAX_REDIRECTS} redirects", 0)

        digest: str = self._with_retries("GET", fetch)
        return digest

    def pause(self, attempt: int) -> None:
        """Back off before retrying a request to GitHub whose outcome is unknown."""
        self._sleep(float(2 ** (attempt - 1)))

    def _with_retries(self, method: str, once: Callable[[], Any]) -> Any:
        waited, attempt = 0.0, 1
        while True:
            try:
                return once()
            except _Pause as pause:  # nothing was done
                if waited + pause.seconds > PATIENCE_SECONDS:
                    raise Busy(
                        f"{pause}; run it again in {pause.seconds:.0f} s, it continues where it stopped"
                    ) from None
                seconds = max(1.0, pause.seconds)
                _log.warning("%s; it goes on in %.0f s", pause, seconds)
            except Uncertain:
                if method not in _SAFE_TO_REPEAT or attempt >= ATTEMPTS:
                    raise
                seconds = float(2 ** (attempt - 1))
            self._sleep(seconds)
            waited, attempt = waited + seconds, attempt + 1

    def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: Any, seconds: float) -> Any:
        with self._answer(method, url, headers, body, seconds) as answer:
            if answer.is_redirect:
                raise Refused(
                    f"{_shown(url)}: the repository has moved; use its new name (`repository` of [ml.release], or the "
                    "argument of `bizcharts models fetch`)",
                    answer.status_code,
                )
            self._check(url, answer)
            content = b"".join(_chunks(url, self._session, answer, JSON_BYTES))
        try:
            return json.loads(content) if content else None
        except (ValueError, RecursionError):
            raise Uncertain(f"{_shown(url)}: the response is not JSON; is a proxy in between?") from None

    @contextmanager
    def _answer(
        self, method: str, url: str, headers: Mapping[str, str], body: Any, seconds: float
    ) -> Iterator[requests.Response]:
        token = _token() if self._trusted(url) else None
        if token and (problem := key_address_problem(self._api)):
            raise NoToken(f"{TOKEN} is not sent: api_url of [ml.release] {problem}")
        access = {"Authorization": f"Bearer {token}", "X-GitHub-Api-Version": "2022-11-28"} if token else {}
        with cut_off_after(seconds) as watchdog:
            try:
                with self._session.exchange(
                    method, url, timeouts=_TIMEOUTS, headers={**headers, **access}, data=body
                ) as answer:
                    yield answer
            except (requests.RequestException, Urllib3Error, OSError) as error:
                if isinstance(error, OSError) and not isinstance(
                    error, requests.RequestException | ConnectionError | TimeoutError
                ):
                    raise  # an error of the disk, not of the network
                what = "no complete response" + (" in time" if watchdog.expired else f" ({cause_of(error)})")
                raise Uncertain(f"{_shown(url)}: {what}; run it again, it continues where it stopped") from None

    def _check(self, url: str, answer: requests.Response) -> None:
        status = answer.status_code
        if status < 300:
            return
        if (seconds := _pause_seconds(answer)) is not None:
            raise _Pause(f"{_shown(url)}: GitHub demands a pause ({status})", seconds)
        if status >= 500:
            raise Uncertain(f"{_shown(url)}: server error {status}; run it again, it continues where it stopped")
        try:
            said = json.loads(b"".join(_chunks(url, self._session, answer, JSON_BYTES)))
            codes = tuple(str(error.get("code")) for error in said.get("errors", []) if isinstance(error, dict))
            message = f"{said.get('message', '')}"[:200]
        except (ValueError, RecursionError, AttributeError, GitHubError):
            codes, message = (), ""
        hint = {
            401: f"; is {TOKEN} valid?",
            403: f"; does {TOKEN} have write access?",
            404: "; or the token cannot read it",
        }
        detail = f" {', '.join(codes)}" if codes else ""
        raise Refused(f"{_shown(url)}: {status} {message}{detail}{hint.get(status, '')}", status, codes)

    def _trusted(self, url: str) -> bool:
        """Whether the token may be sent to ``url``: the API's own host or its upload host."""
        try:
            api, other = origin(self._api), origin(url)
        except BadAddress:
            return False
        uploads = f"uploads.{api.host.removeprefix('api.')}"
        return other in (api, replace(api, host=uploads))


class _Pause(Exception):
    """GitHub did not execute the request and demands a pause."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


def _token() -> str | None:
    token = os.environ.get(TOKEN, "").strip()
    if token and not _TOKEN_FORM.fullmatch(token):
        raise NoToken(
            f"{TOKEN} contains characters that are not allowed in a token."
        )  # a library's error message would print it
    return token or None


def _pause_seconds(answer: requests.Response) -> float | None:
    """Return the pause that GitHub demands (primary or secondary rate limit); ``None`` if it demands none."""
    if answer.status_code not in (403, 429):
        return None
    pause = retry_after_seconds(answer.headers.get("Retry-After"), answer.headers.get("Date"))
    if pause is not None:
        return pause
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and re.fullmatch(r"\d{1,12}", reset):
        served = http_date(answer.headers.get("Date", ""))
        now = to_epoch(served) if served else time.time()
        return max(0.0, float(reset) - now)
    return 60.0 if answer.status_code == 429 else None


def _redirected(url: str, location: str) -> str:
    try:
        refuse_unsafe(location)  # before joining, which drops some characters
        target = urljoin(url, location)
        scheme = origin(target).scheme
    except BadAddress as problem:
        raise Refused(f"{_shown(url)} redirects to an address that {problem}", 0) from None
    except ValueError:
        raise Refused(f"{_shown(url)} redirects to an invalid address", 0) from None
    if scheme != "https" and not (is_loopback(target) and is_loopback(url)):
        raise Refused(f"{_shown(url)} redirects to {_shown(target)}, which is not encrypted", 0)
    return target


def _written(chunks: Iterable[bytes], into: Path) -> str:
    digest = hashlib.sha256()
    with into.open("wb") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _chunks(url: str, session: BoundedSession, answer: requests.Response, most: int) -> Iterator[bytes]:
    try:
        yield from session.pieces(answer, most)
    except BodyTooLarge as error:
        raise Refused(f"{_shown(url)}: {error}", 0) from None
    except BodyRefused as error:
        raise Uncertain(f"{_shown(url)}: {error}; run it again") from None


def _seconds(size: int) -> float:
    return CALL_SECONDS + size / MIN_BYTES_A_SECOND


def _shown(url: str) -> str:
    """Return an address without its query, which is a signature at storage hosts."""
    return masked(url.partition("?")[0])[:300]
