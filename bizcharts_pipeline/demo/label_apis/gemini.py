"""Gemini's REST API on loopback: generateContent, models and batches with inline requests."""

import base64
import binascii
import itertools
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from bizcharts_pipeline.demo.label_apis.billing import Books, image_tokens, text_tokens
from bizcharts_pipeline.demo.label_apis.oracle import Oracle
from bizcharts_pipeline.demo.label_apis.wire import (
    OFF_CLASS,
    REFUSED,
    Asked,
    BatchFault,
    LabelFault,
    Refusal,
    Reply,
    Request,
    fill,
    json_page,
)

MODELS = ("gemini-2.5-flash-lite", "gemini-3.1-flash-lite", "gemini-3.5-flash-lite")
_THOUGHTS = 24  # tokens; of models that think unless told not to
_STATUS = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
_STATUS |= {500: "INTERNAL", 503: "UNAVAILABLE"}
_INLINE_BYTES = 20 * 2**20
_DONE = ("BATCH_STATE_SUCCEEDED", "BATCH_STATE_EXPIRED", "BATCH_STATE_FAILED", "BATCH_STATE_CANCELLED")
_FAILURES: dict[BatchFault | None, dict[str, Any]] = {
    BatchFault.FAILED: {"code": 3, "message": "Request 1 of the batch is not valid."},
    BatchFault.BILLING: {"code": 9, "message": "The billing account of the project is closed."},
}
_OTHER_MODEL = "gemini-3.5-flash-lite"


@dataclass
class _Batch:
    metadata: dict[str, Any]
    entries: list[dict[str, Any]]
    begun: float  # monotonic
    fault: BatchFault | None


