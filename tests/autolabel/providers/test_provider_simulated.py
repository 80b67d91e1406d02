"""Both SDKs through every endpoint of the simulated services: the same meaning, and the same bill."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bizcharts_pipeline.autolabel.protocol import (
    Answer,
    BatchProvider,
    BatchState,
    Outcome,
    Prompt,
    Provider,
    Question,
)
from bizcharts_pipeline.autolabel.providers import open_providers
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.label_apis.wire import BatchFault, LabelFault
from bizcharts_pipeline.settings import Settings

PROMPT = Prompt("stance-v1", "Judge the stance.", "0" * 64, 16)
QUESTIONS = [Question(f"{number:064x}", f"post {number} goes up", None) for number in range(48)]
MODELS = {
    ("openai", "chat"): "gpt-4o-mini",
    ("openai", "decisions"): "gpt-6-luna",
    ("openai", "batch"): "gpt-4o-mini",
    ("gemini", "chat"): "gemini-2.5-flash-lite",
    ("gemini", "batch"): "gemini-2.5-flash-lite",
}


@pytest.fixture
def apis(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedLabelApis]:
    with SimulatedLabelApis() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.openai_url)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.gemini_url)
        for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_API_VERSION"):
            monkeypatch.delenv(name, raising=False)
        yield running


def opened(name: str, endpoint: str) -> Any:
    chosen = {"model": MODELS[name, endpoint], "endpoint": endpoint}
    settings = Settings.model_validate({"auto_labels": {"providers": name, "timeout_seconds": 1}, name: chosen})
    return open_providers(settings)[name]


def tokens(answers: list[Answer]) -> tuple[int, int]:
    used = [answer.usage for answer in answers if answer.usage is not None]
    return sum(usage.input_tokens for usage in used), sum(usage.output_tokens for usage in used)


@pytest.mark.parametrize(("name", "endpoint"), [("openai", "chat"), ("openai", "decisions"), ("gemini", "chat")])
def test_every_fault_of_a_simulated_service_is_told_apart(apis: SimulatedLabelApis, name: str, endpoint: str) -> None:
    provider: Provider = opened(name, endpoint)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda question: provider.ask(PROMPT, question), QUESTIONS))
    assert {answer.outcome for answer in answers} == {Outcome.OK}
    assert all((answer.probabilities is None) == (name == "gemini") for answer in answers)
    bill = apis.bill(name)
    assert tokens(answers) == (bill.input_tokens, bill.output_tokens)

    meant = {
        LabelFault.RATE: Outcome.RATE,
        LabelFault.RATE_LONG: Outcome.STOP,
        LabelFault.DAY_LIMIT: Outcome.STOP,
        LabelFault.QUOTA: Outcome.STOP,
        LabelFault.UNAUTHORISED: Outcome.STOP,
        LabelFault.SERVER_ERROR: Outcome.TRANSIENT,
        LabelFault.UNAVAILABLE: Outcome.TRANSIENT,
        LabelFault.BAD_IMAGE: Outcome.BAD_IMAGE,
        LabelFault.RESET: Outcome.TIMEOUT,
        LabelFault.HANG: Outcome.TIMEOUT,
        LabelFault.GATEWAY_TIMEOUT: Outcome.TIMEOUT,
        LabelFault.LOST: Outcome.TIMEOUT,
        LabelFault.DRIBBLE: Outcome.TIMEOUT,
        LabelFault.OVERSIZE: Outcome.TIMEOUT,
        LabelFault.OFF_ENUM: Outcome.MALFORMED,
        LabelFault.EMPTY: Outcome.MALFORMED,
        LabelFault.LENGTH: Outcome.MALFORMED,
        LabelFault.REFUSAL: Outcome.REFUSED,
        LabelFault.BLOCKED: Outcome.REFUSED,
        LabelFault.OTHER_MODEL: Outcome.OK,
    }
    found = {}
    for fault in meant:
        apis.fail_next(fault)
        found[fault] = provider.ask(PROMPT, QUESTIONS[0]).outcome
    provider.close()
    assert found == meant


@pytest.mark.parametrize("name", ["openai", "gemini"])
def test_a_batch_of_a_simulated_service_is_labelled_and_billed_once(apis: SimulatedLabelApis, name: str) -> None:
    provider: BatchProvider = opened(name, "batch")
    batch_id = provider.submit("run-1", PROMPT, QUESTIONS)
    provider.close()
    again: BatchProvider = opened(name, "batch")
    assert again.find("run-1") == batch_id
    assert again.find("run-2") is None
    answers = collected(again, batch_id)
    assert set(answers) == {question.key for question in QUESTIONS}
    assert Counter(answer.outcome for answer in answers.values()) == {Outcome.OK: len(QUESTIONS)}
    bill = apis.bill(name)
    assert tokens(list(answers.values())) == (bill.input_tokens, bill.output_tokens)


def test_an_expired_batch_of_a_simulated_service_leaves_the_rest_open(apis: SimulatedLabelApis) -> None:
    apis.openai_batches.script.append(BatchFault.EXPIRED)
    provider: BatchProvider = opened("openai", "batch")
    answers = collected(provider, provider.submit("run-1", PROMPT, QUESTIONS))
    assert {answer.outcome for answer in answers.values()} == {Outcome.OK, Outcome.TRANSIENT}
    bill = apis.bill("openai")
    assert tokens(list(answers.values())) == (bill.input_tokens, bill.output_tokens)


def test_a_batch_of_too_many_tokens_is_oversized(apis: SimulatedLabelApis) -> None:
    apis.openai_batches.script.append(BatchFault.TOO_MANY_TOKENS)
    provider: BatchProvider = opened("openai", "batch")
    assert ended(provider, provider.submit("run-1", PROMPT, QUESTIONS)) is BatchState.OVERSIZED


@pytest.mark.parametrize(("name", "reason"), [("openai", "Billing hard limit"), ("gemini", "billing account")])
def test_a_failed_batch_gives_the_services_own_reason(apis: SimulatedLabelApis, name: str, reason: str) -> None:
    apis.openai_batches.script.append(BatchFault.BILLING)
    apis.gemini.batch_script.append(BatchFault.BILLING)
    provider: BatchProvider = opened(name, "batch")
    batch_id = provider.submit("run-1", PROMPT, QUESTIONS)
    assert ended(provider, batch_id) is BatchState.FAILED
    assert reason in provider.reason(batch_id)


@pytest.mark.parametrize("fault", [LabelFault.SERVER_ERROR, LabelFault.LOST, LabelFault.BROKEN_BODY])
def test_a_failed_batch_whose_reason_cannot_be_read_is_a_failed_batch(
    apis: SimulatedLabelApis, fault: LabelFault
) -> None:
    apis.gemini.batch_script.append(BatchFault.BILLING)
    provider: BatchProvider = opened("gemini", "batch")
    batch_id = provider.submit("run-1", PROMPT, QUESTIONS)
    assert ended(provider, batch_id) is BatchState.FAILED
    apis.fail_next(fault, on="/batches/")
    assert provider.reason(batch_id) == ""
    assert "billing account" in provider.reason(batch_id)


def ended(provider: BatchProvider, batch_id: str) -> BatchState:
    for _ in range(200):
        if (state := provider.state(batch_id)) is not BatchState.RUNNING:
            return state
        time.sleep(0.05)
    raise AssertionError("the batch does not end")


def collected(provider: BatchProvider, batch_id: str) -> dict[str, Answer]:
    assert ended(provider, batch_id) in (BatchState.ENDED, BatchState.EXPIRED)
    return dict(provider.collect(batch_id))
