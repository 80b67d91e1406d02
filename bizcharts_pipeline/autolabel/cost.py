"""What a question may cost at most, what its answer did cost, and what a provider's account allows."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from math import ceil

from bizcharts_pipeline.autolabel.budget import Caps, Charge, Limits, charge
from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.prices import PriceBook
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

# Beside prompt and post: the schema of the answer and the marks between messages.
FRAME_TOKENS = 300
BYTES_PER_TOKEN = 4  # of English, on average; at least 1 for every tokenizer that falls back to bytes


@dataclass(frozen=True)
class Terms:
    """What one provider takes and allows."""

    price: Price
    image_tokens: int
    thinking_tokens: int
    limits: Limits
    batch_requests: int
    model: str
    in_batch: bool
    book: PriceBook

    def booked(self, models: Collection[str]) -> "Terms":
        """Return the terms that cover whichever of ``models`` answers (``""`` is the one that was asked); where none is
        known, the dearest of the provider's."""
        if not any(self.price.rates):
            return self
        others = [self.book.of(name) or self.book.dearest() for name in models if name]
        found = self
        for other in others if models else [self.book.dearest(own=True)]:
            found = replace(
                found,
                price=found.price.at_least(other.charged(in_batch=self.in_batch)),
                image_tokens=max(found.image_tokens, other.image_tokens),
                thinking_tokens=max(found.thinking_tokens, other.thinking_tokens),
            )
        return found


@dataclass(frozen=True)
class Size:
    """The most that a request may be billed as: text, a token for every byte; and the longest answer, without thinking.
    Requests have cost ``overrun`` times the worst case before, at least 1."""

    text_tokens: int
    has_image: bool
    output_tokens: int
    overrun: float


def terms(settings: Settings, provider: str, endpoint: Endpoint, today: date) -> Terms:
    """Return the terms of a provider: prices of the configured model that hold today, and what the settings state.

    Raises:
        AutoLabelError: the model has no price that can be believed.
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
    )


def other_model(answer: Answer, terms: Terms) -> str:
    """Return the name of the model that answered, empty if it is the one that was asked or names itself not at all."""
    name = answer.model_returned
    return "" if name is None or terms.book.same(name, terms.model) else name


def charged(answer: Answer, terms: Terms, booked: int, models: Collection[str] = ("",)) -> Charge:
    """Return what an answer cost whose request had ``booked`` nano-USD booked.

    Another model than the one that was asked may have answered, as services re-route retired ids: the dearer price of
    both counts. One without a price counts as the dearest known, and is doubted. An answer that names no model may be
    of any of ``models``.
    """
    name = other_model(answer, terms)
    if not any(terms.price.rates):
        return charge(answer, terms.price, booked)
    if answer.model_returned is None:
        return charge(answer, terms.booked([*models, ""]).price, booked)
    found = charge(answer, terms.booked([name]).price, booked)
    if not name or terms.book.of(name) is not None:
        return found
    return replace(found, basis="assumed", doubt=found.doubt or terms.book.unknown(name))


def caps(settings: AutoLabelSettings) -> Caps:
    """Return the caps that the settings state."""
    return Caps(nano_usd(settings.usd_per_run), nano_usd(settings.usd_per_month))


def size(prompt: Prompt, question: Question, overrun: float = 1.0) -> Size:
    """Return the size of the request that asks ``question``."""
    tokens = FRAME_TOKENS + len(prompt.system.encode()) + len(question.text.encode())
    return Size(tokens, question.image is not None, prompt.max_output_tokens, overrun)


def worst_case(size: Size, terms: Terms) -> int:
    """Return the most that a request may cost, in nano-USD: all input at the dearest rate of input (as if it were
    written to a cache), the longest answer, and what the model may think beyond it."""
    tokens = size.text_tokens + (terms.image_tokens if size.has_image else 0)
    usd = terms.price.worst.cost(Usage(tokens, size.output_tokens + terms.thinking_tokens))
    return ceil(nano_usd(usd) * size.overrun)


def likely_cost(prompt: Prompt, text: str, *, image: bool, terms: Terms) -> Decimal:
    """Return about what a question costs, in USD, before any was asked."""
    tokens = (len(prompt.system.encode()) + len(text.encode())) // BYTES_PER_TOKEN + 80
    return terms.price.cost(Usage(tokens + (terms.image_tokens if image else 0), 10))


def _section(settings: Settings, provider: str) -> tuple[Provider, OpenAISettings | GeminiSettings]:
    if provider == "openai":
        return "openai", settings.openai
    if provider == "gemini":
        return "gemini", settings.gemini
    raise AutoLabelError(f"There are no settings for the provider {provider!r}; known are openai and gemini")


def days(requests: int, limits: Limits) -> float:
    """Return how many days so many requests take at the account's limits."""
    return max(requests / limits.per_day, requests / limits.per_minute / (24 * 60))
