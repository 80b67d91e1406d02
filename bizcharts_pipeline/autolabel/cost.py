"""What a question may cost at most, and what a provider's account allows: from the settings."""

from dataclasses import dataclass
from decimal import Decimal

from bizcharts_pipeline.autolabel.budget import Caps, Limits, nano_usd
from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.protocol import Endpoint, Price, Prompt, Question, Usage
from bizcharts_pipeline.settings import AutoLabelSettings, GeminiSettings, OpenAISettings, Settings

BATCH_DISCOUNT = Decimal("0.5")
# Beside prompt and post: the schema of the answer and the marks between messages.
FRAME_TOKENS = 300
BYTES_PER_TOKEN = 4  # of English, on average; at least 1 for every tokenizer that falls back to bytes


@dataclass(frozen=True)
class Terms:
    """What one provider takes and allows."""

    price: Price
    image_tokens: int
    limits: Limits
    batch_requests: int


def terms(settings: Settings, provider: str, endpoint: Endpoint) -> Terms:
    """Return the terms that the settings state for a provider."""
    section = _section(settings, provider)
    share = BATCH_DISCOUNT if endpoint == "batch" else Decimal(1)
    return Terms(
        Price(section.usd_per_million_input_tokens * share, section.usd_per_million_output_tokens * share),
        section.image_tokens,
        Limits(section.requests_per_minute, section.requests_per_day),
        section.batch_requests,
    )


def caps(settings: AutoLabelSettings) -> Caps:
    """Return the caps that the settings state."""
    return Caps(nano_usd(settings.usd_per_run), nano_usd(settings.usd_per_month))


def worst_case(prompt: Prompt, question: Question, terms: Terms) -> int:
    """Return the most that a question may cost, in nano-USD: a token for every byte, and the longest answer."""
    tokens = FRAME_TOKENS + len(prompt.system.encode()) + len(question.text.encode())
    tokens += terms.image_tokens if question.image is not None else 0
    return nano_usd(terms.price.cost(Usage(tokens, prompt.max_output_tokens)))


def likely_cost(prompt: Prompt, text: str, *, image: bool, terms: Terms) -> Decimal:
    """Return about what a question costs, in USD, before any was asked."""
    tokens = (len(prompt.system.encode()) + len(text.encode())) // BYTES_PER_TOKEN + 80
    return terms.price.cost(Usage(tokens + (terms.image_tokens if image else 0), 10))


def _section(settings: Settings, provider: str) -> OpenAISettings | GeminiSettings:
    if provider == "openai":
        return settings.openai
    if provider == "gemini":
        return settings.gemini
    raise AutoLabelError(f"There are no settings for the provider {provider!r}; known are openai and gemini")


def days(requests: int, limits: Limits) -> float:
    """Return how many days so many requests take at the account's limits."""
    return max(requests / limits.per_day, requests / limits.per_minute / (24 * 60))
