"""Maps failures of a service (status and error body, or a lost connection) to outcomes.

The tables follow the error pages of both services as of November 2026. Two rules take precedence: a request that may
have been billed is a TIMEOUT, or ``served``; an error that would recur for every post is a STOP or a BUG. Google does
not charge for 400 and 500 (its billing page), and OpenAI publishes no rule: such errors from the services' own hosts
count as free. A gateway may fail after the model has answered, and Azure charges for a post that its content filter
declines.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from bizcharts_pipeline.autolabel.protocol import Answer, Outcome
from bizcharts_pipeline.autolabel.providers.access import URL_VARIABLES
from bizcharts_pipeline.http.dates import retry_after_seconds
from bizcharts_pipeline.settings import Provider

# Sent after a wait for the answer, above all by gateways: the request may have been processed and billed.
_AFTER_THE_WORK = frozenset({408, 499, 502, 504, 520, 524, 598, 599})
LONGEST_WAIT = 120.0  # seconds; after a longer requested pause, the run sends no more requests

# OpenAI's error codes (and types) that are more specific than the status.
_OPENAI_CODES: dict[str, Outcome] = {
    **dict.fromkeys(
        ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated",
         "access_terminated", "model_not_found", "invalid_api_key"),
        Outcome.STOP,
    ),
    **dict.fromkeys(
        ("content_policy_violation", "content_filter", "invalid_prompt", "moderation_blocked", "bio_policy",
         "misalignment_policy_violation", "image_content_policy_violation", "safety_violation"),
        Outcome.REFUSED,
    ),
    **dict.fromkeys(
        ("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large",
         "image_too_small", "image_parse_error", "invalid_image_mode", "image_file_too_large",
         "unsupported_image_media_type", "empty_image_file", "failed_to_download_image"),
        Outcome.BAD_IMAGE,
    ),
}  # fmt: skip
_OPENAI_POLICY = re.compile(r"usage polic|content policy|safety system|flagged as potentially violating", re.IGNORECASE)
_GEMINI_KEY = re.compile(
    r"API_KEY_(INVALID|EXPIRED|SERVICE_BLOCKED)|API key (not valid|expired|not found)", re.IGNORECASE
)
_GEMINI_IMAGE = re.compile(
    r"(unable to process|provided|invalid|decode|unsupported).{0,20}\bimage|image.{0,40}(not valid|invalid|corrupt)",
    re.IGNORECASE,
)
_GEMINI_SPENT = re.compile(r"credits are depleted|spend(ing)?[ -](cap|limit)|billing account", re.IGNORECASE)


@dataclass(frozen=True)
class Refusal:
    """A response with an error status; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str
    gateway: bool = False  # the response came from another host than the service's own
    address: str = ""  # what names the address; empty: the provider's variable
    model: str = ""  # what names the model; empty: the provider's setting


def failure(provider: Provider, refusal: Refusal) -> Answer:
    """Return the answer for a ``refusal`` by the labelling service ``provider``."""
    error = _error_of(refusal.body)
    message = _text(error.get("message")) or refusal.body or "without explanation"
    address = refusal.address or URL_VARIABLES[provider]
    if 300 <= refusal.status < 400:
        message = f"the address redirects; set {address} to the service's final address"
    elif refusal.status == 404 or error.get("code") == "model_not_found":
        message = f"correct {refusal.model or f'`model` of [{provider}]'}, or {address}: {message}"
    meaning = _openai(refusal, error, message) if provider == "openai" else _gemini(refusal, error, message)
    worked = refusal.gateway and meaning in (Outcome.TRANSIENT, Outcome.REFUSED)  # regardless of the requested pause
    wait = _retry_after(refusal.headers, error)
    if meaning in (Outcome.RATE, Outcome.TRANSIENT) and wait is not None and wait > LONGEST_WAIT:
        meaning, message = Outcome.STOP, f"the service requests a pause of {wait:.0f} s: {message}"
    code = _text(error.get("code")) or _text(error.get("status")) or ""
    return Answer(
        meaning,
        refusal.body,
        detail=f"{refusal.status}{' ' + code if code and code != str(refusal.status) else ''}: {message}",
        request_id=refusal.headers.get("x-request-id"),
        retry_after=wait,
        served=refusal.status < 300 or worked,
    )


def lost(error: BaseException) -> Answer | None:
    """Return the answer for a failed exchange with a labelling service; ``None`` if ``error`` is not a transport error.

    Before the connection is established nothing can have been billed; afterwards the request may have been served.
    """
    if not isinstance(error, httpx2.TransportError):
        return None
    unsent = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
    wrong = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
    outcome = Outcome.TIMEOUT
    if isinstance(error, unsent):
        outcome = Outcome.TRANSIENT
    elif isinstance(error, wrong):
        outcome = Outcome.BUG
    return Answer(outcome, detail=f"{type(error).__name__}: {error}")


def _openai(refusal: Refusal, error: dict[str, Any], message: str) -> Outcome:
    for name in (_text(error.get("code")), _text(error.get("type"))):
        if name in _OPENAI_CODES:
            return _OPENAI_CODES[name]
    if refusal.status == 400 and _OPENAI_POLICY.search(message):
        return Outcome.REFUSED
    return _by_status(refusal.status)


def _gemini(refusal: Refusal, error: dict[str, Any], message: str) -> Outcome:
    details = [detail for detail in _list(error.get("details")) if isinstance(detail, dict)]
    reasons = " ".join(_text(detail.get("reason")) or "" for detail in details)
    if refusal.status == 400:
        if _GEMINI_KEY.search(f"{reasons} {message}") or error.get("status") == "FAILED_PRECONDITION":
            return Outcome.STOP
        if _GEMINI_IMAGE.search(message):
            return Outcome.BAD_IMAGE
    if refusal.status == 429 and (_per_day(details) or _GEMINI_SPENT.search(message)):
        return Outcome.STOP
    return _by_status(refusal.status)


def _by_status(status: int) -> Outcome:
    if status == 429:
        return Outcome.RATE
    if status in _AFTER_THE_WORK:
        return Outcome.TIMEOUT
    if status < 300:
        return Outcome.MALFORMED
    if status == 409 or status >= 500:
        return Outcome.TRANSIENT
    if status in (401, 402, 403, 404, 407, 410, 451) or 300 <= status < 400:
        return Outcome.STOP
    return Outcome.BUG


def _per_day(details: list[dict[str, Any]]) -> bool:
    violations = [entry for detail in details for entry in _list(detail.get("violations")) if isinstance(entry, dict)]
    return any("PerDay" in (_text(entry.get("quotaId")) or "") for entry in violations)


def _error_of(body: str) -> dict[str, Any]:
    """Return the error object of a body; empty if it has none."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(parsed, list) and len(parsed) == 1:
        parsed = parsed[0]
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else {}
    return error if isinstance(error, dict) else {"message": error}


def _retry_after(headers: Mapping[str, str], error: dict[str, Any]) -> float | None:
    """Return the number of seconds to wait, from the headers or Google's RetryInfo."""
    if (milliseconds := _seconds(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    if wished := headers.get("retry-after"):
        return retry_after_seconds(wished, headers.get("date"))
    delays = (_text(detail.get("retryDelay")) for detail in _list(error.get("details")) if isinstance(detail, dict))
    return next((seconds for delay in delays if delay and (seconds := _seconds(delay.rstrip("s"))) is not None), None)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
