"""Whatever a service may do is an outcome, line by line of the tables; nothing raises and no key comes back."""

import json
from typing import Any, Literal

import pytest
from autolabel.providers.label_service import (
    KEY,
    PROMPT,
    QUESTION,
    Reply,
    Service,
    completion,
    decision,
    gemini_error,
    generated,
    openai_error,
    patience,
)

from bizcharts_pipeline.autolabel.protocol import Answer, Outcome, Provider, Usage
from bizcharts_pipeline.autolabel.providers.access import URL_VARIABLES, access
from bizcharts_pipeline.autolabel.providers.failures import Refusal, failure
from bizcharts_pipeline.autolabel.providers.gemini import GeminiProvider
from bizcharts_pipeline.autolabel.providers.openai import OpenAIProvider

RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
LONG_RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600s"}
DAY = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "1000"}],
}
MINUTE = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "quotaValue": "15"}],
}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
HTML = Reply("<html>Sign in to the hotel's network</html>", content_type="text/html")
BULLISH = {"type": "choice", "name": "stance", "choice": "bullish", "confidence": 0.9, "probabilities": []}

THOUGHT_ALOUD = [{"text": "Bullish?", "thought": True}, {"text": '{"stance":'}, {"text": '"bearish"}'}]

O = Outcome  # noqa: E741


def chat(service: Service, model: str = "gpt-4o-mini") -> OpenAIProvider:
    return OpenAIProvider(access("openai"), model, "chat", patience(service.answer), 4)


def decisions(service: Service) -> OpenAIProvider:
    return OpenAIProvider(access("openai"), "gpt-6-luna", "decisions", patience(service.answer), 4)


def gemini(service: Service) -> GeminiProvider:
    return GeminiProvider(access("gemini"), "gemini-2.5-flash-lite", patience(service.answer), 4)


def ask(provider: Provider) -> Answer:
    try:
        return provider.ask(PROMPT, QUESTION)
    finally:
        provider.close()


