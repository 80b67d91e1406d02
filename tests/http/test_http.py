"""Real HTTP on loopback, with every way to fail that the server knows."""

import os
import re
import shutil
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bizcharts_pipeline.demo.board.server import ReplayBoard
from bizcharts_pipeline.demo.server import Fault
from bizcharts_pipeline.http.errors import (
    ResponseTooLarge,
    ResponseTruncated,
    SourceBlocked,
    SourceError,
    SourceNotFound,
    SourceUnreachable,
    UnexpectedAnswer,
)
from bizcharts_pipeline.http.redirects import redirect_target
from bizcharts_pipeline.http.session import MAX_ATTEMPTS, MAX_BODY_BYTES, PoliteSession, Response, Timeouts

BODY = b'[{"page":1,"threads":[]}]' + b" " * 2000
DATE_1, DATE_2 = "Fri, 02 May 2014 18:56:13 GMT", "Fri, 02 May 2014 18:57:42 GMT"
QUICK = Timeouts(connect=1, read=0.3, total=4, back_off=0.01)


@pytest.fixture
def board() -> Iterator[ReplayBoard]:
    with ReplayBoard([(BODY, DATE_1)]) as server:
        yield server


def session_in(folder: Path, timeouts: Timeouts = QUICK, contact: str = "") -> PoliteSession:
    return PoliteSession(
        0.0,
        contact=contact,
        validators=folder / "http",
        rate_folder=_made(folder / "rate"),
        timeouts=timeouts,
    )


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_an_answer_is_told_with_its_body_decompressed_and_its_time_of_change(
    board: ReplayBoard, tmp_path: Path
) -> None:
    with session_in(tmp_path, contact="mail@example.org") as session:
        response = session.get(board.catalog_url)
    assert (response.status, response.body) == (200, BODY)
    assert response.last_modified == datetime(2014, 5, 2, 18, 56, 13)
    assert response.headers["content-type"] == "application/json"
    agent = board.requests[0].user_agent or ""
    assert agent.startswith("bizcharts/")
    assert agent.endswith(" (+mail@example.org)")


def test_what_was_remembered_holds_over_runs_and_what_was_not_is_fetched_again(tmp_path: Path) -> None:
    with ReplayBoard([(BODY, DATE_1), (BODY, DATE_1), (BODY, DATE_1), (b"new", DATE_2)]) as board:
        with session_in(tmp_path) as session:
            session.get(board.catalog_url, conditional=True)
        with session_in(tmp_path) as session:  # the first run died before it had the body on disk
            response = session.get(board.catalog_url, conditional=True)
            assert (response.status, response.body) == (200, BODY)
            session.remember(response)
        with session_in(tmp_path) as session:
            response = session.get(board.catalog_url, conditional=True)
            assert (response.status, response.body) == (304, b"")
            session.remember(response)
            assert session.get(board.catalog_url, conditional=True).body == b"new"
            session.forget(board.catalog_url)
            assert session.get(board.catalog_url, conditional=True).status == 200
        asked = [request.if_modified_since for request in board.requests]
    assert asked == [None, None, DATE_1, DATE_1, None]


def test_a_damaged_validator_only_costs_a_whole_fetch(board: ReplayBoard, tmp_path: Path) -> None:
    with session_in(tmp_path) as session:
        session.remember(session.get(board.catalog_url))
        (kept,) = (tmp_path / "http").iterdir()
        for damage in (
            b"",
            b"{",
            b"[1]",
            b'{"url": 1, "last_modified": 2}',
            kept.read_bytes().replace(b"2014", b"x"),
        ):
            kept.write_bytes(damage)
            assert session.get(board.catalog_url, conditional=True).status == 200


