"""ASGI middleware that decides which requests reach the Dagster UI.

Anyone who reaches the UI can start jobs, and any web page in a browser can send requests to a server on the loopback
address. So each request must have an allowed host (against DNS rebinding) and must not come from a page of another
origin; a GET never runs a mutation; and if a password is set, each request needs a session. It does not encrypt, and it
does not distinguish users. docs/security.md has the details.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from bizcharts_pipeline.service.login import Login

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
MAX_QUERY_TOKENS = 10_000  # of a GraphQL document in a query string
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?", re.ASCII)
_READING = ("GET", "HEAD")
# Endpoints with data. The others are pages and files of the UI, to which other sites may link.
_DATA = ("/graphql", "/logs", "/download_debug", "/notebook", "/dagit", "/server_info", "/report_asset")
_HEADERS = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"content-security-policy", b"frame-ancestors 'self'"),  # in addition to Dagster's own, which still applies
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


@dataclass(frozen=True)
class Refusal:
    """Status and reason of a refused request."""

    status: int
    reason: str


@dataclass(frozen=True)
class Request:
    """The parts of a request that the rules use. Header names are in lower case; ``repeated`` has those that occur more
    than once."""

    method: str  # "WEBSOCKET" for a handshake
    path: str
    query: str
    headers: Mapping[str, str]
    repeated: frozenset[str]


def refusal(request: Request, hosts: frozenset[str]) -> Refusal | None:
    """Return why a request is refused, ``None`` if it may pass; the login is not checked here.

    Args:
        hosts: allowed names in the ``Host`` header, in lower case without port, IPv6 addresses in brackets.
    """
    if refused := stranger_refusal(request, hosts):
        return refused
    if request.method == "WEBSOCKET":
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return Refusal(403, "Requests from pages of another origin are refused.")
        return None  # a browser always sends its origin with a handshake
    if request.method not in (*_READING, "POST"):
        return Refusal(405, "Only GET, HEAD and POST are allowed.")
    if not fetched_by_our_page(request, is_page=not request.path.lower().startswith(_DATA)):
        return Refusal(403, "Requests from pages of another origin are refused.")
    if _is_graphql(request.path):
        return _graphql_refusal(request)
    return None


def stranger_refusal(request: Request, hosts: frozenset[str]) -> Refusal | None:
    """Return why a request is refused that names another host than ``hosts`` or comes from a page of another origin."""
    headers = request.headers
    if request.repeated & {"host", "origin", "content-type", "sec-fetch-site"}:
        return Refusal(400, "A header came twice.")
    host = headers.get("host", "").lower()
    named = _HOST.fullmatch(host)
    if named is None or named[1] not in hosts:
        return Refusal(421, "This host name is not allowed; add it to [serve] hosts in the settings.")
    if (origin := headers.get("origin")) is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        return Refusal(403, "Requests from pages of another origin are refused.")
    return None


def fetched_by_our_page(request: Request, *, is_page: bool) -> bool:
    """Whether Fetch Metadata, which browsers send, allows the request; other programs send none.

    To a path that ``is_page`` other sites may link.
    """
    headers = request.headers
    site = headers.get("sec-fetch-site", "same-origin")
    if site == "same-origin":
        return True
    if request.method not in _READING:
        return False
    if site == "none":  # typed, bookmarked or opened by a program
        return True
    return is_page and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _is_graphql(path: str) -> bool:
    return path.rstrip("/").lower().endswith("/graphql")


def _graphql_refusal(request: Request) -> Refusal | None:
    if request.method == "POST":
        # Dagster reads the query from the URL if the body is not JSON, which forms on other pages can send.
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        return None if media_type == "application/json" else Refusal(415, "A GraphQL request must be JSON.")
    documents = [value for name, value in parse_qsl(request.query, keep_blank_values=True) if name == "query"]
    if all(_only_queries(document) for document in documents):
        return None
    return Refusal(405, "A GET runs queries only; send mutations by POST.")


def _only_queries(document: str) -> bool:
    from graphql import GraphQLError, parse
    from graphql.language import FragmentDefinitionNode, OperationDefinitionNode, OperationType

    try:
        definitions = parse(document, no_location=True, max_tokens=MAX_QUERY_TOKENS).definitions
    except (GraphQLError, RecursionError):
        return False
    return all(
        isinstance(each, FragmentDefinitionNode)
        or (isinstance(each, OperationDefinitionNode) and each.operation is OperationType.QUERY)
        for each in definitions
    )


class Guard:
    """Forwards allowed requests to ``app``, and adds headers that prevent embedding of the UI in other pages."""

    def __init__(self, app: "ASGIApp", hosts: frozenset[str], login: Login | None) -> None:
        self._app, self._hosts, self._login = app, hosts, login

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one connection."""

        async def send_guarded(message: "Message") -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                kept = [each for each in message.get("headers", []) if each[0].lower() != b"x-frame-options"]
                message = {**message, "headers": [*kept, *_HEADERS]}
            await send(message)

        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = request_of(scope)
        if refused := refusal(request, self._hosts):
            await _refuse(scope, receive, send_guarded, refused)
        elif self._login is None or self._login.knows(request.headers):
            await self._app(scope, receive, send_guarded)
        elif scope["type"] == "websocket":
            await _refuse(scope, receive, send_guarded, Refusal(401, ""))
        else:
            await self._login.answer(scope, receive, send_guarded)


def request_of(scope: "Scope") -> Request:
    """Return what the web server's guard looks at of an HTTP or web socket ``scope``."""
    headers: dict[str, str] = {}
    repeated = set()
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers:
            repeated.add(name)
        headers[name] = value
    return Request(
        "WEBSOCKET" if scope["type"] == "websocket" else scope["method"].upper(),
        scope["path"],
        scope["query_string"].decode("latin-1"),
        headers,
        frozenset(repeated),
    )


async def _refuse(scope: "Scope", receive: "Receive", send: "Send", refused: Refusal) -> None:
    from starlette.responses import PlainTextResponse

    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refused.reason})  # the handshake gets a 403
    else:
        await PlainTextResponse(f"{refused.reason}\n", refused.status)(scope, receive, send)
