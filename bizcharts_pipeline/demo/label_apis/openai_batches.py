"""OpenAI's Files and Batch APIs on loopback."""

import json
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from bizcharts_pipeline.demo.label_apis.billing import input_tokens
from bizcharts_pipeline.demo.label_apis.openai import OpenAIApi, error_page, read_chat, refusal_of
from bizcharts_pipeline.demo.label_apis.wire import (
    REFUSED,
    Asked,
    BatchFault,
    LabelFault,
    Refusal,
    Reply,
    Request,
    json_page,
)
from bizcharts_pipeline.demo.server import Page

_DAY = 86_400
_LINES = 50_000
_BYTES = 200 * 2**20
_DISPOSITION = re.compile(rb'name="([^"]*)"(?:;\s*filename="([^"]*)")?')


@dataclass
class _Batch:
    number: int
    described: dict[str, Any]  # as served by the API
    lines: list[tuple[str, dict[str, Any], Asked]]
    begun: float  # monotonic
    tokens: int
    fault: BatchFault | None


@dataclass
class OpenAIBatches:
    """Files and batches; thread-safe.

    Attributes:
        seconds: duration of a batch.
        token_limit: maximum input tokens of all running batches; more fail with ``token_limit_exceeded``.
        unfinished_share: share of unprocessed lines in a batch that expires.
        script: faults of the next batches.
    """

    api: OpenAIApi
    pick: Callable[[Asked], LabelFault | None]
    seed: int = 7
    seconds: float = 0.2
    token_limit: int | None = None
    unfinished_share: float = 0.3
    script: deque[BatchFault | None] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._batches: dict[str, _Batch] = {}

    def reply(self, request: Request, path: str) -> Reply | None:
        """Answer a request to ``path`` (without /v1) of the simulated Files and Batch APIs; ``None`` if it does not
        exist."""
        match request.method, path.strip("/").split("/"):
            case "POST", ["files"]:
                return Reply(json_page(self._upload(request)))
            case "GET", ["files", name]:
                return Reply(json_page(self._file(name)[0]))
            case "DELETE", ["files", name]:
                self._file(name)
                return Reply(json_page({"id": name, "object": "file", "deleted": True}))
            case "GET", ["files", name, "content"]:
                return Reply(Page(self._file(name)[1], "application/octet-stream"))
            case "POST", ["batches"]:
                return Reply(json_page(self._create(request.json())))
            case "GET", ["batches"]:
                return Reply(json_page(self._listed(request.query)))
            case "GET", ["batches", name]:
                return Reply(json_page(self._batch(name).described))
            case "POST", ["batches", name, "cancel"]:
                return Reply(json_page(self._cancel(name)))
        return None

    def advance(self) -> None:
        """Advance every batch of the simulated OpenAI API according to the elapsed time; process and bill those that
        are due."""
        with self._lock:
            for batch in self._batches.values():
                self._advance(batch)

    def _upload(self, request: Request) -> dict[str, Any]:
        parts = _parts(request)
        filename, content = parts.get("file", ("", b""))
        purpose = parts.get("purpose", ("", b""))[1].decode()
        if "file" not in parts or purpose not in ("batch", "user_data", "vision"):
            raise Refusal(400, "'file' and 'purpose' are required properties.")
        if len(content) > _BYTES:
            raise Refusal(413, "The file is larger than 200 MB.")
        return self._store(content, filename, purpose)

    def _store(self, content: bytes, filename: str, purpose: str) -> dict[str, Any]:
        name = self.api.number("file-")
        described = {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        with self._lock:
            self._files[name] = (described, content)
        return described

    def _file(self, name: str) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            if name not in self._files:
                raise Refusal(404, f"No such File object: {name}")
            return self._files[name]

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("completion_window") != "24h" or body.get("endpoint") != "/v1/chat/completions":
            raise Refusal(400, "Invalid 'completion_window' or 'endpoint'.")
        content = self._file(str(body.get("input_file_id")))[1]
        now = int(time.time())
        described = {
            "id": self.api.number("batch_"),
            "object": "batch",
            "endpoint": body["endpoint"],
            "errors": None,
            "input_file_id": body["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": now,
            "expires_at": now + _DAY,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": body.get("metadata"),
        }
        lines, errors = _read_lines(content)
        with self._lock:
            fault = self.script.popleft() if self.script else None
            tokens = sum(input_tokens(asked) for _, _, asked in lines)
            if fault is BatchFault.FAILED:
                errors = [_error("invalid_json_line", "This line is not parseable as valid JSON.", 1)]
            elif fault is BatchFault.BILLING:
                errors = [_error("billing_hard_limit_reached", "Billing hard limit has been reached.")]
            elif fault is BatchFault.TOO_MANY_TOKENS or self._queued() + tokens > (self.token_limit or float("inf")):
                errors = [_error("token_limit_exceeded", f"Enqueued token limit reached. Limit: {self.token_limit}.")]
            batch = _Batch(len(self._batches), described, lines, time.monotonic(), tokens, fault)
            self._batches[described["id"]] = batch
            reply = dict(described)  # a batch fails only after its creation
            if errors:
                described |= {"status": "failed", "failed_at": now, "errors": {"object": "list", "data": errors}}
        return reply

    def _queued(self) -> int:
        self.advance()
        return sum(batch.tokens for batch in self._batches.values() if _under_way(batch))

    def _batch(self, name: str) -> _Batch:
        with self._lock:
            if name not in self._batches:
                raise Refusal(404, f"No batch found with id '{name}'.")
            self._advance(self._batches[name])
            return self._batches[name]

    def _listed(self, query: str) -> dict[str, Any]:
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        self.advance()
        with self._lock:
            names = list(reversed(self._batches))
            start = names.index(asked["after"]) + 1 if asked.get("after") in names else 0
            shown = names[start : start + int(asked.get("limit", "20"))]
            data = [self._batches[name].described for name in shown]
        ends = {"first_id": shown[0], "last_id": shown[-1]} if shown else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, **ends, "has_more": start + len(shown) < len(names)}

    def _cancel(self, name: str) -> dict[str, Any]:
        with self._lock:
            batch = self._batch(name)
            if not _under_way(batch):
                raise Refusal(409, f"Cannot cancel a batch with status '{batch.described['status']}'.")
            now = int(time.time())
            batch.described |= {"status": "cancelled", "cancelling_at": now, "cancelled_at": now}
            return batch.described

    def _advance(self, batch: _Batch) -> None:
        """Advance a batch; it is processed all at once when its time has passed."""
        if not _under_way(batch):
            return
        share = (time.monotonic() - batch.begun) / self.seconds if self.seconds else 1.0
        if share >= 1:
            self._finish(batch)
        elif share >= 0.25:
            batch.described["status"] = "in_progress"
            batch.described["in_progress_at"] = int(time.time())
            batch.described["request_counts"]["total"] = len(batch.lines)

    def _finish(self, batch: _Batch) -> None:
        source = random.Random(f"{self.seed} {batch.number}")
        lines = list(batch.lines)
        source.shuffle(lines)
        expired = batch.fault is BatchFault.EXPIRED
        kept = round(len(lines) * (1 - self.unfinished_share)) if expired else len(lines)
        good: list[str] = []
        bad = [_expired_line(self.api.number("batch_req_"), name) for name, _, _ in lines[kept:]]
        for name, body, asked in lines[:kept]:
            fault = self.pick(asked)
            status, page = self._one(asked, body, fault)
            line = "upstream connect error" if fault is LabelFault.BAD_LINE else self._line(name, status, page)
            (good if status == 200 else bad).append(line)
        now = int(time.time())
        state = "expired" if expired else "completed"
        batch.described |= {"status": state, "finalizing_at": now, f"{state}_at": now}
        batch.described["request_counts"] = {"total": len(lines), "completed": len(good), "failed": len(bad)}
        for kind, written in (("output", good), ("error", bad)):
            if written:
                content = "".join(f"{line}\n" for line in written).encode()
                name = f"{batch.described['id']}_{kind}.jsonl"
                batch.described[f"{kind}_file_id"] = self._store(content, name, "batch_output")["id"]

    def _one(self, asked: Asked, body: dict[str, Any], fault: LabelFault | None) -> tuple[int, bytes]:
        try:
            if fault in REFUSED:
                raise refusal_of(fault, "1")
            reply = self.api.answer(asked, body, fault)
        except Refusal as refusal:
            reply = error_page(refusal)
        return reply.page.status, reply.page.body

    def _line(self, name: str, status: int, body: bytes) -> str:
        response = {"status_code": status, "request_id": self.api.number("req_"), "body": json.loads(body)}
        line = {"id": self.api.number("batch_req_"), "custom_id": name, "response": response, "error": None}
        return json.dumps(line, separators=(",", ":"))


def _under_way(batch: _Batch) -> bool:
    return batch.described["status"] in ("validating", "in_progress")


def _expired_line(number: str, name: str) -> str:
    error = {"code": "batch_expired", "message": "This request could not be executed before the window expired."}
    return json.dumps({"id": number, "custom_id": name, "response": None, "error": error})


def _read_lines(content: bytes) -> tuple[list[tuple[str, dict[str, Any], Asked]], list[dict[str, Any]]]:
    """Return the lines of an input file, and the errors in the format of the API's validation."""
    lines: list[tuple[str, dict[str, Any], Asked]] = []
    errors: list[dict[str, Any]] = []
    names: set[str] = set()
    for number, line in enumerate(content.splitlines(), 1):
        try:
            entry = json.loads(line)
            asked = read_chat(entry["body"], "batch")
            name = str(entry["custom_id"])
        except (ValueError, KeyError, TypeError, Refusal) as error:
            errors.append(_error("invalid_request", f"{error}", number))
            continue
        if entry.get("method") != "POST" or entry.get("url") != "/v1/chat/completions":
            errors.append(_error("invalid_url", "The URL does not match the batch's endpoint.", number))
        elif name in names:
            errors.append(_error("duplicate_custom_id", f"The custom_id '{name}' has been used before.", number))
        lines.append((name, entry["body"], asked))
        names.add(name)
    if not lines and not errors:
        errors.append(_error("empty_file", "The input file is empty."))
    if len(lines) > _LINES:
        errors.append(_error("too_many_tasks", f"A batch has at most {_LINES} requests."))
    if len({asked.model for _, _, asked in lines}) > 1:
        errors.append(_error("mismatched_model", "A batch is for one model."))
    return lines, errors


def _error(code: str, message: str, line: int | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": None, "line": line}


def _parts(request: Request) -> dict[str, tuple[str, bytes]]:
    """Return the parts of a multipart body by name: file name and content."""
    kind, _, boundary = request.headers.get("content-type", "").partition("boundary=")
    if not kind.startswith("multipart/form-data") or not boundary:
        raise Refusal(400, "The body must be multipart/form-data.")
    parts = {}
    for part in request.body.split(b"--" + boundary.strip('"').encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        if named := _DISPOSITION.search(head):
            parts[named[1].decode()] = ((named[2] or b"").decode(), content.removesuffix(b"\r\n"))
    return parts
