"""Program that sends messages to one destination through Apprise, in a process of its own.

The address arrives on stdin, so that it is in no argument list. Each further line of stdin is a message, each line of
stdout the outcome of one: JSON both. The first line of stdout says whether the destination can be used. A process of
its own bounds the time and the memory of a delivery, keeps the logs of Apprise, which name hosts and recipients, from
everybody, and lets nothing that a plugin does reach the service's own process.

An outcome is ``sent``; ``refused``: the service answered that it did not take the message, or was not reached; or
``unclear``: the request was sent and no answer came. Only a refused message may be sent again.
"""

import json
import logging
import os
import resource
import smtplib
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import requests
import urllib3

from bizcharts_pipeline.http.deadline import DeadlineAdapter, cut_off_after
from bizcharts_pipeline.settings import is_loopback

REQUEST_SECONDS = 15.0
MAX_ANSWER_BYTES = 1_000_000
MEMORY_BYTES = 1_000_000_000
# From a gateway: the service behind it may have taken the message.
_UNCLEAR_STATUS = frozenset({408, 502, 504, 520, 522, 524})
Outcome = Literal["sent", "refused", "unclear"]


@dataclass
class Evidence:
    """What the last exchange with the service showed about the current message; for when Apprise reports no success."""

    outcome: Outcome | None = None
    detail: str = ""

    def note(self, outcome: Outcome, detail: str) -> None:
        """Replace what the exchange with the destination of an alert before showed."""
        self.outcome, self.detail = outcome, detail


_evidence = Evidence()


class Unusable(Exception):
    """The destination cannot be used; the message holds no part of its address."""


class _Adapter(DeadlineAdapter):
    """Sends within a deadline, to this machine or encrypted, reads a bounded answer, and notes the outcome."""

    def send(self, request: requests.PreparedRequest, *args: Any, **given: Any) -> requests.Response:
        if not str(request.url).lower().startswith("https://") and not is_loopback(str(request.url)):
            _evidence.note("refused", "its address is not encrypted: use the scheme that ends in s")
            raise requests.exceptions.InvalidURL("not encrypted")
        _evidence.note("unclear", "no answer came")
        with cut_off_after(REQUEST_SECONDS) as watchdog:
            try:
                answer = super().send(request, *args, **given | {"stream": True, "proxies": {}})
            except Exception as error:
                if _was_not_reached(error) and watchdog.sent_at is None:
                    _evidence.note("refused", "it was not reached")
                raise
            _evidence.note(*_meaning(answer.status_code))
            # Read here, within the deadline: requests would read an answer of any size.
            try:
                answer._content = answer.raw.read(MAX_ANSWER_BYTES, decode_content=True)
            except (urllib3.exceptions.HTTPError, OSError):
                answer._content = b""
                _evidence.note("unclear", f"it answered {answer.status_code}, and the rest of the answer did not come")
            answer._content_consumed = True  # type: ignore[attr-defined]
            answer.close()
            return answer


_smtp_data = smtplib.SMTP.data


def _noted_data(connection: smtplib.SMTP, message: Any) -> tuple[int, bytes]:
    """Note what the mail server answers to the message itself; replaces ``smtplib.SMTP.data``."""
    _evidence.note("unclear", "the mail server did not answer")
    try:
        code, said = _smtp_data(connection, message)
    except smtplib.SMTPDataError as error:
        _evidence.note("refused", f"the mail server answered {error.smtp_code}")
        raise
    taken = code == 250
    _evidence.note("sent" if taken else "refused", "" if taken else f"the mail server answered {code}")
    return code, said


def main() -> None:
    """Send alerts to one destination until stdin ends."""
    outgoing = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for an outcome
    for limit, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, MEMORY_BYTES)):
        with suppress(ValueError, OSError):  # a lower limit holds already, or the system has none
            resource.setrlimit(limit, (most, most))
    logging.disable(logging.CRITICAL)
    try:
        service = _open(json.loads(sys.stdin.readline())["url"])
    except Unusable as problem:
        _say(outgoing, {"ready": False, "detail": str(problem)})
        return
    _say(outgoing, {"ready": True})
    for line in sys.stdin:
        message = json.loads(line)
        _say(outgoing, _send(service, message["title"], message["message"]))


def _open(url: str) -> Any:
    """Return an Apprise object for one destination that has been checked.

    Raises:
        Unusable: it cannot be used.
    """
    try:
        import apprise
    except ImportError:
        raise Unusable("Apprise is not installed: `make install-alerts`") from None
    requests.sessions.HTTPAdapter = _Adapter  # every session is made by a plugin
    smtplib.SMTP.data = _noted_data  # type: ignore[method-assign,assignment]
    asset = apprise.AppriseAsset(
        app_id="BizCharts",
        app_desc="BizCharts",
        image_url_mask="",  # of pictures on another host, which a reader's program would fetch
        image_url_logo="",
        storage_mode="memory",
        async_mode=False,
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
    )
    try:
        service = apprise.Apprise.instantiate(url, asset=asset)
    except Exception:
        service = None
    if service is None:
        raise Unusable("Apprise does not accept its address")
    if len(service) != 1 or len(getattr(service, "targets", None) or [0]) > 1:
        raise Unusable("it names several recipients; configure a separate URL for each of them")
    if service.redirects or service.retry or not service.verify_certificate:
        raise Unusable("its address has a parameter that is not allowed")
    if _is_plain_mail(service):
        raise Unusable("mail would be sent unencrypted; use mailtos://")
    sender = apprise.Apprise(asset=asset)
    sender.add(service)
    return sender


def _is_plain_mail(service: Any) -> bool:
    """Whether mail would go unencrypted to another machine."""
    return getattr(service, "secure_mode", None) == "insecure" and not is_loopback(f"http://{service.smtp_host}")


def _send(service: Any, title: str, message: str) -> dict[str, str]:
    _evidence.outcome, _evidence.detail = None, ""
    try:
        taken = bool(service.notify(title=title, body=message, body_format="text"))
    except Exception:
        taken = False
    if taken:
        return {"outcome": "sent", "detail": ""}
    if _evidence.outcome is None:
        return {"outcome": "refused", "detail": "it was not reached, or did not accept the log-in"}
    return {"outcome": _evidence.outcome, "detail": _evidence.detail}


def _meaning(status: int) -> tuple[Outcome, str]:
    """Return what an answer means if Apprise does not take it for a success."""
    if status in _UNCLEAR_STATUS:
        return "unclear", f"a gateway answered {status}"
    return "refused", f"it answered {status}"


def _was_not_reached(error: BaseException) -> bool:
    """Whether no connection was made, so that nothing was sent."""
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.SSLError):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.NameResolutionError)


def _say(outgoing: Any, answer: dict[str, Any]) -> None:
    outgoing.write(f"{json.dumps(answer)}\n")
    outgoing.flush()


if __name__ == "__main__":
    main()
