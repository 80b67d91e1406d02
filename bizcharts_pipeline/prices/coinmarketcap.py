"""CoinMarketCap (https://pro.coinmarketcap.com/api/documentation): prices by coin id; requires a key.

Coins are requested by id, as several share a symbol. One request of up to 200 coins costs one credit.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bizcharts_pipeline.core.clock import naive_utc
from bizcharts_pipeline.http.request_budget import BudgetedSession
from bizcharts_pipeline.prices.quote import (
    COIN_IDS,
    Answer,
    BadQuote,
    KeyMissing,
    PriceFormatError,
    Quote,
    api_key_for,
    by_name,
    coin_ids,
    current,
    id_is_unknown,
    quote,
    read_json,
    shown,
    undated,
)

NAME = "coinmarketcap"
KEY_VARIABLE = "COINMARKETCAP_API_KEY"


class CoinMarketCap:
    """Client of CoinMarketCap's API. ``session`` charges each request to the request budget."""

    name = NAME

    def __init__(self, session: BudgetedSession, url: str) -> None:
        self._session = session
        self._url = url

    def latest(self, symbols: Sequence[str], now: datetime) -> Answer:
        """Fetch the current prices from CoinMarketCap, as :class:`PriceSource` says; raises ``KeyMissing`` without a
        key.
        """
        key = api_key_for(self._url, KEY_VARIABLE)
        if key is None:
            raise KeyMissing(f"CoinMarketCap requires a key, but {KEY_VARIABLE} is not set")
        ids = {symbol: coin_id for symbol in symbols if (coin_id := _coin_id(symbol))}
        unknown = tuple(id_is_unknown(symbol, "CoinMarketCap") for symbol in symbols if symbol not in ids)
        if not ids:
            return Answer((), unknown)
        asked = f"id={','.join(ids.values())}&convert=USD&skip_invalid=true"
        response = self._session.get(f"{self._url}/v3/cryptocurrency/quotes/latest?{asked}", {"X-CMC_PRO_API_KEY": key})
        answer = parse_quotes(response.body, ids, max(now, response.fetched_at))
        return Answer(answer.quotes, unknown + answer.problems)


def parse_quotes(body: bytes, ids: Mapping[str, str], answered_at: datetime) -> Answer:
    """Parse CoinMarketCap's quotes of coins, with ``ids`` by symbol; coins and their quotes may be arrays (v3) or
    objects (v1, v2).

    Raises:
        PriceFormatError: the body does not have this format, or contains an error.
    """
    envelope: dict[str, Any] = read_json(body, NAME, dict)
    status = envelope.get("status")
    code = status.get("error_code") if isinstance(status, dict) else None
    if str(code or 0) != "0":
        named = f"error {shown(code)}" if isinstance(code, int) else "an error without a number"
        raise PriceFormatError(f"{NAME}: it answered with {named}")
    if not isinstance(envelope.get("data"), list | dict):
        raise PriceFormatError(f"{NAME}: the response has no data; has the API changed?")
    coins, contradicted = by_name((str(coin.get("id")), coin) for coin in _coins(envelope["data"]))
    quotes: list[Quote] = []
    problems: list[str] = []
    for symbol, coin_id in ids.items():
        try:
            coin = coins.get(coin_id, {})
            if coin_id in contradicted:
                raise BadQuote(f"CoinMarketCap gave two quotes of its coin {coin_id}")
            if coin.get("symbol", symbol) != symbol:
                raise BadQuote(f"CoinMarketCap's coin {coin_id} is {shown(coin['symbol'])}; correct {COIN_IDS}")
            usd = _usd(coin.get("quote"))
            if usd is None or usd.get("price") is None:
                raise BadQuote(f"CoinMarketCap has no price of its coin {coin_id}")
            updated = usd.get("last_updated")
            at = undated(answered_at) if updated is None else current(_moment(updated), answered_at)
            quotes.append(quote(symbol, at, usd["price"], NAME))
        except BadQuote as error:
            problems.append(f"{symbol}: {error}")
    return Answer(tuple(quotes), tuple(problems))


def _coins(data: object) -> Iterator[dict[str, Any]]:
    """Yield the coins of an array, of an object by id, or of an object by symbol with an array each."""
    if isinstance(data, dict) and "quote" in data:
        yield data
    elif isinstance(data, list | dict):
        for item in data if isinstance(data, list) else data.values():
            yield from _coins(item)


def _usd(quotes: object) -> dict[str, Any] | None:
    """Return the dollar quote of an object by currency, or of an array."""
    found = None
    if isinstance(quotes, dict):
        found = quotes.get("USD")
    elif isinstance(quotes, list):
        found = next((each for each in quotes if isinstance(each, dict) and each.get("symbol") == "USD"), None)
    return found if isinstance(found, dict) else None


def _moment(text: object) -> datetime:
    try:
        return naive_utc(datetime.fromisoformat(str(text)))
    except (ValueError, OverflowError):
        raise BadQuote(f"its time is {shown(text)}") from None


def _coin_id(symbol: str) -> str | None:
    ids = coin_ids().get(symbol)
    return ids.coinmarketcap if ids else None
