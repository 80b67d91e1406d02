"""Base of the simulated hosts: a web server on loopback that answers like 4chan's hosts and fails on demand."""

import email.utils
import gzip
import math
import socket
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from bizcharts_pipeline.core.clock import naive_utc, to_epoch
from bizcharts_pipeline.demo.archive.fault_pages import FUUKA_ERROR, NEW_LAYOUT, cloudflare

JSON = "application/json"
HTML = "text/html; charset=utf-8"
_ERROR_PAGE = b"<!DOCTYPE html><html><head><title>%d</title></head><body><h1>%d</h1></body></html>"
_CHUNK = 16 * 1024
_BOMB_MEBIBYTES = 256
_DRIP_SECONDS = 0.05


class Fault(StrEnum):
    """Fault of one response."""

    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    BLOCKED = "403"  # with the HTML of a bot check
    TOO_MANY = "429"  # with the server's `retry_after`
    HANG = "hang"  # no byte at all
    RESET = "reset"  # the connection is reset before the answer
    TRUNCATED = "truncated"  # half of the announced body
    TRUNCATED_GZIP = "truncated gzip"  # a complete response whose gzip stream ends early
    HTML = "html"  # 200, but an HTML page
    MALFORMED = "malformed"  # 200 and JSON's content type, but half of the JSON
    HUGE = "huge"  # a gigabyte of zeros
    GZIP_BOMB = "gzip bomb"  # 256 MiB of zeros, compressed to a quarter of one
    DRIP = "drip"  # the body, byte by byte
    DRIP_HEADERS = "drip headers"  # a header that never ends, byte by byte
    CLOUDFLARE_BLOCK = "cloudflare 403"  # Cloudflare's pages, as seen by browsers of the archive
    CLOUDFLARE_LIMIT = "cloudflare 429"  # with the server's `retry_after`
    CLOUDFLARE_CHALLENGE = "cloudflare 503"  # with the server's `retry_after`
    CLOUDFLARE_SILENT = "cloudflare 200"
    FUUKA_ERROR = "fuuka error"  # the archive's own error page, 404
    NEW_LAYOUT = "new layout"  # 200, with a page unlike the archive's
    EMPTY = "empty"  # 200, HTML's content type and no body


@dataclass(frozen=True)
class Page:
    """A normal response. ``last_modified`` is an HTTP date as served, ``location`` the target of a redirect."""

    body: bytes
    content_type: str = JSON
    last_modified: str | None = None
    etag: str | None = None
    status: int = 200
    location: str | None = None


@dataclass(frozen=True)
class RequestRecord:
    """One received request. ``at`` is on the monotonic clock, which all processes of a machine share."""

    at: float
    method: str
    path: str
    query: str
    if_modified_since: str | None
    user_agent: str | None
    status: int  # 0 if a fault sends none
    fault: Fault | None