def error(status: int, code: str | None = None, message: str = "No.", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(openai_error(code, message), status, named)


def google(status: int, name: str, message: str = "No.", *details: dict[str, Any]) -> Reply:
    return Reply(gemini_error(status, name, message, *details), status)


@pytest.mark.parametrize(
    ("reply", "outcome", "wait"),
    [
        (error(429, "rate_limit_exceeded", retry_after="7"), O.RATE, 7.0),
        (error(429, "rate_limit_exceeded", retry_after_ms="1500"), O.RATE, 1.5),
        (error(429), O.RATE, None),
        (error(429, retry_after="soon"), O.RATE, None),
        (error(429, retry_after="nan"), O.RATE, None),
        (error(429, "rate_limit_exceeded", retry_after="121"), O.STOP, 121.0),
        (error(503, retry_after="3600"), O.STOP, 3600.0),
        (error(429, "insufficient_quota"), O.STOP, None),
        (error(429, "billing_not_active"), O.STOP, None),
        (error(400, "billing_hard_limit_reached"), O.STOP, None),
        (Reply(openai_error(None, kind="insufficient_quota"), 429), O.STOP, None),
        (error(401, "invalid_api_key", f"Incorrect API key provided: {KEY}."), O.STOP, None),
        (error(402), O.STOP, None),
        (error(403, "unsupported_country_region_territory"), O.STOP, None),
        (error(404, "model_not_found"), O.STOP, None),
        (error(410), O.STOP, None),
        (error(408), O.TIMEOUT, None),
        (error(409), O.TRANSIENT, None),
        (error(500), O.TRANSIENT, None),
        (error(503, retry_after="2"), O.TRANSIENT, 2.0),
        (Reply("<html>502 Bad Gateway</html>", 502, content_type="text/html"), O.TIMEOUT, None),
        (error(529), O.TRANSIENT, None),
        (error(400, "content_policy_violation"), O.REFUSED, None),
        (error(400, "invalid_prompt"), O.REFUSED, None),
        (error(400, None, "Your request was flagged as potentially violating our usage policy."), O.REFUSED, None),
        (error(400, "image_content_policy_violation"), O.REFUSED, None),
        (error(400, "invalid_image_format"), O.BAD_IMAGE, None),
        (error(400, "image_parse_error"), O.BAD_IMAGE, None),
        (error(400, "unsupported_parameter"), O.BUG, None),
        (error(413), O.BUG, None),
        (error(422), O.BUG, None),
        (Reply("[1, 2", 418), O.BUG, None),
        (Reply(b"\xff\xfe\x00", 500), O.TRANSIENT, None),
        (Reply('{"error": "no object"}', 400), O.BUG, None),
    ],
)
def test_each_refusal_of_openai_has_its_meaning(
    service: Service, reply: Reply, outcome: Outcome, wait: float | None
) -> None:
    service.answer = reply
    for provider in (chat(service), decisions(service)):
        answer = ask(provider)
        assert (answer.outcome, answer.retry_after, answer.label, answer.usage) == (outcome, wait, None, None)
        maybe_billed = outcome in (O.TRANSIENT, O.REFUSED) or (outcome is O.STOP and reply.status == 503)
        assert answer.served == maybe_billed  # here it comes from a gateway
        assert answer.detail
        assert "\n" not in answer.detail
    assert len(service.asked) == 2  # one request each, never a retry


@pytest.mark.parametrize(
    ("reply", "outcome", "wait"),
    [
        (google(429, "RESOURCE_EXHAUSTED", "Slow down.", MINUTE, RETRY_INFO), O.RATE, 34.5),
        (google(429, "RESOURCE_EXHAUSTED", "check your plan and billing details", MINUTE), O.RATE, None),
        (google(429, "RESOURCE_EXHAUSTED", "Slow down.", MINUTE, LONG_RETRY_INFO), O.STOP, 3600.0),
        (google(429, "RESOURCE_EXHAUSTED", "Slow down.", DAY, RETRY_INFO), O.STOP, 34.5),
        (google(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), O.STOP, None),
        (google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", BAD_KEY), O.STOP, None),
        (google(400, "FAILED_PRECONDITION", "User location is not supported."), O.STOP, None),
        (google(400, "INVALID_ARGUMENT", "Unable to process input image."), O.BAD_IMAGE, None),
        (google(400, "INVALID_ARGUMENT", "Provided image is not valid."), O.BAD_IMAGE, None),
        (google(400, "INVALID_ARGUMENT", "Invalid value at 'generation_config'"), O.BUG, None),
        (google(401, "UNAUTHENTICATED"), O.STOP, None),
        (google(403, "PERMISSION_DENIED"), O.STOP, None),
        (google(404, "NOT_FOUND", "models/gemini-2.0-flash is not found"), O.STOP, None),
        (google(413, "INVALID_ARGUMENT"), O.BUG, None),
        (google(499, "CANCELLED"), O.TIMEOUT, None),
        (google(500, "INTERNAL"), O.TRANSIENT, None),
        (google(503, "UNAVAILABLE", "The model is overloaded."), O.TRANSIENT, None),
        (google(504, "DEADLINE_EXCEEDED"), O.TIMEOUT, None),
        (Reply(b"\xff\xfe\x00", 500), O.TRANSIENT, None),
        (Reply("[[1]]", 400), O.BUG, None),
        (Reply("<html>", 502, content_type="text/html"), O.TIMEOUT, None),
    ],
)
def test_each_refusal_of_gemini_has_its_meaning(
    service: Service, reply: Reply, outcome: Outcome, wait: float | None
) -> None:
    service.answer = reply
    answer = ask(gemini(service))
    assert (answer.outcome, answer.retry_after, answer.label, answer.usage) == (outcome, wait, None, None)
    assert answer.detail
    assert len(service.asked) == (2 if reply.status == 404 else 1)  # of two versions of the API


@pytest.mark.parametrize("provider", ["openai", "gemini"])
@pytest.mark.parametrize("status", [409, 500, 503, 529])
def test_what_a_service_itself_fails_is_free_and_what_a_gateway_fails_may_have_been_billed(
    monkeypatch: pytest.MonkeyPatch, provider: Literal["openai", "gemini"], status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    for url, gateway in (("", False), ("https://llm.example.org/v1", True), ("http://127.0.0.1:4000", True)):
        monkeypatch.setenv(URL_VARIABLES[provider], url)
        assert access(provider).gateway is gateway
        answer = failure(provider, Refusal(status, {}, "", gateway))
        assert (answer.outcome, answer.served) == (O.TRANSIENT, gateway)
        answer = failure(provider, Refusal(status, {"retry-after": "600"}, "", gateway))
        assert (answer.outcome, answer.served) == (O.STOP, gateway)


@pytest.mark.parametrize("gateway", [False, True])
def test_a_post_that_the_filter_of_a_gateway_declines_may_have_been_billed(gateway: bool) -> None:
    """Azure charges for those; it does not for a wrong key or too many requests."""
    declined = failure("openai", Refusal(400, {}, openai_error("content_filter", "declined"), gateway))
    assert (declined.outcome, declined.served) == (O.REFUSED, gateway)
    for status in (401, 429):
        assert not failure("openai", Refusal(status, {}, "", gateway)).served


@pytest.mark.parametrize("make", [chat, decisions, gemini])
@pytest.mark.parametrize(
    ("reply", "outcome", "served"),
    [
        (Reply('{"error": {"message": "overloaded"}}'), O.TRANSIENT, True),
        (Reply('{"error": {"code": 504, "message": "late"}}'), O.TIMEOUT, False),  # which counts as paid anyway
        (Reply('{"error": {"code": 401, "message": "key"}}'), O.STOP, False),
        (Reply(status=204), O.MALFORMED, True),
    ],
)
def test_an_error_that_comes_as_a_success_may_have_been_billed(
    service: Service, make: Any, reply: Reply, outcome: Outcome, served: bool
) -> None:
    service.answer = reply
    answer = ask(make(service))
    assert (answer.outcome, answer.served, answer.usage) == (outcome, served, None)


BILLED = Usage(3000, 7, 128)


@pytest.mark.parametrize(
    ("body", "outcome", "usage"),
    [
        (completion(), O.OK, BILLED),
        (completion(None, refusal="I can't help with that."), O.REFUSED, BILLED),
        (completion(None, finish_reason="content_filter"), O.REFUSED, BILLED),
        (completion('{"stance":"bull', finish_reason="length"), O.MALFORMED, BILLED),
        (completion("bullish"), O.MALFORMED, BILLED),
        (completion('{"stance":"Very bullish"}'), O.MALFORMED, BILLED),
        (completion('["bullish"]'), O.MALFORMED, BILLED),
        (completion('{"stance":["bullish"]}'), O.MALFORMED, BILLED),
        (completion(None), O.MALFORMED, BILLED),
        (completion() | {"choices": []}, O.MALFORMED, BILLED),
        (completion() | {"usage": None}, O.OK, None),
        (completion() | {"usage": {}}, O.OK, None),
        (completion() | {"usage": {"prompt_tokens": 10**30, "completion_tokens": 1}}, O.OK, Usage(10**15, 1)),
        (completion([{"type": "text", "text": '{"stance":'}, {"type": "text", "text": '"bullish"}'}]), O.OK, BILLED),
        ({"error": {"code": 429, "message": "slow down"}}, O.RATE, None),
        (completion(logprobs={"content": [{"token": 5}]}), O.OK, BILLED),
        ({"choices": "none"}, O.MALFORMED, None),
        ([], O.MALFORMED, None),
        (None, O.MALFORMED, None),
    ],
)
def test_each_answer_of_chat_has_its_meaning(
    service: Service, body: object, outcome: Outcome, usage: Usage | None
) -> None:
    service.answer = Reply(json.dumps(body), headers={"x-request-id": "req_1"})
    answer = ask(chat(service))
    assert (answer.outcome, answer.usage) == (outcome, usage)
    assert (answer.served, answer.request_id) == ((True, "req_1") if outcome is not O.RATE else (False, None))
    assert (answer.label == "bullish") == (outcome is O.OK)
    assert json.loads(answer.raw) == body


@pytest.mark.parametrize(
    ("found", "outcome", "probabilities"),
    [
        (BULLISH, O.OK, None),
        ({**BULLISH, "probabilities": shares} if (shares := [
            {"value": "bullish", "probability": 0.9}, {"value": "neutral", "probability": 0.06},
            {"value": "bearish", "probability": 0.03}]) else {}, O.OK, (0.03 / 0.99, 0.06 / 0.99, 0.9 / 0.99)),
        ({**BULLISH, "probabilities": [{"value": "bullish", "probability": 0.9}]}, O.OK, None),
        ({"type": "refusal", "name": "stance"}, O.REFUSED, None),
        ({**BULLISH, "choice": "moon"}, O.MALFORMED, None),
        ({**BULLISH, "choice": True}, O.MALFORMED, None),
        ({"type": "predicate", "probability": 0.5}, O.MALFORMED, None),
    ],
)  # fmt: skip
def test_each_answer_of_decisions_has_its_meaning(
    service: Service, found: dict[str, Any], outcome: Outcome, probabilities: tuple[float, float, float] | None
) -> None:
    service.answer = Reply(json.dumps(decision(found)))
    answer = ask(decisions(service))
    assert (answer.outcome, answer.usage) == (outcome, Usage(210, 1))
    assert answer.probabilities == (pytest.approx(probabilities) if probabilities else None)
    assert answer.confidence_source == ("decisions" if probabilities else None)
    assert answer.model_returned == "gpt-6-luna-2026-09-22"


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (generated(), O.OK),
        (generated(candidates=[{"content": {"parts": THOUGHT_ALOUD}, "finishReason": "STOP"}]), O.OK),
        (generated(None, promptFeedback={"blockReason": "PROHIBITED_CONTENT"}, candidates=None), O.REFUSED),
        (generated(None, promptFeedback={"blockReason": "SAFETY"}), O.REFUSED),
        (generated(None, promptFeedback={"blockReason": "OF_A_LATER_VERSION"}), O.REFUSED),
        *((generated(None, reason), O.REFUSED) for reason in ("SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII")),
        *((generated(None, reason), O.REFUSED) for reason in ("RECITATION", "OTHER", "LANGUAGE", "IMAGE_SAFETY")),
        (generated(None, "PUP_LIMITED_DISABLED"), O.STOP),
        (generated('{"stance":"bea', "MAX_TOKENS"), O.MALFORMED),
        (generated(None, "MALFORMED_RESPONSE"), O.MALFORMED),
        (generated(None, "OF_A_LATER_VERSION"), O.MALFORMED),
        (generated(None), O.MALFORMED),  # an empty STOP
        (generated(""), O.MALFORMED),
        (generated("bearish"), O.MALFORMED),
        (generated('{"stance":"sideways"}'), O.MALFORMED),
        (generated(candidates=[]), O.MALFORMED),
        (generated(candidates="?"), O.MALFORMED),
    ],
)
def test_each_answer_of_gemini_has_its_meaning(service: Service, body: dict[str, Any], outcome: Outcome) -> None:
    service.answer = Reply(json.dumps(body))
    answer = ask(gemini(service))
    assert answer.outcome is outcome
    assert (answer.usage, answer.served) == (Usage(600, 6), True)
    assert (answer.label, answer.probabilities) == ("bearish" if outcome is O.OK else None, None)
    assert json.loads(answer.raw) == body


@pytest.mark.parametrize("make", [chat, decisions, gemini])
@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(way="hang"), O.TIMEOUT),
        (Reply("{}" * 500, way="drip"), O.TIMEOUT),
        (Reply(way="drip headers"), O.TIMEOUT),
        (Reply(way="reset"), O.TIMEOUT),  # the request had been sent whole
        (Reply("{}", way="short"), O.TIMEOUT),
        (Reply(way="huge"), O.TIMEOUT),
        (Reply(b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"}), O.TIMEOUT),
        (Reply('{"choices": [', 200), O.MALFORMED),
        (Reply(b"\xff\xfe", 200), O.MALFORMED),
        (Reply("[" * 100_000, 200), O.MALFORMED),
        (HTML, O.TRANSIENT),
    ],
)
def test_a_broken_exchange_is_an_outcome_in_bounded_time(
    service: Service, make: Any, reply: Reply, outcome: Outcome
) -> None:
    service.answer = reply
    answer = ask(make(service))
    assert answer.outcome is outcome
    assert ("has more than" in answer.detail) == (reply.way == "huge")
    assert answer.detail
    assert len(service.asked) == 1


