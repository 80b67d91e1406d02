"""Binance's market-data host (https://developers.binance.com/docs/binance-spot-api-docs): last trades of USDT pairs.

No key is needed. **A USDT counts as a US dollar here**, although it has deviated by some per cent for hours.

One request fetches the prices of *all* trading pairs (weight 4 of 6,000 a minute, some 60 kB). A list of pairs would be
refused completely if one of them is unlisted (-1121), and a delisted pair, such as Monero's, keeps its last price of
years ago unless ``symbolStatus=TRADING`` excludes it.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

from bizcharts_pipeline.core.clock import midnight, to_epoch
from bizcharts_pipeline.http.errors import UnexpectedAnswer
from bizcharts_pipeline.http.request_budget import BudgetedSession
from bizcharts_pipeline.prices.quote import (
    Answer,
    BadQuote,
    PriceFormatError,
    Quote,
    by_name,
    epoch_moment,
    quote,
    read_json,
    shown,
    undated,
)

NAME = "binance"
CANDLES_PER_REQUEST = 1000
# On that day Terra started a new chain, with a new coin under the old symbol; the pair's earlier coin is now LUNC.
FIRST_DAYS = {"LUNA": date(2022, 5, 28)}
_UNLISTED = -1121
_OPEN_TIME, _CLOSE, _TRADES = 0, 4, 8  # indices within a candle


class Binance:
    """Client of Binance's API. ``session`` charges each request to the request budget."""

    name = NAME

    def __init__(self, session: BudgetedSession, url: str) -> None:
        self._session = session
        self._url = url

    def latest(self, symbols: Sequence[str], now: datetime) -> Answer:
        """Fetch the current prices from Binance, as :class:`PriceSource` says. They are :func:`undated`."""
        answer = self._session.get(f"{self._url}/api/v3/ticker/price?symbolStatus=TRADING")
        return parse_tickers(answer.body, symbols, max(now, answer.fetched_at))

    def daily(self, symbol: str, first: date, last: date, now: datetime) -> Answer:
        """Fetch a coin's closing prices from Binance, as :class:`DailySource` says; one request per thousand days. Days
        before ``FIRST_DAYS`` are left out.
        """
        quotes: list[Quote] = []
        problems: list[str] = []
        if first < FIRST_DAYS.get(symbol, first):
            first = FIRST_DAYS[symbol]
            problems.append(f"{symbol}: until {first} Binance's {_pair(symbol)} was another coin")
        while first <= last:
            upto = min(last, first + timedelta(days=CANDLES_PER_REQUEST - 1))
            try:
                body = self._session.get(f"{self._url}/api/v3/klines?{_candles(symbol, first, upto)}").body
            except UnexpectedAnswer as error:
                if _code(error.evidence) != _UNLISTED:
                    raise
                return Answer((), (_not_traded(symbol),))
            answer = parse_candles(body, symbol, first, upto)
            quotes += answer.quotes
            problems += answer.problems
            first = upto + timedelta(days=1)
        return Answer(tuple(quotes), tuple(problems))


def parse_tickers(body: bytes, symbols: Sequence[str], answered_at: datetime) -> Answer:
    """Parse Binance's prices ``[{"symbol": "BTCUSDT", "price": "…"}, …]``, using the USDT pairs of ``symbols``.

    Raises:
        PriceFormatError: the body does not have this format.
    """
    prices, contradicted = by_name(
        (entry["symbol"], entry.get("price"))
        for entry in read_json(body, NAME, list)
        if isinstance(entry, dict) and isinstance(entry.get("symbol"), str)
    )
    if not prices:
        raise PriceFormatError(f"{NAME}: the price list is empty; has the API changed?")
    quotes: list[Quote] = []
    problems: list[str] = []
    for symbol in symbols:
        try:
            if _pair(symbol) not in prices:
                problems.append(_not_traded(symbol))
            elif _pair(symbol) in contradicted:
                problems.append(f"{symbol}: Binance gave two prices of {_pair(symbol)}")
            else:
                quotes.append(quote(symbol, undated(answered_at), prices[_pair(symbol)], NAME))
        except BadQuote as error:
            problems.append(f"{symbol}: {error}")
    return Answer(tuple(quotes), tuple(problems))


def parse_candles(body: bytes, symbol: str, first: date, last: date) -> Answer:
    """Parse Binance's daily candles (``klines``); one without a trade only repeats an older price and is left out.

    Raises:
        PriceFormatError: the body does not have this format.
    """
    quotes: dict[datetime, Quote] = {}
    problems: list[str] = []
    for candle in read_json(body, NAME, list):
        try:
            if not isinstance(candle, list) or len(candle) <= _TRADES or not isinstance(candle[_OPEN_TIME], int):
                raise BadQuote(f"a candle is {shown(candle)}")
            opened = epoch_moment(candle[_OPEN_TIME] // 1000)
            if opened == midnight(opened.date()) and first <= opened.date() <= last and candle[_TRADES] != 0:
                closed = opened + timedelta(days=1)
                if quotes.setdefault(closed, found := quote(symbol, closed, candle[_CLOSE], NAME)) != found:
                    raise BadQuote(f"Binance gave two closes of {opened:%Y-%m-%d}; the first counts")
        except BadQuote as error:
            problems.append(f"{symbol}: {error}")
    return Answer(tuple(quotes.values()), tuple(problems))


def _pair(symbol: str) -> str:
    return f"{symbol}USDT"


def _not_traded(symbol: str) -> str:
    return f"{symbol}: Binance does not trade {_pair(symbol)}"


def _candles(symbol: str, first: date, last: date) -> str:
    begin = int(to_epoch(midnight(first))) * 1000
    end = int(to_epoch(midnight(last + timedelta(days=1)))) * 1000 - 1
    asked = {"symbol": _pair(symbol), "interval": "1d", "startTime": begin, "endTime": end}
    return urlencode(asked | {"limit": CANDLES_PER_REQUEST})


def _code(evidence: bytes) -> object:
    try:
        error = json.loads(evidence)
    except (ValueError, RecursionError):
        return None
    return error.get("code") if isinstance(error, dict) else None
