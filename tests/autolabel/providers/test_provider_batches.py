"""Batches are found again after a crash, and give back what they have, in whatever state they ended."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from autolabel.providers.label_service import (
    KEY,
    PROMPT,
    Asked,
    Reply,
    Service,
    completion,
    gemini_error,
    generated,
    openai_error,
    patience,
)

from bizcharts_pipeline.autolabel.errors import BatchError
from bizcharts_pipeline.autolabel.protocol import BatchState, Outcome, Question, Usage
from bizcharts_pipeline.autolabel.providers import openai_batch
from bizcharts_pipeline.autolabel.providers.access import access
from bizcharts_pipeline.autolabel.providers.gemini import GeminiBatches
from bizcharts_pipeline.autolabel.providers.openai_batch import OpenAIBatches

QUESTIONS = [Question(f"{number:064x}", f"post {number}", b"\xff\xd8" if number % 2 else None) for number in range(6)]
KEYS = [question.key for question in QUESTIONS]


class OpenAIStore:
    """Files and batches as OpenAI keeps them; lists pages of two, newest first."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: list[dict[str, Any]] = []
        self.refuse: dict[str, Reply] = {}

    def __call__(self, asked: Asked) -> Reply:
        url = urlsplit(asked.path)
        path = url.path.removeprefix("/v1")
        if refusal := self.refuse.get(f"{asked.method} {path}"):
            return refusal
        if path == "/files":
            self.files[f"file-{len(self.files)}"] = asked.body
            return Reply(json.dumps({"id": f"file-{len(self.files) - 1}", "object": "file"}))
        if path.startswith("/files/"):
            return Reply(self.files[path.split("/")[2]], content_type="application/octet-stream")
        if path == "/batches" and asked.method == "POST":
            batch = {"id": f"batch_{len(self.batches)}", "object": "batch", "status": "validating", **asked.json}
            self.batches.insert(0, batch)
            return Reply(json.dumps(batch))
        if path == "/batches":
            after = parse_qs(url.query).get("after", [""])[0]
            start = next((i + 1 for i, batch in enumerate(self.batches) if batch["id"] == after), 0)
            page = self.batches[start : start + 2]
            more = start + 2 < len(self.batches)
            return Reply(json.dumps({"object": "list", "data": page, "has_more": more}))
        for batch in self.batches:
            if path == f"/batches/{batch['id']}":
                return Reply(json.dumps(batch))
        return Reply(openai_error(None, "No batch found"), 404)

    def requests(self) -> list[dict[str, Any]]:
        """What the uploaded file asks for."""
        upload = self.files["file-0"]
        return [
            json.loads(line) for line in upload.split(b"\r\n") if b"custom_id" in line for line in line.splitlines()
        ]

    def finish(self, status: str, output: list[bytes], errors: list[bytes]) -> None:
        self.files |= {"out": b"\n".join(output), "err": b"\n".join(errors)}
        self.batches[0] |= {"status": status, "output_file_id": "out", "error_file_id": "err" if errors else None}


def line(key: str, body: object, status: int = 200) -> bytes:
    response = {"status_code": status, "request_id": "req_1", "body": body}
    return json.dumps({"id": "batch_req_1", "custom_id": key, "response": response, "error": None}).encode()


def unanswered(key: str, code: str) -> bytes:
    return json.dumps({"custom_id": key, "response": None, "error": {"code": code, "message": "No."}}).encode()


@pytest.fixture
def store(service: Service) -> OpenAIStore:
    kept = OpenAIStore()
    service.answer = kept
    return kept


@pytest.fixture
def openai(service: Service) -> Iterator[OpenAIBatches]:
    batches = OpenAIBatches(access("openai"), "gpt-4o-mini", 20.0)
    yield batches
    batches.close()


def test_a_batch_of_openai_carries_every_post_and_its_run_key(store: OpenAIStore, openai: OpenAIBatches) -> None:
    batch_id = openai.submit("run-1", PROMPT, QUESTIONS)
    assert batch_id == "batch_0"
    assert store.batches[0]["metadata"] == {"run_key": "run-1"}
    assert store.batches[0]["endpoint"] == "/v1/chat/completions"
    requests = store.requests()
    assert [request["custom_id"] for request in requests] == KEYS
    assert all(request["body"]["messages"][0]["content"] == PROMPT.system for request in requests)
    assert [len(request["body"]["messages"][1]["content"]) for request in requests] == [1, 2] * 3
    assert openai.state(batch_id) is BatchState.RUNNING


