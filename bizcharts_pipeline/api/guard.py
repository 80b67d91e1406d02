"""ASGI middleware in front of the API: allowed requests, rate limit, and the headers of every response.

The rules for host and origin are those in front of the Dagster UI. No answer has a CORS header, so that pages of other
sites can read nothing; they may show the badge and the embedded page, which contain nothing about the viewer.
"""

import logging
from typing import TYPE_CHECKING

from bizcharts_pipeline.api.errors import error_response
from bizcharts_pipeline.api.rate_limit import RateLimit
from bizcharts_pipeline.service.guard import fetched_by_our_page, request_of, stranger_refusal
from bizcharts_pipeline.service.login import TOO_MANY, WAIT, Login

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_TARGET_BYTES = 2000  # of path and query
EMBEDDABLE = ("/v1/badge.svg", "/v1/embed")  # other sites may show them
_READING = ("GET", "HEAD")
_HEADERS = {
    b"content-security-policy": b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
}
_logger = logging.getLogger(__name__)


class ApiGuard:
    """Passes GET and HEAD on to ``app`` where the rules allow it."""

    def __init__(self, app: "ASGIApp", hosts: frozenset[str], limit: RateLimit, login: Login | None) -> None:
        self._app, self._hosts, self._limit, self._login = app, hosts, limit, login

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one connection."""

        async def send_guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_defaults(message.get("headers", []))}
            await send(message)

        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # none here; the handshake gets a 403
            return
        if refused := self._refusal(scope):
            await refused(scope, receive, send_guarded)
            return
        try:
            # uvicorn sends no body in answer to HEAD, whatever the application gives
            await self._app({**scope, "method": "GET"}, receive, send_guarded)
        except Exception:  # which the application has answered
            _logger.exception("%s was not answered", scope["path"][:200])

    def _refusal(self, scope: "Scope") -> "Response | None":
        client = scope["client"][0] if scope.get("client") else ""
        if wait := self._limit.wait_seconds(client):
            message = f"Too many requests; ask again in {wait} s."
            return error_response(429, message, headers={"Retry-After": str(wait)})
        request = request_of(scope)
        if refused := stranger_refusal(request, self._hosts):
            return error_response(refused.status, refused.reason)
        if request.method not in _READING:
            return error_response(405, "Only GET and HEAD are answered.", headers={"Allow": "GET, HEAD"})
        if not (request.path.endswith(EMBEDDABLE) or fetched_by_our_page(request, is_page=True)):
            return error_response(403, "Requests from pages of another origin are refused.")
        if len(request.path) + len(scope["query_string"]) > MAX_TARGET_BYTES:
            return error_response(414, f"Path and query may have {MAX_TARGET_BYTES} bytes.")
        if self._login and not self._login.knows(request.headers):
            if self._login.is_exhausted():
                return error_response(429, TOO_MANY, headers=WAIT)
            message = "Log in at /, or send the password as a bearer token."
            return error_response(401, message, headers={"WWW-Authenticate": "Bearer"})
        return None


def _with_defaults(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Add the headers that the answer has not set itself."""
    there = {name.lower() for name, _ in headers}
    return [*headers, *((name, value) for name, value in _HEADERS.items() if name not in there)]
