"""The price hosts on loopback: CoinGecko, Binance, CoinMarketCap and alternative.me at one address.

Prices are a seeded random walk, the same for all hosts except for each one's ``bias``. ``troubles`` maps failing hosts
to their fault, until it is removed.
"""

import hashlib
import json
import math
import random
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs

from bizcharts_pipeline.core.clock import from_epoch, midnight, to_epoch, utc_now
from bizcharts_pipeline.demo.server import JSON, BoardServer, Fault, Handler, Page, RequestRecord
from bizcharts_pipeline.prices.quote import coin_ids

FIRST_DAY = date(2017, 1, 1)
DELISTED = {"XMR": date(2024, 2, 20)}  # on Binance, with the day of its last trade
UNLISTED = frozenset({"HYPE", "KAS", "XDC"})  # on Binance
_BASE_USD = {"BTC": 60_000.0, "ETH": 2_500.0, "BNB": 500.0, "XMR": 160.0, "SHIB": 2e-5, "PEPE": 8e-6}
_REFUSALS: dict[int, dict[str, Any]] = {
    400: {"code": -1100, "msg": "Illegal characters found in a parameter."},
    401: {"status": {"error_code": 1001, "error_message": "This API Key is invalid."}},
    402: {"status": {"error_code": 1004, "error_message": "The subscription plan has expired."}},
    403: {"status": {"error_code": 10005, "error_message": "This request is limited."}},
    429: {"status": {"error_code": 429, "error_message": "The rate limit was exceeded."}},
    451: {"code": 0, "msg": "Service unavailable from a restricted location."},
}


class SimulatedPrices(BoardServer):
    """The hosts; a context manager. ``now`` is the simulated time; ``None`` follows the clock.

    Attributes:
        troubles: by host ('coingecko', 'binance', 'coinmarketcap', 'alternative.me'), a status or a fault.
        bias: by host, the relative error of its prices.
        missing: by host, symbols that it omits.
        accepted_key: the only accepted key; ``None``: any key. CoinMarketCap requires a key, CoinGecko does not.
        keys: every received key, by host.
    """

    paths: ClassVar[Mapping[str, str]] = {
        "/api/v3/simple/": "coingecko",
        "/api/v3/coins/": "coingecko",
        "/api/v3/": "binance",
        "/v3/cryptocurrency/": "coinmarketcap",
        "/fng/": "alternative.me",
    }

    def __init__(self, seed: int = 7, *, now: datetime | None = None) -> None:
        super().__init__()
        self._server.RequestHandlerClass = _PriceHandler
        self.seed = seed
        self.now = now
        self.troubles: dict[str, int | Fault] = {}
        self.bias: dict[str, float] = {}
        self.missing: dict[str, set[str]] = {}
        self.accepted_key: str | None = None
        self.keys: list[tuple[str, str]] = []
        self._walks: dict[str, tuple[random.Random, list[float]]] = {}

    def price(self, symbol: str, at: datetime, host: str = "") -> float:
        """Return a coin's simulated price in USD at ``host`` at a naive UTC time."""
        days, rest = divmod((at - midnight(FIRST_DAY)).total_seconds() / 86_400, 1)
        walk = self._walk(symbol, int(days) + 2)
        level = walk[int(days)] * (1 - rest) + walk[int(days) + 1] * rest
        return _BASE_USD.get(symbol, 10.0) * math.exp(level) * (1 + self.bias.get(host, 0.0))

    def reference_value(self, day: date) -> int:
        """Return the simulated reference index of a UTC day, 5 to 95."""
        return 5 + int(hashlib.sha256(f"{self.seed} {day}".encode()).hexdigest(), 16) % 91

    def host_of(self, path: str) -> str:
        """Return the simulated price host to which a path belongs; '' if none."""
        return next((host for prefix, host in self.paths.items() if path.startswith(prefix)), "")

    def page(self, path: str, query: str, *, key: str | None = "any") -> Page | None:
        """Return a simulated price host's normal (fault-free) response to ``path`` when requested with API key
        ``key``."""
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        now = self.now or utc_now()
        if path == "/api/v3/simple/price":
            return _page(self._simple_price(asked, now))
        if path.startswith("/api/v3/coins/") and path.endswith("/market_chart/range"):
            return self._market_chart(path.split("/")[4], asked)
        if path == "/api/v3/ticker/price":
            return self._tickers(asked, now)
        if path == "/api/v3/klines":
            return self._candles(asked, now)
        if path == "/v3/cryptocurrency/quotes/latest":
            return _page(self._quotes(asked, now)) if key else refusal(401)
        if path == "/fng/":
            return _page(self._reference_index(int(asked.get("limit", "1")), now))
        return None

    def _walk(self, symbol: str, days: int) -> list[float]:
        with self._lock:
            source, walk = self._walks.setdefault(symbol, (random.Random(f"{self.seed} {symbol}"), [0.0]))
            while len(walk) <= days:
                walk.append(0.999 * walk[-1] + source.gauss(0, 0.03))
            return walk

    def _simple_price(self, asked: Mapping[str, str], now: datetime) -> dict[str, Any]:
        left_out = self.missing.get("coingecko", set())
        updated = int(to_epoch(now)) - 37
        return {
            coin_id: {"usd": self.price(symbol, from_epoch(updated), "coingecko"), "last_updated_at": updated}
            for coin_id in asked.get("ids", "").split(",")
            if (symbol := _symbol_of("coingecko", coin_id)) and symbol not in left_out
        }

    def _market_chart(self, coin_id: str, asked: Mapping[str, str]) -> Page:
        symbol = _symbol_of("coingecko", coin_id)
        if symbol is None:
            return _page({"error": "coin not found"}, 404)
        begin, end = int(asked["from"]), int(asked["to"])
        step, lag = (3600, 13) if end - begin <= 90 * 86_400 else (86_400, 0)
        points = [
            [1000 * at, self.price(symbol, from_epoch(at), "coingecko")]
            for at in range(begin - begin % step + lag, end + 1, step)
            if at >= begin
        ]
        return _page({"prices": points, "market_caps": [], "total_volumes": []})

    def _tickers(self, asked: Mapping[str, str], now: datetime) -> Page:
        listed = [symbol for symbol in coin_ids() if symbol not in UNLISTED | self.missing.get("binance", set())]
        if "symbolStatus" in asked:
            listed = [symbol for symbol in listed if symbol not in DELISTED]
        prices = {"ETHBTC": "0.04100000"}
        for symbol in listed:
            traded_at = midnight(DELISTED[symbol]) if symbol in DELISTED else now
            prices[f"{symbol}USDT"] = f"{self.price(symbol, traded_at, 'binance'):.8f}"
        wanted = json.loads(asked["symbols"]) if "symbols" in asked else list(prices)
        if not set(wanted) <= set(prices):
            return _page({"code": -1121, "msg": "Invalid symbol."}, 400)
        return _page([{"symbol": pair, "price": prices[pair]} for pair in wanted])

    def _candles(self, asked: Mapping[str, str], now: datetime) -> Page:
        symbol = asked["symbol"].removesuffix("USDT")
        if symbol not in coin_ids() or symbol in UNLISTED | self.missing.get("binance", set()):
            return _page({"code": -1121, "msg": "Invalid symbol."}, 400)
        day = max(from_epoch(int(asked["startTime"]) / 1000).date(), FIRST_DAY)
        last = min(from_epoch(int(asked["endTime"]) / 1000), now).date()
        candles: list[list[object]] = []
        while day <= min(last, DELISTED.get(symbol, last)) and len(candles) < int(asked.get("limit", "500")):
            opened = midnight(day)
            closed = opened + timedelta(days=1)
            first, final = (f"{self.price(symbol, at, 'binance'):.8f}" for at in (opened, min(closed, now)))
            begin, end = 1000 * int(to_epoch(opened)), 1000 * int(to_epoch(closed)) - 1
            candles.append([begin, first, first, final, final, "1.0", end, "1.0", 42, "0.5", "0.5", "0"])
            day += timedelta(days=1)
        return _page(candles)

    def _quotes(self, asked: Mapping[str, str], now: datetime) -> dict[str, Any]:
        left_out = self.missing.get("coinmarketcap", set())
        stamp = now.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        coins = [
            {
                "id": int(coin_id),
                "symbol": symbol,
                "quote": [
                    {
                        "id": 2781,
                        "symbol": "USD",
                        "price": self.price(symbol, now, "coinmarketcap"),
                        "last_updated": stamp,
                    }
                ],
            }
            for coin_id in asked.get("id", "").split(",")
            if (symbol := _symbol_of("coinmarketcap", coin_id)) and symbol not in left_out
        ]
        return {
            "status": {"timestamp": stamp, "error_code": "0", "error_message": "", "credit_count": 1},
            "data": coins,
        }

    def _reference_index(self, limit: int, now: datetime) -> dict[str, Any]:
        days = (now.date() - FIRST_DAY).days + 1
        entries = []
        for age in range(min(limit, days) if limit else days):
            day = now.date() - timedelta(days=age)
            value = self.reference_value(day)
            began = int(to_epoch(midnight(day)))
            entries.append({"value": str(value), "value_classification": _label(value), "timestamp": str(began)})
        return {"name": "Fear and Greed Index", "data": entries, "metadata": {"error": None}}


