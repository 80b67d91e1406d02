"""One question to RunPod's REST API: bounded in time and size, no redirects, no retries."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import HTTPError as Urllib3Error

from bizcharts_pipeline.pods.errors import Uncertain
from bizcharts_pipeline.pods.providers.access import access
from bizcharts_pipeline.settings import is_loopback
from bizcharts_pipeline.sources.deadline import DeadlineAdapter, cut_off_after

SECONDS = 60.0  # for an answer as a whole; placing a pod takes a while
MAX_BYTES = 8 * 1024 * 1024
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 45.0
_PIECE = 64 * 1024
_PAGE_BYTES = 2_000


@dataclass(frozen=True)
class Reply:
    """An answer, whatever its status. ``body`` is ``None`` where it is no JSON."""

    status: int
    body: Any = field(repr=False)
    retry_after: float | None = None  # seconds
    text: str = field(default="", repr=False)  # the beginning of an answer that is no JSON

    @property
    def detail(self) -> str:
        """What it says of a failure (RFC 9457, or the words of a page), at most 300 characters."""
        told = self.body if isinstance(self.body, Mapping) else {}
        errors = told.get("errors")
        words = told.get("detail") or told.get("title") or told.get("message") or told.get("error") or self.text
        parts = [words or "without explanation", *(errors if isinstance(errors, list) else ())]
        return "; ".join(str(part) for part in parts)[:300]


class _KeyOnly(requests.auth.AuthBase):
    """Or a password from ``~/.netrc`` would replace the key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def ask(method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None) -> Reply:
    """Return the answer to one request.

    Raises:
        AccessDenied: there is no key.
        Uncertain: no whole answer came.
    """
    opens = access()
    url = f"{opens.url}{path}"
    lost = ""
    with requests.Session() as session:
        adapter: BaseAdapter = DeadlineAdapter()
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        proxies: dict[str, Any] | None = {"http": None, "https": None, "all": None} if is_loopback(url) else None
        deadline = time.monotonic() + SECONDS
        try:
            with (
                cut_off_after(SECONDS) as watchdog,
                session.request(
                    method,
                    url,
                    params=query,
                    json=body,
                    auth=_KeyOnly(opens.key),
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                    timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                    allow_redirects=False,
                    proxies=proxies,
                    stream=True,
                ) as answer,
            ):
                content = _read(answer)
                status, headers = answer.status_code, answer.headers
            if watchdog.expired or time.monotonic() > deadline:
                lost = "it was too slow"
        except (requests.RequestException, Urllib3Error) as error:
            lost = type(error).__name__
    if lost:
        raise Uncertain(f"RunPod, {method} {path}: no whole answer ({lost}); try again later.")
    body_read = _json(content)
    text = "" if body_read is not None else _words(content).replace(opens.key, "<key>")
    return Reply(status, body_read, _seconds(headers.get("Retry-After", "")), text)


def _read(answer: requests.Response) -> bytes:
    body = bytearray()
    for piece in answer.raw.stream(_PIECE, decode_content=False):
        body += piece
        if len(body) > MAX_BYTES:
            raise requests.RequestException(f"more than {MAX_BYTES:,} bytes")
    declared = answer.headers.get("Content-Length", "")
    if re.fullmatch(r"\d{1,18}", declared) and len(body) != int(declared):
        raise requests.RequestException("it broke off")
    return bytes(body)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _words(content: bytes) -> str:
    """Return the beginning of a page without its tags, on one line."""
    text = re.sub(r"<[^<>]*>", " ", content[:_PAGE_BYTES].decode(errors="replace"))
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())[:200]


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text.strip()) else None
