"""OpenAI's Batch API: a file of chat completions, answered within a day at half the price."""

import json
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from bizcharts_pipeline.autolabel.errors import BatchError
from bizcharts_pipeline.autolabel.protocol import Answer, BatchState, Endpoint, Outcome, Prompt, Question
from bizcharts_pipeline.autolabel.providers.access import Access
from bizcharts_pipeline.autolabel.providers.batch_calls import SECONDS, Result, called, first_that, unknown
from bizcharts_pipeline.autolabel.providers.openai import chat_request, openai_client, openai_failure

if TYPE_CHECKING:
    from openai.types import Batch

MAX_INPUT_BYTES = 150_000_000  # the service's limit is 200 MB
MAX_REQUESTS = 50_000
MAX_REASONS = 3  # reasons of a failed batch that are shown
MAX_OUTPUT_BYTES = 160 * 1024 * 1024  # 50,000 answers have about 100 MB
_OUTPUT_SECONDS = 30 * 86_400  # retention of results
_OVERSIZED = ("token_limit_exceeded", "Enqueued token limit")
_STATES = {
    **dict.fromkeys(("validating", "in_progress", "finalizing", "cancelling"), BatchState.RUNNING),
    "completed": BatchState.ENDED,
    **dict.fromkeys(("expired", "cancelled"), BatchState.EXPIRED),
    "failed": BatchState.FAILED,
}


