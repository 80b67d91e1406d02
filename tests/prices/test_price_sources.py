"""What the parsers make of the hosts' answers, and budgets that hold whatever the interleaving."""

import csv
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bizcharts_pipeline.core.clock import midnight
from bizcharts_pipeline.http.request_budget import (
    KEPT,
    ROWS_KEPT,
    Allowance,
    BudgetExhausted,
    RequestLedger,
    SourceResting,
)
from bizcharts_pipeline.prices.alternative_me import ReferenceFormatError, parse_reference_index
from bizcharts_pipeline.prices.binance import parse_candles, parse_tickers
from bizcharts_pipeline.prices.coingecko import parse_market_chart, parse_simple_price
from bizcharts_pipeline.prices.coinmarketcap import parse_quotes
from bizcharts_pipeline.prices.quote import (
    LARGEST_USD,
    SMALLEST_USD,
    BadKey,
    BadQuote,
    PriceFormatError,
    Quote,
    api_key,
    coin_ids,
    read_json,
    undated,
    usd,
)
from bizcharts_pipeline.settings import PriceSettings

NOW = datetime(2026, 3, 2, 12, 7, 31)
MINUTE_AFTER = datetime(2026, 3, 2, 12, 8)
SECONDS = int(datetime(2026, 3, 2, 12, 5, tzinfo=UTC).timestamp())
UPDATED = datetime(2026, 3, 2, 12, 5)
PAIRS = [("BTC", "10"), ("ETH", "5"), ("BTC", "11"), ("ETH", "5")]
IDS = {"BTC": "bitcoin", "PEPE": "pepe"}


def milliseconds(*moment: int) -> int:
    return 1000 * int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]


def test_a_price_keeps_every_digit_that_was_served() -> None:
    """A double would give 67187.33589365662 and 7.123456789e-06."""
    body = (
        b'{"bitcoin":{"usd":67187.3358936566149,"usd_24h_vol":1,"last_updated_at":%d},"pepe":{"usd":7.123456789e-06}}'
    ) % SECONDS
    answer = parse_simple_price(body, IDS, NOW)
    assert answer.quotes == (
        Quote("BTC", UPDATED, Decimal("67187.335893656615"), "coingecko"),
        Quote("PEPE", MINUTE_AFTER, Decimal("0.000007123457"), "coingecko"),
    )
    assert answer.problems == ()


@pytest.mark.parametrize(
    "price",
    [
        "NaN",
        "Infinity",
        "-1",
        "0",
        '"-3"',
        '"abc"',
        '"1_000"',
        '" 5 "',
        '"١"',
        "true",
        "[]",
        "1e30",
        "1e-20",
        '"1e999999999999999999999"',
    ],
)
def test_a_price_that_is_none_is_refused_by_name_and_the_others_stay(price: str) -> None:
    body = f'{{"bitcoin":{{"usd":{price}}},"pepe":{{"usd":"0.00001"}}}}'.encode()
    answer = parse_simple_price(body, IDS, NOW)
    assert [quote.coin_symbol for quote in answer.quotes] == ["PEPE"]
    assert answer.problems[0].startswith("BTC: its price is")


@given(st.one_of(st.decimals(), st.text(), st.integers(), st.none(), st.booleans(), st.floats(), st.lists(st.none())))
def test_what_is_taken_for_a_price_is_always_plausible(value: object) -> None:
    try:
        price = usd(value)
    except BadQuote:
        return
    assert SMALLEST_USD <= price <= LARGEST_USD
    assert -price.as_tuple().exponent == 12  # type: ignore[operator]


def test_coins_without_a_current_price_are_named() -> None:
    ids = {"BTC": "bitcoin", "ETH": "ethereum", "SOL": "solana", "XMR": "monero"}
    day = 86_400
    body = json.dumps(
        {
            "bitcoin": {"usd": None},
            "solana": {"usd": 100, "last_updated_at": SECONDS - day},
            "monero": {"usd": 100, "last_updated_at": SECONDS + day},
        }
    ).encode()
    answer = parse_simple_price(body, ids, NOW)
    assert answer.quotes == ()
    assert [problem[:5] for problem in answer.problems] == ["BTC: ", "ETH: ", "SOL: ", "XMR: "]
    assert "no longer current" in answer.problems[2]
    assert "clock" in answer.problems[3]


