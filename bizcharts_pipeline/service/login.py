"""Optional login of the web server: one password, from the environment only, and one session per server process.

It does not distinguish users, and it needs HTTPS in front of it if the network between browser and server is not
trusted.
"""

import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.http.cookies import cookie_values

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

VARIABLE = "BIZCHARTS_UI_PASSWORD"
VIEWER_VARIABLE = "BIZCHARTS_VIEWER_PASSWORD"  # of the second UI, which changes nothing
LOGIN_PATH = "/bizcharts/login"
MIN_LENGTH = 12
MAX_BODY_BYTES = 4096
MAX_FAILURES = 10
FAILURE_SECONDS = 60.0  # period of the failure limit; no password is accepted while it is exceeded
TOO_MANY = "Too many wrong passwords; wait a minute."
WAIT = {"Retry-After": f"{FAILURE_SECONDS:.0f}"}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Log in · BizCharts</title>
<style>body {{ font: 16px sans-serif; margin: 20vh auto; max-width: 22rem }} input, button {{ font: inherit }}</style>
<h1>BizCharts</h1>
<p>{message}</p>
<form method="post" action="{path}">
<label>Password <input type="password" name="password" autocomplete="current-password" required autofocus></label>
<button>Log in</button>
</form>
</html>
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class BadPassword(BizchartsError):
    """The configured password cannot be used."""


def password_of(variable: str = VARIABLE, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the password of the web server that ``variable`` of the environment has; ``None``: no login is required.

    Raises:
        BadPassword: it is too short, or has characters that a header cannot carry.
    """
    password = environment.get(variable, "")
    if password and (len(password) < MIN_LENGTH or not (password.isascii() and password.isprintable())):
        raise BadPassword(f"{variable} needs at least {MIN_LENGTH} characters, printable ASCII only")
    return password or None


@dataclass
class Login:
    """The login of one web server.

    Args:
        port: of the server; browsers share cookies between ports, so the cookie's name contains it.
        clock: monotonic seconds.
    """

    password: str = field(repr=False)
    port: int
    clock: Callable[[], float] = time.monotonic
    _session: str = field(default_factory=lambda: secrets.token_urlsafe(32), init=False, repr=False)
    _failures: list[float] = field(default_factory=list, init=False)

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request has the session's cookie or, from programs, the password as a bearer token."""
        cookies = cookie_values(headers.get("cookie", ""), self._cookie_name)
        if any(_same(value, self._session) for value in cookies):
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._accepts(token.strip())

    def is_exhausted(self) -> bool:
        """Return whether there were so many wrong passwords in the last minute that none is taken now."""
        since = self.clock() - FAILURE_SECONDS
        self._failures = [at for at in self._failures if at > since]
        return len(self._failures) >= MAX_FAILURES

    async def answer(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer an HTTP request without a session: with the form, or with a session for the right password."""
        from starlette.requests import Request
        from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

        request = Request(scope, receive)
        response: Response
        if request.method == "POST" and request.url.path == LOGIN_PATH:
            password = await _sent_password(request)
            if self._accepts(password):
                secure = "; Secure" if request.headers.get("origin", "").startswith("https:") else ""
                cookie = f"{self._cookie_name}={self._session}; Path=/; HttpOnly; SameSite=Strict{secure}"
                response = RedirectResponse("/", 303, headers={"Set-Cookie": cookie})
            elif self.is_exhausted():
                response = HTMLResponse(_page(TOO_MANY), 429, {**_HEADERS, **WAIT})
            else:
                response = HTMLResponse(_page("Wrong password."), 403, _HEADERS)
        elif request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            response = HTMLResponse(_page("Enter this server's password."), 401, _HEADERS)
        elif self.is_exhausted():
            response = PlainTextResponse(f"{TOO_MANY}\n", 429, {**_HEADERS, **WAIT})
        else:
            response = PlainTextResponse("Log in first.\n", 401, _HEADERS)
        await response(scope, receive, send)

    @property
    def _cookie_name(self) -> str:
        return f"bizcharts_ui_{self.port}"

    def _accepts(self, password: str) -> bool:
        if self.is_exhausted():
            return False
        if _same(password, self.password):
            return True
        self._failures.append(self.clock())
        return False


def _same(sent: str, secret: str) -> bool:
    return secrets.compare_digest(sent.encode(), secret.encode())


def _page(message: str) -> str:
    return _PAGE.format(message=message, path=LOGIN_PATH)


async def _sent_password(request: "Request") -> str:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return ""
    return parse_qs(body.decode("latin-1")).get("password", [""])[0]
