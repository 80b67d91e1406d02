"""CoinGecko (https://docs.coingecko.com): prices by coin id, volume-weighted over exchanges.

The key is optional; without one, the limit is per IP address and lower. The header's name depends on the plan, and each
plan has its own host: demo keys are for api.coingecko.com, paid ones for pro-api.coingecko.com.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode, urlsplit

from bizcharts_pipeline.core.clock import midnight, to_epoch
from bizcharts_pipeline.http.request_budget import BudgetedSession
from bizcharts_pipeline.http.session import Response
from bizcharts_pipeline.prices.quote import (
    Answer,
    BadQuote,
    PriceFormatError,
    Quote,
    api_key_for,
    coin_ids,
    current,
    epoch_moment,
    id_is_unknown,
    quote,
    read_json,
    shown,
    undated,
)

NAME = "coingecko"
KEY_VARIABLE = "COINGECKO_API_KEY"
HISTORY_DAYS = 364  # the limit of the free plans: the past 365 days
# Ranges of up to 90 days have hourly points, at times slightly off the hour; longer ones have points at midnight.
_CLOSE_MAX_AGE = timedelta(minutes=65)


class CoinGecko:
    """Client of CoinGecko's API. ``session`` charges each request to the request budget."""

    name = NAME

    def __init__(self, session: BudgetedSession, url: str) -> None:
        self._session = session
        self._url = url

    def latest(self, symbols: Sequence[str], now: datetime) -> Answer:
        """Fetch the current prices from CoinGecko, as :class:`PriceSource` says."""
        ids = {symbol: coin_id for symbol in symbols if (coin_id := _coin_id(symbol))}
        unknown = tuple(id_is_unknown(symbol, "CoinGecko") for symbol in symbols if symbol not in ids)
        if not ids:
            return Answer((), unknown)
        asked = {
            "ids": ",".join(ids.values()),
            "vs_currencies": "usd",
            "include_last_updated_at": "true",
            "precision": "full",
        }
        response = self._get("/api/v3/simple/price", asked)
        answer = parse_simple_price(response.body, ids, max(now, response.fetched_at))
        return Answer(answer.quotes, unknown + answer.problems)

    def daily(self, symbol: str, first: date, last: date, now: datetime) -> Answer:
        """Fetch a coin's closing prices from CoinGecko, as :class:`DailySource` says. Days more than a year ago are not
        requested.
        """
        coin_id = _coin_id(symbol)
        if coin_id is None:
            return Answer((), (id_is_unknown(symbol, "CoinGecko"),))
        first = max(first, now.date() - timedelta(days=HISTORY_DAYS))
        if first > last:
            return Answer((), (f"{symbol}: CoinGecko's free plans go back {HISTORY_DAYS} days only",))
        begin, end = _midnight_after(first) - _CLOSE_MAX_AGE, _midnight_after(last)
        asked = {"vs_currency": "usd", "from": str(int(to_epoch(begin))), "to": str(int(to_epoch(end)))}
        body = self._get(f"/api/v3/coins/{coin_id}/market_chart/range", asked).body
        return parse_market_chart(body, symbol, first, last)

    def _get(self, path: str, asked: Mapping[str, str]) -> Response:
        key = api_key_for(self._url, KEY_VARIABLE)
        headers = {key_header(self._url): key} if key else {}
        return self._session.get(f"{self._url}{path}?{urlencode(asked, safe=',')}", headers)


def key_header(url: str) -> str:
    """Return the name of the header for CoinGecko's key, by the host of ``url``."""
    paid = (urlsplit(url).hostname or "").startswith("pro-api.")
    return "x-cg-pro-api-key" if paid else "x-cg-demo-api-key"


def parse_simple_price(body: bytes, ids: Mapping[str, str], answered_at: datetime) -> Answer:
    """Parse CoinGecko's prices ``{id: {"usd": price, "last_updated_at": seconds}}``; ``ids`` are CoinGecko's, by
    symbol.

    Raises:
        PriceFormatError: the body does not have this format.
    """
    coins: dict[str, Any] = read_json(body, NAME, dict)
    quotes: list[Quote] = []
    problems: list[str] = []
    for symbol, coin_id in ids.items():
        try:
            entry = coins.get(coin_id)
            if not isinstance(entry, dict) or entry.get("usd") is None:
                raise BadQuote(f"CoinGecko has no price of {coin_id!r}")
            updated = entry.get("last_updated_at")
            at = undated(answered_at) if updated is None else current(epoch_moment(updated), answered_at)
            quotes.append(quote(symbol, at, entry["usd"], NAME))
        except BadQuote as error:
            problems.append(f"{symbol}: {error}")
    return Answer(tuple(quotes), tuple(problems))


def parse_market_chart(body: bytes, symbol: str, first: date, last: date) -> Answer:
    """Parse CoinGecko's ``{"prices": [[milliseconds, price], …]}``: the last price of each day, at or before its
    closing midnight.

    Raises:
        PriceFormatError: the body does not have this format.
    """
    points = read_json(body, NAME, dict).get("prices")
    if not isinstance(points, list):
        raise PriceFormatError(f"{NAME}: the market chart has no list of prices; has the API changed?")
    closes: dict[datetime, tuple[datetime, object]] = {}
    problems: list[str] = []
    for point in points:
        try:
            if (
                not isinstance(point, list)
                or len(point) != 2
                or isinstance(point[0], bool)
                or not (isinstance(point[0], int | Decimal))
            ):
                raise BadQuote(f"a point is {shown(point)}")
            at = epoch_moment(point[0] // 1000)
        except (BadQuote, ArithmeticError) as error:
            problems.append(f"{symbol}: {error}")
            continue
        closed = _midnight_ending(at)
        if closed - at <= _CLOSE_MAX_AGE and (closed not in closes or closes[closed][0] <= at):
            closes[closed] = (at, point[1])
    quotes: list[Quote] = []
    for closed, (_, price) in sorted(closes.items()):
        if _midnight_after(first) <= closed <= _midnight_after(last):
            try:
                quotes.append(quote(symbol, closed, price, NAME))
            except BadQuote as error:
                problems.append(f"{symbol}, day ending {closed:%Y-%m-%d}: {error}")
    return Answer(tuple(quotes), tuple(problems))


def _coin_id(symbol: str) -> str | None:
    ids = coin_ids().get(symbol)
    return ids.coingecko if ids else None


def _midnight_after(day: date) -> datetime:
    return midnight(day) + timedelta(days=1)


def _midnight_ending(at: datetime) -> datetime:
    """Return the midnight that ends the day of ``at``; a midnight ends the previous day."""
    return at if at == midnight(at.date()) else _midnight_after(at.date())