def test_all_generations_of_coinmarketcaps_answers_say_the_same() -> None:
    dollars = {"price": 67000.5, "last_updated": "2026-03-02T12:05:00.000Z"}
    by_id = {"data": {"1": {"id": 1, "symbol": "BTC", "quote": {"USD": dollars}}}}
    by_symbol = {"data": {"BTC": [{"id": 9, "quote": {}}, {"id": 1, "quote": {"USD": dollars}}]}}
    currencies = [{"symbol": "EUR", "price": 1}, {"symbol": "USD", **dollars}]
    listed = {"status": {"error_code": "0"}, "data": [{"id": 1, "quote": currencies}]}
    for body in (by_id, by_symbol, listed):
        answer = parse_quotes(json.dumps(body).encode(), {"BTC": "1", "ETH": "1027"}, NOW)
        assert answer.quotes == (Quote("BTC", UPDATED, Decimal("67000.5"), "coinmarketcap"),)
        assert answer.problems == ("ETH: CoinMarketCap has no price of its coin 1027",)
    renamed = json.dumps({"data": [{"id": 1, "symbol": "WBTC", "quote": {"USD": dollars}}]}).encode()
    assert 'is "WBTC"' in parse_quotes(renamed, {"BTC": "1"}, NOW).problems[0]
    with pytest.raises(PriceFormatError, match="1002"):
        parse_quotes(b'{"status":{"error_code":1002},"data":{}}', {"BTC": "1"}, NOW)


def test_binances_pairs_against_tether_count_and_no_others() -> None:
    body = b'[{"symbol":"BTCUSDT","price":"67000.01000000"},{"symbol":"ETHBTC","price":"0.04"},{"symbol":7},null]'
    answer = parse_tickers(body, ["BTC", "ETH"], NOW)
    assert answer.quotes == (Quote("BTC", MINUTE_AFTER, Decimal("67000.01"), "binance"),)
    assert answer.problems == ("ETH: Binance does not trade ETHUSDT",)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
@example(datetime(2026, 3, 2))
@example(datetime(2026, 3, 1, 23, 59, 59))
def test_a_price_without_a_time_is_known_after_its_answer_and_never_taken_for_a_close(answered_at: datetime) -> None:
    at = undated(answered_at)
    assert timedelta(0) < at - answered_at <= timedelta(minutes=2)
    assert at != midnight(at.date())
    assert (at.second, at.microsecond) == (0, 0)


def test_what_a_host_repeats_of_a_key_is_in_no_message() -> None:
    key = "CG-9a8b7c6d5e4f3a2b1c0d9e8f"
    said = []
    for value in (key, [key], {"id": key}):
        said += parse_simple_price(json.dumps({"bitcoin": {"usd": value}}).encode(), {"BTC": "bitcoin"}, NOW).problems
        stamped = {"bitcoin": {"usd": 1, "last_updated_at": value}}
        said += parse_simple_price(json.dumps(stamped).encode(), {"BTC": "bitcoin"}, NOW).problems
        chart = json.dumps({"prices": [value]}).encode()
        said += parse_market_chart(chart, "BTC", date(2026, 2, 1), date(2026, 2, 2)).problems
        coin = {"data": [{"id": 1, "symbol": value}]}
        said += parse_quotes(json.dumps(coin).encode(), {"BTC": "1"}, NOW).problems
        with pytest.raises(PriceFormatError) as caught:
            parse_quotes(json.dumps({"status": {"error_code": value}, "data": []}).encode(), {"BTC": "1"}, NOW)
        said.append(str(caught.value))
    assert len(said) == 15
    with pytest.raises(PriceFormatError, match="an error without a number"):
        parse_quotes(b'{"status":{"error_code":"short"}}', {"BTC": "1"}, NOW)
    assert not [text for text in said if key[:8] in text]


