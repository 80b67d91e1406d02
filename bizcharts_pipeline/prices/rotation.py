"""Rotation of the price sources, with fail-over and comparison.

A pass queries the sources in order until every coin has a price; usually that is one request. A source that has used
its budget, refuses requests or fails is skipped; one that refuses (401, 403, 429, 451) is then suspended for a while,
longer each time. Occasionally a second source is queried too, for comparison.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypeGuard

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.http.errors import HostPaused, SourceBlocked, SourceError
from bizcharts_pipeline.http.request_budget import Allowance, BudgetedSession, RequestLedger
from bizcharts_pipeline.http.session import PoliteSession, Timeouts
from bizcharts_pipeline.prices.alternative_me import EVERYTHING, NAME, fetch_reference_index
from bizcharts_pipeline.prices.binance import Binance
from bizcharts_pipeline.prices.coingecko import CoinGecko
from bizcharts_pipeline.prices.coinmarketcap import CoinMarketCap
from bizcharts_pipeline.prices.quote import Answer, DailySource, PriceSource, Quote
from bizcharts_pipeline.settings import PriceSettings, Settings, is_loopback
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.prices import (
    Disagreement,
    days_without_close,
    disagreements,
    merge_prices,
    merge_reference_index,
    newest_reference_day,
)

REQUESTS = Path("ledgers") / "requests.sqlite"  # below the home
SHOWN_PROBLEMS = 6  # in an error; several sources may name each coin
SECONDS_PER_REQUEST = 1.0
TIMEOUTS = Timeouts(connect=5, read=10, total=20)
WHOLE_HISTORY_AFTER_DAYS = 60  # a longer gap in the reference index is filled by fetching all of it
_CLIENTS: Mapping[str, type[CoinGecko] | type[Binance] | type[CoinMarketCap]] = {
    "coingecko": CoinGecko,
    "binance": Binance,
    "coinmarketcap": CoinMarketCap,
}
# Binance's candles end at midnight; CoinGecko's points are near it, and go back only a year.
_DAILY_ORDER = ("binance", "coingecko")


class PricesUnavailable(SourceError):
    """No source returned any price; the message has each one's reason."""


@dataclass(frozen=True)
class Rotation:
    """The sources in the order of queries, and the ledger that counts their requests."""

    sources: tuple[PriceSource, ...]
    ledger: RequestLedger
    settings: PriceSettings

    def ask(self, source: PriceSource, symbols: Sequence[str], now: datetime) -> Answer:
        """Return the prices from one source, unless it is suspended; suspend it if it refuses.

        Raises:
            SourceError: there is no answer.
        """
        return self._asked(source.name, now, lambda: source.latest(symbols, now))

    def daily(self, source: DailySource, symbol: str, first: date, last: date, now: datetime) -> Answer:
        """Return a source's closing prices of a coin, like :meth:`ask`; current and closing prices are suspended
        independently.
        """
        return self._asked(f"{source.name}, daily", now, lambda: source.daily(symbol, first, last, now))

    def _asked(self, what: str, now: datetime, question: Callable[[], Answer]) -> Answer:
        self.ledger.check_rest(what, now)
        try:
            answer = question()
        except HostPaused:  # nothing was sent, so this is not a refusal
            raise
        except SourceBlocked as error:
            self.ledger.refused(what, str(error), now)
            raise
        if answer.quotes:  # without any, a request may not even have been sent
            self.ledger.answered(what)
        return answer

    def budget_left(self, now: datetime) -> dict[str, int]:
        """Return the remaining requests of this month's budget for each price source."""
        return {
            source.name: self.ledger.left_this_month(source.name, allowance(self.settings, source.name), now)
            for source in self.sources
        }


@dataclass(frozen=True)
class PricePass:
    """Result of one pass: the quotes, their sources, the coins without one, and messages about failures."""

    quotes: tuple[Quote, ...]
    used: tuple[str, ...]
    compared_with: str | None
    missing: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class PriceReport:
    """A stored pass. ``disagreements`` are those of the last comparison, even if that was in an earlier pass."""

    taken: PricePass
    new_rows: int
    disagreements: tuple[Disagreement, ...]
    budget_left: Mapping[str, int]


@dataclass(frozen=True)
class HistoryReport:
    """Result of filling past days; ``days_missing``, by coin, are in no source."""

    new_rows: int
    days_missing: Mapping[str, int]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class ReferenceReport:
    """Result of fetching the reference index."""

    new_days: int
    newest_day: date | None
    problems: tuple[str, ...]


def allowance(settings: PriceSettings, source: str) -> Allowance:
    """Return the budgets of requests to a price source."""
    return Allowance(getattr(settings, f"{source}_per_minute"), getattr(settings, f"{source}_per_month"))


def price_rotation(
    *, home: Path, urls: Mapping[str, str], settings: PriceSettings, contact: str, rate_folder: Path | None = None
) -> Rotation:
    """Return the rotation of one installation; ``urls`` are the hosts by source name."""
    ledger = RequestLedger(home / REQUESTS)
    sources = []
    for name in dict.fromkeys(settings.sources):
        session = polite_session(urls[name], contact, rate_folder)
        counted = BudgetedSession(session, ledger, name, allowance(settings, name))
        sources.append(_CLIENTS[name](counted, urls[name]))
    return Rotation(tuple(sources), ledger, settings)


def rotation_from_settings(settings: Settings) -> Rotation:
    """Return the rotation of price services of an installation's settings."""
    urls = {name: getattr(settings, f"{name}_url") for name in _CLIENTS}
    return price_rotation(home=settings.home_path, urls=urls, settings=settings.price_data, contact=settings.contact)


