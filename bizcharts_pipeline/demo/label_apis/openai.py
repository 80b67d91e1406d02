"""OpenAI's synchronous API on loopback: chat completions, decisions, moderations, models."""

import base64
import binascii
import itertools
import json
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from bizcharts_pipeline.demo.label_apis.billing import Books, text_tokens
from bizcharts_pipeline.demo.label_apis.openai_tokens import as_logprobs, tokens_of
from bizcharts_pipeline.demo.label_apis.oracle import Oracle, Verdict
from bizcharts_pipeline.demo.label_apis.wire import (
    OFF_CLASS,
    Asked,
    LabelFault,
    Refusal,
    Reply,
    Request,
    fill,
    json_page,
)
from bizcharts_pipeline.labels.stances import STANCES

SNAPSHOTS = {
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-5.6-luna": "gpt-5.6-luna-2026-03-03",
    "gpt-6-luna": "gpt-6-luna-2026-09-22",
    "gpt-6-sol": "gpt-6-sol-2026-09-22",
    "acme-vision-1": "acme-vision-1",
}
SHUTDOWNS = {"gpt-4o-mini": "2027-01-14"}
_CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence"),
    "violence/graphic",
)
_CHAT_PARAMETERS = frozenset(  # those useful to a labeller
    {
        *("model", "messages", "response_format", "temperature", "top_p", "max_tokens", "max_completion_tokens", "n"),
        *("logprobs", "top_logprobs", "seed", "stop", "store", "metadata", "user", "safety_identifier", "stream"),
        *("reasoning_effort", "service_tier", "prompt_cache_key", "verbosity", "frequency_penalty"),
        *("presence_penalty", "logit_bias"),
    }
)
_OTHER_MODEL = "gpt-5.6-luna-2026-03-03"
_CHOICES = (2, 255)
_QUESTIONS = 400