def test_two_different_prices_of_one_coin_in_an_answer_are_none_and_a_repeated_one_is_one() -> None:
    tickers = [{"symbol": f"{name}USDT", "price": price} for name, price in PAIRS]
    answer = parse_tickers(json.dumps(tickers).encode(), ["BTC", "ETH"], NOW)
    assert [(each.coin_symbol, float(each.usd)) for each in answer.quotes] == [("ETH", 5.0)]
    assert answer.problems == ("BTC: Binance gave two prices of BTCUSDT",)
    coins = [
        {"id": number, "quote": {"USD": {"price": price}}} for number, price in ((1, "10"), (1027, "5"), (1, "11"))
    ]
    answer = parse_quotes(json.dumps({"data": coins}).encode(), {"BTC": "1", "ETH": "1027"}, NOW)
    assert [each.coin_symbol for each in answer.quotes] == ["ETH"]
    assert answer.problems == ("BTC: CoinMarketCap gave two quotes of its coin 1",)
    with pytest.raises(PriceFormatError, match="a key twice"):
        read_json(b'{"bitcoin": {"usd": 1}, "bitcoin": {"usd": 2}}', "coingecko", dict)


def test_a_candles_close_is_known_at_the_midnight_that_ends_it() -> None:
    def candle(day: int, close: str, trades: int, hour: int = 0) -> list[object]:
        opened = milliseconds(2024, 2, day, hour)
        return [opened, "1", "1", "1", close, "1", opened + 86_399_999, "1", trades, "1", "1", "0"]

    body = json.dumps(
        [candle(17, "7", 5), candle(18, "158.10", 9), candle(19, "160", 0), candle(20, "1", 1, 1), ["x"], "y"]
    ).encode()
    answer = parse_candles(body, "XMR", date(2024, 2, 18), date(2024, 2, 20))
    assert answer.quotes == (Quote("XMR", datetime(2024, 2, 19), Decimal("158.1"), "binance"),)
    assert len(answer.problems) == 2


def test_real_candles_of_seven_years_give_their_closes_to_the_last_digit(shared_data: Path) -> None:
    with (shared_data / "market" / "btc_ohlcv_2017-08-17_2024-11-26.csv").open(newline="") as file:
        rows = [(date.fromisoformat(row["timestamp"]), row) for row in csv.DictReader(file)]
    candles = []
    for day, row in rows:
        opened = milliseconds(day.year, day.month, day.day)
        prices = [row[name] for name in ("open", "high", "low", "close", "volume")]
        candles.append([opened, *prices, opened + 86_399_999, "1", 1, "1", "1", "0"])
    answer = parse_candles(json.dumps(candles).encode(), "BTC", rows[0][0], rows[-1][0])
    assert (len(answer.quotes), answer.problems) == (2659, ())
    for (day, row), quote in zip(rows, answer.quotes, strict=True):
        assert quote.at.date() == day + timedelta(days=1)
        assert quote.usd == Decimal(row["close"])