@pytest.mark.parametrize(
    ("fault", "error", "attempts"),
    [
        (Fault.SERVER_ERROR, SourceUnreachable, MAX_ATTEMPTS),
        (Fault.UNAVAILABLE, SourceUnreachable, MAX_ATTEMPTS),
        (Fault.HANG, SourceUnreachable, MAX_ATTEMPTS),
        (Fault.RESET, SourceUnreachable, MAX_ATTEMPTS),
        (Fault.TRUNCATED, ResponseTruncated, MAX_ATTEMPTS),
        (Fault.TRUNCATED_GZIP, ResponseTruncated, MAX_ATTEMPTS),
        (Fault.TOO_MANY, SourceBlocked, MAX_ATTEMPTS),
        (Fault.BLOCKED, SourceBlocked, 1),
        (Fault.HUGE, ResponseTooLarge, 1),
        (Fault.GZIP_BOMB, ResponseTooLarge, 1),
    ],
)
@pytest.mark.fault(
    "dropped network", stage="poll", expected="a passing fault ends in the answer, a lasting one in a named error"
)
def test_every_fault_ends_in_its_named_error_and_a_passing_one_in_the_answer(
    board: ReplayBoard, tmp_path: Path, fault: Fault, error: type[SourceError], attempts: int
) -> None:
    with session_in(tmp_path) as session:
        board.fail_next(*[fault] * attempts)
        with pytest.raises(error, match=str(board.url)):
            session.get(board.catalog_url)
        assert len(board.requests) == attempts
        if attempts > 1:
            board.fail_next(fault)
        assert session.get(board.catalog_url).body == BODY


@pytest.mark.parametrize("fault", [Fault.DRIP, Fault.DRIP_HEADERS])
@pytest.mark.fault("slow network", stage="poll", expected="cut off at the deadline")
def test_a_server_that_drips_is_cut_off_at_the_deadline(board: ReplayBoard, tmp_path: Path, fault: Fault) -> None:
    board.fail_next(fault)
    began = time.monotonic()
    with (
        session_in(tmp_path, Timeouts(connect=1, read=1, total=0.8)) as session,
        pytest.raises(SourceUnreachable, match=r"no complete response in 0\.8 s"),
    ):
        session.get(board.catalog_url)
    assert time.monotonic() - began < 30  # left alone, the body takes 100 s and the header 50 minutes


