"""What is sent: the post, its thumbnail, the schema, and the parameters that each model takes; once each."""

import base64
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from autolabel.providers.label_service import (
    KEY,
    PROMPT,
    QUESTION,
    Asked,
    Reply,
    Service,
    completion,
    decision,
    gemini_error,
    generated,
)

from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.protocol import Outcome, Provider, Question
from bizcharts_pipeline.autolabel.providers import missing_keys, open_providers
from bizcharts_pipeline.autolabel.providers.http import http_client
from bizcharts_pipeline.settings import Settings

assert QUESTION.image is not None
INLINE = base64.b64encode(QUESTION.image).decode()
CLASSES = ["bearish", "neutral", "bullish"]


def opened(**sections: Any) -> Provider:
    """The only provider of settings with ``sections``."""
    (provider,) = open_providers(Settings.model_validate(sections)).values()
    assert not hasattr(provider, "submit")
    return provider  # type: ignore[return-value]


def only(service: Service) -> Any:
    (asked,) = service.asked
    return asked.json


def test_chat_sends_the_post_as_its_own_message_and_asks_for_one_of_three(service: Service) -> None:
    service.answer = Reply(json.dumps(completion()))
    answer = opened(openai={"model": "gpt-4o-mini"}).ask(PROMPT, QUESTION)
    assert (answer.outcome, answer.label, answer.model_returned) == (Outcome.OK, "bullish", "gpt-4o-mini-2024-07-18")
    body = only(service)
    system, user = body["messages"]
    assert system == {"role": "system", "content": PROMPT.system}
    assert user["content"][0] == {"type": "text", "text": QUESTION.text}
    assert user["content"][1]["image_url"] == {"url": f"data:image/jpeg;base64,{INLINE}", "detail": "low"}
    schema = body["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["stance"]["enum"] == CLASSES
    assert (body["temperature"], body["logprobs"], body["max_completion_tokens"]) == (0, True, 16)
    assert body["store"] is False
    assert service.asked[0].path == "/v1/chat/completions"
    assert service.asked[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-5.6-luna", "gpt-10"])
def test_a_reasoning_model_is_told_not_to_reason_and_given_no_temperature(service: Service, model: str) -> None:
    service.answer = Reply(json.dumps(completion()))
    opened(openai={"model": model}).ask(PROMPT, Question("b" * 64, "text alone", None))
    body = only(service)
    assert body["reasoning_effort"] == "none"
    assert not {"temperature", "logprobs", "top_logprobs", "max_tokens"} & set(body)
    assert [part["type"] for part in body["messages"][1]["content"]] == ["text"]


def test_decisions_keep_the_instruction_apart_from_the_post(service: Service) -> None:
    service.answer = Reply(json.dumps(decision({"type": "refusal", "name": "stance"})))
    opened(openai={"model": "gpt-6-luna", "endpoint": "decisions"}).ask(PROMPT, QUESTION)
    body = only(service)
    assert service.asked[0].path == "/v1/decisions"
    (question,) = body["questions"]
    assert (question["type"], question["instructions"]) == ("choice", PROMPT.system)
    assert [choice["value"] for choice in question["choices"]] == CLASSES
    (message,) = body["input"]
    assert [part["type"] for part in message["content"]] == ["input_text", "input_image"]
    assert PROMPT.system not in json.dumps(message)


@pytest.mark.parametrize(
    ("model", "thinking", "resolution"),
    [
        ("gemini-2.5-flash-lite", {"thinking_budget": 0}, None),
        ("gemini-3.5-flash-lite", {"thinking_level": "MINIMAL"}, "MEDIA_RESOLUTION_LOW"),
        ("gemini-2.0-flash", None, None),
    ],
)
def test_gemini_is_asked_with_its_filters_off_and_without_thinking(
    service: Service, model: str, thinking: object, resolution: str | None
) -> None:
    service.answer = Reply(json.dumps(generated()))
    answer = opened(auto_labels={"providers": "gemini"}, gemini={"model": model}).ask(PROMPT, QUESTION)
    assert (answer.outcome, answer.label) == (Outcome.OK, "bearish")
    assert service.asked[0].path == f"/v1/models/{model}:generateContent"
    assert service.asked[0].headers["x-goog-api-key"] == KEY
    body = only(service)
    assert body["systemInstruction"]["parts"] == [{"text": PROMPT.system}]
    text, image = body["contents"][0]["parts"]
    assert text == {"text": QUESTION.text}
    assert base64.urlsafe_b64decode(image["inlineData"]["data"]) == QUESTION.image
    assert "image/jpeg" in image["inlineData"].values()
    assert {setting["threshold"] for setting in body["safetySettings"]} == {"OFF"}
    asked = body["generationConfig"]
    assert asked["responseMimeType"] == "application/json"
    assert asked["responseJsonSchema"]["properties"]["stance"]["enum"] == CLASSES
    assert (asked["maxOutputTokens"], asked.get("thinkingConfig"), asked.get("mediaResolution")) == (
        16,
        thinking,
        resolution,
    )


@pytest.mark.parametrize("unknown", [(404, "is not found"), (400, 'Unknown name "responseJsonSchema"')])
def test_a_service_of_the_older_version_is_found_once(service: Service, unknown: tuple[int, str]) -> None:
    def beta_alone(asked: Asked) -> Reply:
        if asked.path.startswith("/v1beta/"):
            return Reply(json.dumps(generated()))
        return Reply(gemini_error(unknown[0], "NO", unknown[1]), unknown[0])

    service.answer = beta_alone
    provider = opened(auto_labels={"providers": "gemini"})
    assert [provider.ask(PROMPT, QUESTION).outcome for _ in range(3)] == [Outcome.OK] * 3
    assert [asked.path.split("/")[1] for asked in service.asked] == ["v1", "v1beta", "v1beta", "v1beta"]


@pytest.mark.parametrize("name", ["openai", "gemini"])
def test_sixteen_threads_share_a_provider(service: Service, name: str) -> None:
    def echo(asked: Asked) -> Reply:
        text = asked.body.decode()
        stance = next(stance for stance in CLASSES if f"post {stance}" in text)
        made = completion if name == "openai" else generated
        return Reply(json.dumps(made(json.dumps({"stance": stance}))))

    service.answer = echo
    provider = opened(auto_labels={"providers": name})
    questions = [Question(f"{number:064d}", f"post {CLASSES[number % 3]}", None) for number in range(160)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda question: provider.ask(PROMPT, question), questions))
    assert [answer.label for answer in answers] == [CLASSES[number % 3] for number in range(160)]
    assert len(service.asked) == 160


NO_KEY = {"GEMINI_API_KEY": "", "GOOGLE_GEMINI_BASE_URL": ""}


def test_a_provider_without_a_key_is_named_and_keeps_nobody_from_the_other(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Settings.model_validate({"auto_labels": {"providers": "openai gemini"}})
    for name, value in NO_KEY.items():
        monkeypatch.setenv(name, value)
    assert list(open_providers(both)) == ["openai"]
    (missing,) = missing_keys(both)
    assert "GEMINI_API_KEY" in missing


def test_providers_come_in_the_order_of_the_settings(service: Service) -> None:
    both = Settings.model_validate({"auto_labels": {"providers": "gemini openai"}, "openai": {"endpoint": "batch"}})
    providers = open_providers(both)
    assert list(providers) == ["gemini", "openai"]
    assert (providers["gemini"].endpoint, providers["openai"].endpoint) == ("chat", "batch")
    assert KEY not in repr(providers)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        (NO_KEY | {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}, "OPENAI_API_KEY"),
        (NO_KEY | {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "https://proxy.example/v1"}, "OPENAI_API_KEY"),
        ({"OPENAI_BASE_URL": "api.openai.com"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": "http://[::1"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": "https://me:secret@host/v1"}, "OPENAI_BASE_URL"),
        ({"OPENAI_API_KEY": "sk-with a blank"}, "OPENAI_API_KEY"),
        ({"OPENAI_BASE_URL": "https://api.openai.com/v1", "ALL_PROXY": "socks5://proxy:1"}, "PROXY"),
        (NO_KEY | {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}, "GEMINI_API_KEY"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    service: Service, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AutoLabelError, match=named) as refused:
        open_providers(Settings.model_validate({"auto_labels": {"providers": "openai gemini"}}))
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_service_on_loopback_needs_no_key_and_no_proxy(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    service.answer = Reply(json.dumps(completion()))
    assert opened().ask(PROMPT, QUESTION).outcome is Outcome.OK


def test_the_proxy_of_the_environment_is_used_for_other_hosts(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown without encryption, where the proxy can tell what it is asked; no key goes that way."""
    monkeypatch.setenv("http_proxy", service.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    service.answer = Reply(json.dumps(completion()))
    url = "http://labels.example/v1"
    with http_client(url, seconds=10, wait=10, max_bytes=100_000, connections=1) as client:
        assert client.post(f"{url}/chat/completions", json={}).status_code == 200
    assert service.asked[0].path == "http://labels.example/v1/chat/completions"


def test_no_sdk_is_imported_before_a_provider_is_opened() -> None:
    code = (
        "import sys, bizcharts_pipeline.autolabel.providers as p;"
        "print([name for name in ('openai', 'google.genai', 'httpx2') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=True)
    assert ran.stdout.strip() == "[]"
