"""What every price source gives: quotes, and what was wrong with the rest of its answer."""

import csv
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from bizcharts_pipeline.core.clock import from_epoch, midnight
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.fields import json_kind
from bizcharts_pipeline.settings import key_address_problem

COIN_IDS = Path(__file__).parent / "data" / "coin_ids.csv"
SMALLEST_USD = Decimal("1e-12")  # what the column of the warehouse can hold
LARGEST_USD = Decimal(10**9)  # no coin was ever near it
STALE_AFTER = timedelta(hours=1)
CLOCKS_DIFFER = timedelta(minutes=5)
SHOWN_LENGTH = 14  # shorter than any key
_KEY = re.compile(r"[!-~]{1,200}")


class PriceFormatError(SourceError):
    """An answer that can not be read as prices."""


class KeyMissing(SourceError):
    """A source that is asked with a key only, and there is none."""


class BadKey(SourceError):
    """A key that can not be sent; it is not repeated in the message."""


class BadQuote(Exception):
    """Why one price can not be taken."""


@dataclass(frozen=True)
class Quote:
    """The price of one coin: ``usd`` at ``at`` (naive UTC), as ``source`` has it."""

    coin_symbol: str
    at: datetime
    usd: Decimal
    source: str


@dataclass(frozen=True)
class Answer:
    """The usable quotes of one answer, and in words what coins it did not give and why."""

    quotes: tuple[Quote, ...]
    problems: tuple[str, ...] = ()


class PriceSource(Protocol):
    """A source of current prices."""

    @property
    def name(self) -> str: ...

    def latest(self, symbols: Sequence[str], now: datetime) -> Answer:
        """Return the prices of ``symbols`` with one request at most.

        Raises:
            SourceError: no answer, or none that can be read.
        """
        ...


class DailySource(PriceSource, Protocol):
    """A source that also knows past days."""

    def daily(self, symbol: str, first: date, last: date, now: datetime) -> Answer:
        """Return the closing prices of the UTC days ``first`` to ``last``; both must be over at ``now``.

        The close of a day is known at the midnight that ends it, so that is its ``at``: nothing that is computed as of
        an earlier time can see it.
        """
        ...


@dataclass(frozen=True)
class CoinIds:
    """What the sources call a coin; ``None`` where it is not known."""

    coingecko: str | None
    coinmarketcap: str | None


@cache
def coin_ids() -> dict[str, CoinIds]:
    """Return the table of ``data/coin_ids.csv`` by symbol. A symbol alone is ambiguous: many coins may share it."""
    with COIN_IDS.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {row["symbol"]: CoinIds(row["coingecko"] or None, row["coinmarketcap"] or None) for row in rows}


def id_is_unknown(symbol: str, source: str) -> str:
    """Say that no id of ``symbol`` is known, and what to do."""
    return f"{symbol}: {source} has coins by an id and none is known for it; add a line to {COIN_IDS}"


def api_key(variable: str) -> str | None:
    """Return the key in the environment's ``variable``, ``None`` if there is none.

    Raises:
        BadKey: it has characters that can not be sent.
    """
    key = os.environ.get(variable, "").strip()
    if key and not _KEY.fullmatch(key):
        raise BadKey(f"{variable} has characters that no key has (blanks, quotes of a word processor); set it again")
    return key or None


def api_key_for(url: str, variable: str) -> str | None:
    """Return the key in the environment's ``variable`` for the service at ``url``, which comes from the settings.

    Raises:
        BadKey: the key cannot be sent, or would be readable on its way; nothing was sent.
    """
    key = api_key(variable)
    if key and (problem := key_address_problem(url)):
        raise BadKey(f"{variable} is not sent: its URL in the settings {problem}")
    return key


def read_json(body: bytes, source: str, kind: type) -> Any:
    """Return the JSON of ``body``, whose top level must be of ``kind``; fractions are exact ``Decimal``.

    Raises:
        PriceFormatError: it is no JSON, or of another kind.
    """
    try:
        value = json.loads(body, parse_float=Decimal, parse_constant=str)
    except (ValueError, ArithmeticError, RecursionError):
        html = body.lstrip()[:1] == b"<"
        why = "an HTML page, as a bot check or a provider's portal gives it" if html else "not JSON"
        why = why if body else "empty"
        raise PriceFormatError(f"{source}: the answer is {why}; if it lasts, open its URL in a browser") from None
    if not isinstance(value, kind):
        raise PriceFormatError(
            f"{source}: the answer is {json_kind(value)}, not {json_kind(kind())}; has its API changed?"
        )
    return value


def quote(symbol: str, at: datetime, price: object, source: str) -> Quote:
    """Return a checked quote; ``price`` is a JSON string or number.

    Raises:
        BadQuote: it is no plausible price.
    """
    return Quote(symbol, at, usd(price), source)


def usd(price: object) -> Decimal:
    """Return ``price`` with the 12 decimals that are stored.

    Raises:
        BadQuote: it is not between the smallest and the largest plausible price.
    """
    if isinstance(price, bool) or not isinstance(price, str | int | Decimal):
        raise BadQuote(f"its price is {shown(price)}, not a number")
    try:
        value = Decimal(price)
    except ArithmeticError:
        raise BadQuote(f"its price is {shown(price)}, not a number") from None
    if not value.is_finite():
        raise BadQuote(f"its price is {shown(price)}, not a finite number")
    if value <= 0:
        raise BadQuote(f"its price is {shown(price)}, not positive")
    if not SMALLEST_USD <= value <= LARGEST_USD:
        raise BadQuote(f"its price is {shown(price)}, which is not plausible")
    return value.quantize(SMALLEST_USD, ROUND_HALF_EVEN)


def undated(answered_at: datetime) -> datetime:
    """Return the time of a price that comes without one: the full minute after its answer.

    So nothing that is computed as of an earlier time can see it. Midnight is left to the daily closes.
    """
    at = answered_at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return at + timedelta(minutes=1) if at == midnight(at.date()) else at


def epoch_moment(seconds: object) -> datetime:
    """Return the naive UTC time of Unix ``seconds``, whole or not.

    Raises:
        BadQuote: it is no time.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | Decimal):
        raise BadQuote(f"its time is {shown(seconds)}")
    try:
        return from_epoch(float(seconds))
    except (ValueError, OverflowError, OSError):
        raise BadQuote(f"its time is {shown(seconds)}") from None


def current(at: datetime, now: datetime) -> datetime:
    """Return ``at`` if a price of then is a current one.

    Raises:
        BadQuote: it is too old, or in the future.
    """
    if at > now + CLOCKS_DIFFER:
        raise BadQuote(f"its price is of {at:%Y-%m-%d %H:%M}, in the future; check this machine's clock")
    if at < now - STALE_AFTER:
        raise BadQuote(f"its price is of {at:%Y-%m-%d %H:%M} and no longer current")
    return at


def shown(value: object) -> str:
    """Return a value from outside for a message; of a longer text its kind alone, as it may repeat the key we sent."""
    if isinstance(value, Decimal):
        return f"{value:.40}"
    text = json.dumps(value, default=str)
    return text[:40] if type(value) is int or len(text) <= SHOWN_LENGTH else json_kind(value)
