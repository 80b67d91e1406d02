"""The published numbers as of a moment: as a database cut there would give them, and no candle looks ahead."""

from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published_rows import DAY, HOUR, CoinRow, IndexRow, insert_coins, insert_index, published_hour

from bizcharts_pipeline.warehouse.as_of import (
    MAX_AGE,
    candles,
    coin_board,
    coin_series,
    first_bucket,
    index_series,
    knows_coin,
    newest_coin_readings,
    newest_computed_at,
    newest_reading,
    newest_readings,
    revision,
    series_of_coins,
)

T0 = datetime(2026, 3, 2)
END = T0 + 2 * DAY
ABOUT = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

_minutes = st.integers(0, 36 * 60)
_state = st.sampled_from(["normal", "thin", "calibrating", "no reading"])


@st.composite
def index_rows(draw: st.DrawFn) -> list[IndexRow]:
    """Vintages of a few hours and days, each of them knowable and computed whenever, and at different moments."""
    rows = {}
    for _ in range(draw(st.integers(0, 25))):
        bucket = draw(st.sampled_from(["hour", "day"]))
        start = T0 + draw(st.integers(0, 20)) * HOUR if bucket == "hour" else T0 + draw(st.integers(0, 1)) * DAY
        computed = T0 + timedelta(minutes=draw(_minutes))
        rows[bucket, start, computed] = IndexRow(
            start,
            computed,
            T0 + timedelta(minutes=draw(_minutes)),
            draw(st.integers(0, 100)),
            bucket,
            state=draw(_state),
            final=draw(st.booleans()),
            model_version=draw(st.sampled_from(["a", "b"])),
        )
    return list(rows.values())


@st.composite
def coin_rows(draw: st.DrawFn) -> list[CoinRow]:
    rows = {}
    for _ in range(draw(st.integers(0, 25))):
        symbol, start = draw(st.sampled_from(["BTC", "ETH", "X'"])), T0 + draw(st.integers(0, 1)) * DAY
        computed, mentions = T0 + timedelta(minutes=draw(_minutes)), draw(st.integers(0, 3))
        rows[symbol, start, computed] = CoinRow(
            symbol,
            start,
            computed,
            T0 + timedelta(minutes=draw(_minutes)),
            0.2 if mentions else None,
            mentions,
            final=draw(st.booleans()),
        )
    return list(rows.values())


def answers(connection: duckdb.DuckDBPyConnection, as_of: datetime | None) -> list[object]:
    """Everything that can be asked, as of a moment."""
    return [
        index_series(connection, "hour", T0 + HOUR, END, as_of),
        index_series(connection, "day", T0, END, as_of),
        newest_readings(connection, "hour", 3, as_of),
        newest_reading(connection, "day", as_of),
        coin_board(connection, "day", as_of),
        coin_series(connection, "X'", "day", T0, END, as_of),
        candles(connection, HOUR, T0, END, as_of),
        candles(connection, 4 * HOUR, T0, END, as_of),
        candles(connection, timedelta(minutes=15), T0, END, as_of),
        index_series(connection, "hour", T0, END, as_of, 3),
        newest_readings(connection, "hour", 3, as_of, T0 + 6 * HOUR),
        coin_series(connection, "BTC", "day", T0, END, as_of, 1),
        series_of_coins(connection, ["BTC", "X'"], "day", T0, END, as_of),
        newest_coin_readings(connection, "ETH", "day", 1, as_of, T0 + DAY),
        first_bucket(connection, "hour", as_of),
        knows_coin(connection, "X'", as_of),
        revision(connection, as_of),
    ]


@pytest.mark.parametrize("schema", ["DuckDB"], indirect=True)  # a lake takes minutes
@pytest.mark.slow
@given(index=index_rows(), coins=coin_rows(), at=_minutes)
@ABOUT
def test_an_answer_as_of_a_moment_is_that_of_a_database_cut_there(
    schema: duckdb.DuckDBPyConnection, index: list[IndexRow], coins: list[CoinRow], at: int
) -> None:
    moment = T0 + timedelta(minutes=at)
    schema.begin()
    try:
        insert_index(schema, index)
        insert_coins(schema, coins)
        asked = answers(schema, moment)
        for table in ("fear_greed_index", "coin_sentiment"):
            schema.execute(
                f"DELETE FROM {table} WHERE computed_at > ? OR knowable_at > ? OR NOT final", [moment, moment]
            )
        assert answers(schema, None) == asked
    finally:
        schema.rollback()


