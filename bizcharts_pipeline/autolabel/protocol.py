"""What passes between the labelling loop and the providers of vision models.

A provider turns one question into one answer and never raises for what a service may do: every failure is an outcome
that the loop knows how to treat. Providers keep no books and wait for nothing; the loop does.
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
    """What became of one request."""

    OK = "ok"  # one of the three classes
    RATE = "rate"  # asked to slow down; nothing was billed
    TRANSIENT = "transient"  # a fault of theirs or of the network; not billed, unless ``served``
    TIMEOUT = "timeout"  # no answer in time; may have been billed
    STOP = "stop"  # quota, key or model: this provider cannot go on
    REFUSED = "refused"  # the model or a filter declined; not neutral
    MALFORMED = "malformed"  # an answer that names no class
    BAD_IMAGE = "bad_image"  # the picture was refused as unreadable
    BUG = "bug"  # any other refusal of the request itself: it would repeat for every post


class BatchState(StrEnum):
    """How far a batch is."""

    RUNNING = "running"
    ENDED = "ended"  # all of it was worked on: what it has can be collected
    EXPIRED = "expired"  # or cancelled: what it has can be collected, the rest was not billed
    FAILED = "failed"  # refused as a whole; nothing was billed
    OVERSIZED = "oversized"  # refused as too big for the account's queue: to be split
    GONE = "gone"  # the service does not know it; it may have been billed


@dataclass(frozen=True)
class Prompt:
    """A versioned instruction; ``version`` is the file's name and ``sha256`` covers text and parameters."""

    version: str
    system: str
    sha256: str
    max_output_tokens: int


@dataclass(frozen=True)
class Question:
    """One post to be labelled: its text as it is sent, and its picture as JPEG bytes, if it has one."""

    key: str  # of the ledger, 64 hexadecimal digits
    text: str
    image: bytes | None

    def batch_bytes(self, prompt: Prompt) -> int:
        """Return the most bytes that its request takes in a batch, its picture in base64."""
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
    """What a provider said to one question. ``raw`` is kept as it came; no key or header is in it."""

    outcome: Outcome
    raw: str = ""
    label: Stance | None = None  # exactly when OK
    probabilities: tuple[float, float, float] | None = None  # bearish, neutral, bullish; sum 1
    confidence_source: ConfidenceSource | None = None
    usage: Usage | None = None  # None: unknown or nothing billed
    model_returned: str | None = None
    request_id: str | None = None
    detail: str = ""  # why, in a line
    retry_after: float | None = None  # seconds
    served: bool = False  # it came as a success, so that it may have been billed, whatever is in it

    @property
    def from_model(self) -> bool:
        """Whether a model gave it, and no gateway before one."""
        return self.outcome is Outcome.OK or self.usage is not None or self.model_returned is not None


@dataclass(frozen=True)
class Price:
    """USD per million tokens, after any discount. Without rates of their own, cached and written tokens cost what
    fresh input does."""

    input_tokens: Decimal
    output_tokens: Decimal
    cached_tokens: Decimal | None = None
    cache_write_tokens: Decimal | None = None

    @property
    def rates(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """The rates of input, output, cached input and cache writes."""
        cached = self.input_tokens if self.cached_tokens is None else self.cached_tokens
        write = self.input_tokens if self.cache_write_tokens is None else self.cache_write_tokens
        return self.input_tokens, self.output_tokens, cached, write

    @property
    def has_zero(self) -> bool:
        """Whether some rate is 0."""
        return not all(self.rates)

    @property
    def worst(self) -> "Price":
        """The price with all input at the dearest rate that input can have."""
        entry, output, cached, write = self.rates
        return Price(max(entry, cached, write), output)

    def cost(self, usage: Usage) -> Decimal:
        """Return what ``usage`` costs in USD."""
        entry, output, cached, write = self.rates
        fresh = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
        dear = entry * fresh + cached * usage.cached_tokens + write * usage.cache_write_tokens
        return (dear + output * usage.output_tokens) / 1_000_000

    def times(self, share: Decimal) -> "Price":
        """Return the price at a share of every rate."""
        return Price(*(rate * share for rate in self.rates))

    def at_least(self, other: "Price") -> "Price":
        """Return the higher of both prices, rate by rate."""
        return Price(*(max(pair) for pair in zip(self.rates, other.rates, strict=True)))

    def covers(self, other: "Price") -> bool:
        """Whether input and output cost at least what they do at ``other``."""
        return self.input_tokens >= other.input_tokens and self.output_tokens >= other.output_tokens


class Provider(Protocol):
    """A model that labels one post at a time; used by many threads at once."""

    name: str  # 'openai' or 'gemini'
    model: str
    endpoint: Endpoint

    def ask(self, prompt: Prompt, question: Question) -> Answer:
        """Send one request, once, without retries, and say what became of it."""
        ...

    def close(self) -> None:
        """Give up the connections."""
        ...


class BatchProvider(Protocol):
    """A model that labels many posts within a day, for half the price.

    Every method raises :class:`~bizcharts_pipeline.autolabel.errors.BatchError` where the service cannot be used; its
    state RUNNING means that it is not known whether the batch is there, and that :meth:`find` is to be asked later;
    GONE that the service says it is not.
    """

    name: str
    model: str
    endpoint: Endpoint
    max_batch_bytes: int  # as :meth:`Question.batch_bytes` counts

    def submit(self, run_key: str, prompt: Prompt, questions: Sequence[Question]) -> str:
        """Upload and create a batch that carries ``run_key``; return its id.

        Raises:
            BatchError: it was refused; ``state`` says whether a smaller one may pass.
        """
        ...

    def find(self, run_key: str) -> str | None:
        """Return the id of the batch that carries ``run_key``, if the service has one."""
        ...

    def state(self, batch_id: str) -> BatchState:
        """Return how far the batch is."""
        ...

    def reason(self, batch_id: str) -> str:
        """Return in a line why the service failed the batch, as it says itself; empty where it does not."""
        ...

    def collect(self, batch_id: str) -> Iterator[tuple[str, Answer]]:
        """Yield question key and answer of all that the batch has; unordered, some may lack.

        An answer that cannot be told whose it is comes under an empty key: it was billed.

        Raises:
            BatchError: what the service says is there cannot be read.
        """
        ...

    def answered(self, batch_id: str) -> int:
        """Return how many requests of an ended batch must have an entry in its results, as the service counts them;
        0 where it gives no count."""
        ...

    def close(self) -> None:
        """Give up the connections."""
        ...
