"""Types exchanged between the labelling loop and the providers of vision models.

A provider maps one question to one answer and does not raise for failures of the service: every failure is an outcome
handled by the loop. Providers keep no state and do not retry; the loop does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Literal, Protocol

from bizcharts_pipeline.labels.stances import Stance

Endpoint = Literal["chat", "batch", "decisions"]
ConfidenceSource = Literal["decisions", "logprobs"]


class Outcome(StrEnum):
    """Outcome of one request."""

    OK = "ok"  # one of the three classes
    RATE = "rate"  # rate limit (429); not billed
    TRANSIENT = "transient"  # error of the service or the network; not billed, unless ``served``
    TIMEOUT = "timeout"  # no answer in time; may have been billed
    STOP = "stop"  # quota, key or model: this provider cannot be used
    REFUSED = "refused"  # the model or a filter declined; not neutral
    MALFORMED = "malformed"  # an answer that names no class
    UNUSABLE = "unusable"  # an answer that cannot be read; its cause may be the server, so another may follow
    BAD_IMAGE = "bad_image"  # the picture was refused as unreadable
    BUG = "bug"  # any other refusal of the request itself, which would recur for every post


class BatchState(StrEnum):
    """State of a batch."""

    RUNNING = "running"
    ENDED = "ended"  # fully processed: the results can be collected
    EXPIRED = "expired"  # or cancelled: the existing results can be collected, the rest was not billed
    FAILED = "failed"  # refused as a whole; nothing was billed
    OVERSIZED = "oversized"  # too big for the account's queue: must be split
    GONE = "gone"  # unknown to the service; may have been billed


@dataclass(frozen=True)
class Prompt:
    """A versioned instruction. ``version`` is the file's name; ``sha256`` covers text and parameters."""

    version: str
    system: str
    sha256: str
    max_output_tokens: int


@dataclass(frozen=True)
class Question:
    """One post to be labelled: its text as sent, and its image as JPEG bytes, if it has one."""

    key: str  # ledger key, 64 hexadecimal digits
    text: str
    image: bytes | None

    def batch_bytes(self, prompt: Prompt) -> int:
        """Return an upper bound, in bytes, on the size of its request in a batch file of the labelling API, with the
        image in base64."""
        return 4 * len(self.image or b"") // 3 + 4 * len(self.text) + len(prompt.system.encode()) + 1_000


@dataclass(frozen=True)
class Usage:
    """Billed tokens; reasoning counts as output."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0  # of the input: read from a cache
    cache_write_tokens: int = 0  # of the input: written to a cache


@dataclass(frozen=True)
class Answer:
    """A provider's answer to one question. ``raw`` is the unchanged body, without keys and headers."""

    outcome: Outcome
    raw: str = ""
    label: Stance | None = None  # exactly when OK
    probabilities: tuple[float, float, float] | None = None  # bearish, neutral, bullish; sum 1
    confidence_source: ConfidenceSource | None = None
    usage: Usage | None = None  # None: unknown, or not billed
    model_returned: str | None = None
    request_id: str | None = None
    detail: str = ""  # the reason, in one line
    retry_after: float | None = None  # seconds
    served: bool = False  # the response was a success, so it may have been billed regardless of its content

    @property
    def from_model(self) -> bool:
        """Whether a labelling model produced the answer, not a gateway in front of it."""
        return self.outcome is Outcome.OK or self.usage is not None or self.model_returned is not None


@dataclass(frozen=True)
class Price:
    """USD per million tokens, after any discount. Cached and cache-written tokens default to the input rate."""

    input_tokens: Decimal
    output_tokens: Decimal
    cached_tokens: Decimal | None = None
    cache_write_tokens: Decimal | None = None

    @property
    def rates(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """The rates of a labelling model for input, output, cached input and cache writes."""
        cached = self.input_tokens if self.cached_tokens is None else self.cached_tokens
        write = self.input_tokens if self.cache_write_tokens is None else self.cache_write_tokens
        return self.input_tokens, self.output_tokens, cached, write

    @property
    def has_zero(self) -> bool:
        """Whether any rate of a labelling model is 0."""
        return not all(self.rates)

    @property
    def worst(self) -> "Price":
        """The price of a labelling model with all input at the highest input rate."""
        entry, output, cached, write = self.rates
        return Price(max(entry, cached, write), output)

    def cost(self, usage: Usage) -> Decimal:
        """Return the cost of a labelling model's ``usage`` in USD."""
        entry, output, cached, write = self.rates
        fresh = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
        dear = entry * fresh + cached * usage.cached_tokens + write * usage.cache_write_tokens
        return (dear + output * usage.output_tokens) / 1_000_000

    def times(self, share: Decimal) -> "Price":
        """Return the price of a labelling model with every rate multiplied by ``share``."""
        return Price(*(rate * share for rate in self.rates))

    def at_least(self, other: "Price") -> "Price":
        """Return the higher of two labelling models' prices, rate by rate."""
        return Price(*(max(pair) for pair in zip(self.rates, other.rates, strict=True)))

    def covers(self, other: "Price") -> bool:
        """Return whether the input and output rates of a labelling model are at least those of ``other``."""
        return self.input_tokens >= other.input_tokens and self.output_tokens >= other.output_tokens


class Provider(Protocol):
    """A model that labels one post at a time; thread-safe."""

    name: str  # 'openai' or 'gemini'
    model: str
    endpoint: Endpoint

    def ask(self, prompt: Prompt, question: Question) -> Answer:
        """Send one request for a label, once, without retries, and return the answer."""
        ...

    def close(self) -> None:
        """Close the connections to the labelling API."""
        ...


class BatchProvider(Protocol):
    """A model that labels many posts within a day, at half the price.

    Every method raises :class:`~bizcharts_pipeline.autolabel.errors.BatchError` if the service cannot be used. Its
    state is RUNNING if it is unknown whether the batch exists (call :meth:`find` later), and GONE if the service does
    not know the batch.
    """

    name: str
    model: str
    endpoint: Endpoint
    max_batch_bytes: int  # as computed by :meth:`Question.batch_bytes`

    def submit(self, run_key: str, prompt: Prompt, questions: Sequence[Question]) -> str:
        """Upload and create a batch of requests for labels that carries ``run_key``; return its id.

        Raises:
            BatchError: the batch was refused; with the state OVERSIZED, a smaller one may be accepted.
        """
        ...

    def find(self, run_key: str) -> str | None:
        """Return the id of the batch of labels that carries ``run_key``, if the service has one."""
        ...

    def state(self, batch_id: str) -> BatchState:
        """Return the state of the batch of labels."""
        ...

    def reason(self, batch_id: str) -> str:
        """Return the service's reason for failing the batch of labels, in one line; empty if it gives none."""
        ...

    def collect(self, batch_id: str) -> Iterator[tuple[str, Answer]]:
        """Yield question key and answer of each available result of the batch of labels; unordered, possibly
        incomplete.

        An answer that matches no question has an empty key; it was billed.

        Raises:
            BatchError: the results cannot be read.
        """
        ...

    def answered(self, batch_id: str) -> int:
        """Return the number of results that an ended batch of labels must have, as counted by the service; 0 if it
        gives no count."""
        ...

    def close(self) -> None:
        """Close the connections to the labelling API."""
        ...