@pytest.mark.slow
def test_a_batch_of_openai_is_found_by_its_run_key_alone(store: OpenAIStore, openai: OpenAIBatches) -> None:
    made = [openai.submit(f"run-{number}", PROMPT, QUESTIONS[:1]) for number in range(5)]
    again = OpenAIBatches(access("openai"), "gpt-4o-mini", 20.0)
    assert [again.find(f"run-{number}") for number in range(5)] == made
    assert again.find("run-5") is None
    store.refuse["GET /batches"] = Reply(openai_error(None), 500)
    with pytest.raises(BatchError):
        again.find("run-5")


def test_an_expired_batch_of_openai_gives_what_it_has_in_any_order(store: OpenAIStore, openai: OpenAIBatches) -> None:
    batch_id = openai.submit("run-1", PROMPT, QUESTIONS)
    answered = [
        line(KEYS[0], completion()),
        line(KEYS[1], completion(None, refusal="I can't.")),
        line(KEYS[2], "not an object"),
        b'{"custom_id": "' + KEYS[3].encode() + b'", "respon',  # damaged
        b"",
        b'{"custom_id": 7}',
        b"[]",
    ]
    random.Random(0).shuffle(answered)
    errors = [
        line(KEYS[4], {"error": {"message": f"bad picture {KEY}", "code": "invalid_image_format"}}, 400),
        unanswered(KEYS[5], "batch_expired"),
    ]
    store.finish("expired", answered, errors)
    assert openai.state(batch_id) is BatchState.EXPIRED
    answers = dict(openai.collect(batch_id))
    assert {key: answer.outcome for key, answer in answers.items()} == {
        KEYS[0]: Outcome.OK,
        KEYS[1]: Outcome.REFUSED,
        KEYS[2]: Outcome.MALFORMED,
        "": Outcome.MALFORMED,  # billed, and nobody knows whose it is
        KEYS[4]: Outcome.BAD_IMAGE,
        KEYS[5]: Outcome.TRANSIENT,
    }
    assert answers[KEYS[0]].usage == answers[KEYS[1]].usage == Usage(3000, 7, 128)
    assert (answers[KEYS[0]].label, answers[KEYS[0]].request_id) == ("bullish", "req_1")
    assert KEY not in repr(answers)


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        ("in_progress", None, BatchState.RUNNING),
        ("finalizing", None, BatchState.RUNNING),
        ("cancelling", None, BatchState.RUNNING),
        ("completed", None, BatchState.ENDED),
        ("cancelled", None, BatchState.EXPIRED),
        ("failed", "invalid_json_line", BatchState.FAILED),
        ("failed", "token_limit_exceeded", BatchState.OVERSIZED),
    ],
)
def test_each_state_of_openai_has_its_meaning(
    store: OpenAIStore, openai: OpenAIBatches, status: str, code: str | None, state: BatchState
) -> None:
    batch_id = openai.submit("run-1", PROMPT, QUESTIONS[:1])
    errors = {"object": "list", "data": [{"code": code, "message": "No."}]} if code else None
    store.batches[0] |= {"status": status, "errors": errors}
    assert openai.state(batch_id) is state
    assert list(openai.collect(batch_id)) == []


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (Reply(openai_error("token_limit_exceeded", "Enqueued token limit reached"), 400), BatchState.OVERSIZED),
        (Reply(openai_error(None, "Enqueued token limit reached"), 429), BatchState.OVERSIZED),
        (Reply(openai_error(None), 413), BatchState.OVERSIZED),
        (Reply(openai_error("insufficient_quota"), 429), BatchState.FAILED),
        (Reply(openai_error("invalid_api_key", f"Incorrect API key provided: {KEY}"), 401), BatchState.FAILED),
        (Reply(openai_error("rate_limit_exceeded"), 429), None),
        (Reply(openai_error(None), 500), None),
        (Reply(way="reset"), None),
        (Reply(way="hang"), None),
        (Reply("{}"), None),
        (Reply("<html>", content_type="text/html"), None),
    ],
)
@pytest.mark.parametrize("where", ["POST /files", "POST /batches"])
def test_a_refused_batch_is_told_from_an_unknown_one(
    store: OpenAIStore, where: str, reply: Reply, state: BatchState | None
) -> None:
    store.refuse[where] = reply
    openai = OpenAIBatches(access("openai"), "gpt-4o-mini", patience(reply))
    with pytest.raises(BatchError) as refused:
        openai.submit("run-1", PROMPT, QUESTIONS)
    unknown = BatchState.FAILED if where == "POST /files" else BatchState.RUNNING  # without a file there is no batch
    assert refused.value.state is (state or unknown)
    assert KEY not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.__context__ is None  # which would hold the request