class OpenAIApi:
    """Answers one request each.

    Attributes:
        moderated: returns the categories that a text violates.
        adapters: names of further models, as a server of one's own has them.
        gives_logprobs: whether log-probabilities are given to those who ask for them.
    """

    def __init__(self, oracle: Oracle, books: Books) -> None:
        self.oracle = oracle
        self.books = books
        self.shared_prefix = False  # 'bullish' and 'bearish' start with the same token
        self.moderated: Callable[[str], Collection[str]] = lambda text: ()
        self.adapters: set[str] = set()
        self.gives_logprobs = True
        self._numbers = itertools.count(1)

    def number(self, prefix: str) -> str:
        """Return a unique id for an answer of the simulated OpenAI API."""
        return f"{prefix}{next(self._numbers):012x}"

    def reply(self, request: Request, path: str, pick: Callable[[Asked], LabelFault | None]) -> Reply | None:
        """Answer a request to ``path`` (without /v1) of the simulated OpenAI API; ``pick`` returns the fault of a
        request; ``None`` if the path does not exist."""
        if (request.method, path) == ("POST", "/moderations"):
            return Reply(json_page(self._moderation(request.json())))
        if request.method == "GET" and path == "/models":
            return Reply(json_page({"object": "list", "data": [_model(name) for name in SNAPSHOTS]}))
        if request.method == "GET" and path.startswith("/models/"):
            _known(name := path.removeprefix("/models/"))
            return Reply(json_page(_model(name)))
        if (request.method, path) not in (("POST", "/chat/completions"), ("POST", "/decisions")):
            return None
        body = request.json()
        asked = read_chat(body, also=self.adapters) if path == "/chat/completions" else read_decision(body)
        return self.answer(asked, body, pick(asked))

    def completion(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Return status and body of the simulated OpenAI API's response to a chat completion, as a server of one's own
        gives it."""
        try:
            reply = self.answer(read_chat(body, also=self.adapters), body, None)
        except Refusal as refusal:
            reply = error_page(refusal)
        return reply.page.status, json.loads(reply.page.body)

    def answer(self, asked: Asked, body: Mapping[str, Any], fault: LabelFault | None) -> Reply:
        """Process a request to the simulated OpenAI API and bill it."""
        if fault is LabelFault.BLOCKED:
            raise Refusal(400, "Invalid prompt: it was flagged by our usage policy.", code="invalid_prompt")
        if asked.endpoint == "decisions":
            return Reply(json_page(self._decision(asked, body, fault)))
        return Reply(json_page(self._completion(asked, body, fault)))

    def _judge(self, asked: Asked) -> Verdict:
        return self.oracle.judge(asked.model, asked.text, asked.image)

    def _completion(self, asked: Asked, body: Mapping[str, Any], fault: LabelFault | None) -> dict[str, Any]:
        verdict = self._judge(asked)
        text = _written(body, OFF_CLASS if fault is LabelFault.OFF_ENUM else verdict.stance)
        refusal = "I'm sorry, but I can't help with that." if fault is LabelFault.REFUSAL else None
        tokens = tokens_of(text, self.shared_prefix)
        finish = "stop"
        most = body.get("max_completion_tokens") or body.get("max_tokens") or len(tokens)
        if fault is LabelFault.LENGTH:
            tokens, finish = tokens[: len(tokens) - 2], "length"
        elif fault is LabelFault.MALFORMED:
            tokens = tokens[: len(tokens) // 2]
        elif fault is LabelFault.CONTENT_FILTER:
            tokens, finish = [], "content_filter"
        elif fault is LabelFault.EMPTY:
            tokens = []
        elif most < len(tokens):
            tokens, finish = tokens[:most], "length"
        written = text_tokens(refusal) if refusal else len(tokens)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if refusal else "".join(tokens),
            "refusal": refusal,
            "annotations": [],
        }
        logprobs = None
        if body.get("logprobs") and self.gives_logprobs and not refusal:
            top = int(body.get("top_logprobs") or 0)
            logprobs = {"content": as_logprobs(tokens, verdict, top, self.shared_prefix), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish}
        billed = self.books.charge(asked, written, fault)
        return {
            "id": self.number("chatcmpl-"),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._answering(asked, fault),
            "choices": [choice],
            "usage": _chat_usage(billed, written, self.books.cache_writes(billed)),
            "service_tier": "default",
            "system_fingerprint": "fp_5157a1e0d0",
        }

    def _decision(self, asked: Asked, body: Mapping[str, Any], fault: LabelFault | None) -> dict[str, Any]:
        verdict = self._judge(asked)
        answers = [_decided(question, verdict, fault) for question in body["questions"]]
        if fault in (LabelFault.EMPTY, LabelFault.LENGTH, LabelFault.MALFORMED):
            answers = []
        billed = self.books.charge(asked, 0, fault)
        return {
            "answers": answers,
            "model": self._answering(asked, fault),
            "usage": {
                "input_tokens": billed,
                "input_tokens_details": {"cache_write_tokens": self.books.cache_writes(billed), "cached_tokens": 0},
                "output_tokens": 0,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": billed,
            },
        }

    def _answering(self, asked: Asked, fault: LabelFault | None) -> str:
        name = self.books.answering(asked.model)
        return _OTHER_MODEL if fault is LabelFault.OTHER_MODEL else SNAPSHOTS.get(name, name)

    def _moderation(self, body: Mapping[str, Any]) -> dict[str, Any]:
        given = body.get("input", "")
        texts: list[Any] = [given] if isinstance(given, str) else given
        if texts and isinstance(texts[0], dict):
            texts = ["\n".join(part.get("text", "") for part in texts)]
        results = []
        for text in texts:
            violated = set(self.moderated(text))
            results.append(
                {
                    "flagged": bool(violated),
                    "categories": {name: name in violated for name in _CATEGORIES},
                    "category_scores": {name: 0.97 if name in violated else 0.0004 for name in _CATEGORIES},
                    "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
                }
            )
        return {"id": self.number("modr-"), "model": "omni-moderation-latest", "results": results}


def read_chat(body: Mapping[str, Any], endpoint: str = "chat", also: Collection[str] = ()) -> Asked:
    """Parse the body of a chat completion for the simulated OpenAI API; ``also`` are the names of further models.

    Raises:
        Refusal: the API would refuse it.
    """
    model = str(body.get("model", ""))
    _known(model, also)
    for name in body.keys() - _CHAT_PARAMETERS:
        raise Refusal(400, f"Unrecognized request argument supplied: {name}")
    if model.startswith(("gpt-5.6", "gpt-6")):
        for name in ("max_tokens", "temperature", "top_p"):
            if name in body and body[name] != 1:
                raise Refusal(400, f"Unsupported parameter: '{name}' with this model.", code="unsupported_parameter")
        if body.get("logprobs") and body.get("reasoning_effort") != "none":
            raise Refusal(400, "logprobs are not supported with reasoning.", code="unsupported_parameter")
    elif "reasoning_effort" in body:
        raise Refusal(400, "Unrecognized request argument supplied: reasoning_effort")
    if body.get("top_logprobs") and not body.get("logprobs"):
        raise Refusal(400, "'top_logprobs' is only allowed when 'logprobs' is enabled.")
    schema = _schema(body)
    return _asked(model, endpoint, body.get("messages"), 3 + (text_tokens(json.dumps(schema)) if schema else 0))


def read_decision(body: Mapping[str, Any]) -> Asked:
    """Parse the body of a decision for the simulated OpenAI API.

    Raises:
        Refusal: the API would refuse it.
    """
    model = str(body.get("model", ""))
    _known(model)
    if not model.startswith("gpt-6-luna"):
        raise Refusal(400, f"The model `{model}` is not supported with the Decisions API.")
    questions = body.get("questions")
    if not isinstance(questions, list) or not 1 <= len(questions) <= _QUESTIONS:
        raise Refusal(400, f"'questions' must have 1 to {_QUESTIONS} entries.")
    for question in questions:
        choices: list[dict[str, Any]] = question.get("choices", [])
        values = [choice.get("value") for choice in choices]
        if question.get("type") not in ("choice", "predicate", "score") or not question.get("instructions"):
            raise Refusal(400, "Invalid question.")
        if question["type"] == "choice" and not (
            _CHOICES[0] <= len(values) <= _CHOICES[1] and len({repr(value) for value in values}) == len(values)
        ):
            raise Refusal(400, "'choices' must have 2 to 255 different values.")
    given = body.get("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    told = [{"role": "developer", "content": str(question["instructions"])} for question in questions]
    overhead = text_tokens(json.dumps([question.get("choices") for question in questions]))
    return _asked(model, "decisions", [*told, *messages] if isinstance(messages, list) else None, overhead)


def error_page(refusal: Refusal) -> Reply:
    """Return an error response of the simulated OpenAI API in OpenAI's format."""
    kinds = {401: "invalid_request_error", 429: "requests", 500: "server_error", 503: "server_error"}
    kind = refusal.kind or kinds.get(refusal.status, "invalid_request_error")
    error = {"message": str(refusal), "type": kind, "param": None, "code": refusal.code}
    retry = (("retry-after", refusal.retry_after),) if refusal.retry_after else ()
    return Reply(json_page({"error": error}, refusal.status), retry)


def refusal_of(fault: LabelFault, retry_after: str) -> Refusal:
    """Return the error response of the simulated OpenAI API for ``fault``; ``retry_after`` is the stated pause in
    seconds."""
    match fault:
        case LabelFault.RATE | LabelFault.RATE_LONG:
            seconds = "300" if fault is LabelFault.RATE_LONG else retry_after
            return Refusal(429, "Rate limit reached for requests.", code="rate_limit_exceeded", retry_after=seconds)
        case LabelFault.DAY_LIMIT:
            message = "Rate limit reached on requests per day (RPD): Limit 10000, Used 10000, Requested 1."
            return Refusal(429, message, code="rate_limit_exceeded", retry_after="8640")
        case LabelFault.QUOTA:
            message = "You exceeded your current quota, please check your plan and billing details."
            return Refusal(429, message, code="insufficient_quota", kind="insufficient_quota")
        case LabelFault.UNAUTHORISED:
            return Refusal(401, "Incorrect API key provided.", code="invalid_api_key")
        case LabelFault.MODEL_GONE:
            return Refusal(404, "The model has been deprecated.", code="model_not_found")
        case LabelFault.BAD_IMAGE:
            return Refusal(400, "You uploaded an unsupported image.", code="invalid_image_format")
        case LabelFault.UNAVAILABLE:
            return Refusal(503, "The engine is currently overloaded, please try again later.")
    return Refusal(500, "The server had an error while processing your request.")


def _asked(model: str, endpoint: str, messages: object, overhead: int) -> Asked:
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "Invalid type for 'messages': expected an array of objects.")
    system: list[str] = []
    users: list[str] = []
    images: list[tuple[bytes, str | None]] = []
    for message in messages:
        content = message.get("content") or ""
        parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts = [part["text"] for part in parts if part.get("type") in ("text", "input_text")]
        (users if message.get("role") == "user" else system).append("\n".join(texts))
        for part in parts:
            if part.get("type") == "image_url":
                images.append((_picture(part["image_url"]["url"]), part["image_url"].get("detail")))
            elif part.get("type") == "input_image":
                images.append((_picture(part["image_url"]), part.get("detail")))
    if len(images) > 1:
        raise Refusal(400, "This stand-in reads one image.")
    image, detail = images[0] if images else (None, None)
    return Asked("openai", model, endpoint, tuple(system), tuple(users), image, detail, overhead)