@pytest.mark.parametrize("schema", ["DuckDB"], indirect=True)  # a lake takes minutes
@pytest.mark.slow
@given(index=index_rows(), coins=coin_rows(), most=st.integers(1, 6), at=st.none() | _minutes)
@ABOUT
def test_the_first_and_the_newest_rows_are_those_of_the_whole_series(
    schema: duckdb.DuckDBPyConnection, index: list[IndexRow], coins: list[CoinRow], most: int, at: int | None
) -> None:
    as_of = None if at is None else T0 + timedelta(minutes=at)
    schema.begin()
    try:
        insert_index(schema, index)
        insert_coins(schema, coins)
        hours = index_series(schema, "hour", T0, END, as_of)
        assert index_series(schema, "hour", T0, END, as_of, most) == hours[:most]
        assert newest_readings(schema, "hour", most, as_of) == hours[::-1][:most]
        earlier = [hour for hour in hours if hour.bucket_start < T0 + 6 * HOUR]
        assert newest_readings(schema, "hour", most, as_of, T0 + 6 * HOUR) == earlier[::-1][:most]
        days = coin_series(schema, "ETH", "day", T0, END, as_of)
        assert coin_series(schema, "ETH", "day", T0, END, as_of, most) == days[:most]
        assert newest_coin_readings(schema, "ETH", "day", most, as_of) == days[::-1][:most]
        together = series_of_coins(schema, ["ETH", "X'"], "day", T0, END, as_of)
        assert together == {coin: coin_series(schema, coin, "day", T0, END, as_of) for coin in ("ETH", "X'")}
        assert first_bucket(schema, "hour", as_of) == (hours[0].bucket_start if hours else None)
        assert knows_coin(schema, "ETH", as_of) == bool(days)
    finally:
        schema.rollback()


@given(index=index_rows(), quarter=st.integers(0, 160))
@ABOUT
def test_a_candle_depends_on_nothing_that_became_known_after_its_open(
    schema: duckdb.DuckDBPyConnection, index: list[IndexRow], quarter: int
) -> None:
    opened = T0 + quarter * timedelta(minutes=15)
    schema.begin()
    try:
        insert_index(schema, index)
        (before,) = candles(schema, HOUR, opened, opened)
        schema.execute("DELETE FROM fear_greed_index WHERE greatest(knowable_at, computed_at) > ?", [opened])
        assert candles(schema, HOUR, opened, opened) == [before]
        assert before.knowable_at is None or before.knowable_at <= opened
        if before.bucket_start is not None:
            assert opened - MAX_AGE <= before.bucket_start + HOUR <= opened
    finally:
        schema.rollback()