def test_too_many_bytes_are_oversized_before_they_are_sent(
    service: Service, openai: OpenAIBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_batch, "MAX_INPUT_BYTES", 3000)
    with pytest.raises(BatchError) as refused:
        openai.submit("run-1", PROMPT, QUESTIONS)
    assert refused.value.state is BatchState.OVERSIZED
    assert not service.asked


@pytest.mark.slow
@pytest.mark.parametrize(
    "reply", [Reply(openai_error(None), 404), Reply("{}"), Reply("<html>", content_type="text/html"), Reply(way="hang")]
)
def test_a_batch_that_cannot_be_seen_is_no_failed_batch(service: Service, reply: Reply) -> None:
    service.answer = reply
    openai = OpenAIBatches(access("openai"), "gpt-4o-mini", patience(reply))
    for look in (openai.state, lambda batch_id: list(openai.collect(batch_id))):
        with pytest.raises(BatchError) as unseen:
            look("batch_7")
        assert unseen.value.state is (BatchState.GONE if reply.status == 404 else BatchState.RUNNING)


@pytest.mark.parametrize(("status", "answered"), [("completed", 6), ("expired", 5), ("cancelled", 5)])
def test_openai_counts_the_answers_that_its_results_must_hold(
    store: OpenAIStore, openai: OpenAIBatches, status: str, answered: int
) -> None:
    batch_id = openai.submit("run-1", PROMPT, QUESTIONS)
    assert openai.answered(batch_id) == 0
    store.batches[0] |= {"status": status, "request_counts": {"total": 6, "completed": 5, "failed": 1}}
    assert list(openai.collect(batch_id)) == []
    assert openai.answered(batch_id) == answered


def test_a_last_line_that_is_cut_off_is_no_answer_yet(store: OpenAIStore, openai: OpenAIBatches) -> None:
    batch_id = openai.submit("run-1", PROMPT, QUESTIONS)
    whole = [line(KEYS[0], completion()), line(KEYS[1], completion())]
    store.finish("completed", [whole[0], whole[1][:50]], [])
    assert [key for key, _ in openai.collect(batch_id)] == KEYS[:1]
    store.finish("completed", whole, [])
    assert [key for key, _ in openai.collect(batch_id)] == KEYS[:2]


@pytest.mark.parametrize("gateway", [False, True])
def test_a_request_of_a_batch_that_a_gateway_fails_may_have_been_billed(store: OpenAIStore, gateway: bool) -> None:
    openai = OpenAIBatches(replace(access("openai"), gateway=gateway), "gpt-4o-mini", 20.0)
    batch_id = openai.submit("run-1", PROMPT, QUESTIONS)
    failed = [line(KEYS[0], {}, 500), line(KEYS[1], json.loads(openai_error("content_filter", "declined")), 400)]
    store.finish("completed", [line(KEYS[2], completion())], [*failed, line(KEYS[3], {}, 429)])
    answers = dict(openai.collect(batch_id))
    assert [answers[key].outcome for key in KEYS[:4]] == [
        *(Outcome.TRANSIENT, Outcome.REFUSED, Outcome.OK, Outcome.RATE),
    ]
    assert [answers[key].served for key in KEYS[:4]] == [gateway, gateway, True, False]
    openai.close()