class BoardServer:
    """The server; a context manager. Subclasses define the :class:`Page` of each path.

    ``enforce_seconds`` is the minimum interval between requests; earlier ones get a 429. ``retry_after`` is the header
    sent with a 429 or 503 (``None``: no header). If ``fail_every`` is set, every such request gets the fault
    ``fail_with``. ``latency_seconds`` is the delay before a response's headers. A simulated host sends its ``now`` as
    the Date.
    """

    now: datetime | None = None  # simulated time, naive UTC; None: the real time
    timeless = False  # sends no Date

    def __init__(self, board: str = "biz") -> None:
        self.board = board
        self.enforce_seconds: float | None = None
        self.retry_after: str | None = None
        self.fail_every: int | None = None
        self.fail_with = Fault.UNAVAILABLE
        self.latency_seconds = 0.0
        self._arrivals = 0
        self._lock = threading.Lock()
        self._last_arrival = -math.inf
        self._requests: list[RequestRecord] = []
        self._faults: deque[Fault] = deque()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.board_server = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Address of the simulated host, for both the API and the pictures."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def catalog_url(self) -> str:
        return f"{self.url}/{self.board}/catalog.json"

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests to the simulated host so far, in order of arrival."""
        with self._lock:
            return sorted(self._requests, key=lambda record: record.at)

    def fail_next(self, *faults: Fault | str) -> None:
        """Answer the next requests to the simulated host with ``faults``, one each."""
        wanted = [Fault(fault) for fault in faults]
        if Fault.GZIP_BOMB in wanted:
            _bomb()  # built here, as a client must not wait for it
        with self._lock:
            self._faults.extend(wanted)

    def page(self, path: str, query: str) -> Page | None:
        """Return the simulated host's page at ``path`` with the query string ``query``; ``None`` for 404."""
        raise NotImplementedError

    def outage(self) -> Fault | None:
        """Return the fault of all responses of the simulated host at present, if any."""
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def admit(self, at: float) -> Fault | None:
        """Return the fault for the request that arrived at the simulated host at ``at``."""
        with self._lock:
            quick = self.enforce_seconds is not None and at - self._last_arrival < self.enforce_seconds
            self._last_arrival = at
            self._arrivals += 1
            if quick:
                return Fault.TOO_MANY
            if self._faults:
                return self._faults.popleft()
            if self.fail_every and self._arrivals % self.fail_every == 0:
                return self.fail_with
            return self.outage()

    def log(self, record: RequestRecord) -> None:
        """Record a request to the simulated host; called before its response is sent."""
        with self._lock:
            self._requests.append(record)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    board_server: BoardServer

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.closing = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect early."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "cloudflare", ""
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        at = time.monotonic()
        path, _, query = self.path.partition("?")
        since = self.headers.get("If-Modified-Since")
        board = self.server.board_server
        fault = board.admit(at)
        page = None if fault in _WITHOUT_PAGE else board.page(path, query)
        if fault is not None:
            status = int(fault) if fault.isdigit() else _IN_PLACE[fault].status if fault in _IN_PLACE else 0
        elif page is None:
            status = 404
        else:
            status = 304 if since is not None and since == page.last_modified else page.status
        board.log(RequestRecord(at, self.command, path, query, since, self.headers.get("User-Agent"), status, fault))
        if board.latency_seconds:
            self.server.closing.wait(board.latency_seconds)
        if fault is not None:
            self._fail(fault, page or Page(b"[]"))
        else:
            self._answer(status, page or _error_page(404))

    do_HEAD = do_GET

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Date" or not self.server.board_server.timeless:
            super().send_header(keyword, value)

    def date_time_string(self, timestamp: float | None = None) -> str:
        now = self.server.board_server.now
        return http_date(now) if now is not None and timestamp is None else super().date_time_string(timestamp)

    def log_message(self, format: str, *args: object) -> None:
        """Suppress the simulated host's log; requests are recorded in memory."""

    def _head(self, status: int, page: Page, extra: Iterable[tuple[str, str]]) -> None:
        self.send_response(status)
        if status != 304:
            self.send_header("Content-Type", page.content_type)
        for name, value in extra:
            self.send_header(name, value)
        if page.location is not None:
            self.send_header("Location", page.location)
        if page.last_modified is not None:
            self.send_header("Last-Modified", page.last_modified)
        if page.etag is not None:
            self.send_header("ETag", page.etag)
        if page.content_type == JSON:
            self.send_header("Cache-Control", "public, must-revalidate, proxy-revalidate")
            self.send_header("Expires", "-1")
        self.send_header("Vary", "Accept-Encoding")
        self.end_headers()

    def _answer(self, status: int, page: Page, *extra: tuple[str, str]) -> None:
        """Send text as the API does, compressed and chunked; send files with their length."""
        if status == 304:
            self._head(status, page, extra)
            return
        body = page.body
        headers = list(extra)
        text = page.content_type in (JSON, HTML)
        if text and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, compresslevel=3, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        headers.append(("Transfer-Encoding", "chunked") if text else ("Content-Length", str(len(body))))
        self._head(status, page, headers)
        if self.command == "HEAD":
            return
        if not text:
            self.wfile.write(body)
            return
        for start in range(0, len(body), _CHUNK):
            self._chunk(body[start : start + _CHUNK])
        self._chunk(b"")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))

    def _fail(self, fault: Fault, page: Page) -> None:
        self.close_connection = True
        if fault.isdigit() or fault in _IN_PLACE:
            page = _IN_PLACE.get(fault) or _error_page(int(fault))
            retry = self.server.board_server.retry_after if page.status in (429, 503) else None
            headers = [("Retry-After", retry)] if retry else []
            self._answer(page.status, page, *headers)
        elif fault is Fault.HTML:
            self._answer(200, Page(b"<!DOCTYPE html><html><body>Just a moment...</body></html>", HTML))
        elif fault is Fault.MALFORMED:
            self._answer(200, Page(page.body[: len(page.body) // 2 + 1], JSON, page.last_modified))
        elif fault is Fault.HANG:
            self.server.closing.wait()
        elif fault is Fault.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif fault is Fault.TRUNCATED:
            self._head(200, page, [("Content-Length", str(len(page.body)))])
            self.wfile.write(page.body[: len(page.body) // 2])
        elif fault is Fault.TRUNCATED_GZIP:
            body = gzip.compress(page.body, mtime=0)[:-9]
            self._head(200, page, [("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))])
            self.wfile.write(body)
        elif fault is Fault.GZIP_BOMB:
            body = _bomb()
            self._head(200, page, [("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))])
            self.wfile.write(body)
        else:
            self._stream(fault, page)

    def _stream(self, fault: Fault, page: Page) -> None:
        """Send responses without a normal end, until the client disconnects."""
        if fault is Fault.HUGE:
            self._head(200, page, [("Transfer-Encoding", "chunked")])
            for _ in range(1024):
                self._chunk(bytes(2**20))
            self._chunk(b"")
            return
        if fault is Fault.DRIP:
            self._head(200, page, [("Content-Length", str(len(page.body)))])
            drops = page.body
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            drops = b"X-Slow: " + b"a" * 60_000
        for drop in drops:
            self.wfile.write(bytes([drop]))
            self.wfile.flush()
            if self.server.closing.wait(_DRIP_SECONDS):
                return


_IN_PLACE = {
    Fault.CLOUDFLARE_BLOCK: Page(cloudflare("Attention Required! | Cloudflare"), HTML, status=403),
    Fault.CLOUDFLARE_LIMIT: Page(cloudflare("Just a moment..."), HTML, status=429),
    Fault.CLOUDFLARE_CHALLENGE: Page(cloudflare("Just a moment..."), HTML, status=503),
    Fault.CLOUDFLARE_SILENT: Page(cloudflare("Just a moment..."), HTML),
    Fault.FUUKA_ERROR: Page(FUUKA_ERROR, HTML, status=404),
    Fault.NEW_LAYOUT: Page(NEW_LAYOUT, HTML),
    Fault.EMPTY: Page(b"", HTML),
}
_WITHOUT_PAGE = {Fault.HANG, Fault.RESET, Fault.DRIP_HEADERS, *_IN_PLACE}


def _error_page(status: int) -> Page:
    return Page(_ERROR_PAGE % (status, status), HTML, status=status)


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    compressor = zlib.compressobj(level=9, wbits=31)
    zeros = bytes(2**20)
    return b"".join(compressor.compress(zeros) for _ in range(_BOMB_MEBIBYTES)) + compressor.flush()


def http_date(moment: datetime) -> str:
    """Return the HTTP date that a simulated host sends for a naive UTC ``moment``, truncated to seconds."""
    return email.utils.format_datetime(datetime.fromtimestamp(int(to_epoch(naive_utc(moment))), UTC), usegmt=True)
