"""Common types of the price sources: quotes, answers and errors; and the validation of prices, times and keys."""

import csv
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bizcharts_pipeline.core.clock import from_epoch, midnight
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.fields import json_kind
from bizcharts_pipeline.settings import key_address_problem

COIN_IDS = Path(__file__).parent / "data" / "coin_ids.csv"
_NOT_IN_A_NUMBER = re.compile(r"[^!-~]|_")  # Decimal would read "1_000", " 5" and digits of other scripts
SMALLEST_USD = Decimal("1e-12")  # the smallest value of the database column
LARGEST_USD = Decimal(10**9)  # far above any coin's price so far
STALE_AFTER = timedelta(hours=1)
CLOCKS_DIFFER = timedelta(minutes=5)
SHOWN_LENGTH = 14  # shorter than any key
_KEY = re.compile(r"[!-~]{1,200}")

T = TypeVar("T")


class PriceFormatError(SourceError):
    """A response that cannot be parsed as prices."""


class KeyMissing(SourceError):
    """A source requires a key, and none is set."""


class BadKey(SourceError):
    """A key that cannot be sent; the message does not repeat it."""


class BadQuote(Exception):
    """One price is unusable; the message gives the reason."""


@dataclass(frozen=True)
class Quote:
    """The price of one coin: ``usd`` at ``at`` (naive UTC), from ``source``."""

    coin_symbol: str
    at: datetime
    usd: Decimal
    source: str


@dataclass(frozen=True)
class Answer:
    """The usable quotes of one response, and a message for each coin without one."""

    quotes: tuple[Quote, ...]
    problems: tuple[str, ...] = ()


class PriceSource(Protocol):
    """A source of current prices."""

    @property
    def name(self) -> str: ...

    def latest(self, symbols: Sequence[str], now: datetime) -> Answer:
        """Return the prices of ``symbols``, with at most one request.

        Raises:
            SourceError: the response is missing or cannot be parsed.
        """
        ...


class DailySource(PriceSource, Protocol):
    """A source that also has prices of past days."""

    def daily(self, symbol: str, first: date, last: date, now: datetime) -> Answer:
        """Return the closing prices of the UTC days ``first`` to ``last``; both must have ended at ``now``.

        The close of a day is known at the midnight that ends it, so that is its ``at``: computations as of an earlier
        time cannot see it.
        """
        ...


@dataclass(frozen=True)
class CoinIds:
    """A coin's ids at the sources; ``None`` if unknown."""

    coingecko: str | None
    coinmarketcap: str | None


@cache
def coin_ids() -> dict[str, CoinIds]:
    """Return the coins' ids at the price services, the table of ``data/coin_ids.csv``, by symbol. Symbols alone are
    ambiguous: many coins may share one.
    """
    with COIN_IDS.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {row["symbol"]: CoinIds(row["coingecko"] or None, row["coinmarketcap"] or None) for row in rows}


def id_is_unknown(symbol: str, source: str) -> str:
    """Return the message for a coin ``symbol`` without a known id at a price service."""
    return f"{symbol}: {source} identifies coins by id, and its id is unknown; add a line to {COIN_IDS}"


def api_key(variable: str) -> str | None:
    """Return a price service's key in the environment's ``variable``, ``None`` if it is not set.

    Raises:
        BadKey: it has characters that cannot be sent.
    """
    key = os.environ.get(variable, "").strip()
    if key and not _KEY.fullmatch(key):
        raise BadKey(f"{variable} has characters not allowed in a key (blanks, typographic quotes); set it again")
    return key or None


def api_key_for(url: str, variable: str) -> str | None:
    """Return the key in the environment's ``variable`` for the price service at ``url``, which comes from the settings.

    Raises:
        BadKey: the key cannot be sent, or would be sent unencrypted; nothing was sent.
    """
    key = api_key(variable)
    if key and (problem := key_address_problem(url)):
        raise BadKey(f"{variable} is not sent: its URL in the settings {problem}")
    return key


class _Contradiction(Exception):
    """An object has a key twice, with different values."""


def _without_contradiction(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found, contradicted = by_name(pairs)
    if contradicted:
        raise _Contradiction
    return found


def read_json(body: bytes, source: str, kind: type) -> Any:
    """Return the JSON of a price service's ``body``, whose top level must be of type ``kind``; fractions are exact
    ``Decimal``.

    Raises:
        PriceFormatError: it is not JSON, or of another type.
    """
    try:
        value = json.loads(body, parse_float=Decimal, parse_constant=str, object_pairs_hook=_without_contradiction)
    except _Contradiction:
        raise PriceFormatError(f"{source}: the response has a key twice, with different values") from None
    except (ValueError, ArithmeticError, RecursionError):
        html = body.lstrip()[:1] == b"<"
        why = "an HTML page, as from a bot check or a provider's portal" if html else "not JSON"
        why = why if body else "empty"
        raise PriceFormatError(f"{source}: the response is {why}; if it persists, open its URL in a browser") from None
    if not isinstance(value, kind):
        raise PriceFormatError(
            f"{source}: the response is {json_kind(value)}, not {json_kind(kind())}; has its API changed?"
        )
    return value


def by_name(entries: Iterable[tuple[str, T]]) -> tuple[dict[str, T], set[str]]:
    """Return the first value of each name in a price service's response, and the names that come again with another
    value.
    """
    found: dict[str, T] = {}
    contradicted = {name for name, value in entries if found.setdefault(name, value) != value}
    return found, contradicted


def quote(symbol: str, at: datetime, price: object, source: str) -> Quote:
    """Return a validated quote of a coin's price; ``price`` is a JSON string or number.

    Raises:
        BadQuote: the price is not plausible.
    """
    return Quote(symbol, at, usd(price), source)


def usd(price: object) -> Decimal:
    """Return ``price`` with the 12 decimals that are stored.

    Raises:
        BadQuote: it is not between the smallest and the largest plausible price.
    """
    odd = isinstance(price, str) and _NOT_IN_A_NUMBER.search(price)
    if odd or isinstance(price, bool) or not isinstance(price, str | int | Decimal):
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
    """Return the time to store for a price that came without one: the first full minute after its response.

    So no computation as of an earlier time sees it. It is never midnight, which is the time of daily closes.
    """
    at = answered_at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return at + timedelta(minutes=1) if at == midnight(at.date()) else at


def epoch_moment(seconds: object) -> datetime:
    """Return the naive UTC time of a price's Unix ``seconds``, which may have a fraction.

    Raises:
        BadQuote: it is not a valid time.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | Decimal):
        raise BadQuote(f"its time is {shown(seconds)}")
    try:
        return from_epoch(float(seconds))
    except (ValueError, OverflowError, OSError):
        raise BadQuote(f"its time is {shown(seconds)}") from None


def current(at: datetime, now: datetime) -> datetime:
    """Return ``at`` if a price of that time is current.

    Raises:
        BadQuote: it is too old, or in the future.
    """
    if at > now + CLOCKS_DIFFER:
        raise BadQuote(f"its price is of {at:%Y-%m-%d %H:%M}, in the future; check this machine's clock")
    if at < now - STALE_AFTER:
        raise BadQuote(f"its price is of {at:%Y-%m-%d %H:%M} and no longer current")
    return at


def shown(value: object) -> str:
    """Return a value from a price service for a message; for a longer text only its type, as it may contain the key."""
    if isinstance(value, Decimal):
        return f"{value:.40}"
    text = json.dumps(value, default=str)
    return text[:40] if type(value) is int or len(text) <= SHOWN_LENGTH else json_kind(value)