class OpenAIBatches:
    """One OpenAI model behind the Batch API.

    Raises:
        BatchError: from every method. The state is FAILED or OVERSIZED if ``submit`` was definitely refused, and
            GONE if the service does not know the batch or its results. Otherwise it is RUNNING: the service could
            not be reached and a later call may succeed; after a ``submit``, ``find`` shows later whether the
            batch exists.
    """

    name = "openai"
    endpoint: Endpoint = "batch"
    max_batch_bytes = MAX_INPUT_BYTES

    def __init__(self, access: Access, model: str, seconds: float) -> None:
        self.model = model
        self._key, self._gateway = access.key, access.gateway
        self._client = openai_client(access, max(SECONDS, seconds), seconds, MAX_OUTPUT_BYTES, connections=2)

    def submit(self, run_key: str, prompt: Prompt, questions: Sequence[Question]) -> str:
        """Upload and create a batch of requests for labels at OpenAI that carries ``run_key``; return its id."""
        if len(questions) > MAX_REQUESTS:
            raise BatchError(f"{len(questions):,} requests are too many for a batch.", BatchState.OVERSIZED)
        lines = bytearray()
        for question in questions:
            lines += _line(question.key, chat_request(self.model, prompt, question))
            if len(lines) > MAX_INPUT_BYTES:
                raise BatchError("The requests are too large for one batch.", BatchState.OVERSIZED)
        file_id = self._upload(bytes(lines))
        batch = self._call(
            lambda: self._client.batches.create(
                input_file_id=file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"run_key": run_key},
                output_expires_after={"anchor": "created_at", "seconds": _OUTPUT_SECONDS},
            ),
            submitting=True,
        )
        return _identifier(batch)

    def find(self, run_key: str) -> str | None:
        """Return the id of OpenAI's batch that carries ``run_key``, if the service has one."""

        def search() -> str | None:
            batches = self._client.batches.list(limit=100)
            found = first_that(batches, lambda batch: (batch.metadata or {}).get("run_key") == run_key, "OpenAI")
            return None if found is None else _identifier(found)

        return self._call(search)

    def state(self, batch_id: str) -> BatchState:
        """Return the state of OpenAI's batch of labels."""
        batch = self._batch(batch_id)
        state = _STATES.get(batch.status)
        if state is None:
            raise unknown("OpenAI's response has no known batch state; try again later.")
        errors = (batch.errors and batch.errors.data) or []
        if state is BatchState.FAILED and any(error.code == _OVERSIZED[0] for error in errors):
            return BatchState.OVERSIZED
        return state

    def reason(self, batch_id: str) -> str:
        """Return OpenAI's reason for failing a batch of labels."""
        from bizcharts_pipeline.autolabel.providers.replies import one_line, scrubbed

        batch = self._batch(batch_id)
        errors = (batch.errors and batch.errors.data) or []
        said = list(dict.fromkeys(f"{error.code or 'error'}: {error.message or ''}" for error in errors))
        if any(error.code == "model_not_found" for error in errors):
            said.insert(0, "correct `model` of [openai]")
        more = f" (and {len(said) - MAX_REASONS} more)" if len(said) > MAX_REASONS else ""
        return one_line(scrubbed("; ".join(said[:MAX_REASONS]) + more, self._key))

    def collect(self, batch_id: str) -> Iterator[tuple[str, Answer]]:
        """Yield question key and answer of each result in the output and error files of OpenAI's batch of labels.

        A truncated last line is skipped: the file is still incomplete, which :meth:`answered` reveals.
        """
        batch = self._batch(batch_id)
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                for line in BytesIO(self._content(file_id)):  # avoids a second copy of a large file
                    if line.endswith(b"\n"):
                        if line.strip():
                            yield self._read(line.rstrip(b"\n"))
                    elif _parsed(line) is not None:
                        yield self._read(line)

    def answered(self, batch_id: str) -> int:
        """Return the number of requests of OpenAI's batch of labels that must have a line in the output file or, for a
        completed batch, in the error file.

        Failed requests of an expired or cancelled batch may have none.
        """
        batch = self._batch(batch_id)
        counts = batch.request_counts
        if counts is None:
            return 0
        return (counts.completed or 0) + ((counts.failed or 0) if batch.status == "completed" else 0)

    def close(self) -> None:
        """Close the connections to OpenAI."""
        self._client.close()

    def _upload(self, lines: bytes) -> str:
        """Return the id of the uploaded file; after a failure here, no batch exists."""
        try:
            return self._call(
                lambda: _identifier(self._client.files.create(file=("labels.jsonl", lines), purpose="batch")),
                submitting=True,
            )
        except BatchError as error:
            refusal = BatchError(str(error), _of_upload(error.state))
        raise refusal

    def _batch(self, batch_id: str) -> "Batch":
        batch = self._call(lambda: self._client.batches.retrieve(batch_id))
        _identifier(batch)
        return batch

    def _content(self, file_id: str) -> bytes:
        return self._call(lambda: self._client.files.content(file_id).content)

    def _call(self, send: Callable[[], Result], submitting: bool = False) -> Result:
        return called(send, lambda error: self._refusal(error, submitting), submitting=submitting)

    def _refusal(self, error: Exception, submitting: bool) -> BatchError:
        from bizcharts_pipeline.autolabel.providers.replies import safe

        answer = safe(openai_failure(error), self._key)
        message = f"OpenAI, batch: {answer.detail}"
        if submitting and (answer.detail.startswith("413") or any(sign in answer.raw for sign in _OVERSIZED)):
            return BatchError(message, BatchState.OVERSIZED)
        if not submitting and answer.detail.startswith("404"):
            return BatchError(message, BatchState.GONE)
        if not submitting or answer.outcome in (Outcome.RATE, Outcome.TRANSIENT, Outcome.TIMEOUT):
            return unknown(message)
        return BatchError(message, BatchState.FAILED)

    def _read(self, line: bytes) -> tuple[str, Answer]:
        """Return key and answer of a line of a result file. The key is empty if the line is damaged or names no
        request; it was billed all the same."""
        from bizcharts_pipeline.autolabel.providers.replies import safe

        entry = _parsed(line)
        if not isinstance(entry, dict) or not isinstance(key := entry.get("custom_id"), str):
            raw = line.decode("utf-8", "replace")
            damaged = Answer(Outcome.MALFORMED, raw, detail="a damaged line of the batch's results", served=True)
            return "", safe(damaged, self._key)
        return key, safe(_answer(entry, gateway=self._gateway), self._key)


def _parsed(line: bytes) -> object:
    """Return the JSON value of a line; ``None`` if it is damaged."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _of_upload(state: BatchState) -> BatchState:
    return BatchState.FAILED if state is BatchState.RUNNING else state


def _answer(entry: dict[str, Any], *, gateway: bool) -> Answer:
    from bizcharts_pipeline.autolabel.providers.failures import Refusal, failure
    from bizcharts_pipeline.autolabel.providers.replies import chat_answer

    response, error = entry.get("response"), entry.get("error")
    if isinstance(response, dict) and isinstance(status := response.get("status_code"), int):
        body = json.dumps(response.get("body"), ensure_ascii=False)
        request_id = response.get("request_id")
        headers = {"x-request-id": request_id} if isinstance(request_id, str) else {}
        if status == 200:
            return chat_answer(body, headers.get("x-request-id"))
        return failure("openai", Refusal(status, headers, body, gateway))
    code = error.get("code") if isinstance(error, dict) else None
    return Answer(Outcome.TRANSIENT, json.dumps(entry, ensure_ascii=False), detail=f"not answered: {code}")


def _line(key: str, body: dict[str, Any]) -> bytes:
    request = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(request, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _identifier(thing: Any) -> str:
    if isinstance(name := getattr(thing, "id", None), str) and name:
        return name
    raise unknown("OpenAI's response has no id; try again later.")
