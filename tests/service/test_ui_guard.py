"""The rules of the guard in front of the Dagster UI, over real HTTP; tests/web drives it with a real browser."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from bizcharts_pipeline.service.guard import Guard
from bizcharts_pipeline.service.login import MAX_FAILURES, VARIABLE, BadPassword, Login, password_of
from bizcharts_pipeline.service.webserver import allowed_hosts

PASSWORD = "correct horse battery"
READ = {"Accept": "text/html"}
MUTATION = "mutation{launchRun{__typename}}"


async def everything(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers whatever reaches it."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"reached"})


@dataclass
class Server:
    port: int
    now: float = 1000.0

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: str = ""
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body or None, {"Host": f"127.0.0.1:{self.port}", **(headers or {})})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        text = answer.read().decode()
        connection.close()
        return answer.status, found, text

    def status(self, method: str, path: str, **headers: str) -> int:
        return self.ask(method, path, {name.replace("_", "-"): value for name, value in headers.items()})[0]

    def raw(self, request: str) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(request.replace("\n", "\r\n").encode("latin-1"))
            return connection.recv(4096).decode("latin-1")

    def own(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}"


@contextmanager
def guarded(*names: str, password: str | None = None) -> Iterator[Server]:
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])
        login = Login(password, server.port, clock=lambda: server.now) if password else None
        guard = Guard(everything, allowed_hosts("127.0.0.1", names), login)
        program = uvicorn.Server(uvicorn.Config(guard, log_level="error", lifespan="off", proxy_headers=False))
        thread = Thread(target=program.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield server
        finally:
            program.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with guarded("charts.example.org") as server:
        yield server


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.",
        "2130706433",
        "0.0.0.0",
        "localhost@evil",
        "",
        "[::ffff:1]",
        "a b",
    ],
)
def test_a_request_that_names_another_host_is_refused(server: Server, host: str) -> None:
    assert server.status("GET", "/", Host=host) in (400, 421)
    assert server.status("GET", "/", Host=f"{host}:{server.port}") in (400, 421)


def test_loopback_names_and_configured_names_are_answered(server: Server) -> None:
    for host in (
        "localhost",
        "LOCALHOST:3000",
        "127.0.0.1:1",
        "[::1]:3000",
        "charts.example.org",
        "charts.example.org:443",
    ):
        assert server.status("GET", "/", Host=host) == 200, host
    assert allowed_hosts("0.0.0.0", ()) == allowed_hosts("127.0.0.1", ())
    assert "[fd00::1]" in allowed_hosts("fd00::1", ())


def test_a_request_without_a_host_or_with_two_is_refused(server: Server) -> None:
    assert "reached" not in server.raw("GET / HTTP/1.0\n\n")
    assert "reached" not in server.raw("GET / HTTP/1.1\nHost: evil.example\nHost: localhost\n\n")
    assert "reached" not in server.raw(
        "GET / HTTP/1.1\nHost: localhost\nOrigin: http://evil\nOrigin: http://localhost\n\n"
    )
    assert "reached" not in server.raw("GET http://localhost/ HTTP/1.1\nHost: evil.example\n\n")
    assert "reached" in server.raw("GET / HTTP/1.1\nHost: localhost\nConnection: close\n\n")


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:1",
        "file://",
        "http://127.0.0.1",
        "{own}.evil.example",
        "{own}@evil",
        "",
    ],
)
def test_a_request_of_another_origin_is_refused(server: Server, origin: str) -> None:
    origin = origin.replace("{own}", server.own())
    for method, path in (("GET", "/"), ("POST", "/graphql"), ("GET", "/graphql?query={version}")):
        assert server.status(method, path, Origin=origin, Content_Type="application/json") == 403
    assert server.status("POST", "/graphql", Origin=server.own(), Content_Type="application/json") == 200


def test_fetch_metadata_of_another_site_is_refused_but_a_link_to_a_page(server: Server) -> None:
    link = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    for site in ("cross-site", "same-site", "something-new"):
        assert server.status("GET", "/runs", Sec_Fetch_Site=site) == 403
        assert server.status("GET", "/runs", Sec_Fetch_Site=site, **link) == 200
        assert server.status("POST", "/runs", Sec_Fetch_Site=site, **link) == 403
        assert server.status("GET", "/runs", Sec_Fetch_Site=site, **{**link, "Sec_Fetch_Dest": "iframe"}) == 403
        for data in (
            "/graphql?query={version}",
            "/logs/a",
            "/download_debug/1",
            "/notebook",
            "/server_info",
            "/LOGS/a",
        ):
            assert server.status("GET", data, Sec_Fetch_Site=site, **link) == 403, data
    assert server.status("GET", "/graphql?query={version}", Sec_Fetch_Site="none", **link) == 200
    assert server.status("POST", "/graphql", Sec_Fetch_Site="none", Content_Type="application/json") == 403


@pytest.mark.parametrize(
    "document",
    [
        MUTATION,
        "query a{version} " + MUTATION,
        "fragment f on Query{version} mutation m{x}",
        "subscription{pipelineRunLogs}",
        "# query\n mutation{x}",
        "\ufeff,,mutation{x}",
        "{version",
        "",
        "type Query{a:Int}",
        "{a" * 3000,
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/%67raphql", "/GRAPHQL", "//graphql"])
def test_a_get_runs_queries_only(server: Server, path: str, document: str) -> None:
    assert server.status("GET", f"{path}?query={quote(document)}") == 405
    assert server.status("HEAD", f"{path}?query={quote(document)}") == 405
    assert server.status("GET", f"{path}?{urlencode([('query', '{version}'), ('query', document)])}") == 405
    assert server.status("GET", f"{path}?{urlencode([('query', document), ('query', '{version}')])}") == 405
    assert server.status("GET", f"{path}?query={quote('query a{version} fragment f on Query{version}')}") == 200


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "text/plain;application/json",
        "application/x-www-form-urlencoded",
        "application/graphql",
        "multipart/form-data",
        "",
    ],
)
def test_a_graphql_post_that_a_form_can_send_is_refused(server: Server, media_type: str) -> None:
    assert server.status("POST", f"/graphql?query={quote(MUTATION)}", Content_Type=media_type) == 415


def test_other_methods_are_refused(server: Server) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"):
        assert server.status(method, "/graphql") in (400, 405), method


def handshake(server: Server, **headers: str) -> int:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent |= {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    return server.ask("GET", "/graphql", {"Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==", **sent})[0]


def test_a_web_socket_of_another_origin_or_host_is_refused(server: Server) -> None:
    assert handshake(server, Origin="http://evil.example") == 403
    assert handshake(server, Origin="null") == 403
    assert handshake(server, Host="evil.example", Origin="http://evil.example") == 403
    assert handshake(server, Sec_Fetch_Site="cross-site") == 403
    assert handshake(server, Origin=server.own(), Sec_Fetch_Site="same-origin") == 101


def test_no_other_page_may_frame_or_embed_what_is_answered(server: Server) -> None:
    for path in ("/", "/graphql?query={version}"):
        headers = server.ask("GET", path)[1]
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def log_in(server: Server, password: str, scheme: str = "http") -> tuple[int, dict[str, str], str]:
    headers = {"Origin": server.own(scheme), "Content-Type": "application/x-www-form-urlencoded"}
    return server.ask("POST", "/bizcharts/login", headers, urlencode({"password": password}))


def test_with_a_password_nothing_is_answered_before_the_login() -> None:
    with guarded(password=PASSWORD) as server:
        for path in ("/", "/graphql?query={version}", "/server_info", "/vendor/x.js", "/bizcharts/login"):
            status, headers, text = server.ask("GET", path, READ)
            assert (status, "reached" in text) == (401, False)
            assert "set-cookie" not in headers
        assert server.status("POST", "/graphql", Content_Type="application/json") == 401
        assert handshake(server, Origin=server.own()) == 403
        status, headers, _ = log_in(server, PASSWORD)
        assert (status, headers["location"]) == (303, "/")
        cookie, *attributes = headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
        assert PASSWORD not in headers["set-cookie"]
        assert server.status("GET", "/server_info", Cookie=f'broken="; {cookie}') == 200
        assert handshake(server, Origin=server.own(), Cookie=cookie) == 101
        assert server.status("GET", "/server_info", Cookie=cookie[:-1]) == 401
        assert server.status("GET", "/server_info", Cookie=cookie, Origin="http://evil.example") == 403
        assert server.status("GET", "/server_info", Authorization=f"Bearer {PASSWORD}") == 200
        assert "Secure" in log_in(server, PASSWORD, "https")[1]["set-cookie"]


def test_a_password_cannot_be_guessed_fast() -> None:
    with guarded(password=PASSWORD) as server:
        answers = [log_in(server, f"guess number {number}")[0] for number in range(MAX_FAILURES)]
        assert answers == [403] * (MAX_FAILURES - 1) + [429]
        assert log_in(server, PASSWORD)[0] == 429
        assert server.status("GET", "/", Authorization=f"Bearer {PASSWORD}") == 429
        server.now += 61
        assert log_in(server, "x" * 100_000)[0] == 403
        assert log_in(server, PASSWORD)[0] == 303


def test_a_password_that_is_too_short_is_refused_in_one_line() -> None:
    assert password_of(environment={}) is None
    assert password_of(environment={VARIABLE: PASSWORD}) == PASSWORD
    for bad in ("short", "elevenchars", "not ascii: ü and more", "a line\nbreak in it"):
        with pytest.raises(BadPassword, match="12 characters") as caught:
            password_of(environment={VARIABLE: bad})
        assert bad not in str(caught.value)
