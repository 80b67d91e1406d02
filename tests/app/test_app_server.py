"""The app's server: who is answered, what a page may load, and what the command says."""

import http.client
import json
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from socket import socket

import pytest
from app_process import app_server
from installation import Installation

from bizcharts_pipeline.app import serve
from bizcharts_pipeline.app.pages.main import PAGES

API_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def address(filled: Path) -> Iterator[str]:
    with app_server(filled) as address:
        yield address


def ask(address: str, method: str = "GET", path: str = "/", **headers: str) -> tuple[int, dict[str, list[str]], str]:
    """Status, headers by lower-case name, and body of an answer."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    body = response.read().decode(errors="replace")
    found: dict[str, list[str]] = {}
    for name, value in response.getheaders():
        found.setdefault(name.lower(), []).append(value)
    connection.close()
    return response.status, found, body


def test_a_page_may_load_nothing_from_elsewhere(address: str) -> None:
    status, headers, body = ask(address)
    assert status == 200
    assert "<title>BizCharts</title>" in body
    policy = headers["content-security-policy"][0]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for name, value in rules.items():
        assert not set(value.split()) & {"*", "https:", "http:", "ws:", "wss:", "'unsafe-eval'"}, name
    assert "'unsafe-inline'" not in rules["script-src"]
    assert rules["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == ["nosniff"]


def test_the_server_knows_the_address_of_each_page() -> None:
    assert {"", *serve.PAGE_NAMES} == {"" if name == "now" else name for name in PAGES}


def test_only_this_machines_names_and_pages_are_answered(address: str) -> None:
    port = address.rsplit(":", 1)[1]
    assert ask(address, Host=f"localhost:{port}")[0] == 200
    for path in ("/", "/_stcore/health", "/_stcore/stream", "/now"):
        assert ask(address, path=path, Host="evil.example")[0] == 421, path
        assert ask(address, path=path, Origin="http://evil.example")[0] == 403, path
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    key = {"Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    assert ask(address, path="/_stcore/stream", Origin="http://evil.example", **upgrade, **key)[0] == 403


def test_nothing_can_be_uploaded_and_no_program_drives_the_pages(address: str) -> None:
    assert ask(address, "PUT", "/_stcore/upload_file/a/b")[0] in (403, 405)
    assert ask(address, "POST", "/_stcore/agent/interact")[0] >= 400


def test_with_a_password_nothing_is_answered_before_the_login(filled: Path) -> None:
    with app_server(filled, BIZCHARTS_UI_PASSWORD=PASSWORD) as address:
        for path in ("/", "/_stcore/health", "/_stcore/host-config"):
            assert ask(address, path=path)[0] == 401, path
            assert ask(address, path=path, Authorization=f"Bearer {PASSWORD}")[0] == 200, path


def test_the_api_answers_in_the_same_process_under_its_own_rules(address: str) -> None:
    status, headers, body = ask(address, path="/v1/index?limit=2")
    assert (status, len(json.loads(body)["rows"])) == (200, 2)
    assert headers["content-security-policy"] == [API_POLICY]
    status, headers, _ = ask(address, path="/v1/embed", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    assert status == 200
    assert "frame-ancestors" not in headers["content-security-policy"][0]
    assert "x-frame-options" not in headers
    assert ask(address, path="/v1/index", Host="evil.example")[0] == 421
    assert ask(address, "POST", "/v1/index")[0] == 405
    assert ask(address, path="/v1")[0] == 404
    assert ask(address, path="/v1x")[2] == ask(address, path="/nothing")[2]


def test_the_api_of_the_app_asks_for_the_password_too(filled: Path) -> None:
    with app_server(filled, BIZCHARTS_UI_PASSWORD=PASSWORD) as address:
        for path in ("/v1/index", "/v1/badge.svg", "/v1/health", "/v1/openapi.json"):
            assert ask(address, path=path)[0] == 401, path
            assert ask(address, path=path, Authorization=f"Bearer {PASSWORD}x")[0] == 401, path
        status, headers, _ = ask(address, path="/v1/index", Authorization=f"Bearer {PASSWORD}")
        assert status == 200
        assert headers["cache-control"][0].startswith("private, ")


def test_without_a_database_the_api_says_so_and_makes_none(tmp_path: Path) -> None:
    with app_server(tmp_path / "home") as address:
        status, _, body = ask(address, path="/v1/index")
    assert status == 503
    assert "bizcharts health" in json.loads(body)["error"]["message"]
    assert not (tmp_path / "home").exists()


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = util.find_spec
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "uplot" else find(name))
    ended = Installation(tmp_path, "http://127.0.0.1:9").run_here("app", "--port", "0")
    assert ended.returncode == 1
    assert ended.stderr == "bizcharts: The app needs uplot, not installed here: run `make install-app`.\n"


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = Installation(tmp_path, "http://127.0.0.1:9").run_here("app", "--port", str(port))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"bizcharts: Port {port} of 127.0.0.1 cannot be used: Address already in use; give another with --port.\n"
    )