def test_a_series_has_the_newest_vintage_of_each_bucket_and_the_running_row(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    first = published_hour(T0, 40)
    again = replace(first, value=45, computed_at=first.computed_at + 3 * HOUR)
    running = IndexRow(T0 + HOUR, T0 + HOUR * 1.5, T0 + HOUR * 1.5, 60, final=False)
    insert_index(connection, [first, again, running])
    assert [(r.value, r.final) for r in index_series(connection, "hour", T0, END)] == [(45, True), (60, False)]
    assert [r.value for r in index_series(connection, "hour", T0, T0 + HOUR)] == [45]
    assert [r.value for r in index_series(connection, "hour", T0, END, first.computed_at)] == [40]
    assert index_series(connection, "hour", T0, END, first.computed_at - timedelta(microseconds=1)) == []
    newest = newest_reading(connection, "hour")
    assert newest is not None
    assert newest.value == 60


def test_an_answer_as_of_a_moment_is_the_same_before_and_after_the_provisional_rows_are_replaced(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """A service that stopped within an hour leaves its provisional row until it goes on."""
    running = IndexRow(T0 + HOUR, T0 + HOUR * 1.5, T0 + HOUR * 1.5, 60, final=False)
    coin = CoinRow("BTC", T0, T0 + HOUR * 1.5, T0 + HOUR * 1.5, mentions=3, final=False)
    insert_index(connection, [published_hour(T0, 40), running])
    insert_coins(connection, [coin])
    before = answers(connection, T0 + DAY)
    for table in ("fear_greed_index", "coin_sentiment"):
        connection.execute(f"DELETE FROM {table} WHERE NOT final")
    insert_index(connection, [replace(running, computed_at=T0 + 2 * DAY, final=True, basis="reconstructed")])
    assert answers(connection, T0 + DAY) == before


def test_a_candle_has_no_reading_that_was_computed_after_an_outage(connection: duckdb.DuckDBPyConnection) -> None:
    late = replace(published_hour(T0 + HOUR, 10), computed_at=T0 + DAY, basis="reconstructed")
    insert_index(connection, [published_hour(T0, 40), late])
    assert [candle.value for candle in candles(connection, HOUR, T0 + 2 * HOUR, T0 + 3 * HOUR)] == [40, 40]
    assert [candle.value for candle in candles(connection, HOUR, T0 + 4 * HOUR, T0 + 4 * HOUR)] == [None]


def test_a_candle_has_no_reading_that_was_computed_after_its_open(connection: duckdb.DuckDBPyConnection) -> None:
    insert_index(connection, [replace(published_hour(T0, 40), computed_at=T0 + 2.5 * HOUR)])
    assert [candle.value for candle in candles(connection, HOUR, T0 + 2 * HOUR, T0 + 3 * HOUR)] == [None, 40]


def test_no_value_is_given_while_the_index_calibrates(connection: duckdb.DuckDBPyConnection) -> None:
    hour = replace(published_hour(T0, 40), state="calibrating", knowable_at=T0 + HOUR, computed_at=T0 + HOUR)
    insert_index(connection, [hour])
    (reading,) = index_series(connection, "hour", T0, END)
    (candle,) = candles(connection, HOUR, T0 + HOUR, T0 + HOUR)
    for row in (reading, candle):
        assert (row.value, row.lo, row.hi, row.state, row.stance) == (None, None, None, "calibrating", 0.1)
    assert reading.label is None


def test_a_coin_that_is_no_longer_named_leaves_the_board_and_not_its_series(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    at = T0 + DAY
    named = [CoinRow("BTC", T0, at, at, mentions=3), CoinRow("ETH", T0, at, at, mentions=7)]
    gone = replace(named[1], score=None, mentions=0, computed_at=at + HOUR)
    insert_coins(connection, [*named, gone])
    assert [coin.coin_symbol for coin in coin_board(connection, "day", at)] == ["ETH", "BTC"]
    assert [coin.coin_symbol for coin in coin_board(connection, "day")] == ["BTC"]
    assert [coin.mentions for coin in coin_series(connection, "ETH", "day", T0, END)] == [0]


def test_a_candle_takes_the_first_vintage_and_a_gap_is_an_empty_candle(connection: duckdb.DuckDBPyConnection) -> None:
    hours = [published_hour(T0 + n * HOUR, 10 * n) for n in (0, 1, 2)]
    better = replace(hours[1], value=99, model_version="chosen later", computed_at=T0 + DAY)
    insert_index(connection, [*hours, better])
    found = candles(connection, HOUR, T0, T0 + 7 * HOUR)
    assert [candle.open for candle in found] == [T0 + n * HOUR for n in range(8)]
    # Each hour's last post was seen half a minute after its end: one hour later it is known.
    assert [candle.value for candle in found] == [None, None, 0, 10, 20, 20, None, None]
    assert found[3].bucket_start == T0 + HOUR
    assert [candle.value for candle in candles(connection, DAY, T0, T0 + DAY)] == [None, None]


def test_the_revision_tells_every_change(connection: duckdb.DuckDBPyConnection) -> None:
    seen = [revision(connection)]
    insert_index(connection, [published_hour(T0 + 5 * HOUR)])
    seen.append(revision(connection))
    insert_coins(connection, [CoinRow("BTC", T0, T0 + HOUR, T0 + HOUR)])  # older than the newest
    seen.append(revision(connection))
    assert len(set(seen)) == 3
    assert newest_computed_at(connection) == published_hour(T0 + 5 * HOUR).computed_at
    assert revision(connection, T0).rows == 0
