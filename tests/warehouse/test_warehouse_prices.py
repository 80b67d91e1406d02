"""Prices and the reference index in the warehouse."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import duckdb

from bizcharts_pipeline.prices.alternative_me import ReferenceReading
from bizcharts_pipeline.prices.quote import Quote
from bizcharts_pipeline.warehouse.prices import (
    days_without_close,
    disagreements,
    merge_prices,
    merge_reference_index,
    newest_prices,
    newest_reference_day,
)

AT = datetime(2026, 3, 2, 12, 5)
BTC = Quote("BTC", AT, Decimal("67187.335893656615"), "coingecko")
PEPE = Quote("PEPE", AT, Decimal("0.000000000001"), "coingecko")


def test_prices_are_kept_to_the_twelfth_decimal_and_twice_is_as_once(connection: duckdb.DuckDBPyConnection) -> None:
    assert merge_prices(connection, [BTC, PEPE, BTC]) == 2
    assert merge_prices(connection, [PEPE, BTC]) == 0
    rows = connection.execute('SELECT coin_symbol, "at", usd, source FROM coin_prices ORDER BY 1').fetchall()
    assert [Quote(*row) for row in rows] == [BTC, PEPE]
    corrected = replace(BTC, usd=Decimal("67000"))
    assert merge_prices(connection, [corrected, replace(BTC, source="binance")]) == 1
    stored = connection.execute("SELECT usd FROM coin_prices WHERE coin_symbol = 'BTC' AND source = 'coingecko'")
    assert stored.fetchall() == [(Decimal("67000.000000000000"),)]
    assert merge_prices(connection, []) == 0


def test_only_prices_of_about_one_time_are_compared_and_the_newest_pair_counts(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    def quotes(minutes: int, one: str, other: str, apart: int = 2) -> list[Quote]:
        at = AT + timedelta(minutes=minutes)
        later = at + timedelta(minutes=apart)
        return [Quote("BTC", at, Decimal(one), "coingecko"), Quote("BTC", later, Decimal(other), "binance")]

    since = AT - timedelta(hours=2)
    merge_prices(connection, quotes(0, "100", "110"))
    found = disagreements(connection, 0.02, since)
    assert [(each.coin_symbol, round(each.share, 6)) for each in found] == [("BTC", 0.1)]
    assert "10.0% apart" in str(found[0])
    assert disagreements(connection, 0.11, since) == []
    assert disagreements(connection, 0.02, AT + timedelta(minutes=1)) == []
    # A later price of the source that is asked more often does not pair up with the other's earlier one.
    merge_prices(connection, [Quote("BTC", AT + timedelta(minutes=5), Decimal("150"), "coingecko")])
    assert disagreements(connection, 0.02, since) == found
    merge_prices(connection, quotes(60, "100", "130", apart=15))
    assert disagreements(connection, 0.02, since) == found
    merge_prices(connection, quotes(120, "100", "101"))
    assert disagreements(connection, 0.02, since) == []


def test_a_day_has_its_close_when_there_is_a_price_at_the_midnight_that_ends_it(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    first, last = date(2026, 2, 27), date(2026, 3, 2)
    merge_prices(
        connection,
        [
            Quote("BTC", datetime(2026, 2, 28), Decimal(1), "binance"),
            Quote("BTC", datetime(2026, 3, 1), Decimal(2), "coingecko"),
            Quote("BTC", datetime(2026, 3, 1), Decimal(3), "binance"),
            Quote("BTC", datetime(2026, 3, 2, 0, 5), Decimal(4), "binance"),
            Quote("BTC", datetime(2026, 3, 2), Decimal(6), "coinmarketcap"),
            Quote("ETH", datetime(2026, 3, 2), Decimal(5), "binance"),
        ],
    )
    both = ["binance", "coingecko"]
    assert days_without_close(connection, "BTC", first, last, both) == [date(2026, 3, 1), date(2026, 3, 2)]
    assert days_without_close(connection, "BTC", first, date(2026, 2, 28), ["coingecko"]) == [first]
    assert days_without_close(connection, "BTC", last, first, both) == []


def test_the_preview_has_each_coins_newest_price(connection: duckdb.DuckDBPyConnection) -> None:
    assert newest_prices(connection).rows == []
    merge_prices(connection, [BTC, replace(BTC, at=AT + timedelta(minutes=5), usd=Decimal(1), source="binance"), PEPE])
    preview = newest_prices(connection)
    assert preview.columns == ["coin", "usd", "source", "at"]
    assert [(row[0], row[2]) for row in preview.rows] == [("BTC", "binance"), ("PEPE", "coingecko")]


def test_a_reference_day_is_one_row_and_keeps_the_time_its_value_was_first_seen(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    def reading(value: int, fetched_at: datetime) -> ReferenceReading:
        return ReferenceReading(date(2026, 3, 2), value, "Fear", "alternative.me", fetched_at)

    assert newest_reference_day(connection, "alternative.me") is None
    assert merge_reference_index(connection, [reading(30, AT)]) == 1
    assert merge_reference_index(connection, [reading(30, AT + timedelta(hours=1))]) == 0
    assert connection.execute("SELECT value, fetched_at FROM reference_index").fetchall() == [(30, AT)]
    assert merge_reference_index(connection, [reading(31, AT + timedelta(hours=2))]) == 0
    assert connection.execute("SELECT value, fetched_at FROM reference_index").fetchall() == [
        (31, AT + timedelta(hours=2))
    ]
    assert newest_reference_day(connection, "alternative.me") == date(2026, 3, 2)
