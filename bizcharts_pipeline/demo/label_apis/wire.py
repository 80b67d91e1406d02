"""What the simulated label APIs are asked and what they answer, and how an answer can go wrong."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bizcharts_pipeline.demo.server import JSON, Fault, Page


class LabelFault(StrEnum):
    """What can go wrong with one request; what was billed stays billed."""

    # Refused: nothing is billed.
    RATE = "429"  # with a short Retry-After
    RATE_LONG = "429 long"  # with a Retry-After of five minutes
    DAY_LIMIT = "429 day"  # the day's requests are used up
    QUOTA = "insufficient_quota"  # no money left; a 429, too
    UNAUTHORISED = "401"
    MODEL_GONE = "404"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    BAD_IMAGE = "invalid image"
    RESET = "reset"  # the connection is reset before anything was done
    # Done and billed, but the answer does not arrive.
    HANG = "hang"
    GATEWAY_TIMEOUT = "504"  # a gateway gives up waiting, after the work
    LOST = "lost"  # the connection is reset
    DRIBBLE = "dribble"  # it comes byte by byte
    OVERSIZE = "oversize"  # a gigabyte of zeros comes instead
    BROKEN_BODY = "broken body"  # half of the JSON comes
    # Done and billed, but the answer is of no use.
    MALFORMED = "malformed"  # what the model wrote is half of a JSON object
    OFF_ENUM = "off enum"  # a class that was not asked for
    EMPTY = "empty"  # a regular end without a word
    LENGTH = "length"  # cut off at the most tokens allowed
    REFUSAL = "refusal"
    CONTENT_FILTER = "content filter"  # the answer was filtered
    BLOCKED = "blocked"  # the prompt was; OpenAI does not bill it
    OTHER_MODEL = "other model"  # a good answer, of a model that was not asked
    BAD_LINE = "bad line"  # of a batch's output: no JSON


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
ANY_REQUEST = frozenset(  # faults that may meet a request that asks for no label, too
    {
        *(LabelFault.RATE, LabelFault.RATE_LONG, LabelFault.QUOTA, LabelFault.UNAUTHORISED, LabelFault.SERVER_ERROR),
        *(LabelFault.UNAVAILABLE, LabelFault.RESET, LabelFault.BROKEN_BODY, *TRANSPORT),
    }
)
IN_BATCHES = frozenset(  # faults that a single line of a batch may have
    {
        *(LabelFault.SERVER_ERROR, LabelFault.BAD_IMAGE, LabelFault.MALFORMED, LabelFault.OFF_ENUM, LabelFault.EMPTY),
        *(LabelFault.LENGTH, LabelFault.REFUSAL, LabelFault.CONTENT_FILTER, LabelFault.BLOCKED),
        *(LabelFault.OTHER_MODEL, LabelFault.BAD_LINE),
    }
)


OFF_CLASS = "very bullish"  # what `LabelFault.OFF_ENUM` says


class BatchFault(StrEnum):
    """What can become of a whole batch."""

    EXPIRED = "expired"  # OpenAI: with the results it has; Gemini: without any
    FAILED = "failed"  # at its validation
    BILLING = "billing"  # likewise, as there is no money left
    TOO_MANY_TOKENS = "token_limit_exceeded"  # more than the account's queue holds


@dataclass(frozen=True)
class Request:
    """One request as it arrived; the names of its headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body's JSON object.

        Raises:
            Refusal: it is none.
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
    """The answer to one request, and the way it fails to arrive, if it does."""

    page: Page
    headers: tuple[tuple[str, str], ...] = ()
    transport: Fault | None = None


@dataclass(frozen=True)
class Asked:
    """A question for one label, as it was received."""

    provider: str  # 'openai' or 'gemini'
    model: str
    endpoint: str  # 'chat', 'batch' or 'decisions'
    system: tuple[str, ...]  # texts of the messages that are not the user's
    users: tuple[str, ...]  # texts of the user's messages
    image: bytes | None
    detail: str | None  # of the image
    overhead: int  # tokens that are billed besides texts and image

    @property
    def text(self) -> str:
        """All that the user's messages say."""
        return "\n".join(self.users)

    @property
    def content(self) -> str:
        """What makes two questions the same: provider, model, texts and image, as a hash."""
        parts = [self.provider, self.model, *self.system, *self.users]
        digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace"))
        digest.update(self.image or b"")
        return digest.hexdigest()


class Refusal(Exception):
    """An answer other than 200; each API has its own form for it."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, kind: str = "", retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code  # OpenAI's 'code', Gemini's id of the quota
        self.kind = kind  # OpenAI's 'type', Gemini's 'status'
        self.retry_after = retry_after  # seconds


def json_page(value: object, status: int = 200) -> Page:
    """Return ``value`` as a page of JSON."""
    return Page(json.dumps(value, separators=(",", ":")).encode(), JSON, status=status)


def fill(schema: Mapping[str, Any], label: str) -> Any:
    """Return a value that obeys a JSON schema, with ``label`` in every place that allows it; ``OFF_CLASS`` disobeys."""
    allowed = schema.get("enum")
    if allowed:
        return label if label in allowed or label == OFF_CLASS else allowed[0]
    kind = schema.get("type", "string")
    kind = str(next((name for name in kind if name != "null"), "null") if isinstance(kind, list) else kind).lower()
    if kind == "object":
        return {name: fill(part, label) for name, part in schema.get("properties", {}).items()}
    plain: dict[str, Any] = {"array": [], "number": 0.5, "integer": 1, "boolean": False, "null": None}
    return plain.get(kind, "as the post says")