def _picture(url: str) -> bytes:
    head, _, content = url.partition(";base64,")
    if not head.startswith("data:image/"):
        raise Refusal(400, "Failed to download the image.", code="invalid_image_url")
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        raise Refusal(400, "Invalid base64 image_url.", code="invalid_base64") from None


def _known(model: str, also: Collection[str] = ()) -> None:
    if model not in SNAPSHOTS and model not in also:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refusal(404, message, code="model_not_found")


def _model(name: str) -> dict[str, Any]:
    dated = {"shutdown_date": SHUTDOWNS[name]} if name in SHUTDOWNS else {}
    return {"id": name, "object": "model", "created": 1_721_172_741, "owned_by": "system", **dated}


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the answer's schema; a strict schema must meet the API's requirements."""
    form: Mapping[str, Any] = body.get("response_format") or {"type": "text"}
    if form["type"] != "json_schema":
        return None
    named = form.get("json_schema", {})
    schema = named.get("schema")
    if not named.get("name") or not isinstance(schema, dict):
        raise Refusal(400, "Missing required parameter: 'response_format.json_schema'.")
    closed = schema.get("additionalProperties") is False
    whole = set(schema.get("required", [])) == set(schema.get("properties", {}))
    if named.get("strict") and not (schema.get("type") == "object" and closed and whole):
        raise Refusal(400, "Invalid schema for response_format: 'additionalProperties' must be false, all required.")
    return schema


def _written(body: Mapping[str, Any], label: str) -> str:
    schema = _schema(body)
    if schema is not None:
        return json.dumps(fill(schema, label), separators=(",", ":"))
    in_json = (body.get("response_format") or {}).get("type") == "json_object"
    return json.dumps({"label": label}, separators=(",", ":")) if in_json else label


def _decided(question: Mapping[str, Any], verdict: Verdict, fault: LabelFault | None) -> dict[str, Any]:
    """Answer one question of a decision; the probabilities are rounded, so they need not sum to 1."""
    name = question.get("name")
    if fault in (LabelFault.REFUSAL, LabelFault.CONTENT_FILTER):
        return {"type": "refusal", "name": name}
    if question["type"] != "choice":
        raise Refusal(400, "This stand-in decides choices alone.")
    chances = dict(zip(STANCES, verdict.probabilities, strict=True))
    values = [choice["value"] for choice in question["choices"]]
    shares = [{"value": value, "probability": round(chances.get(value, 0.0), 2)} for value in values]
    choice = verdict.stance if verdict.stance in values else values[0]
    return {
        "type": "choice",
        "name": name,
        "choice": OFF_CLASS if fault is LabelFault.OFF_ENUM else choice,
        "confidence": round(max(verdict.probabilities), 2),
        "probabilities": shares,
    }


def _chat_usage(billed: int, written: int, cache_writes: int) -> dict[str, Any]:
    return {
        "prompt_tokens": billed,
        "completion_tokens": written,
        "total_tokens": billed + written,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": cache_writes, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
