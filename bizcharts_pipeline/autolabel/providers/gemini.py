"""Gemini through ``google-genai``: generateContent with a JSON schema, as single requests or as a batch.

Gemini 3 has no log-probabilities and those of earlier versions are unreliable, so its labels carry no probabilities.
The API version is the SDK's default (``v1``; ``GOOGLE_GENAI_API_VERSION`` overrides it). Some models, and some
compatible services, support ``v1beta`` only: if ``v1`` does not know the model or a field, ``v1beta`` is used.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import httpx2

from bizcharts_pipeline.autolabel.errors import BatchError
from bizcharts_pipeline.autolabel.protocol import Answer, BatchState, Endpoint, Outcome, Prompt, Question
from bizcharts_pipeline.autolabel.providers.access import Access
from bizcharts_pipeline.autolabel.providers.batch_calls import SECONDS, Result, called, first_that, unknown
from bizcharts_pipeline.autolabel.providers.openai import ANSWER_SCHEMA, HTML_PAGE, MAX_ANSWER_BYTES

if TYPE_CHECKING:
    from google.genai.types import BatchJob, Content, GenerateContentConfig, HttpOptions, InlinedResponse

API_VERSION = "v1"  # the SDK's default
MAX_INLINE_BYTES = 18_000_000  # the service's limit is 20 MB
MAX_OUTPUT_BYTES = 32 * 1024 * 1024  # twice the largest possible output for 18 MB of questions
_HARMS = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
_TOO_MUCH_ENQUEUED = re.compile(r"enqueued|batch.{0,40}token", re.IGNORECASE)
_STATES = {
    **dict.fromkeys(("SUCCEEDED", "PARTIALLY_SUCCEEDED"), BatchState.ENDED),
    **dict.fromkeys(("EXPIRED", "CANCELLED"), BatchState.EXPIRED),
    **dict.fromkeys(("QUEUED", "PENDING", "RUNNING", "CANCELLING", "PAUSED", "UPDATING"), BatchState.RUNNING),
    "FAILED": BatchState.FAILED,
}
# Requests within a batch fail with codes of google.rpc.Code.
_HTTP_STATUS = {1: 499, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 13: 500, 14: 503, 16: 401}


class _Gemini:
    """Base of both providers: the SDK's client, which sends every request once, and the API version."""

    name = "gemini"

    def __init__(
        self, access: Access, model: str, seconds: float, wait: float, max_bytes: int, connections: int
    ) -> None:
        from google import genai
        from google.genai import types

        from bizcharts_pipeline.autolabel.providers.http import http_client

        self.model = model
        self._key, self._url, self._gateway = access.key, access.url, access.gateway
        self._http = http_client(access.url, seconds=seconds, wait=wait, max_bytes=max_bytes, connections=connections)
        options = types.HttpOptions(
            base_url=access.url,
            timeout=int(wait * 1000),  # milliseconds here
            retry_options=types.HttpRetryOptions(attempts=1),
            httpx_client=self._http,
        )
        self._client = genai.Client(api_key=access.key, vertexai=False, http_options=options)
        self._version_named = bool(os.environ.get("GOOGLE_GENAI_API_VERSION"))
        self._options: HttpOptions | None = None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._http.close()

    def _send(self, send: "Callable[[HttpOptions | None], Result]") -> Result:
        """Return the result of ``send`` with the API version, which is determined at the first request."""
        from google.genai import errors, types

        options = self._options
        try:
            return send(options)
        except errors.APIError as error:
            if options is not None or self._version_named or not _needs_beta(error):
                raise
        beta = types.HttpOptions(api_version="v1beta")
        result = send(beta)
        self._options = beta
        return result


class GeminiProvider(_Gemini):
    """One Gemini model; thread-safe."""

    endpoint: Endpoint = "chat"

    def __init__(self, access: Access, model: str, seconds: float, connections: int) -> None:
        super().__init__(access, model, seconds, seconds, MAX_ANSWER_BYTES, connections)

    def ask(self, prompt: Prompt, question: Question) -> Answer:
        """Send Gemini one request for a label, once, and return the answer."""
        from bizcharts_pipeline.autolabel.providers.replies import gemini_answer, safe

        def generate(options: "HttpOptions | None") -> Any:
            config = _config(self.model, prompt)
            config.should_return_http_response = True  # the unchanged body
            config.http_options = options
            return self._client.models.generate_content(model=self.model, contents=_contents(question), config=config)

        try:
            reply = self._send(generate).sdk_http_response
            headers = {name.lower(): value for name, value in (reply.headers or {}).items()}
            body = reply.body or ""
            if "html" in headers.get("content-type", ""):
                answer = Answer(Outcome.TRANSIENT, body, detail=HTML_PAGE, served=True)
            else:
                answer = gemini_answer(body)
        except Exception as error:
            answer = gemini_failure(error, gateway=self._gateway)
        return safe(answer, self._key)


