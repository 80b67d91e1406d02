"""Prices by model and date: the package's table ``prices.toml``, overridden by the settings.

A price belongs to a model, not to a provider: after a change of model, the new model's price is used, or an error
raised.
"""

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files

from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.protocol import Price
from bizcharts_pipeline.settings import GeminiSettings, ModelPriceSettings, OpenAISettings

WRITE_FACTOR = Decimal("1.25")  # of the input rate, if not configured; the highest in use
# For a model in no table: the largest image and the longest reasoning of the known models.
UNKNOWN_IMAGE_TOKENS = 2833
UNKNOWN_THINKING_TOKENS = 512
# gpt-4o-mini-2024-07-18, gemini-2.0-flash-001, gemini-2.5-flash-lite-preview-09-2025
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{3}|preview-\d{2}-\d{4}|preview-\d{2}-\d{2})$")


@dataclass(frozen=True)
class ModelPrice:
    """Price of a model from ``valid_from`` on. ``price`` is for single requests; ``batch`` is the share of it charged
    in a batch."""

    model: str
    valid_from: date
    price: Price
    batch: Decimal
    image_tokens: int
    thinking_tokens: int

    def charged(self, *, in_batch: bool) -> Price:
        """Return the price of a request to the labelling model."""
        return self.price.times(self.batch) if in_batch else self.price


@dataclass(frozen=True)
class PriceBook:
    """Today's prices for one provider's section of the settings."""

    section: OpenAISettings | GeminiSettings
    name: str  # of the section
    today: date

    def asked(self, *, loopback: bool) -> ModelPrice:
        """Return the price of the configured labelling model.

        Raises:
            AutoLabelError: it has no price or an implausible one; the message names the setting.
        """
        model, unnamed = self.section.model, self.section.prices.get("")
        listed = _listed(model, self.today)
        if unnamed is not None and model not in self.section.prices:
            found = _stated(model, unnamed, listed)
            if listed is not None and not found.price.covers(listed.price):
                raise AutoLabelError(
                    f"usd_per_million_input_tokens and usd_per_million_output_tokens of [{self.name}] are below the "
                    f"published price of {model} (${listed.price.input_tokens} and ${listed.price.output_tokens}); "
                    f"remove both, or state the price in {self._place(model)}"
                )
        else:
            known = self.of(model)
            if known is None:
                raise AutoLabelError(
                    f"There is no price for the model {model!r} of [{self.name}]; state USD per million tokens in "
                    f"{self._place(model)}"
                )
            found = known
        if found.price.has_zero and not loopback:
            raise AutoLabelError(
                f"The price of {model} in [{self.name}] is 0, which only a service on this machine may have; "
                f"correct it in {self._place(model)}"
            )
        return found

    def of(self, model: str) -> ModelPrice | None:
        """Return the price of a labelling model by its id, or by its id without the date; ``None`` if it is unknown.
        Configured prices override the table."""
        model = model.removeprefix("models/")
        listed = _listed(model, self.today)
        for name in (model, _DATED.sub("", model)):
            if name and (stated := self.section.prices.get(name)) is not None:
                return _stated(name, stated, listed)
        return listed

    def same(self, model: str, other: str) -> bool:
        """Return whether two ids name the same labelling model, ignoring dates."""
        return _DATED.sub("", model.removeprefix("models/")) == _DATED.sub("", other.removeprefix("models/"))

    def unknown(self, model: str) -> str:
        """Return the message for an answer from a labelling model without a price."""
        return (
            f"an answer came from the model {model!r}, which has no price: the highest known price is charged; "
            f"state its price in {self._place(model)}, or set `model` of [{self.name}] to another"
        )

    def highest(self, *, own: bool = False) -> ModelPrice:
        """Return the maximum of each known rate and token count, for a labelling model without a price, without a
        batch discount. With ``own``: only of this provider's models and the configured ones, with their discount."""
        known = [_stated(name, price, None) for name, price in self.section.prices.items()]
        known += [entry for entry in _table() if not own or (self.name == "gemini") == entry.model.startswith("gemini")]
        price = Price(Decimal(0), Decimal(0))
        for each in known:
            price = price.at_least(each.price)
        return ModelPrice(
            "",
            date.min,
            price,
            max(each.batch for each in known) if own else Decimal(1),
            max(each.image_tokens for each in known),
            max(each.thinking_tokens for each in known),
        )

    def _place(self, model: str) -> str:
        return f"""[{self.name}.prices."{model}"]: input = "…", output = "…\""""


def _stated(model: str, stated: ModelPriceSettings, listed: ModelPrice | None) -> ModelPrice:
    write = stated.input * WRITE_FACTOR if stated.cache_write is None else stated.cache_write
    cached = stated.input if stated.cached_input is None else stated.cached_input
    batch = stated.batch or (listed.batch if listed else Decimal(1))
    return ModelPrice(
        model,
        date.min,
        Price(stated.input, stated.output, cached, write),
        batch,
        listed.image_tokens if listed else UNKNOWN_IMAGE_TOKENS,
        listed.thinking_tokens if listed else UNKNOWN_THINKING_TOKENS,
    )


def _listed(model: str, today: date) -> ModelPrice | None:
    """Return the table's entry valid today; before the first one's date, the first."""
    name = model if any(entry.model == model for entry in _table()) else _DATED.sub("", model)
    entries = sorted((entry for entry in _table() if entry.model == name), key=lambda entry: entry.valid_from)
    valid = [entry for entry in entries if entry.valid_from <= today]
    return valid[-1] if valid else entries[0] if entries else None


@cache
def _table() -> tuple[ModelPrice, ...]:
    text = (files("bizcharts_pipeline.autolabel") / "prices.toml").read_text(encoding="utf-8")
    return tuple(
        ModelPrice(
            entry["model"],
            entry["valid_from"],
            Price(*(Decimal(entry[name]) for name in ("input", "output", "cached_input", "cache_write"))),
            Decimal(entry["batch"]),
            entry["image_tokens"],
            entry["thinking_tokens"],
        )
        for entry in tomllib.loads(text)["price"]
    )
