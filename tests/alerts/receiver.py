"""A web service on loopback that takes the messages of Apprise's plugins."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qsl


class Receiver(ThreadingHTTPServer):
    """Notes each message, and answers the status at the end of its path; ``/drop`` closes without an answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: list[tuple[str, str, str]] = []  # path, title, message
        self.before_answer: Callable[[int], None] = lambda count: None
        self.lock = Lock()
        Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path: str = "200") -> str:
        """The Apprise URL of a path."""
        return f"json://127.0.0.1:{self.server_address[1]}/{path}"

    def numbers(self) -> list[str]:
        """The numbers of the events that arrived."""
        with self.lock:
            return [number_of(message) for _, _, message in self.messages]


def number_of(message: str) -> str:
    found = re.search(r"^Event ([0-9a-f]{10})$", message, re.M)
    assert found, message
    return found[1]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        form = self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        given = dict(parse_qsl(body.decode())) if form else json.loads(body)
        with self.server.lock:
            self.server.messages.append((self.path, given.get("title", ""), given["message"]))
            count = len(self.server.messages)
        self.server.before_answer(count)
        if self.path.endswith("drop"):
            self.connection.close()
            return
        status = self.path[-3:]
        self.send_response(int(status) if status.isdigit() else 200)
        self.send_header("Location", self.path.replace("302", "200"))
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that is open for the block."""
    server = Receiver()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
