"""OpenAI: chat completions with structured output, and the decisions endpoint.

A chat request asks for a JSON object with the class as an enum; if the model returns log-probabilities, those of the
class's tokens become the class probabilities. Decisions return probabilities themselves. Images are sent inline at low
detail.
"""

import base64
import re
from typing import TYPE_CHECKING, Any, Literal

from bizcharts_pipeline.autolabel.protocol import Answer, Endpoint, Outcome, Prompt, Question
from bizcharts_pipeline.autolabel.providers.access import Access
from bizcharts_pipeline.labels.stances import STANCES

if TYPE_CHECKING:
    from openai import OpenAI

HTML_PAGE = "200: an HTML page was returned, probably by a proxy"
MAX_ANSWER_BYTES = 4 * 1024 * 1024
SAFETY_IDENTIFIER = "bizcharts-labelling"  # all requests are from this program, not from end users
ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"stance": {"type": "string", "enum": list(STANCES)}},
    "required": ["stance"],
    "additionalProperties": False,
}
_TOP_LOGPROBS = 10
_REASONING = re.compile(r"gpt-(5\.\d|[6-9]|\d\d)")  # no temperature, no log-probabilities, but an effort


class OpenAIProvider:
    """One OpenAI model behind ``chat`` or ``decisions``; thread-safe."""

    name = "openai"

    def __init__(
        self, access: Access, model: str, endpoint: Literal["chat", "decisions"], seconds: float, connections: int
    ) -> None:
        self.model = model
        self.endpoint: Endpoint = endpoint
        self._key, self._gateway = access.key, access.gateway
        self._client = openai_client(access, seconds, seconds, MAX_ANSWER_BYTES, connections)
        if endpoint == "decisions":
            self._create: Any = self._client.decisions.with_raw_response.create
        else:
            self._create = self._client.chat.completions.with_raw_response.create

    def ask(self, prompt: Prompt, question: Question) -> Answer:
        """Send OpenAI one request for a label, once, and return the answer."""
        from bizcharts_pipeline.autolabel.providers.replies import chat_answer, decision_answer, safe

        decisions = self.endpoint == "decisions"
        try:
            request = (decision_request if decisions else chat_request)(self.model, prompt, question)
            reply = self._create(**request)
            read = decision_answer if decisions else chat_answer
            if "html" in reply.headers.get("content-type", ""):
                answer = Answer(Outcome.TRANSIENT, reply.text, detail=HTML_PAGE, served=True)
            else:
                answer = read(reply.text, reply.headers.get("x-request-id"))
        except Exception as error:
            answer = openai_failure(error, gateway=self._gateway)
        return safe(answer, self._key)

    def close(self) -> None:
        """Close the connections to OpenAI."""
        self._client.close()


def openai_client(access: Access, seconds: float, wait: float, max_bytes: int, connections: int) -> "OpenAI":
    """Return the client of OpenAI's SDK, which sends every request once; see :func:`http_client` for the limits."""
    from openai import OpenAI

    from bizcharts_pipeline.autolabel.providers.http import http_client

    client = http_client(access.url, seconds=seconds, wait=wait, max_bytes=max_bytes, connections=connections)
    return OpenAI(api_key=access.key, base_url=access.url, max_retries=0, timeout=seconds, http_client=client)


def openai_failure(error: Exception, *, gateway: bool = False, address: str = "", model: str = "") -> Answer:
    """Return the labelling answer for an exception of OpenAI's SDK. ``gateway``: it is not from the service's own
    host. ``address`` and ``model``: as in :class:`Refusal`."""
    import openai

    from bizcharts_pipeline.autolabel.providers.failures import Refusal, failure, lost

    if isinstance(error, openai.APIStatusError):
        response = error.response
        headers = {name.lower(): value for name, value in response.headers.items()}
        return failure("openai", Refusal(response.status_code, headers, response.text, gateway, address, model))
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
    return lost(cause or error) or Answer(Outcome.BUG, detail=f"{type(error).__name__}: {error}")


def chat_request(model: str, prompt: Prompt, question: Question) -> dict[str, Any]:
    """Return the body of a chat completion that asks for a label, also used in the Batch API."""
    content: list[dict[str, Any]] = [{"type": "text", "text": question.text}]
    if question.image is not None:
        content.append({"type": "image_url", "image_url": {"url": _data_url(question.image), "detail": "low"}})
    schema = {"name": "stance", "strict": True, "schema": ANSWER_SCHEMA}
    return {
        "model": model,
        "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": content}],
        "response_format": {"type": "json_schema", "json_schema": schema},
        "max_completion_tokens": prompt.max_output_tokens,
        "safety_identifier": SAFETY_IDENTIFIER,
        "store": False,
        **_parameters(model),
    }


def decision_request(model: str, prompt: Prompt, question: Question) -> dict[str, Any]:
    """Return the body of a request for a label to OpenAI's endpoint ``decisions``. The instruction is part of its
    question, so the input is the post alone."""
    content: list[dict[str, Any]] = [{"type": "input_text", "text": question.text}]
    if question.image is not None:
        content.append({"type": "input_image", "image_url": _data_url(question.image), "detail": "low"})
    choices = [{"value": stance} for stance in STANCES]
    return {
        "model": model,
        "input": [{"type": "message", "role": "user", "content": content}],
        "questions": [{"type": "choice", "name": "stance", "instructions": prompt.system, "choices": choices}],
        "safety_identifier": SAFETY_IDENTIFIER,
    }


def _parameters(model: str) -> dict[str, Any]:
    if _REASONING.match(model):
        return {"reasoning_effort": "none"}
    return {"temperature": 0, "logprobs": True, "top_logprobs": _TOP_LOGPROBS}


def _data_url(image: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