class GeminiBatches(_Gemini):
    """One Gemini model in batch mode, with inline requests.

    Raises:
        BatchError: as for :class:`OpenAIBatches`.
    """

    endpoint: Endpoint = "batch"
    max_batch_bytes = MAX_INLINE_BYTES

    def __init__(self, access: Access, model: str, seconds: float) -> None:
        super().__init__(access, model, max(SECONDS, seconds), seconds, MAX_OUTPUT_BYTES, connections=2)

    def submit(self, run_key: str, prompt: Prompt, questions: Sequence[Question]) -> str:
        """Create a batch of requests for labels at Gemini that carries ``run_key``; return its name."""
        from google.genai import types

        if sum(question.batch_bytes(prompt) for question in questions) > MAX_INLINE_BYTES:
            raise BatchError("The requests are too large for one batch.", BatchState.OVERSIZED)
        config = _config(self.model, prompt)
        requests = [
            types.InlinedRequest(contents=[*_contents(q)], metadata={"key": q.key}, config=config) for q in questions
        ]
        job = self._call(
            lambda options: self._client.batches.create(
                model=self.model,
                src=types.BatchJobSource(inlined_requests=requests),
                config=types.CreateBatchJobConfig(display_name=run_key, http_options=options),
            ),
            submitting=True,
        )
        return _name(job)

    def find(self, run_key: str) -> str | None:
        """Return the name of Gemini's batch that carries ``run_key``, if the service has one."""
        from google.genai import types

        def search(options: "HttpOptions | None") -> str | None:
            jobs = self._client.batches.list(config=types.ListBatchJobsConfig(page_size=100, http_options=options))
            found = first_that(jobs, lambda job: job.display_name == run_key, "Gemini")
            return None if found is None else _name(found)

        return self._call(search)

    def state(self, batch_id: str) -> BatchState:
        """Return the state of Gemini's batch of labels."""
        state = _state(self._job(batch_id))
        if state is None:
            raise unknown("Gemini's response has no known batch state; try again later.")
        return state

    def reason(self, batch_id: str) -> str:
        """Return Gemini's reason for failing a batch of labels; empty if it cannot be read."""
        from bizcharts_pipeline.autolabel.providers.replies import one_line, scrubbed

        return one_line(scrubbed(_failure_message(self._operation(batch_id)), self._key))

    def collect(self, batch_id: str) -> Iterator[tuple[str, Answer]]:
        """Yield question key and answer of each result of Gemini's batch of labels."""
        from bizcharts_pipeline.autolabel.providers.replies import safe

        job = self._job(batch_id)
        responses = (job.dest and job.dest.inlined_responses) or []
        if not responses and _state(job) is BatchState.ENDED:
            raise unknown("Gemini has finished the batch but returned no results.")
        for response in responses:
            answer = _inlined(response, gateway=self._gateway)
            yield (response.metadata or {}).get("key", ""), safe(answer, self._key)

    def answered(self, batch_id: str) -> int:
        """Return how many requests of the batch of labels Gemini says it has answered: its results must have a
        response to each of them; if the batch succeeded, a response or an error."""
        metadata = self._operation(batch_id).get("metadata")
        counts = metadata.get("batchStats") if isinstance(metadata, dict) else None
        if not isinstance(metadata, dict) or not isinstance(counts, dict):
            return 0
        succeeded = str(metadata.get("state")).removeprefix("BATCH_STATE_") == "SUCCEEDED"
        names = ("successfulRequestCount", "failedRequestCount") if succeeded else ("successfulRequestCount",)
        return sum(_count(counts.get(name)) for name in names)

    def _operation(self, batch_id: str) -> dict[str, Any]:
        """Return a batch as raw JSON, with the fields that the SDK drops; empty if it cannot be read."""
        named = self._options.api_version if self._options else os.environ.get("GOOGLE_GENAI_API_VERSION")
        address = f"{self._url}/{named or API_VERSION}/{batch_id}"
        try:
            reply = self._http.get(address, headers={"x-goog-api-key": self._key})
            operation = json.loads(reply.text) if reply.status_code == 200 else {}
        except (httpx2.HTTPError, ValueError, RecursionError):
            return {}
        return operation if isinstance(operation, dict) else {}

    def _job(self, batch_id: str) -> "BatchJob":
        from google.genai import types

        return self._call(
            lambda options: self._client.batches.get(
                name=batch_id, config=types.GetBatchJobConfig(http_options=options)
            )
        )

    def _call(self, send: "Callable[[HttpOptions | None], Result]", submitting: bool = False) -> Result:
        return called(lambda: self._send(send), lambda error: self._refusal(error, submitting), submitting=submitting)

    def _refusal(self, error: Exception, submitting: bool) -> BatchError:
        from bizcharts_pipeline.autolabel.providers.replies import safe

        answer = safe(gemini_failure(error), self._key)
        message = f"Gemini, batch: {answer.detail}"
        if not submitting:
            return BatchError(message, BatchState.GONE) if answer.detail.startswith("404") else unknown(message)
        if answer.detail.startswith("413") or (
            answer.outcome is Outcome.RATE and _TOO_MUCH_ENQUEUED.search(answer.detail)
        ):
            return BatchError(message, BatchState.OVERSIZED)
        if answer.outcome in (Outcome.RATE, Outcome.TRANSIENT, Outcome.TIMEOUT):
            return unknown(message)
        return BatchError(message, BatchState.FAILED)


