"""Cost of requests: maximum, actual and likely, and the limits of a provider's account."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from math import ceil
from typing import Protocol

from bizcharts_pipeline.autolabel.budget import Caps, Charge, Limits, charge
from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.prices import ModelPrice, PriceBook
from bizcharts_pipeline.autolabel.protocol import Answer, Endpoint, Price, Prompt, Question, Usage
from bizcharts_pipeline.autolabel.providers.access import address
from bizcharts_pipeline.core.money import nano_usd
from bizcharts_pipeline.settings import (
    AutoLabelSettings,
    GeminiSettings,
    OpenAISettings,
    Provider,
    Settings,
    is_loopback,
)

# In addition to prompt and post: the answer's schema and the separators between messages.
FRAME_TOKENS = 300
BYTES_PER_TOKEN = 4  # average for English; at least 1 for every tokenizer with byte fallback


class Book(Protocol):
    """Prices by model."""

    def of(self, model: str) -> ModelPrice | None:
        """Return the price of a labelling model, ``None`` if it is unknown."""
        ...

    def same(self, model: str, other: str) -> bool:
        """Return whether two ids name the same labelling model."""
        ...

    def unknown(self, model: str) -> str:
        """Return the message for an answer from a labelling model without a price."""
        ...

    def highest(self, *, own: bool = False) -> ModelPrice:
        """Return the price for a labelling model without one."""
        ...


@dataclass(frozen=True)
class Terms:
    """Prices and limits of one provider."""

    price: Price
    image_tokens: int
    thinking_tokens: int
    limits: Limits
    batch_requests: int
    model: str
    in_batch: bool
    book: Book
    smallest_cap: int | None  # of the spending limits, in nano-USD; None: there is none

    def booked(self, models: Collection[str]) -> "Terms":
        """Return the terms that cover any of ``models`` (``""`` is the requested one); if ``models`` is empty, the
        highest of the provider's prices."""
        if not any(self.price.rates):
            return self
        others = [self.book.of(name) or self.book.highest() for name in models if name]
        found = self
        for other in others if models else [self.book.highest(own=True)]:
            found = replace(
                found,
                price=found.price.at_least(other.charged(in_batch=self.in_batch)),
                image_tokens=max(found.image_tokens, other.image_tokens),
                thinking_tokens=max(found.thinking_tokens, other.thinking_tokens),
            )
        return found


@dataclass(frozen=True)
class Size:
    """Upper bounds of a request's billed tokens: one token per byte of text, and the longest answer without reasoning.
    ``overrun`` is the factor by which earlier requests exceeded their maximum, at least 1."""

    text_tokens: int
    has_image: bool
    output_tokens: int
    overrun: float


def terms(settings: Settings, provider: str, endpoint: Endpoint, today: date) -> Terms:
    """Return the terms of a provider of labels: today's prices of the configured model, and the limits from the
    settings.

    Raises:
        AutoLabelError: the model has no plausible price.
    """
    name, section = _section(settings, provider)
    book = PriceBook(section, name, today)
    asked = book.asked(loopback=is_loopback(address(name)))
    in_batch = endpoint == "batch"
    return Terms(
        asked.charged(in_batch=in_batch),
        max(section.image_tokens, asked.image_tokens),
        asked.thinking_tokens,
        Limits(section.requests_per_minute, section.requests_per_day),
        section.batch_requests,
        section.model,
        in_batch,
        book,
        caps(settings.auto_labels).smallest,
    )


def other_model(answer: Answer, terms: Terms) -> str:
    """Return the name of the labelling model that answered; empty if it is the requested one or the answer names no
    model."""
    name = answer.model_returned
    return "" if name is None or terms.book.same(name, terms.model) else name


def charged(answer: Answer, terms: Terms, booked: int, models: Collection[str] = ("",)) -> Charge:
    """Return the cost of an answer by a labelling model to a request for which ``booked`` nano-USD were reserved.

    Services re-route retired model ids, so another model may have answered: the higher of both prices is charged. A
    model without a price is charged at the highest known price, with a doubt. An answer that names no model may be from
    any of ``models``.
    """
    name = other_model(answer, terms)
    if not any(terms.price.rates):
        return charge(answer, terms.price, booked)
    if answer.model_returned is None:
        return charge(answer, terms.booked([*models, ""]).price, booked, terms.smallest_cap)
    found = charge(answer, terms.booked([name]).price, booked, terms.smallest_cap)
    if not name or terms.book.of(name) is not None:
        return found
    return replace(found, basis="assumed", doubt=found.doubt or terms.book.unknown(name))


def caps(settings: AutoLabelSettings) -> Caps:
    """Return the configured spending limits on labels by paid models."""
    return Caps(nano_usd(settings.usd_per_run), nano_usd(settings.usd_per_month))


def size(prompt: Prompt, question: Question, overrun: float = 1.0) -> Size:
    """Return the size of the request to a labelling model for ``question``."""
    tokens = FRAME_TOKENS + len(prompt.system.encode()) + len(question.text.encode())
    return Size(tokens, question.image is not None, prompt.max_output_tokens, overrun)


def worst_case(size: Size, terms: Terms) -> int:
    """Return the maximum cost of a request to a labelling model in nano-USD: all input at the highest input rate (as
    if written to a cache), the longest answer, and the maximum of reasoning tokens."""
    tokens = size.text_tokens + (terms.image_tokens if size.has_image else 0)
    usd = terms.price.worst.cost(Usage(tokens, size.output_tokens + terms.thinking_tokens))
    return ceil(nano_usd(usd) * size.overrun)


def likely_cost(prompt: Prompt, text: str, *, image: bool, terms: Terms) -> Decimal:
    """Return the estimated cost of a label by a paid model in USD, before any request was sent."""
    tokens = (len(prompt.system.encode()) + len(text.encode())) // BYTES_PER_TOKEN + 80
    return terms.price.cost(Usage(tokens + (terms.image_tokens if image else 0), 10))


def _section(settings: Settings, provider: str) -> tuple[Provider, OpenAISettings | GeminiSettings]:
    if provider == "openai":
        return "openai", settings.openai
    if provider == "gemini":
        return "gemini", settings.gemini
    raise AutoLabelError(f"There are no settings for the provider {provider!r}; known are openai and gemini")


def days(requests: int, limits: Limits) -> float:
    """Return the number of days that ``requests`` for labels take within the limits of the provider's account."""
    return max(requests / limits.per_day, requests / limits.per_minute / (24 * 60))
