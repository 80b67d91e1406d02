"""Authentication: only the browser that was given the token has access, and no page of another origin.

A server on the loopback address can be reached by every page in the browser. So each request must name this host
(against DNS rebinding), come from this origin, and carry the cookie issued for the token in the printed address;
requests that change something must also carry a CSRF token, which other origins cannot read.
"""

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bizcharts_pipeline.http.cookies import cookie_values

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSRF_HEADER = "X-BizCharts-CSRF"
MAX_BODY_BYTES = 65_536
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Access:
    """The secrets of one run of a server on ``port`` of the loopback address."""

    port: int
    token: str = field(default_factory=_secret, repr=False)  # in the address, once
    session: str = field(default_factory=_secret, repr=False)  # in the cookie
    csrf: str = field(default_factory=_secret, repr=False)  # in a header of requests that change something

    @property
    def cookie_name(self) -> str:
        """The name of the labelling page's cookie, which contains the port: browsers share cookies between the ports
        of a host."""
        return f"bizcharts_{self.port}"

    @property
    def address(self) -> str:
        """The address of the labelling page to open, with the token."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """The value of ``Set-Cookie`` for a request to the labelling page with the token."""
        return f"{self.cookie_name}={self.session}; Path=/; HttpOnly; SameSite=Strict"

    def admits(self, token: str) -> bool:
        """Whether ``token`` is the token in the labelling page's address."""
        return secrets.compare_digest(token.encode(), self.token.encode())

    def refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and reason if a request to the labelling page is refused, else ``None``; header names are in
        lower case."""
        hosts = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        if headers.get("host") not in hosts:
            return 421, "This server answers to 127.0.0.1 and localhost only."
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            return 403, "Requests from other origins are refused."
        if path == "/" and method == "GET":
            return None  # the page's own function checks token and cookie
        if not self.knows(headers):
            return 403, "Open the address that the terminal printed."
        if method in ("GET", "HEAD"):
            return None
        if not secrets.compare_digest(headers.get(CSRF_HEADER.lower(), "").encode(), self.csrf.encode()):
            return 403, f"The header {CSRF_HEADER} is missing or wrong."
        if not headers.get("content-length", "").isdigit() or int(headers["content-length"]) > MAX_BODY_BYTES:
            return 413, f"A request's body must state its length, at most {MAX_BODY_BYTES} bytes."
        return None

    def knows(self, headers: dict[str, str]) -> bool:
        """Whether a request carries the labelling page's cookie."""
        sent = cookie_values(headers.get("cookie", ""), self.cookie_name)
        return any(secrets.compare_digest(value.encode(), self.session.encode()) for value in sent)


class AccessMiddleware:
    """ASGI middleware: refuses requests without access, and adds security headers."""

    def __init__(self, app: "ASGIApp", access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or refuse it."""
        from starlette.responses import PlainTextResponse

        async def send_guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *headers]}
            await send(message)

        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # unsupported; the handshake gets a 403
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if sum(name.lower() == b"host" for name, _ in scope["headers"]) > 1:
            refused: tuple[int, str] | None = (400, "The header Host occurs twice.")
        else:
            refused = self.access.refusal(scope["method"], scope["path"], headers)
        if refused:
            await PlainTextResponse(refused[1], refused[0])(scope, receive, send_guarded)
        else:
            await self.app(scope, receive, send_guarded)