@pytest.mark.parametrize("make", [chat, decisions, gemini])
def test_where_nothing_listens_nothing_was_billed(service: Service, make: Any) -> None:
    provider = make(service)
    service.close()
    assert ask(provider).outcome is O.TRANSIENT


@pytest.mark.parametrize("make", [chat, decisions, gemini])
def test_a_redirect_takes_no_key_to_another_address(service: Service, make: Any) -> None:
    elsewhere = Service()
    try:
        service.answer = Reply(status=307, headers={"Location": f"{elsewhere.url}/v1/chat/completions"})
        answer = ask(make(service))
    finally:
        elsewhere.close()
    assert answer.outcome is O.STOP
    assert "BASE_URL" in answer.detail
    assert not elsewhere.asked


@pytest.mark.parametrize("make", [chat, decisions, gemini])
def test_a_key_that_the_service_echoes_is_not_kept(service: Service, make: Any) -> None:
    half = "sk-proj-abc******xyz"  # as OpenAI masks it
    echo = json.dumps({"error": {"code": None, "message": f"Incorrect API key provided: {KEY}, {half}"}})
    for reply in (Reply(echo, 401), Reply(echo, 500), Reply(json.dumps(completion(KEY))), Reply(f"{KEY} <html>", 403)):
        service.answer = reply
        provider = make(service)
        answer = ask(provider)
        assert KEY not in repr(answer) + repr(provider)
        assert half not in repr(answer)
    assert all(KEY in repr(asked.headers) for asked in service.asked)


def test_what_is_kept_of_an_answer_is_bounded(service: Service) -> None:
    service.answer = Reply(json.dumps(completion("no\nclass " * 20_000)))
    answer = ask(chat(service))
    assert len(answer.raw) == 20_000
    assert len(answer.detail) <= 300


@pytest.mark.parametrize("charset", ["bz2_codec", "idna", "utf-16", "no-such"])
@pytest.mark.parametrize("status", [200, 500])
def test_no_charset_that_an_answer_names_is_used(service: Service, charset: str, status: int) -> None:
    for provider, body in ((chat, completion()), (gemini, generated())):
        service.answer = Reply(json.dumps(body), status, content_type=f"application/json; charset={charset}")
        assert ask(provider(service)).outcome is (O.OK if status == 200 else O.TRANSIENT)
