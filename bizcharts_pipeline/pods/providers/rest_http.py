"""One request to RunPod's REST API: limited in time and size, no redirects, no retries."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from urllib3.exceptions import HTTPError as Urllib3Error
from urllib3.exceptions import MaxRetryError, NewConnectionError

from bizcharts_pipeline.http.causes import cause_of
from bizcharts_pipeline.http.dates import retry_after_seconds
from bizcharts_pipeline.http.deadline import cut_off_after, seconds_left
from bizcharts_pipeline.http.exchange import BodyRefused, BoundedSession
from bizcharts_pipeline.pods.errors import OutOfTime, Uncertain, Unsent
from bizcharts_pipeline.pods.providers.access import Access, access

SECONDS = 60.0  # for a complete answer; creating a pod takes a while
MAX_BYTES = 8 * 1024 * 1024
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 45.0
_PAGE_BYTES = 2_000


@dataclass(frozen=True)
class Reply:
    """A response of any status. ``body`` is ``None`` if it is not JSON."""

    status: int
    body: Any = field(repr=False)
    retry_after: float | None = None  # seconds
    text: str = field(default="", repr=False)  # the beginning of a response that is not JSON

    @property
    def detail(self) -> str:
        """The error message in RunPod's response (RFC 9457, or a page's text), at most 300 characters."""
        fields = self.body if isinstance(self.body, Mapping) else {}
        errors = fields.get("errors")
        words = fields.get("detail") or fields.get("title") or fields.get("message") or fields.get("error") or self.text
        parts = [words or "without explanation", *(errors if isinstance(errors, list) else ())]
        return "; ".join(str(part) for part in parts)[:300]


class _KeyOnly(requests.auth.AuthBase):
    """Prevents a password from ``~/.netrc`` from replacing the key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def ask(
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: object = None,
    at: Access | None = None,
    seconds: float | None = None,
) -> Reply:
    """Return the response of RunPod's REST API to one request.

    Args:
        at: address and key; the control plane's unless given.
        seconds: time limit for the complete answer; :data:`SECONDS` unless given.

    Raises:
        AccessDenied: the key is missing.
        OutOfTime: the caller's deadline was reached, and nothing was sent (see `http.deadline`).
        Unsent: no connection was established.
        Uncertain: the response is incomplete or missing.
    """
    opens = at or access()
    left = seconds_left()
    if left <= 0:
        raise OutOfTime(f"RunPod, {method} {path}: no time left for the request; the next run retries it")
    lost: Exception | str = ""
    with BoundedSession() as session, cut_off_after(seconds or SECONDS) as watchdog:
        try:
            with session.exchange(
                method,
                f"{opens.url}{path}",
                timeouts=(min(_CONNECT_SECONDS, left), _READ_SECONDS),
                headers={"Accept": "application/json"},
                params=query,
                json=body,
                auth=_KeyOnly(opens.key),
            ) as answer:
                content = session.body(answer, MAX_BYTES, lambda: watchdog.expired)
                status, headers = answer.status_code, answer.headers
            if watchdog.expired:
                lost = "it was too slow"
        except (requests.RequestException, Urllib3Error, BodyRefused) as error:
            lost = error
    if lost:
        why = lost if isinstance(lost, str) else type(lost).__name__
        kind = Unsent if isinstance(lost, Exception) and _is_unsent(lost) else Uncertain
        raise kind(f"RunPod, {method} {path}: incomplete or missing response ({why}); try again later.")
    body_read = _json(content)
    text = "" if body_read is not None else _words(content)
    return Reply(status, body_read, retry_after_seconds(headers.get("Retry-After"), headers.get("Date")), text)


def post(url: str, *, headers: Mapping[str, str], data: str, timeout: float) -> requests.Response:
    """Replacement for ``requests.post`` in RunPod's SDK that applies this module's limits of time and size.

    Raises:
        requests.RequestException: the response is incomplete or missing, or no time was left to send the request.
    """
    left = seconds_left()
    if left <= 0:
        raise requests.Timeout("no time left for the request")
    with BoundedSession() as session, cut_off_after(SECONDS) as watchdog:
        try:
            with session.exchange(
                "POST", url, timeouts=(min(_CONNECT_SECONDS, left), timeout), headers=headers, data=data
            ) as answer:
                answer._content = session.body(answer, MAX_BYTES, lambda: watchdog.expired)
        except (Urllib3Error, BodyRefused) as error:
            raise requests.ConnectionError(str(error) if isinstance(error, BodyRefused) else cause_of(error)) from None
        if watchdog.expired:
            raise requests.Timeout("it was too slow")
        return answer


def _is_unsent(error: Exception) -> bool:
    """Return whether no connection was established, so that nothing was sent."""
    cause = error.args[0] if error.args else None
    refused = isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
    return refused or isinstance(error, requests.ConnectTimeout)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _words(content: bytes) -> str:
    """Return the beginning of a page without its tags, on one line."""
    text = re.sub(r"<[^<>]*>", " ", content[:_PAGE_BYTES].decode(errors="replace"))
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())[:200]
