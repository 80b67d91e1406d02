"""Parses untrusted response bodies of the services into an :class:`Answer`."""

import json
import math
import re
from dataclasses import replace
from typing import Annotated, TypeVar

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from bizcharts_pipeline.autolabel.protocol import Answer, ConfidenceSource, Outcome, Usage
from bizcharts_pipeline.autolabel.providers.failures import Refusal, failure
from bizcharts_pipeline.autolabel.providers.logprobs import (
    Token,
    begins_several,
    first_token_probabilities,
    probabilities,
)
from bizcharts_pipeline.core.blanking import blank_text
from bizcharts_pipeline.labels.stances import STANCES, Stance
from bizcharts_pipeline.settings import Provider

RAW_CHARACTERS = 20_000
_DETAIL_CHARACTERS = 300
_KEYS = re.compile(r"\bsk-[\w*.-]{6,}|\bAIza[\w*-]{6,}|\b[Bb]earer\s+[\w*.~+/=-]{6,}")
_MIN_KEY = 8  # a shorter one, as a test service may use, occurs in ordinary text

# A report of more is as doubtful with this number, and the ledger's integers hold no more.
Tokens = Annotated[int, Field(ge=0), AfterValidator(lambda tokens: min(tokens, 10**15))]
Model = TypeVar("Model", bound=BaseModel)

# Gemini's finish reasons that mean a filter, in the order of its documentation.
_FILTERED = {
    "SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT", "IMAGE_OTHER", "IMAGE_RECITATION", "ESCALATION", "MODEL_ARMOR",
}  # fmt: skip
_ACCOUNT_LIMITED = "PUP_LIMITED_DISABLED"


class _Alternative(BaseModel):
    token: str
    logprob: float = Field(strict=True)  # or `false` would be certainty


class _Token(_Alternative):
    top_logprobs: list[_Alternative] | None = None


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Message(BaseModel):
    content: object = None  # a string, or a list of parts
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: object = None


class _InputDetails(BaseModel):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None


class _OutputDetails(BaseModel):
    reasoning_tokens: Tokens | None = None


class _OpenAIUsage(BaseModel):
    """Usage of chat (prompt, completion) and of decisions (input, output)."""

    input_tokens: Tokens = Field(validation_alias=AliasChoices("prompt_tokens", "input_tokens"))
    output_tokens: Tokens = Field(validation_alias=AliasChoices("completion_tokens", "output_tokens"))
    details: _InputDetails | None = Field(
        None, validation_alias=AliasChoices("prompt_tokens_details", "input_tokens_details")
    )
    output_details: _OutputDetails | None = Field(
        None, validation_alias=AliasChoices("completion_tokens_details", "output_tokens_details")
    )
    total_tokens: Tokens | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None


class _Probability(BaseModel):
    value: str | bool
    probability: float


class _Decided(BaseModel):
    type: str
    choice: str | bool | None = None
    probabilities: list[_Probability] = []


class _Decision(BaseModel):
    answers: list[_Decided] = Field(min_length=1)
    model: str | None = None