def polite_session(url: str, contact: str, rate_folder: Path | None = None) -> PoliteSession:
    """Return a session for a price host. It does not retry: another source or the next pass takes that role."""
    seconds = 0.0 if is_loopback(url) else SECONDS_PER_REQUEST
    return PoliteSession(seconds, contact=contact, rate_folder=rate_folder, timeouts=TIMEOUTS, attempts=1)


def take_prices(rotation: Rotation, symbols: Sequence[str], now: datetime) -> PricePass:
    """Fetch the prices of ``symbols``, and of a second source when a comparison is due.

    Raises:
        PricesUnavailable: no source returned any price.
    """
    quotes: list[Quote] = []
    used: list[str] = []
    problems: list[str] = []
    missing = list(dict.fromkeys(symbols))
    for source in rotation.sources:
        if not missing:
            break
        answer = _try(rotation, source, missing, now, problems)
        if answer.quotes:
            quotes += answer.quotes
            used.append(source.name)
            priced = {quote.coin_symbol for quote in answer.quotes}
            missing = [symbol for symbol in missing if symbol not in priced]
    if not quotes:
        raise PricesUnavailable("; ".join(["No source returned a price", *_shortened(problems)]))
    compared_with = None
    others = [source for source in rotation.sources if source.name not in used]
    every = timedelta(minutes=rotation.settings.compare_every_minutes)
    if others and rotation.ledger.claim("comparison of prices", every, now):
        priced_symbols = [quote.coin_symbol for quote in quotes]
        for source in others:
            answer = _try(rotation, source, priced_symbols, now, problems)
            if answer.quotes:
                quotes += answer.quotes
                compared_with = source.name
                break
    return PricePass(tuple(quotes), tuple(used), compared_with, tuple(missing), tuple(problems))


def _shortened(problems: Sequence[str]) -> list[str]:
    hidden = len(problems) - SHOWN_PROBLEMS
    return [*problems[:SHOWN_PROBLEMS], *([f"and {counted(hidden, 'more problem')}"] if hidden > 0 else [])]


def update_prices(database: Database, rotation: Rotation, symbols: Sequence[str], now: datetime) -> PriceReport:
    """Fetch the prices of ``symbols`` and store them.

    Raises:
        PricesUnavailable: no source returned any price.
        DatabaseError: they could not be stored.
    """
    taken = take_prices(rotation, symbols, now)
    settings = rotation.settings
    since = now - timedelta(minutes=2 * settings.compare_every_minutes)
    with database.write() as connection:
        new_rows = merge_prices(connection, taken.quotes)
        differing = disagreements(connection, settings.warn_above, since)
    return PriceReport(taken, new_rows, tuple(differing), rotation.budget_left(now))


def fill_daily(
    database: Database, rotation: Rotation, symbols: Sequence[str], first: date, last: date, now: datetime
) -> HistoryReport:
    """Store the missing closing prices of the UTC days ``first`` to ``last``, if a source has them.

    A close is stored at the midnight that ends its day, when it is known; days that have not ended are left out. Stored
    days are not requested again, so a killed run is resumed by the next.
    """
    last = min(last, now.date() - timedelta(days=1))
    new_rows = 0
    problems: list[str] = []
    days_missing: dict[str, int] = {}
    by_name = {source.name: source for source in rotation.sources}
    daily_sources = [source for name in _DAILY_ORDER if (source := by_name.get(name)) and _knows_days(source)]
    for symbol in dict.fromkeys(symbols):
        missing = _days_missing(database, symbol, first, last)
        for source in daily_sources:
            if not missing:
                break
            try:
                answer = rotation.daily(source, symbol, missing[0], missing[-1], now)
            except SourceError as error:
                problems.append(f"{symbol}, {source.name}: {error}")
                continue
            problems += answer.problems
            wanted = set(missing)
            closes = [quote for quote in answer.quotes if quote.at.date() - timedelta(days=1) in wanted]
            if closes:
                with database.write() as connection:
                    new_rows += merge_prices(connection, closes)
                missing = _days_missing(database, symbol, first, last)
        if missing:
            days_missing[symbol] = len(missing)
    return HistoryReport(new_rows, days_missing, tuple(problems))


def update_reference_index(database: Database, session: PoliteSession, url: str, now: datetime) -> ReferenceReport:
    """Fetch the missing days of alternative.me's index, and the newest one again.

    Raises:
        SourceError: the response is missing or cannot be parsed.
        DatabaseError: it could not be stored.
    """
    with database.read() as connection:
        newest = newest_reference_day(connection, NAME)
    gap = (now.date() - newest).days if newest else WHOLE_HISTORY_AFTER_DAYS
    days = max(gap, 0) + 1 if gap < WHOLE_HISTORY_AFTER_DAYS else EVERYTHING
    answer = fetch_reference_index(session, url, days, now)
    with database.write() as connection:
        new_days = merge_reference_index(connection, answer.readings)
        newest = newest_reference_day(connection, NAME)
    return ReferenceReport(new_days, newest, answer.problems)


def _try(rotation: Rotation, source: PriceSource, symbols: Sequence[str], now: datetime, problems: list[str]) -> Answer:
    """Return a source's answer, without quotes if it failed; the reason is appended to ``problems``."""
    try:
        answer = rotation.ask(source, symbols, now)
    except SourceError as error:
        problems.append(f"{source.name}: {error}")
        return Answer(())
    problems += answer.problems
    return answer


def _knows_days(source: PriceSource) -> TypeGuard[DailySource]:
    return hasattr(source, "daily")


def _days_missing(database: Database, symbol: str, first: date, last: date) -> list[date]:
    with database.read() as connection:
        return days_without_close(connection, symbol, first, last, _DAILY_ORDER)
