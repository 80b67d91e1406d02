"""Binance's market-data host (https://developers.binance.com/docs/binance-spot-api-docs): last trades of USDT pairs.

No key is needed. **A USDT is taken for a US dollar here**; it has strayed from it by some per cent for hours.

The prices of *all* pairs in trade are asked for with one request (weight 4 of 6,000 a minute, some 60 kB): a list that
names a single unlisted pair is refused as a whole (-1121), and a delisted pair, as Monero's, goes on showing its last
price of years ago unless ``symbolStatus=TRADING`` leaves it out.
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
    epoch_moment,
    quote,
    read_json,
    shown,
    undated,
)

NAME = "binance"
CANDLES_PER_REQUEST = 1000
# On that day Terra began a new chain, with a new coin under the old symbol; what the pair traded before is LUNC today.
FIRST_DAYS = {"LUNA": date(2022, 5, 28)}
_UNLISTED = -1121
_OPEN_TIME, _CLOSE, _TRADES = 0, 4, 8  # places within a candle


class Binance:
    """A client; ``session`` counts its requests."""

    name = NAME

    def __init__(self, session: BudgetedSession, url: str) -> None:
        self._session = session
        self._url = url

    def latest(self, symbols: Sequence[str], now: datetime) -> Answer:
        """See :class:`PriceSource`. The prices are :func:`undated`."""
        answer = self._session.get(f"{self._url}/api/v3/ticker/price?symbolStatus=TRADING")
        return parse_tickers(answer.body, symbols, max(now, answer.fetched_at))

    def daily(self, symbol: str, first: date, last: date, now: datetime) -> Answer:
        """See :class:`DailySource`; a request for each thousand days. ``FIRST_DAYS`` are not gone behind."""
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
    """Read ``[{"symbol": "BTCUSDT", "price": "…"}, …]``, of which the USDT pairs of ``symbols`` count.

    Raises:
        PriceFormatError: the body as a whole is no such thing.
    """
    prices = {
        entry["symbol"]: entry.get("price")
        for entry in read_json(body, NAME, list)
        if isinstance(entry, dict) and isinstance(entry.get("symbol"), str)
    }
    if not prices:
        raise PriceFormatError(f"{NAME}: a list of prices without one; has the API changed?")
    quotes: list[Quote] = []
    problems: list[str] = []
    for symbol in symbols:
        try:
            if _pair(symbol) not in prices:
                problems.append(_not_traded(symbol))
            else:
                quotes.append(quote(symbol, undated(answered_at), prices[_pair(symbol)], NAME))
        except BadQuote as error:
            problems.append(f"{symbol}: {error}")
    return Answer(tuple(quotes), tuple(problems))


def parse_candles(body: bytes, symbol: str, first: date, last: date) -> Answer:
    """Read daily candles (``klines``); one without a trade only repeats an older price and is left out.

    Raises:
        PriceFormatError: the body as a whole is no such thing.
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
                quotes[closed] = quote(symbol, closed, candle[_CLOSE], NAME)
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