@given(st.lists(st.integers(0, 4 * 86_400 - 1), max_size=200))
def test_a_daily_close_is_never_taken_from_after_its_midnight(offsets: list[int]) -> None:
    begin = milliseconds(2026, 2, 1)
    body = json.dumps({"prices": [[begin + 1000 * offset, offset + 1] for offset in offsets]}).encode()
    answer = parse_market_chart(body, "BTC", date(2026, 2, 1), date(2026, 2, 2))
    assert answer.problems == ()
    for quote in answer.quotes:
        assert quote.at in (datetime(2026, 2, 2), datetime(2026, 2, 3))
        seconds = int((quote.at - datetime(2026, 2, 1)).total_seconds())
        source = int(quote.usd) - 1
        assert source == max(offset for offset in offsets if offset <= seconds)
        assert seconds - source <= 65 * 60


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><html>", b"", b"\xff\xfe", b"[[", b"3", b"[" * 100_000, b'"x"'])
def test_what_is_no_answer_at_all_is_a_named_error(body: bytes) -> None:
    with pytest.raises(PriceFormatError):
        parse_simple_price(body, IDS, NOW)
    with pytest.raises(PriceFormatError):
        parse_quotes(body, IDS, NOW)
    with pytest.raises(PriceFormatError):
        parse_tickers(body, ["BTC"], NOW)
    with pytest.raises(PriceFormatError):
        parse_market_chart(body, "BTC", date(2026, 2, 1), date(2026, 2, 2))
    with pytest.raises(ReferenceFormatError):
        parse_reference_index(body, NOW)


def test_every_default_coin_has_an_id_at_both_sources_and_no_id_stands_for_two() -> None:
    table = coin_ids()
    for symbol in PriceSettings().coins:
        assert table[symbol].coingecko, symbol
        assert table[symbol].coinmarketcap, symbol
    for source in ("coingecko", "coinmarketcap"):
        known = [coin_id for ids in table.values() if (coin_id := getattr(ids, source))]
        assert len(known) == len(set(known))
    assert len(table) >= 60


def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINGECKO_API_KEY", " CG-good \n")
    assert api_key("COINGECKO_API_KEY") == "CG-good"
    for bad in ("CG-secret\nX-Other: 1", "CG-secr\u00e9t", "CG secret"):
        monkeypatch.setenv("COINGECKO_API_KEY", bad)
        with pytest.raises(BadKey) as caught:
            api_key("COINGECKO_API_KEY")
        assert "CG" not in str(caught.value)
        assert "COINGECKO_API_KEY" in str(caught.value)
    monkeypatch.setenv("COINGECKO_API_KEY", "")
    assert api_key("COINGECKO_API_KEY") is None


def test_the_real_reference_index_comes_back_day_by_day(shared_data: Path) -> None:
    with (shared_data / "market" / "fear_greed_2018-02-01_2025-12-04.csv").open(newline="") as file:
        days = {date.fromisoformat(row["Date"]): int(row["FearGreed"]) for row in csv.DictReader(file)}
    assert len(days) == 2860
    entries = [
        {
            "value": str(value),
            "value_classification": "Fear",
            "timestamp": str(int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())),
        }
        for day, value in sorted(days.items(), reverse=True)
    ]
    entries[0]["time_until_update"] = "3600"
    answer = parse_reference_index(json.dumps({"data": entries, "metadata": {"error": None}}).encode(), NOW)
    assert {reading.day: reading.value for reading in answer.readings} == days
    assert {reading.source for reading in answer.readings} == {"alternative.me"}
    bad = [{"value": "101", "timestamp": "1"}, {"value": "-1"}, None, {"value": 50, "timestamp": "1e3"}, {}]
    answer = parse_reference_index(json.dumps({"data": [*bad, entries[0]]}).encode(), NOW)
    assert (len(answer.readings), len(answer.problems)) == (1, len(bad))


def test_a_reading_from_before_bitcoin_is_refused_by_name() -> None:
    seconds = int(NOW.replace(tzinfo=UTC).timestamp())
    entries = [{"value": "40", "timestamp": str(seconds)}, {"value": "41", "timestamp": "86400"}]
    answer = parse_reference_index(json.dumps({"data": entries}).encode(), NOW)
    assert [reading.value for reading in answer.readings] == [40]
    assert "1970-01-02 is from before Bitcoin began" in answer.problems[0]


def test_a_reading_of_the_future_is_refused_by_name() -> None:
    def entry(moment: datetime) -> dict[str, str]:
        return {"value": "40", "timestamp": str(int(moment.replace(tzinfo=UTC).timestamp()))}

    entries = [entry(datetime(2033, 5, 18)), entry(NOW + timedelta(days=2)), entry(NOW + timedelta(days=1)), entry(NOW)]
    answer = parse_reference_index(json.dumps({"data": entries}).encode(), NOW)
    assert [reading.day for reading in answer.readings] == [date(2026, 3, 2), date(2026, 3, 3)]
    for day, problem in zip(("2033-05-18", "2026-03-04"), answer.problems, strict=True):
        assert f"{day} is in the future" in problem
    with pytest.raises(ReferenceFormatError, match="2033-05-18"):
        parse_reference_index(json.dumps({"data": entries[:1]}).encode(), NOW)


def test_the_class_of_a_foreign_reading_has_no_control_characters() -> None:
    labels = ["\x1b[31mFear\x07\n", "\u202eFear", "", 5]
    seconds = int(NOW.replace(tzinfo=UTC).timestamp())
    entries = [
        {"value": "40", "value_classification": label, "timestamp": str(seconds - day * 86_400)}
        for day, label in enumerate(labels)
    ]
    answer = parse_reference_index(json.dumps({"data": entries}).encode(), NOW)
    assert [reading.label for reading in reversed(answer.readings)] == ["[31mFear", "Fear", None, None]


MONTH_START = datetime(2026, 3, 1)


@settings(max_examples=40)
@given(
    offsets=st.lists(st.integers(-200, 400), max_size=60), per_minute=st.integers(1, 4), per_month=st.integers(1, 25)
)
def test_no_minute_and_no_month_holds_more_than_its_budget(
    tmp_path_factory: pytest.TempPathFactory, offsets: list[int], per_minute: int, per_month: int
) -> None:
    """Times in any order, as of processes that were held up between reading the clock and booking."""
    ledger = RequestLedger(tmp_path_factory.mktemp("ledger") / "requests.sqlite")
    booked: list[datetime] = []
    for offset in offsets:
        now = MONTH_START + timedelta(seconds=offset)
        try:
            ledger.book("x", Allowance(per_minute, per_month), now)
            booked.append(now)
        except BudgetExhausted:
            pass
    for begin in booked:
        assert sum(begin <= at < begin + timedelta(minutes=1) for at in booked) <= per_minute
    assert sum(at >= MONTH_START for at in booked) <= per_month
    assert sum(at < MONTH_START for at in booked) <= per_month
    assert not offsets or booked


@pytest.mark.fault("clock jump", stage="prices", expected="no new request budget")
def test_a_clock_that_was_set_ahead_for_a_while_gives_no_new_budget(home: Path) -> None:
    ledger, allowance = RequestLedger(home / "ledgers" / "requests.sqlite"), Allowance(per_minute=100, per_month=5)
    for turn in range(5):
        ledger.book("x", allowance, NOW + timedelta(seconds=turn))
    for days in (90, 91, 180):
        ledger.book("x", allowance, NOW + timedelta(days=days))
    assert ledger.left_this_month("x", allowance, NOW) == 0
    with pytest.raises(BudgetExhausted):
        ledger.book("x", allowance, NOW + timedelta(hours=1))


def test_bookings_that_are_old_and_many_are_dropped(tmp_path: Path) -> None:
    ledger, allowance = RequestLedger(tmp_path / "requests.sqlite"), Allowance(1, 1)
    ledger.book("x", allowance, NOW - KEPT)
    ledger.book("x", allowance, NOW - timedelta(days=40))
    with closing(sqlite3.connect(ledger.path)) as connection, connection:
        connection.execute("UPDATE requests SET rowid = rowid + ? WHERE rowid = 2", (ROWS_KEPT,))
    ledger.book("x", allowance, NOW + timedelta(seconds=1))
    with sqlite3.connect(ledger.path) as connection:
        assert connection.execute("SELECT count(*) FROM requests").fetchone() == (2,)


_BOOKER = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
from bizcharts_pipeline.http.request_budget import Allowance, BudgetExhausted, RequestLedger
ledger, start = RequestLedger(Path(sys.argv[1])), datetime(2026, 3, 10)
sys.stdin.readline()
for turn in range(60):
    now = start + timedelta(seconds=turn * 3)
    try:
        ledger.book("x", Allowance(per_minute=7, per_month=18), now)
        print(now.isoformat())
    except BudgetExhausted:
        pass
"""


def test_processes_that_start_together_on_a_new_ledger_share_one_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _BOOKER, str(tmp_path / "ledgers" / "requests.sqlite")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    booked = []
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        booked += [datetime.fromisoformat(line) for line in output.split()]
    assert len(booked) == 18
    for begin in booked:
        assert sum(begin <= at < begin + timedelta(minutes=1) for at in booked) <= 7


def test_a_refusing_source_rests_twice_as_long_each_time_up_to_a_day_and_an_answer_ends_it(home: Path) -> None:
    ledger = RequestLedger(home / "ledgers" / "requests.sqlite")
    now, rests = NOW, []
    for _ in range(9):
        ledger.refused("binance", "451", now)
        begin = now
        while True:
            try:
                RequestLedger(ledger.path).check_rest("binance", now)
                break
            except SourceResting:
                now += timedelta(minutes=15)
        rests.append((now - begin) / timedelta(minutes=15))
    assert rests == [1, 2, 4, 8, 16, 32, 64, 96, 96]
    ledger.check_rest("coingecko", now)
    ledger.refused("binance", "451", now)
    ledger.answered("binance")
    ledger.check_rest("binance", now)


def test_a_claim_is_given_once_in_its_time_and_a_clock_set_back_does_not_hold_it_up(home: Path) -> None:
    ledger, hour = RequestLedger(home / "ledgers" / "requests.sqlite"), timedelta(hours=1)
    assert ledger.claim("it", hour, NOW)
    assert not ledger.claim("it", hour, NOW + timedelta(minutes=59))
    assert ledger.claim("it", hour, NOW + hour)
    assert ledger.claim("it", hour, NOW - timedelta(days=300))
