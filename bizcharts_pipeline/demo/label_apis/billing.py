"""Billing of the simulated label APIs: every processed request is billed, whether or not its answer arrived."""

import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from typing import Literal

from bizcharts_pipeline.autolabel.protocol import Price, Usage
from bizcharts_pipeline.demo.label_apis.wire import Asked, LabelFault, Refusal

Fate = Literal["answered", "hung", "lost"]
BATCH_DISCOUNT = Decimal("0.5")
_PATCH = 32  # pixels, for models after gpt-5
_PATCH_FACTOR = 1.2  # assumed; no page states it for gpt-6-luna
_TILE = 512

# USD per million tokens, as published in November 2026.
PRICES: dict[str, Price] = {
    "gpt-4o-mini": Price(Decimal("0.15"), Decimal("0.60")),
    "gpt-4o": Price(Decimal("2.50"), Decimal("10.00")),
    "gpt-5.6-luna": Price(Decimal("0.20"), Decimal("1.20"), Decimal("0.02"), Decimal("0.25")),
    "gpt-6-luna": Price(Decimal("0.10"), Decimal("0.50"), Decimal("0.01"), Decimal("0.125")),
    "gpt-6-sol": Price(Decimal("2.00"), Decimal("10.00"), Decimal("0.20"), Decimal("2.50")),
    "acme-vision-1": Price(Decimal("1.10"), Decimal("3.30")),  # of a vendor without a price table
    "gemini-2.5-flash-lite": Price(Decimal("0.10"), Decimal("0.40")),
    "gemini-3.1-flash-lite": Price(Decimal("0.25"), Decimal("1.50")),
    "gemini-3.5-flash-lite": Price(Decimal("0.30"), Decimal("2.50")),
}


@dataclass(frozen=True)
class Charge:
    """One billed request."""

    provider: str
    endpoint: str
    content: str  # as :attr:`Asked.content`
    input_tokens: int
    output_tokens: int
    usd: Decimal
    fate: Fate


@dataclass(frozen=True)
class Bill:
    """Total of the charges. ``lost`` counts answers that were cut off or unusable; they are billed too."""

    requests: int
    answered: int
    hung: int
    lost: int
    input_tokens: int
    output_tokens: int
    usd: Decimal
    by_content: Mapping[str, int] = field(repr=False)  # how often each content was billed

    @property
    def paid_twice(self) -> int:
        """Number of requests billed by the simulated label APIs that repeat the content of an earlier one."""
        return self.requests - len(self.by_content)


class Books:
    """The recorded charges; thread-safe.

    Attributes:
        prices: by model; may be changed.
        rerouted: the model that answers, and is billed, instead of the requested one.
        cache_write_share: share of the input tokens that are written to a cache and billed as such.
    """

    def __init__(self) -> None:
        self.prices = dict(PRICES)
        self.rerouted: dict[str, str] = {}
        self.cache_write_share = 0.0
        self._lock = threading.Lock()
        self._charges: list[Charge] = []

    def answering(self, model: str) -> str:
        """Return the simulated model that answers requests for ``model``."""
        return self.rerouted.get(model, model)

    def cache_writes(self, tokens: int) -> int:
        """Return the number of input tokens of a request to a simulated label API that are written to a cache."""
        return int(tokens * self.cache_write_share)

    def charge(self, asked: Asked, output_tokens: int, fault: LabelFault | None) -> int:
        """Bill a request to a simulated label API; return its input tokens."""
        price = self.prices.get(self.answering(asked.model), Price(Decimal(1), Decimal(1)))
        tokens = input_tokens(asked)
        usd = price.cost(Usage(tokens, output_tokens, cache_write_tokens=self.cache_writes(tokens)))
        if asked.endpoint == "batch":
            usd *= BATCH_DISCOUNT
        fate = _FATES.get(fault, "answered") if fault else "answered"
        entry = Charge(asked.provider, asked.endpoint, asked.content, tokens, output_tokens, usd, fate)
        with self._lock:
            self._charges.append(entry)
        return tokens

    def bill(self, provider: str | None = None) -> Bill:
        """Return the bill of one simulated label API, or of both."""
        with self._lock:
            charges = [charge for charge in self._charges if provider in (None, charge.provider)]
        fates = Counter(charge.fate for charge in charges)
        return Bill(
            len(charges),
            fates["answered"],
            fates["hung"],
            fates["lost"],
            sum(charge.input_tokens for charge in charges),
            sum(charge.output_tokens for charge in charges),
            sum((charge.usd for charge in charges), Decimal(0)),
            Counter(charge.content for charge in charges),
        )


_FATES: dict[LabelFault, Fate] = {
    LabelFault.HANG: "hung",
    LabelFault.GATEWAY_TIMEOUT: "hung",
    LabelFault.LOST: "lost",
    LabelFault.DRIBBLE: "lost",
    LabelFault.OVERSIZE: "lost",
    LabelFault.BROKEN_BODY: "lost",
}


def input_tokens(asked: Asked) -> int:
    """Return the tokens that a simulated label API bills for a request: one for about four bytes of UTF-8, and those
    of its image."""
    texts = [*asked.system, *asked.users]
    return sum(text_tokens(text) + 4 for text in texts) + asked.overhead + image_tokens(asked)


def text_tokens(text: str) -> int:
    """Return the approximate number of tokens of ``text``, as the simulated label APIs count them."""
    return math.ceil(len(text.encode("utf-8", "replace")) / 4)


def image_tokens(asked: Asked) -> int:
    """Return the tokens that a simulated label API bills for a request's image; 0 without one.

    Raises:
        Refusal: the model cannot read the image.
    """
    if asked.image is None:
        return 0
    width, height = image_size(asked.image)
    if asked.provider == "gemini":
        return 258 if asked.model.startswith("gemini-2") else 280 if asked.detail == "MEDIA_RESOLUTION_LOW" else 1120
    if asked.model.startswith("gpt-4o-mini"):
        tiles = 0 if asked.detail == "low" else math.ceil(width / _TILE) * math.ceil(height / _TILE)
        return 2833 + 5667 * tiles
    return math.ceil(math.ceil(width / _PATCH) * math.ceil(height / _PATCH) * _PATCH_FACTOR)


def image_size(image: bytes) -> tuple[int, int]:
    """Return width and height in pixels of an image sent to a simulated label API.

    Raises:
        Refusal: it is not an image in a supported format.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(image), formats=("JPEG", "PNG", "WEBP", "GIF")) as opened:
            return opened.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise Refusal(400, "The image data you provided does not represent a valid image.", code="bad image") from None
