"""What a question may cost at most, what its answer did cost, and what a provider's account allows."""

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from math import ceil

from bizcharts_pipeline.autolabel.budget import Caps, Charge, Limits, charge, nano_usd
from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.prices import PriceBook
from bizcharts_pipeline.autolabel.protocol import Answer, Endpoint, Price, Prompt, Question, Usage
from bizcharts_pipeline.autolabel.providers.access import address
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


def charged(answer: Answer, terms: Terms, reserved: int) -> Charge:
    """Return what an answer cost whose request had ``reserved`` nano-USD booked.

    Another model than the one that was asked may have answered, as services re-route retired ids: the dearer price of
    both counts. One without a price counts as the dearest known, and is doubted.
    """
    name = answer.model_returned
    if name is None or terms.book.same(name, terms.model) or not any(terms.price.rates):
        return charge(answer, terms.price, reserved)
    known = terms.book.of(name)
    other = known.charged(in_batch=terms.in_batch) if known else terms.book.dearest()
    price = terms.price.at_least(other)
    pairs = zip(price.rates, terms.price.rates, strict=True)
    dearer = max((rate / asked for rate, asked in pairs if asked), default=Decimal(1))
    found = charge(answer, price, ceil(reserved * dearer))
    if known is not None:
        return found
    return replace(found, basis="assumed", doubt=found.doubt or terms.book.unknown(name))


def caps(settings: AutoLabelSettings) -> Caps:
    """Return the caps that the settings state."""
    return Caps(nano_usd(settings.usd_per_run), nano_usd(settings.usd_per_month))


def worst_case(prompt: Prompt, question: Question, terms: Terms) -> int:
    """Return the most that a question may cost, in nano-USD: a token for every byte, all of it at the dearest rate of
    input (as if it were written to a cache), the longest answer, and what the model may think beyond it."""
    tokens = FRAME_TOKENS + len(prompt.system.encode()) + len(question.text.encode())
    tokens += terms.image_tokens if question.image is not None else 0
    return nano_usd(terms.price.worst.cost(Usage(tokens, prompt.max_output_tokens + terms.thinking_tokens)))


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