@pytest.mark.parametrize("fault", [Fault.HUGE, Fault.GZIP_BOMB])
def test_an_endless_body_stops_at_the_cap_with_bounded_memory(board: ReplayBoard, tmp_path: Path, fault: Fault) -> None:
    board.fail_next(fault)
    script = (
        "import sys, tracemalloc; from pathlib import Path\n"
        "from bizcharts_pipeline.http.errors import ResponseTooLarge\n"
        "from bizcharts_pipeline.http.session import PoliteSession\n"
        "session = PoliteSession(0, rate_folder=Path(sys.argv[2]))\n"
        "tracemalloc.start()\n"
        "try: session.get(sys.argv[1])\n"
        "except ResponseTooLarge: print(tracemalloc.get_traced_memory()[1])\n"
    )
    command = [sys.executable, "-c", script, board.catalog_url, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(answer.stdout) < 4 * MAX_BODY_BYTES


def test_a_short_pause_that_is_asked_for_is_kept(board: ReplayBoard, tmp_path: Path) -> None:
    board.retry_after = "1"
    board.fail_next(Fault.TOO_MANY)
    with session_in(tmp_path) as session:
        assert session.get(board.catalog_url).status == 200
    first, second = (request.at for request in board.requests)
    assert second - first >= 1


@pytest.mark.parametrize("form", ["seconds", "date", "more seconds than a float holds"])
def test_a_long_pause_that_is_asked_for_stops_this_run_and_the_next(
    board: ReplayBoard, tmp_path: Path, form: str
) -> None:
    hours = 24 if form.startswith("more") else 1  # a day is the longest pause
    until = datetime.now(UTC) + timedelta(hours=hours)
    forms = {"seconds": "3600", "date": format_datetime(until, usegmt=True)}
    board.retry_after = forms.get(form, "9" * 400)
    board.fail_next(Fault.UNAVAILABLE)
    for _ in range(2):
        with (
            session_in(tmp_path) as session,
            pytest.raises(SourceBlocked, match=f"until {until:%Y-%m-%d %H:}"),
        ):
            session.get(board.catalog_url)
    assert len(board.requests) == 1


def test_what_is_not_there_and_who_does_not_answer_have_their_own_errors(board: ReplayBoard, tmp_path: Path) -> None:
    with session_in(tmp_path) as session:
        with pytest.raises(SourceNotFound, match=r"/none\.json"):
            session.get(f"{board.url}/none.json")
        with pytest.raises(SourceUnreachable, match="no connection"):
            session.get("http://127.0.0.1:9/")
        with pytest.raises(UnexpectedAnswer, match="check the configured URL"):
            session.get("gopher://127.0.0.1/")


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_a_proxy_of_the_environment_is_used_except_for_this_machine(
    board: ReplayBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(variable, board.url)
    with session_in(tmp_path) as session:
        assert session.get(board.catalog_url).body == BODY
        with pytest.raises(SourceNotFound):
            session.get("http://a.example/")
    assert [request.path for request in board.requests] == ["/biz/catalog.json", "http://a.example/"]


@contextmanager
def served_by(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Unchanged(BaseHTTPRequestHandler):
    """Says "not modified" to everybody, and not since when."""

    def do_GET(self) -> None:
        self.send_response(304)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_not_modified_stands_for_what_was_remembered_and_is_an_error_where_nothing_was(tmp_path: Path) -> None:
    changed_at = datetime(2014, 5, 2, 18, 56, 13)
    with served_by(_Unchanged) as url, session_in(tmp_path) as session:
        session.remember(Response(url, 200, BODY, changed_at, changed_at, {"last-modified": DATE_1}))
        response = session.get(url, conditional=True)
        assert (response.status, response.last_modified, response.headers["last-modified"]) == (304, changed_at, DATE_1)
        with pytest.raises(UnexpectedAnswer, match="'not modified' to an unconditional request"):
            session.get(url)


class _Damaged(BaseHTTPRequestHandler):
    """/chunk has a chunk of a negative size, /headers has headers that cannot be parsed, /both contradicts itself."""

    def do_GET(self) -> None:
        rest = {
            "/chunk": b"Transfer-Encoding: chunked\r\n\r\n-5\r\n[]\r\n0\r\n\r\n",
            "/both": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
            "/headers": b"X-\xff: \xff\r\nContent-Length: 2\r\n\r\n[]",
        }
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + rest[self.path])

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_damaged_framing_is_an_error_of_the_source_and_writes_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served_by(_Damaged) as url, session_in(tmp_path) as session:
        with pytest.raises(ResponseTruncated, match="chunked encoding is damaged"):
            session.get(f"{url}/chunk")
        for page in ("headers", "both"):
            with suppress(SourceError):
                session.get(f"{url}/{page}")
    assert not caplog.records


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"", "the host closed it without an answer"),
        (b"220 mail.example ESMTP\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "a line of the answer's head is too long"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n", "the answer's head is damaged"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n", "the chunked encoding is damaged"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[]", "it ended early"),
    ],
)
def test_a_broken_connection_is_told_without_names_of_classes(tmp_path: Path, sent: bytes, told: str) -> None:
    class Broken(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(sent)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Broken) as server, session_in(tmp_path) as session:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(SourceError) as failed:
            session.get(f"http://127.0.0.1:{server.server_address[1]}/")
        server.shutdown()
    assert told in str(failed.value)
    assert not re.search(r"[a-z][A-Z]\w*\(|Error|Exception", str(failed.value))


