"""Requests, replies and faults of the simulated label APIs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bizcharts_pipeline.demo.server import JSON, Fault, Page


class LabelFault(StrEnum):
    """Fault of one request; charges are never reversed."""

    # Refused and not billed.
    RATE = "429"  # with a short Retry-After
    RATE_LONG = "429 long"  # with a Retry-After of five minutes
    DAY_LIMIT = "429 day"  # the daily limit is reached
    QUOTA = "insufficient_quota"  # no money left; also a 429
    UNAUTHORISED = "401"
    MODEL_GONE = "404"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    BAD_IMAGE = "invalid image"
    RESET = "reset"  # the connection is reset before processing
    # Processed and billed, but the answer does not arrive.
    HANG = "hang"
    GATEWAY_TIMEOUT = "504"  # a gateway times out, after processing
    LOST = "lost"  # the connection is reset
    DRIBBLE = "dribble"  # the answer arrives byte by byte
    OVERSIZE = "oversize"  # a gigabyte of zeros arrives instead
    BROKEN_BODY = "broken body"  # half of the JSON arrives
    # Processed and billed, but the answer is unusable.
    MALFORMED = "malformed"  # the model's output is half of a JSON object
    OFF_ENUM = "off enum"  # a class that is not in the schema
    EMPTY = "empty"  # a normal end without any output
    LENGTH = "length"  # cut off at the token limit
    REFUSAL = "refusal"
    CONTENT_FILTER = "content filter"  # the answer was filtered
    BLOCKED = "blocked"  # the prompt was filtered; OpenAI does not bill it
    OTHER_MODEL = "other model"  # a valid answer from a model that was not requested
    BAD_LINE = "bad line"  # a line of a batch's output that is not JSON


REFUSED = frozenset(
    {
        LabelFault.RATE,
        LabelFault.RATE_LONG,
        LabelFault.DAY_LIMIT,
        LabelFault.QUOTA,
        LabelFault.UNAUTHORISED,
        LabelFault.MODEL_GONE,
        LabelFault.SERVER_ERROR,
        LabelFault.UNAVAILABLE,
        LabelFault.BAD_IMAGE,
    }
)
TRANSPORT = {
    LabelFault.HANG: Fault.HANG,
    LabelFault.LOST: Fault.RESET,
    LabelFault.DRIBBLE: Fault.DRIP,
    LabelFault.OVERSIZE: Fault.HUGE,
}
ANY_REQUEST = frozenset(  # faults that also apply to requests other than for labels
    {
        *(LabelFault.RATE, LabelFault.RATE_LONG, LabelFault.QUOTA, LabelFault.UNAUTHORISED, LabelFault.SERVER_ERROR),
        *(LabelFault.UNAVAILABLE, LabelFault.RESET, LabelFault.BROKEN_BODY, *TRANSPORT),
    }
)
IN_BATCHES = frozenset(  # faults of a single line of a batch
    {
        *(LabelFault.SERVER_ERROR, LabelFault.BAD_IMAGE, LabelFault.MALFORMED, LabelFault.OFF_ENUM, LabelFault.EMPTY),
        *(LabelFault.LENGTH, LabelFault.REFUSAL, LabelFault.CONTENT_FILTER, LabelFault.BLOCKED),
        *(LabelFault.OTHER_MODEL, LabelFault.BAD_LINE),
    }
)


OFF_CLASS = "very bullish"  # the class in answers with `LabelFault.OFF_ENUM`


class BatchFault(StrEnum):
    """Fault of a whole batch."""

    EXPIRED = "expired"  # OpenAI: with partial results; Gemini: without any
    FAILED = "failed"  # in its validation
    BILLING = "billing"  # in its validation, as there is no money left
    TOO_MANY_TOKENS = "token_limit_exceeded"  # exceeds the account's queue


@dataclass(frozen=True)
class Request:
    """One received request; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body of a request to a simulated label API.

        Raises:
            Refusal: the body is not a JSON object.
        """
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            raise Refusal(400, "We could not parse the JSON body of your request.") from None
        if not isinstance(value, dict):
            raise Refusal(400, "The body must be a JSON object.")
        return value


@dataclass(frozen=True)
class Reply:
    """The answer to one request, and its transport fault, if any."""

    page: Page
    headers: tuple[tuple[str, str], ...] = ()
    transport: Fault | None = None


@dataclass(frozen=True)
class Asked:
    """A request for one label, as received."""

    provider: str  # 'openai' or 'gemini'
    model: str
    endpoint: str  # 'chat', 'batch' or 'decisions'
    system: tuple[str, ...]  # texts of the messages that are not from the user
    users: tuple[str, ...]  # texts of the user's messages
    image: bytes | None
    detail: str | None  # of the image
    overhead: int  # tokens billed in addition to texts and image

    @property
    def text(self) -> str:
        """The text of all user messages of a request to a simulated label API."""
        return "\n".join(self.users)

    @property
    def content(self) -> str:
        """Identity of a question to a simulated label API: a hash of provider, model, texts and image."""
        parts = [self.provider, self.model, *self.system, *self.users]
        digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace"))
        digest.update(self.image or b"")
        return digest.hexdigest()


class Refusal(Exception):
    """A response other than 200; each API has its own format for it."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, kind: str = "", retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code  # OpenAI's 'code', Gemini's id of the quota
        self.kind = kind  # OpenAI's 'type', Gemini's 'status'
        self.retry_after = retry_after  # seconds


def json_page(value: object, status: int = 200) -> Page:
    """Return ``value`` as a JSON page of a simulated label API."""
    return Page(json.dumps(value, separators=(",", ":")).encode(), JSON, status=status)


def fill(schema: Mapping[str, Any], label: str) -> Any:
    """Return a simulated answer that conforms to a JSON schema, with ``label`` wherever it is allowed; ``OFF_CLASS``
    is used even where it is not."""
    allowed = schema.get("enum")
    if allowed:
        return label if label in allowed or label == OFF_CLASS else allowed[0]
    kind = schema.get("type", "string")
    kind = str(next((name for name in kind if name != "null"), "null") if isinstance(kind, list) else kind).lower()
    if kind == "object":
        return {name: fill(part, label) for name, part in schema.get("properties", {}).items()}
    plain: dict[str, Any] = {"array": [], "number": 0.5, "integer": 1, "boolean": False, "null": None}
    return plain.get(kind, "as the post says")