class _PriceHandler(Handler):
    """Request handler that adds each host's own faults, with the statuses and bodies of the real hosts."""

    def do_GET(self) -> None:
        at = time.monotonic()
        path, _, query = self.path.partition("?")
        hosts = self.server.board_server
        assert isinstance(hosts, SimulatedPrices)
        host = hosts.host_of(path)
        key = next((value for name, value in self.headers.items() if name.lower().endswith("-api-key")), None)
        key = key or self.headers.get("X-CMC_PRO_API_KEY")
        if key:
            hosts.keys.append((host, key))
        trouble = hosts.troubles.get(host) or hosts.admit(at)
        page = hosts.page(path, query, key=key) or refusal(404)
        if key and hosts.accepted_key not in (None, key):
            page = refusal(401, key)
        fault = trouble if isinstance(trouble, Fault) else None
        if trouble is not None and fault is None:
            page = refusal(int(trouble), key)
        status = page.status if fault is None else int(fault) if fault.isdigit() else 0
        hosts.log(RequestRecord(at, self.command, path, query, None, self.headers.get("User-Agent"), status, fault))
        if fault is not None:
            self._fail(fault, page)
        else:
            retry = [("Retry-After", hosts.retry_after)] if status == 429 and hosts.retry_after else []
            self._answer(status, page, *retry)


def refusal(status: int, key: str | None = None) -> Page:
    """Return a simulated price host's error response; it repeats the key, as a careless host may."""
    return _page(_REFUSALS.get(status, {"error": status}) | ({"key": key} if key else {}), status)


def _page(value: object, status: int = 200) -> Page:
    return Page(json.dumps(value, separators=(",", ":")).encode(), JSON, status=status)


def _symbol_of(host: str, coin_id: str) -> str | None:
    return next((symbol for symbol, ids in coin_ids().items() if getattr(ids, host) == coin_id), None)


def _label(value: int) -> str:
    bounds = ((25, "Extreme Fear"), (46, "Fear"), (55, "Neutral"), (76, "Greed"), (101, "Extreme Greed"))
    return next(label for bound, label in bounds if value < bound)