@dataclass
class GeminiApi:
    """Answers one request each; thread-safe.

    Attributes:
        batch_seconds: duration of a batch.
        batch_script: faults of the next batches.
    """

    oracle: Oracle
    books: Books
    pick: Callable[[Asked], LabelFault | None]
    seed: int = 7
    batch_seconds: float = 0.2
    batch_script: deque[BatchFault | None] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._batches: dict[str, _Batch] = {}
        self._numbers = itertools.count(1)

    def reply(self, request: Request, path: str, pick: Callable[[Asked], LabelFault | None]) -> Reply | None:
        """Answer a request to ``path`` (without the version) of the simulated Gemini API; ``None`` if it does not
        exist."""
        match request.method, path.strip("/").split("/"):
            case "GET", ["models"]:
                return Reply(json_page({"models": [_model(name) for name in MODELS]}))
            case "GET", ["models", name]:
                _known(name)
                return Reply(json_page(_model(name)))
            case "POST", ["models", call] if call.endswith(":generateContent"):
                body = request.json()
                asked = read(call.removesuffix(":generateContent"), body)
                return Reply(json_page(self.answer(asked, body, pick(asked))))
            case "POST", ["models", call] if call.endswith(":batchGenerateContent"):
                return Reply(json_page(self._create(call.removesuffix(":batchGenerateContent"), request)))
            case "GET", ["batches"]:
                return Reply(json_page(self._listed(request.query)))
            case "GET", ["batches", name]:
                return Reply(json_page(self._operation(name)))
            case "POST", ["batches", call] if call.endswith(":cancel"):
                self._cancel(call.removesuffix(":cancel"))
                return Reply(json_page({}))
        return None

    def answer(self, asked: Asked, body: Mapping[str, Any], fault: LabelFault | None) -> dict[str, Any]:
        """Process a request to the simulated Gemini API and bill it."""
        verdict = self.oracle.judge(asked.model, asked.text, asked.image)
        text = _written(body, OFF_CLASS if fault is LabelFault.OFF_ENUM else verdict.stance)
        blocked = fault in (LabelFault.BLOCKED, LabelFault.REFUSAL)
        finish = "SAFETY" if fault is LabelFault.CONTENT_FILTER else "STOP"
        most = body.get("generationConfig", {}).get("maxOutputTokens") or 10**6
        if fault is LabelFault.LENGTH or most < text_tokens(text):
            text, finish = text[: min(4 * most, len(text) - 3)], "MAX_TOKENS"
        elif fault is LabelFault.MALFORMED:
            text = text[: len(text) // 2]
        if blocked or fault in (LabelFault.CONTENT_FILTER, LabelFault.EMPTY):
            text = ""
        written = text_tokens(text)
        thoughts = _thoughts(asked.model, body) if not blocked else 0
        billed = self.books.charge(asked, written + thoughts, fault)
        reply = {
            "usageMetadata": _usage(asked, billed, written, thoughts),
            "modelVersion": _OTHER_MODEL if fault is LabelFault.OTHER_MODEL else self.books.answering(asked.model),
            "responseId": f"resp-{self._number()}",
        }
        if blocked:
            reason = "PROHIBITED_CONTENT" if fault is LabelFault.BLOCKED else "OTHER"
            return {"promptFeedback": {"blockReason": reason}, **reply}
        content = {"parts": [{"text": text}], "role": "model"} if text else {"role": "model"}
        candidate: dict[str, Any] = {"content": content, "finishReason": finish, "index": 0}
        if finish == "SAFETY":
            del candidate["content"]
        return {"candidates": [candidate], **reply}

    def advance(self) -> None:
        """Advance every batch of the simulated Gemini API according to the elapsed time; process and bill those that
        are due."""
        with self._lock:
            for batch in self._batches.values():
                self._advance(batch)

    def _number(self) -> str:
        return f"{next(self._numbers):08x}"

    def _create(self, model: str, request: Request) -> dict[str, Any]:
        _known(model)
        if len(request.body) > _INLINE_BYTES:
            raise Refusal(400, "Request payload size exceeds the limit: 20971520 bytes.")
        batch = request.json().get("batch", {})
        entries = batch.get("inputConfig", {}).get("requests", {}).get("requests")
        if not entries:
            raise Refusal(400, "This stand-in takes batches with inline requests.")
        name = f"batches/{self._number()}"
        metadata = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": f"models/{model}",
            "displayName": batch.get("displayName", ""),
            "createTime": _stamp(),
            "updateTime": _stamp(),
            "batchStats": {"requestCount": str(len(entries)), "pendingRequestCount": str(len(entries))},
            "state": "BATCH_STATE_PENDING",
            "name": name,
        }
        with self._lock:
            fault = self.batch_script.popleft() if self.batch_script else None
            if fault is BatchFault.TOO_MANY_TOKENS:
                quota = "EnqueuedTokensPerProjectPerModel"
                raise Refusal(429, "You exceeded your current quota: enqueued tokens.", code=quota, retry_after="60")
            self._batches[name] = _Batch(metadata, entries, time.monotonic(), fault)
        return {"name": name, "metadata": metadata}

    def _operation(self, name: str) -> dict[str, Any]:
        with self._lock:
            batch = self._batches.get(f"batches/{name}")
            if batch is None:
                raise Refusal(404, "Requested entity was not found.")
            self._advance(batch)
            done = batch.metadata["state"] in _DONE
            output = {"response": batch.metadata["output"]} if "output" in batch.metadata else {}
            return {
                "name": batch.metadata["name"],
                "metadata": batch.metadata,
                **({"done": True} if done else {}),
                **({"error": _FAILURES[batch.fault]} if done and batch.fault in _FAILURES else {}),
                **output,
            }

    def _listed(self, query: str) -> dict[str, Any]:
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        with self._lock:
            names = list(reversed(self._batches))
            start = int(asked.get("pageToken") or 0)
            stop = start + int(asked.get("pageSize", "50"))
            shown = [self._operation(name.removeprefix("batches/")) for name in names[start:stop]]
        more = {"nextPageToken": str(stop)} if stop < len(names) else {}
        return {"operations": shown, **more}

    def _cancel(self, name: str) -> None:
        with self._lock:
            self._operation(name)
            batch = self._batches[f"batches/{name}"]
            if batch.metadata["state"] not in _DONE:
                batch.metadata["state"] = "BATCH_STATE_CANCELLED"

    def _advance(self, batch: _Batch) -> None:
        if batch.metadata["state"] in _DONE:
            return
        share = (time.monotonic() - batch.begun) / self.batch_seconds if self.batch_seconds else 1.0
        if share >= 0.25:
            batch.metadata["state"] = "BATCH_STATE_RUNNING"
        if share >= 1:
            self._finish(batch)
        batch.metadata["updateTime"] = _stamp()

    def _finish(self, batch: _Batch) -> None:
        batch.metadata["endTime"] = _stamp()
        if batch.fault is not None:
            expired = batch.fault is BatchFault.EXPIRED
            batch.metadata["state"] = "BATCH_STATE_EXPIRED" if expired else "BATCH_STATE_FAILED"
            return
        model = batch.metadata["model"].removeprefix("models/")
        responses = [self._one(model, entry) for entry in batch.entries]
        random.Random(f"{self.seed} {batch.metadata['name']}").shuffle(responses)
        batch.metadata["state"] = "BATCH_STATE_SUCCEEDED"
        batch.metadata["output"] = {"inlinedResponses": {"inlinedResponses": responses}}

    def _one(self, model: str, entry: dict[str, Any]) -> dict[str, Any]:
        kept = {"metadata": entry["metadata"]} if "metadata" in entry else {}
        try:
            asked = read(model, entry["request"], "batch")
            fault = self.pick(asked)
            if fault in REFUSED:
                raise refusal_of(fault, "1")
            return {"response": self.answer(asked, entry["request"], fault), **kept}
        except Refusal as refusal:
            return {"error": {"code": refusal.status, "message": str(refusal)}, **kept}