class _Redirects(BaseHTTPRequestHandler):
    """/home, /away, /loop and /nowhere redirect; /here has something."""

    def do_GET(self) -> None:
        targets = {"/home": "/here", "/away": "http://elsewhere.example/here", "/loop": "/loop", "/nowhere": "http://["}
        target = targets.get(self.path)
        self.send_response(301 if target else 200)
        if target:
            self.send_header("Location", target)
        self.send_header("Content-Length", "0" if target else "4")
        self.end_headers()
        if not target:
            self.wfile.write(b"here")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_redirects_are_followed_within_the_host_and_never_to_another(tmp_path: Path) -> None:
    with served_by(_Redirects) as url, session_in(tmp_path) as session:
        assert session.get(f"{url}/home").body == b"here"
        with pytest.raises(UnexpectedAnswer, match=r"elsewhere\.example"):
            session.get(f"{url}/away")
        with pytest.raises(UnexpectedAnswer, match="redirects"):
            session.get(f"{url}/loop")
        with pytest.raises(UnexpectedAnswer, match="not a valid address"):
            session.get(f"{url}/nowhere")
        with pytest.raises(UnexpectedAnswer, match="301"):
            session.get(f"{url}/home", redirects=False)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://a.example/x", "/y", "https://a.example/y"),
        ("https://a.example/x", "https://A.example:443/y", "https://A.example:443/y"),
        ("http://a.example/x", "https://a.example/x", "https://a.example/x"),
        ("http://a.example:80/x", "//a.example/y", "http://a.example/y"),
    ],
)
def test_a_redirect_within_the_origin_or_to_its_encrypted_self_is_followed(
    url: str, location: str, target: str
) -> None:
    assert redirect_target(url, location) == target


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://a.example/x", "http://a.example/x"),
        ("https://a.example/x", "https://a.example:8443/x"),
        ("http://127.0.0.1:8000/x", "http://127.0.0.1:8001/x"),
        ("http://127.0.0.1:8000/x", "https://127.0.0.1/x"),
        ("http://a.example/x", "https://a.example:8443/x"),
        ("https://a.example/x", "https://b.example/x"),
        ("https://a.example/x", "https://a.example@b.example/x"),
        ("https://a.example/x", "https://a.example:0x1/x"),
        ("https://a.example/x", "ftp://a.example/x"),
    ],
)
def test_a_redirect_to_another_origin_is_refused(url: str, location: str) -> None:
    with pytest.raises(UnexpectedAnswer, match="redirects to"):
        redirect_target(url, location)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    file = tmp_path / "certificate.pem"
    request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", *request.split(), "-keyout", key, "-out", file], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file


def test_tls_is_verified_and_obeys_the_deadline_too(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dripping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            for letter in b"here":
                time.sleep(0.4 if self.path == "/slow" else 0)
                self.wfile.write(bytes([letter]))

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Dripping)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    try:
        with (
            session_in(tmp_path) as session,
            pytest.raises(SourceUnreachable, match="no trusted certificate"),
        ):
            session.get(url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        with session_in(tmp_path, Timeouts(connect=1, read=1, total=0.8)) as session:
            assert session.get(url).body == b"here"
            with pytest.raises(SourceUnreachable, match="no complete response"):
                session.get(f"{url}/slow")
    finally:
        server.shutdown()
        server.server_close()


def test_a_refusal_carries_the_page_that_came_with_it(board: ReplayBoard, tmp_path: Path) -> None:
    board.fail_next(Fault.BLOCKED)
    with PoliteSession(0, rate_folder=tmp_path) as session, pytest.raises(SourceBlocked) as refusal:
        session.get(board.catalog_url)
    assert refusal.value.evidence.startswith(b"<!DOCTYPE html>")


def test_a_body_over_the_bound_of_one_request_is_not_read(board: ReplayBoard, tmp_path: Path) -> None:
    with PoliteSession(0, rate_folder=tmp_path) as session:
        most = len(session.get(board.catalog_url).body)
        assert session.get(board.catalog_url, max_bytes=most).body
        with pytest.raises(ResponseTooLarge):
            session.get(board.catalog_url, max_bytes=most - 1)
