"""A labelling service on loopback that answers what a test tells it to, in the shapes of both services."""

import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from bizcharts_pipeline.autolabel.protocol import Prompt, Question

KEY = "labelling-key-abcdefghijklmnopqrstuvwxyz0123456789"
PROMPT = Prompt("stance-v1", "You judge posts.", "0" * 64, 16)
QUESTION = Question("a" * 64, "<post>\nto the moon\n</post>", b"\xff\xd8\xff not really a JPEG")


Way = Literal["whole", "hang", "drip", "drip headers", "reset", "huge", "short"]


@dataclass(frozen=True)
class Reply:
    body: str | bytes = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    way: Way = "whole"


def patience(reply: object) -> float:
    """How many seconds a test gives a service: few only where waiting is what it is about."""
    return 0.6 if isinstance(reply, Reply) and reply.way in ("hang", "drip", "drip headers") else 20.0


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """Answers every request with ``answer``: a reply, or a function that makes one."""

    def __init__(self) -> None:
        self.answer: Reply | Callable[[Asked], Reply] = Reply("{}")
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.service = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        service: Service = self.server.service  # type: ignore[attr-defined]
        body = self._read()
        asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        service.asked.append(asked)
        self._send(service.answer(asked) if callable(service.answer) else service.answer, service.closing)

    do_GET = do_POST

    def _read(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, reply: Reply, closing: threading.Event) -> None:
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body
        if reply.way != "whole":
            self.close_connection = True
        if reply.way == "hang":
            closing.wait()
            return
        if reply.way == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        if reply.way == "drip headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            self._drip(b"a" * 10_000, closing)
            return
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        length = {"huge": 2**33, "short": len(body) + 10}.get(reply.way, len(body))
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if reply.way == "drip":
            self._drip(body, closing)
        elif reply.way == "huge":
            for _ in range(2**13):
                self.wfile.write(bytes(2**20))
        else:
            self.wfile.write(body)

    def _drip(self, body: bytes, closing: threading.Event) -> None:
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if closing.wait(0.05):
                return

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            """The client had enough."""

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def completion(content: str | None = '{"stance":"bullish"}', **changes: Any) -> dict[str, Any]:
    """A chat completion; ``changes`` replace fields of its only choice, or of its message."""
    message = {"role": "assistant", "content": content, "refusal": None}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    for name, value in changes.items():
        (message if name == "refusal" else choice)[name] = value
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [choice],
        "usage": {
            "prompt_tokens": 3000,
            "completion_tokens": 7,
            "total_tokens": 3007,
            "prompt_tokens_details": {"cached_tokens": 128},
        },
    }


def decision(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer of the decisions endpoint."""
    usage = {
        "input_tokens": 210,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 211,
    }
    return {"answers": [answer], "model": "gpt-6-luna-2026-09-22", "usage": usage}


def generated(text: str | None = '{"stance":"bearish"}', finish: str = "STOP", **more: Any) -> dict[str, Any]:
    """An answer of Gemini's generateContent."""
    content = {"role": "model", "parts": [{"text": text}]} if text is not None else {"role": "model"}
    return {
        "candidates": [{"content": content, "finishReason": finish, "index": 0}],
        "usageMetadata": {"promptTokenCount": 600, "candidatesTokenCount": 6, "totalTokenCount": 606},
        "modelVersion": "gemini-2.5-flash-lite",
        "responseId": "abc",
        **more,
    }


def openai_error(code: str | None, message: str = "No.", kind: str = "invalid_request_error") -> str:
    """The body of an OpenAI error."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def gemini_error(code: int, status: str, message: str = "No.", *details: dict[str, Any]) -> str:
    """The body of a Google API error."""
    return json.dumps({"error": {"code": code, "message": message, "status": status, "details": list(details)}})