def read(model: str, body: Mapping[str, Any], endpoint: str = "chat") -> Asked:
    """Parse the body of generateContent for the simulated Gemini API.

    Raises:
        Refusal: the API would refuse it.
    """
    _known(model)
    config = body.get("generationConfig", {})
    if config.get("responseLogprobs"):
        raise Refusal(400, f"Logprobs is not enabled for models/{model}")
    if not body.get("contents"):
        raise Refusal(400, "* GenerateContentRequest.contents: contents is not specified")
    system = [part.get("text", "") for part in body.get("systemInstruction", {}).get("parts", [])]
    users: list[str] = []
    images: list[bytes] = []
    for content in body["contents"]:
        parts = content.get("parts", [])
        said = "\n".join(part["text"] for part in parts if "text" in part)
        (users if content.get("role", "user") == "user" else system).append(said)
        images += [_picture(part["inlineData"]) for part in parts if "inlineData" in part]
    if len(images) > 1:
        raise Refusal(400, "This stand-in reads one image.")
    schema = config.get("responseSchema") or config.get("responseJsonSchema")
    overhead = text_tokens(json.dumps(schema)) if schema else 0
    image = images[0] if images else None
    return Asked("gemini", model, endpoint, tuple(system), tuple(users), image, config.get("mediaResolution"), overhead)


def error_page(refusal: Refusal) -> Reply:
    """Return a refusal by the simulated Gemini API in Gemini's format: the pause is in the details, not in a header."""
    error: dict[str, Any] = {"code": refusal.status, "message": str(refusal)}
    error["status"] = refusal.kind or _STATUS.get(refusal.status, "UNKNOWN")
    kind = "type.googleapis.com/google.rpc."
    if refusal.status == 429:
        metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
        violation = {"quotaMetric": metric, "quotaId": refusal.code, "quotaDimensions": {"location": "global"}}
        error["details"] = [{"@type": f"{kind}QuotaFailure", "violations": [violation]}]
        error["details"].append({"@type": f"{kind}RetryInfo", "retryDelay": f"{refusal.retry_after or 0}s"})
    elif refusal.code:
        error["details"] = [{"@type": f"{kind}ErrorInfo", "reason": refusal.code, "domain": "googleapis.com"}]
    return Reply(json_page({"error": error}, refusal.status))


def refusal_of(fault: LabelFault, retry_after: str) -> Refusal:
    """Return the error response of the simulated Gemini API for ``fault``; ``retry_after`` is the stated pause in
    seconds.

    For a daily limit, the pause that it states is too short, as that of the real API is.
    """
    exceeded = "You exceeded your current quota, please check your plan and billing details."
    match fault:
        case LabelFault.RATE | LabelFault.RATE_LONG:
            seconds = "300" if fault is LabelFault.RATE_LONG else retry_after
            return Refusal(429, exceeded, code="GenerateRequestsPerMinutePerProjectPerModel", retry_after=seconds)
        case LabelFault.DAY_LIMIT | LabelFault.QUOTA:
            return Refusal(429, exceeded, code="GenerateRequestsPerDayPerProjectPerModel-FreeTier", retry_after="41")
        case LabelFault.UNAUTHORISED:
            return Refusal(403, "Method doesn't allow unregistered callers.")
        case LabelFault.MODEL_GONE:
            return Refusal(404, "This model is not found for API version v1, or is not supported.")
        case LabelFault.BAD_IMAGE:
            return Refusal(400, "Unable to process input image. Please retry or report.")
        case LabelFault.UNAVAILABLE:
            return Refusal(503, "The model is overloaded. Please try again later.")
    return Refusal(500, "An internal error has occurred. Please retry or report.")


def _picture(inline: Mapping[str, str]) -> bytes:
    try:
        return base64.b64decode(inline["data"].replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, KeyError):
        raise Refusal(400, "Unable to process input image. Please retry or report.") from None


def _known(model: str) -> None:
    if model not in MODELS:
        raise Refusal(404, f"models/{model} is not found for API version v1, or is not supported.")


def _model(name: str) -> dict[str, Any]:
    return {"name": f"models/{name}", "supportedGenerationMethods": ["generateContent", "batchGenerateContent"]}


def _written(body: Mapping[str, Any], label: str) -> str:
    config = body.get("generationConfig", {})
    schema = config.get("responseSchema") or config.get("responseJsonSchema")
    if not schema:
        return label
    value = fill(schema, label)
    return str(value) if config.get("responseMimeType") == "text/x.enum" else json.dumps(value)


def _thoughts(model: str, body: Mapping[str, Any]) -> int:
    told = body.get("generationConfig", {}).get("thinkingConfig", {})
    quiet = told.get("thinkingBudget") == 0 or str(told.get("thinkingLevel", "")).lower() == "minimal"
    return 0 if model.startswith("gemini-2.5-flash-lite") or quiet else _THOUGHTS


def _usage(asked: Asked, billed: int, written: int, thoughts: int) -> dict[str, Any]:
    shown = image_tokens(asked)
    details = [{"modality": "TEXT", "tokenCount": billed - shown}]
    if shown:
        details.append({"modality": "IMAGE", "tokenCount": shown})
    usage = {"promptTokenCount": billed, "totalTokenCount": billed + written + thoughts, "promptTokensDetails": details}
    extra = {"candidatesTokenCount": written, "thoughtsTokenCount": thoughts}
    return usage | {name: count for name, count in extra.items() if count}


def _stamp() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