class _Gemini(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Part(_Gemini):
    text: str | None = None
    thought: bool | None = None


class _Content(_Gemini):
    parts: list[_Part] | None = None


class _Candidate(_Gemini):
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(_Gemini):
    block_reason: str | None = None


class _GeminiUsage(_Gemini):
    prompt_token_count: Tokens | None = None
    candidates_token_count: Tokens | None = None
    thoughts_token_count: Tokens | None = None
    cached_content_token_count: Tokens | None = None
    tool_use_prompt_token_count: Tokens | None = None
    total_token_count: Tokens | None = None


class _Generated(_Gemini):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    model_version: str | None = None
    response_id: str | None = None


def scrubbed(text: str, key: str) -> str:
    """Return the ``text`` of a labelling service without ``key``, the other keys of this machine, and anything similar
    to a key, as services repeat keys in their messages."""
    if len(key) >= _MIN_KEY:
        text = text.replace(key, "[key]")
    return _KEYS.sub("[key]", blank_text(text))


def one_line(text: str) -> str:
    """Return the beginning of a labelling service's ``text`` as a single printable line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _DETAIL_CHARACTERS]).split())[
        :_DETAIL_CHARACTERS
    ]


def safe(answer: Answer, key: str) -> Answer:
    """Return a labelling model's ``answer`` in storable form: without API keys, with the raw text truncated and the
    detail in one line."""
    return replace(
        answer,
        raw=scrubbed(answer.raw, key)[:RAW_CHARACTERS],
        detail=one_line(scrubbed(answer.detail, key)),
        model_returned=answer.model_returned and one_line(scrubbed(answer.model_returned, key)),
        request_id=answer.request_id and one_line(scrubbed(answer.request_id, key)),
    )


def chat_answer(body: str, request_id: str | None = None) -> Answer:
    """Parse the body of an OpenAI chat completion with a label."""
    said, completion = _opened("openai", _Completion, body, "choices", request_id)
    if completion is None:
        return said
    choice, said = completion.choices[0], replace(said, model_returned=completion.model)
    if choice.message.refusal:
        return replace(said, outcome=Outcome.REFUSED, detail=f"the model declined: {choice.message.refusal}")
    if choice.finish_reason == "content_filter":
        return replace(said, outcome=Outcome.REFUSED, detail="a content filter cut the answer off")
    if choice.finish_reason == "length":
        return replace(said, detail="the answer was cut off at its length limit")
    content = _joined(choice.message.content)
    label = _label(content)
    if label is None:
        return replace(said, detail=f"no class in the answer: {content!r}")
    shares = probabilities(content, label, _tokens(choice.logprobs))
    source: ConfidenceSource | None = "logprobs" if shares else None
    return replace(said, outcome=Outcome.OK, label=label, probabilities=shares, confidence_source=source)


def first_token_answer(body: str, request_id: str | None = None) -> Answer:
    """Parse the body of a chat completion of one token, asked of a model that answers with the label alone."""
    said, completion = _opened("openai", _Completion, body, "choices", request_id)
    if completion is None:
        return replace(said, outcome=Outcome.UNUSABLE) if said.outcome is Outcome.MALFORMED else said
    choice, said = completion.choices[0], replace(said, model_returned=completion.model, outcome=Outcome.UNUSABLE)
    if choice.finish_reason == "content_filter":
        return replace(said, outcome=Outcome.REFUSED, detail="a content filter cut the answer off")
    if choice.message.refusal:
        return replace(said, outcome=Outcome.REFUSED, detail=f"the model declined: {choice.message.refusal}")
    tokens = _tokens(choice.logprobs)
    if not tokens:
        return replace(said, detail="the answer has no log-probabilities of its first token, and they are needed")
    if not tokens[0].alternatives:
        return replace(said, detail="the answer has no `top_logprobs`, and they are needed")
    if begins_several(tokens[0]):
        return replace(said, detail="two classes begin with the same token, so one token cannot decide")
    shares = first_token_probabilities(tokens[0])
    if shares is None:
        return replace(said, detail=f"the answer begins with {tokens[0].text!r:.40}; the classes have less than half")
    label = STANCES[shares.index(max(shares))]
    return replace(said, outcome=Outcome.OK, label=label, probabilities=shares, confidence_source="logprobs")


def decision_answer(body: str, request_id: str | None = None) -> Answer:
    """Parse the body of an OpenAI decision with one choice question about a label."""
    said, decision = _opened("openai", _Decision, body, "answers", request_id)
    if decision is None:
        return said
    decided, said = decision.answers[0], replace(said, model_returned=decision.model)
    if decided.type == "refusal":
        return replace(said, outcome=Outcome.REFUSED, detail="the model declined the question")
    label = _stance(decided.choice)
    if decided.type != "choice" or label is None:
        return replace(said, detail=f"no class in the answer: {decided.type} {decided.choice!r}")
    shares = _shares({entry.value: entry.probability for entry in decided.probabilities})
    source: ConfidenceSource | None = "decisions" if shares else None
    return replace(said, outcome=Outcome.OK, label=label, probabilities=shares, confidence_source=source)


def gemini_answer(body: str) -> Answer:
    """Parse the body of Gemini's generateContent with a label. A blocked answer is not an error there: the text is
    absent."""
    said, generated = _opened("gemini", _Generated, body, "candidates")
    if generated is None:
        return said
    said = replace(said, model_returned=generated.model_version, request_id=generated.response_id)
    blocked = generated.prompt_feedback and generated.prompt_feedback.block_reason
    if blocked:
        return replace(said, outcome=Outcome.REFUSED, detail=f"the post was blocked: {blocked}")
    if not generated.candidates:
        return replace(said, detail="the answer has no candidate")
    candidate = generated.candidates[0]
    reason = candidate.finish_reason or ""
    if reason == _ACCOUNT_LIMITED:
        return replace(said, outcome=Outcome.STOP, detail=f"the account is limited by Google ({reason}); see AI Studio")
    if reason in _FILTERED:
        return replace(said, outcome=Outcome.REFUSED, detail=f"a filter stopped the answer: {reason}")
    if reason == "MAX_TOKENS":
        return replace(said, detail="the answer was cut off at its length limit")
    parts = (candidate.content and candidate.content.parts) or []
    content = "".join(part.text or "" for part in parts if not part.thought)
    label = _label(content)
    if label is None:
        return replace(said, detail=f"no class in the answer: {content!r} (finish reason: {reason or 'none'})")
    return replace(said, outcome=Outcome.OK, label=label)


def _opened(
    provider: Provider, model: type[Model], body: str, results: str, request_id: str | None = None
) -> tuple[Answer, Model | None]:
    """Start parsing a successful response: return the answer with the fields that do not depend on the content, and the
    body as ``model``. The latter is ``None`` if the body is malformed or holds an error in place of ``results``; the
    answer then describes it."""
    fields = _fields(body)
    if fields.get("error") and not fields.get(results):
        return _error_within(provider, body, fields["error"]), None
    usage = _usage(fields.get("usage")) if provider == "openai" else _gemini_usage(fields.get("usageMetadata"))
    said = Answer(Outcome.MALFORMED, body, usage=usage, served=True, request_id=request_id)
    parsed = _read(model, body)
    return (replace(said, detail=parsed), None) if isinstance(parsed, str) else (said, parsed)


def _read(model: type[Model], body: str) -> Model | str:
    """Return the body as ``model``, or a description of the validation error that does not quote the body."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        return f"the answer is not in the format of this service: {where}: {first['msg']}"


def _fields(body: str) -> dict[str, object]:
    """Return the top-level fields of a body, unvalidated; empty if it is not a JSON object."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _error_within(provider: Provider, body: str, error: object) -> Answer:
    """Return the answer for an error in a response with a success status: gateways send these, sometimes after the
    model has answered."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return failure(provider, Refusal(status, {}, body, gateway=True))


def _joined(content: object) -> str:
    """Return the text of a message, which may be split into parts."""
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _tokens(logprobs: object) -> list[Token]:
    """Return the tokens of an answer; empty if their probabilities are missing or malformed."""
    try:
        found = _Logprobs.model_validate(logprobs or {}).content or []
    except ValidationError:
        return []
    return [
        Token(token.token, token.logprob, tuple((other.token, other.logprob) for other in token.top_logprobs or []))
        for token in found
    ]


def _label(content: str) -> Stance | None:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return _stance(answer.get("stance")) if isinstance(answer, dict) else None


def _stance(value: object) -> Stance | None:
    return next((stance for stance in STANCES if stance == value), None)


def _shares(by_value: dict[str | bool, float]) -> tuple[float, float, float] | None:
    total = sum(by_value.get(stance, math.nan) for stance in STANCES)
    if not (0 < total < math.inf) or min(by_value[stance] for stance in STANCES) < 0:
        return None
    bearish, neutral, bullish = (by_value[stance] / total for stance in STANCES)
    return bearish, neutral, bullish


def _usage(reported: object) -> Usage | None:
    try:
        usage = _OpenAIUsage.model_validate(reported)
    except ValidationError:
        return None
    cached = (usage.details and usage.details.cached_tokens) or 0
    written = (usage.details and usage.details.cache_write_tokens) or 0
    reasoning = (usage.output_details and usage.output_details.reasoning_tokens) or 0
    # Output includes reasoning, but not at every gateway: there the total or the reasoning count is higher.
    output = max(usage.output_tokens, reasoning, (usage.total_tokens or 0) - usage.input_tokens)
    if reasoning > usage.output_tokens:
        output = max(output, reasoning + usage.output_tokens)
    return Usage(usage.input_tokens, output, cached, written)


def _gemini_usage(reported: object) -> Usage | None:
    try:
        usage = _GeminiUsage.model_validate(reported)
    except ValidationError:
        return None
    if usage.prompt_token_count is None:
        return None
    output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    asked = usage.prompt_token_count + (usage.tool_use_prompt_token_count or 0)
    output = max(output, (usage.total_token_count or 0) - asked)
    return Usage(asked, output, usage.cached_content_token_count or 0)