def gemini_failure(error: Exception, *, gateway: bool = False) -> Answer:
    """Return the labelling answer for an exception of Gemini's SDK. ``gateway``: it is not from the service's own
    host."""
    from google.genai import errors

    from bizcharts_pipeline.autolabel.providers.failures import Refusal, failure, lost

    if isinstance(error, errors.APIError):
        response: Any = error.response
        headers = {name.lower(): value for name, value in response.headers.items()} if response is not None else {}
        body = response.text if response is not None else str(error.details)
        return failure("gemini", Refusal(int(error.code), headers, body, gateway))
    if isinstance(error, UnicodeDecodeError | RecursionError):
        return Answer(Outcome.TRANSIENT, detail="the service's error response is unreadable", served=gateway)
    return lost(error) or Answer(Outcome.BUG, detail=f"{type(error).__name__}: {error}")


def _needs_beta(error: Any) -> bool:
    return error.code == 404 or (error.code == 400 and "Unknown name" in (error.message or ""))


def _contents(question: Question) -> "list[Content]":
    from google.genai import types

    parts = [types.Part.from_text(text=question.text)]
    if question.image is not None:
        parts.append(types.Part.from_bytes(data=question.image, mime_type="image/jpeg"))
    return [types.Content(role="user", parts=parts)]


def _config(model: str, prompt: Prompt) -> "GenerateContentConfig":
    """Return the parameters. Google's adjustable safety filters are off, as offensive posts must be labelled too."""
    from google.genai import types

    config = types.GenerateContentConfig(
        system_instruction=prompt.system,
        temperature=0,
        max_output_tokens=prompt.max_output_tokens,
        response_mime_type="application/json",
        response_json_schema=ANSWER_SCHEMA,
        safety_settings=[
            types.SafetySetting(
                category=types.HarmCategory(f"HARM_CATEGORY_{harm}"), threshold=types.HarmBlockThreshold.OFF
            )
            for harm in _HARMS
        ],
    )
    if re.match(r"gemini-2\.5-flash", model):
        config.thinking_config = types.ThinkingConfig(thinking_budget=0)
    elif re.match(r"gemini-([3-9]|\d\d)\S*flash", model):
        config.thinking_config = types.ThinkingConfig(thinking_level=types.ThinkingLevel.MINIMAL)
        config.media_resolution = types.MediaResolution.MEDIA_RESOLUTION_LOW  # a thumbnail has no more detail
    return config


def _inlined(response: "InlinedResponse", *, gateway: bool) -> Answer:
    from bizcharts_pipeline.autolabel.providers.failures import Refusal, failure
    from bizcharts_pipeline.autolabel.providers.replies import gemini_answer

    if response.response is not None:
        return gemini_answer(response.response.model_dump_json(by_alias=True, exclude_none=True))
    if response.error is not None:
        code = response.error.code or 0
        body = response.error.model_dump_json(exclude_none=True)
        status = _HTTP_STATUS.get(code, code if code >= 400 else 500)
        return failure("gemini", Refusal(status, {}, body, gateway))
    return Answer(Outcome.TRANSIENT, detail="not answered")


def _count(value: object) -> int:
    """Return a count, which the service sends as a string; 0 if it is not a number."""
    return int(value) if isinstance(value, int | str) and str(value).isdecimal() else 0


def _failure_message(operation: dict[str, Any]) -> str:
    """Return code and message of a failed operation; empty if it has none."""
    metadata = operation.get("metadata")
    error = operation.get("error") or (metadata.get("error") if isinstance(metadata, dict) else None)
    if not isinstance(error, dict):
        return ""
    hint = "correct `model` of [gemini]: " if error.get("code") in (5, 404) else ""
    return f"{hint}{error.get('code', '')}: {error.get('message', '')}"


def _state(job: "BatchJob") -> BatchState | None:
    return _STATES.get(job.state.value.removeprefix("JOB_STATE_") if job.state else "")


def _name(job: "BatchJob") -> str:
    if job.name:
        return job.name
    raise unknown("Gemini's response has no batch name; try again later.")