class GeminiStore:
    """Batches as Google keeps them: long-running operations; lists pages of two."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []
        self.create: Reply | None = None

    def __call__(self, asked: Asked) -> Reply:
        url = urlsplit(asked.path)
        path = url.path.removeprefix("/v1/")
        if path.endswith(":batchGenerateContent"):
            if self.create:
                return self.create
            sent = asked.json["batch"]
            job = {"name": f"batches/{len(self.batches)}", "metadata": {"displayName": sent["displayName"],
                   "state": "BATCH_STATE_PENDING", "sent": sent["inputConfig"]}}  # fmt: skip
            self.batches.append(job)
            return Reply(json.dumps(job))
        if path == "batches":
            start = int(parse_qs(url.query).get("pageToken", ["0"])[0])
            token = {"nextPageToken": str(start + 2)} if start + 2 < len(self.batches) else {}
            return Reply(json.dumps({"operations": self.batches[start : start + 2], **token}))
        for job in self.batches:
            if path == job["name"]:
                return Reply(json.dumps(job))
        return Reply(gemini_error(404, "NOT_FOUND"), 404)

    def finish(self, state: str, responses: list[dict[str, Any]]) -> None:
        self.batches[0]["metadata"] |= {
            "state": f"BATCH_STATE_{state}",
            "output": {"inlinedResponses": {"inlinedResponses": responses}},
        }


@pytest.fixture
def google(service: Service) -> GeminiStore:
    kept = GeminiStore()
    service.answer = kept
    return kept


@pytest.fixture
def gemini(service: Service) -> Iterator[GeminiBatches]:
    batches = GeminiBatches(access("gemini"), "gemini-2.5-flash-lite", 20.0)
    yield batches
    batches.close()


def test_a_batch_of_gemini_is_found_again_and_collected(google: GeminiStore, gemini: GeminiBatches) -> None:
    made = [gemini.submit(f"run-{number}", PROMPT, QUESTIONS) for number in range(5)]
    again = GeminiBatches(access("gemini"), "gemini-2.5-flash-lite", 20.0)
    assert [again.find(f"run-{number}") for number in range(5)] == made
    assert again.find("run-5") is None
    sent = google.batches[0]["metadata"]["sent"]["requests"]["requests"]
    assert [request["metadata"]["key"] for request in sent] == KEYS
    assert all(request["request"]["generationConfig"]["maxOutputTokens"] == 16 for request in sent)
    assert all("systemInstruction" in request["request"] for request in sent)
    assert gemini.state(made[0]) is BatchState.RUNNING

    responses = [
        {"metadata": {"key": KEYS[3]}, "error": {"code": 3, "message": f"Provided image is not valid. {KEY}"}},
        {"metadata": {"key": KEYS[0]}, "response": generated()},
        {"metadata": {"key": KEYS[2]}, "response": generated(None, "PROHIBITED_CONTENT")},
        {"metadata": {"key": KEYS[1]}, "response": generated(None, promptFeedback={"blockReason": "OTHER"})},
        {"metadata": {"key": KEYS[4]}, "error": {"code": 4, "message": "expired"}},
        {"response": generated()},
    ]
    google.finish("EXPIRED", responses)
    assert again.state(made[0]) is BatchState.EXPIRED
    answers = dict(again.collect(made[0]))
    assert {key: answer.outcome for key, answer in answers.items()} == {
        KEYS[0]: Outcome.OK,
        KEYS[1]: Outcome.REFUSED,
        KEYS[2]: Outcome.REFUSED,
        KEYS[3]: Outcome.BAD_IMAGE,
        KEYS[4]: Outcome.TIMEOUT,
        "": Outcome.OK,
    }
    assert (answers[KEYS[0]].label, answers[KEYS[0]].usage) == ("bearish", Usage(600, 6))
    assert answers[KEYS[0]].model_returned == "gemini-2.5-flash-lite"
    assert KEY not in repr(answers)


@pytest.mark.parametrize("gateway", [False, True])
def test_a_request_of_a_batch_of_gemini_that_a_gateway_fails_may_have_been_billed(
    google: GeminiStore, gateway: bool
) -> None:
    gemini = GeminiBatches(replace(access("gemini"), gateway=gateway), "gemini-2.5-flash-lite", 20.0)
    name = gemini.submit("run-1", PROMPT, QUESTIONS)
    google.finish(
        "SUCCEEDED",
        [
            {"metadata": {"key": KEYS[0]}, "error": {"code": 13, "message": "internal"}},
            {"metadata": {"key": KEYS[1]}, "error": {"code": 8, "message": "too many"}},
        ],
    )
    answers = dict(gemini.collect(name))
    assert [(answers[key].outcome, answers[key].served) for key in KEYS[:2]] == [
        *((Outcome.TRANSIENT, gateway), (Outcome.RATE, False)),
    ]
    gemini.close()


@pytest.mark.parametrize(("state", "answered"), [("SUCCEEDED", 6), ("EXPIRED", 5), ("CANCELLED", 5)])
def test_gemini_counts_the_answers_that_its_results_must_hold(
    google: GeminiStore, gemini: GeminiBatches, state: str, answered: int
) -> None:
    name = gemini.submit("run-1", PROMPT, QUESTIONS)
    google.finish(state, [{"response": generated()}])
    assert gemini.answered(name) == 0
    google.batches[0]["metadata"]["batchStats"] = {"requestCount": "6", "successfulRequestCount": "5"}
    assert gemini.answered(name) == 5
    google.batches[0]["metadata"]["batchStats"]["failedRequestCount"] = "1"
    assert gemini.answered(name) == answered
    google.batches[0]["metadata"]["batchStats"] = {"successfulRequestCount": [5], "failedRequestCount": "-1"}
    assert gemini.answered(name) == 0


@pytest.mark.parametrize(
    ("state", "meaning"),
    [("RUNNING", BatchState.RUNNING), ("SUCCEEDED", BatchState.ENDED), ("CANCELLED", BatchState.EXPIRED),
     ("FAILED", BatchState.FAILED)],
)  # fmt: skip
def test_each_state_of_gemini_has_its_meaning(
    google: GeminiStore, gemini: GeminiBatches, state: str, meaning: BatchState
) -> None:
    name = gemini.submit("run-1", PROMPT, QUESTIONS[:1])
    google.finish(state, [])
    assert gemini.state(name) is meaning
    if meaning is BatchState.ENDED:  # it has worked on all, and shows nothing of it
        with pytest.raises(BatchError, match="no results"):
            list(gemini.collect(name))
    else:
        assert list(gemini.collect(name)) == []


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (Reply(gemini_error(429, "RESOURCE_EXHAUSTED", "Batch enqueued tokens quota"), 429), BatchState.OVERSIZED),
        (Reply(gemini_error(413, "INVALID_ARGUMENT"), 413), BatchState.OVERSIZED),
        (Reply(gemini_error(403, "PERMISSION_DENIED", f"key {KEY}"), 403), BatchState.FAILED),
        (Reply(gemini_error(429, "RESOURCE_EXHAUSTED"), 429), None),
        (Reply(gemini_error(503, "UNAVAILABLE"), 503), None),
        (Reply(way="hang"), None),
        (Reply("{}"), None),
    ],
)
def test_a_refused_batch_of_gemini_is_told_from_an_unknown_one(
    google: GeminiStore, reply: Reply, state: BatchState | None
) -> None:
    google.create = reply
    gemini = GeminiBatches(access("gemini"), "gemini-2.5-flash-lite", patience(reply))
    with pytest.raises(BatchError) as refused:
        gemini.submit("run-1", PROMPT, QUESTIONS)
    assert refused.value.state is (state or BatchState.RUNNING)
    assert KEY not in str(refused.value)
    assert refused.value.__context__ is None


def test_pictures_of_more_than_an_inline_batch_takes_are_oversized(service: Service, gemini: GeminiBatches) -> None:
    huge = Question("f" * 64, "post", bytes(15_000_000))
    with pytest.raises(BatchError) as refused:
        gemini.submit("run-1", PROMPT, [huge])
    assert refused.value.state is BatchState.OVERSIZED
    assert not service.asked
