"""The rotation over the simulated hosts: real HTTP, the real database, the real ledger."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from assets.prices import coin_prices, reference_index
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.demo.prices.server import SimulatedPrices
from bizcharts_pipeline.demo.server import Fault
from bizcharts_pipeline.http.errors import HostPaused, SourceBlocked, SourceError
from bizcharts_pipeline.prices.coingecko import key_header
from bizcharts_pipeline.prices.rotation import (
    PricesUnavailable,
    Rotation,
    fill_daily,
    polite_session,
    price_rotation,
    take_prices,
    update_prices,
    update_reference_index,
)
from bizcharts_pipeline.settings import PriceSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from resources.prices import Prices
from resources.warehouse import Warehouse

NOW = datetime(2026, 3, 2, 12, 7)
YESTERDAY = date(2026, 3, 1)
FIVE_MINUTES = timedelta(minutes=5)
COINS = PriceSettings().coins
KEY = "SENTINEL-6f1c0a"


def daily_closes(
    connection: duckdb.DuckDBPyConnection, coin_symbol: str, first: date, last: date, source: str
) -> list[tuple[datetime, Decimal]]:
    """The source's prices at the midnights that end the days from ``first`` to ``last``, oldest first."""
    return connection.execute(
        """
        SELECT "at", usd FROM coin_prices
        WHERE coin_symbol = ? AND source = ? AND "at" = date_trunc('day', "at") AND "at" > ? AND "at" <= ?
        ORDER BY "at"
        """,
        [coin_symbol, source, first, last + timedelta(days=1)],
    ).fetchall()


@pytest.fixture
def hosts() -> Iterator[SimulatedPrices]:
    with SimulatedPrices(now=NOW) as server:
        yield server


@pytest.fixture(autouse=True)
def rate_folder(tmp_path: Path) -> None:
    (tmp_path / "rate").mkdir()


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    return DatabaseFile(tmp_path / "prices.duckdb", 10)


@pytest.fixture(autouse=True)
def _clock_and_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_NOW", NOW.isoformat())
    for name in ("COINGECKO_API_KEY", "COINMARKETCAP_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def rotation_over(hosts: SimulatedPrices, folder: Path, **settings: object) -> Rotation:
    urls = dict.fromkeys(("coingecko", "binance", "coinmarketcap"), hosts.url)
    return price_rotation(
        home=folder / "home",
        urls=urls,
        settings=PriceSettings.model_validate(settings),
        contact="",
        rate_folder=folder / "rate",
    )


def rests(folder: Path) -> list[tuple[str, int]]:
    with sqlite3.connect(folder / "home" / "ledgers" / "requests.sqlite") as ledger:
        return ledger.execute("SELECT source, refusals FROM rests ORDER BY source").fetchall()


def asked(hosts: SimulatedPrices) -> list[str]:
    return [hosts.host_of(record.path) for record in hosts.requests]


def test_one_request_prices_every_coin_and_once_an_hour_a_second_source_is_asked(
    hosts: SimulatedPrices, database: DatabaseFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotation = rotation_over(hosts, tmp_path)
    for turn in range(13):
        hosts.now = NOW + turn * FIVE_MINUTES
        monkeypatch.setenv("BIZCHARTS_NOW", hosts.now.isoformat())
        report = update_prices(database, rotation, COINS, hosts.now)
        assert (report.taken.used, report.taken.missing) == (("coingecko",), ())
        assert report.disagreements == ()
    assert asked(hosts) == ["coingecko", "binance"] + ["coingecko"] * 12 + ["binance"]
    with database.read() as connection:
        rows = connection.execute("SELECT source, count(*) FROM coin_prices GROUP BY 1 ORDER BY 1").fetchall()
    assert rows == [("binance", 2 * (len(COINS) - 1)), ("coingecko", 13 * len(COINS))]
    assert report.budget_left["coingecko"] == 10_000 - 13


def test_the_same_pass_twice_stores_its_prices_once(
    hosts: SimulatedPrices, database: DatabaseFile, tmp_path: Path
) -> None:
    rotation = rotation_over(hosts, tmp_path)
    assert update_prices(database, rotation, COINS, NOW).new_rows == 2 * len(COINS) - 1
    assert update_prices(database, rotation, COINS, NOW).new_rows == 0


@pytest.mark.parametrize(
    "trouble", [401, 403, 429, 451, 402, Fault.SERVER_ERROR, Fault.HTML, Fault.MALFORMED, Fault.RESET]
)
@pytest.mark.fault("dropped network", stage="prices", expected="the next source is asked")
def test_whatever_ails_the_first_source_the_next_one_answers(
    hosts: SimulatedPrices, tmp_path: Path, trouble: int | Fault
) -> None:
    hosts.troubles = {"coingecko": trouble}
    taken = take_prices(rotation_over(hosts, tmp_path), ["BTC", "ETH"], NOW)
    assert taken.used == ("binance",)
    assert any(problem.startswith("coingecko: ") for problem in taken.problems)
    prices = {quote.coin_symbol: float(quote.usd) for quote in taken.quotes}
    assert prices == {symbol: pytest.approx(hosts.price(symbol, NOW), rel=1e-6) for symbol in ("BTC", "ETH")}


@pytest.mark.slow
def test_a_blocked_source_is_left_alone_also_by_the_next_process(hosts: SimulatedPrices, tmp_path: Path) -> None:
    """Binance answers 451 to some countries; a day of passes asks it seven times and not at each of them."""
    hosts.troubles = {"binance": 451}
    for turn in range(96):
        hosts.now = NOW + turn * timedelta(minutes=15)
        rotation = rotation_over(hosts, tmp_path, sources=("binance", "coingecko"), coingecko_per_minute=1000)
        assert take_prices(rotation, ["BTC"], hosts.now).used == ("coingecko",)
    assert asked(hosts).count("binance") == 7
    hosts.troubles = {}
    hosts.now += timedelta(days=1)
    assert take_prices(rotation, ["BTC"], hosts.now).used == ("binance",)


def test_a_wished_pause_is_kept_and_the_rotation_goes_on(hosts: SimulatedPrices, tmp_path: Path) -> None:
    hosts.troubles, hosts.retry_after = {"coingecko": 429}, "3600"
    rotation = rotation_over(hosts, tmp_path)
    with pytest.raises(PricesUnavailable, match="429"):  # all hosts are one host here, which asked for a pause
        take_prices(rotation, ["BTC"], NOW)
    assert asked(hosts) == ["coingecko"]


def test_a_pause_in_which_nothing_is_sent_is_no_refusal(hosts: SimulatedPrices, tmp_path: Path) -> None:
    rotation = rotation_over(hosts, tmp_path)
    with polite_session(hosts.url, "", tmp_path / "rate") as session:
        session.postpone(hosts.url, 3600)
    gecko, binance = rotation.sources[:2]
    with pytest.raises(HostPaused):
        rotation.ask(gecko, ["BTC"], NOW)
    with pytest.raises(HostPaused):
        rotation.daily(binance, "BTC", YESTERDAY, YESTERDAY, NOW)  # type: ignore[arg-type]
    assert rests(tmp_path) == []


def test_an_answer_ends_the_rests_of_current_and_of_daily_prices(hosts: SimulatedPrices, tmp_path: Path) -> None:
    rotation = rotation_over(hosts, tmp_path, sources="binance")
    (binance,) = rotation.sources
    hosts.troubles = {"binance": 451}
    with pytest.raises(SourceBlocked):
        rotation.ask(binance, ["BTC"], NOW)
    with pytest.raises(SourceBlocked):
        rotation.daily(binance, "BTC", YESTERDAY, YESTERDAY, NOW)  # type: ignore[arg-type]
    assert rests(tmp_path) == [("binance", 1), ("binance, daily", 1)]
    hosts.troubles, later = {}, NOW + timedelta(hours=1)
    rotation.daily(binance, "BTC", YESTERDAY, YESTERDAY, later)  # type: ignore[arg-type]
    assert rests(tmp_path) == [("binance", 1)]
    rotation.ask(binance, ["BTC"], later)
    assert rests(tmp_path) == []


@contextmanager
def redirecting(target: str) -> Iterator[tuple[str, list[str | None]]]:
    """A host that redirects everybody to ``target``; yields its address and the keys that came."""
    keys: list[str | None] = []

    class Redirects(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(self.headers.get("x-cg-demo-api-key"))
            self.send_response(302)
            self.send_header("Location", target or self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirects) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", keys
        server.shutdown()


def test_a_redirect_costs_no_unbooked_request_and_takes_no_key_along(
    hosts: SimulatedPrices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINGECKO_API_KEY", KEY)
    for target in ("", f"{hosts.url}/api/v3/simple/price?ids=bitcoin&vs_currencies=usd", f"http://{KEY}.example/"):
        with redirecting(target) as (url, keys):
            settings = PriceSettings.model_validate({"sources": "coingecko", "coingecko_per_minute": 2})
            rotation = price_rotation(
                home=tmp_path / url[-5:],
                urls={"coingecko": url},
                settings=settings,
                contact="",
                rate_folder=tmp_path / "rate",
            )
            for _ in range(4):
                with pytest.raises(PricesUnavailable) as caught:
                    take_prices(rotation, ["BTC"], NOW)
                assert KEY not in str(caught.value)
            assert keys == [KEY] * 2
            assert rotation.budget_left(NOW) == {"coingecko": 10_000 - 2}
    assert hosts.requests == []


def test_what_the_first_source_lacks_the_next_one_is_asked_for(
    hosts: SimulatedPrices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINMARKETCAP_API_KEY", KEY)
    rotation = rotation_over(hosts, tmp_path, sources="binance coinmarketcap")
    taken = take_prices(rotation, ["BTC", "XMR"], NOW)
    assert taken.used == ("binance", "coinmarketcap")
    assert {quote.coin_symbol: quote.source for quote in taken.quotes} == {"BTC": "binance", "XMR": "coinmarketcap"}
    assert hosts.requests[-1].query.startswith("id=328&")


def test_an_unknown_coin_is_named_with_what_to_do_and_costs_no_other(hosts: SimulatedPrices, tmp_path: Path) -> None:
    taken = take_prices(rotation_over(hosts, tmp_path), ["BTC", "JOECOIN"], NOW)
    assert taken.missing == ("JOECOIN",)
    assert any("JOECOIN" in problem and "coin_ids.csv" in problem for problem in taken.problems)
    assert {quote.coin_symbol for quote in taken.quotes} == {"BTC"}


def test_a_spent_budget_passes_the_turn_on_and_no_source_gets_more_than_its_own(
    hosts: SimulatedPrices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = {"coingecko_per_month": 3, "binance_per_month": 4, "coinmarketcap_per_month": 2}
    monkeypatch.setenv("COINMARKETCAP_API_KEY", KEY)
    monkeypatch.setenv("BIZCHARTS_NOW", NOW.isoformat())
    hosts.troubles = {"binance": Fault.SERVER_ERROR}  # a failed request counts too
    for _ in range(4):
        take_prices(rotation_over(hosts, tmp_path, **budgets), ["BTC"], NOW)
    with pytest.raises(PricesUnavailable):
        take_prices(rotation_over(hosts, tmp_path, **budgets), ["BTC"], NOW)
    # Binance and then CoinMarketCap for the comparison; then both where CoinGecko's budget was spent.
    first = ["coingecko", "binance", "coinmarketcap"]
    assert asked(hosts) == [*first, "coingecko", "coingecko", "binance", "coinmarketcap", "binance"]
    with pytest.raises(PricesUnavailable) as caught:
        take_prices(rotation_over(hosts, tmp_path, **budgets), ["BTC"], NOW)
    for name in ("coingecko", "binance", "coinmarketcap"):
        assert f"{name}: " in str(caught.value)
    assert asked(hosts).count("binance") == 4


def test_sources_that_differ_are_reported_and_stay_so_until_they_are_compared_again(
    hosts: SimulatedPrices, database: DatabaseFile, tmp_path: Path
) -> None:
    rotation = rotation_over(hosts, tmp_path, coins="BTC ETH")
    hosts.bias = {"binance": 0.05}
    found = update_prices(database, rotation, ["BTC", "ETH"], NOW).disagreements
    assert {each.coin_symbol for each in found} == {"BTC", "ETH"}
    assert all(0.04 < each.share < 0.06 for each in found)
    hosts.bias, hosts.now = {}, NOW + FIVE_MINUTES
    assert update_prices(database, rotation, ["BTC", "ETH"], hosts.now).disagreements == found
    hosts.now = NOW + timedelta(minutes=60)
    assert update_prices(database, rotation, ["BTC", "ETH"], hosts.now).disagreements == ()


def test_daily_history_is_filled_once_from_whoever_has_it_and_never_looks_ahead(
    hosts: SimulatedPrices, database: DatabaseFile, tmp_path: Path
) -> None:
    rotation = rotation_over(hosts, tmp_path)
    first, yesterday = date(2023, 1, 1), NOW.date() - timedelta(days=1)
    report = fill_daily(database, rotation, ["BTC", "XMR", "HYPE"], first, NOW.date(), NOW)
    days = (yesterday - first).days + 1
    assert asked(hosts) == ["binance"] * 4 + ["coingecko", "binance", "coingecko"]
    with database.read() as connection:
        closes = daily_closes(connection, "BTC", first, NOW.date(), "binance")
        newest = connection.execute('SELECT max("at") FROM coin_prices').fetchone()
        sources = connection.execute(
            "SELECT source, count(*) FROM coin_prices WHERE coin_symbol = 'XMR' GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert len(closes) == days
    assert newest == (datetime(2026, 3, 2),)
    for at, price in closes[::100]:
        assert float(price) == pytest.approx(hosts.price("BTC", at), rel=1e-6)
    until_delisted = (date(2024, 2, 20) - first).days + 1
    assert sources == [("binance", until_delisted), ("coingecko", 364)]
    assert report.days_missing == {"XMR": days - until_delisted - 364, "HYPE": days - 364}
    assert report.new_rows == days + until_delisted + 2 * 364
    again = fill_daily(database, rotation, ["BTC"], first, NOW.date(), NOW)
    assert (again.new_rows, again.days_missing, len(hosts.requests)) == (0, {}, 7)


def test_a_pass_at_midnight_leaves_the_close_to_the_candle(
    hosts: SimulatedPrices, database: DatabaseFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked at midnight and answered a good minute later, a current price is not the close and not yet known."""
    midnight = datetime(2026, 3, 2)
    hosts.now = midnight + timedelta(seconds=67)
    monkeypatch.setenv("BIZCHARTS_NOW", hosts.now.isoformat())
    rotation = rotation_over(hosts, tmp_path, sources="binance")
    hosts.bias = {"binance": 0.05}
    update_prices(database, rotation, ["BTC"], midnight)
    with database.read() as connection:
        (at,) = connection.execute('SELECT "at" FROM coin_prices').fetchone() or ()
    assert hosts.now < at <= hosts.now + timedelta(minutes=1)
    hosts.bias = {}
    assert fill_daily(database, rotation, ["BTC"], YESTERDAY, YESTERDAY, hosts.now).new_rows == 1
    with database.read() as connection:
        ((closed, price),) = daily_closes(connection, "BTC", YESTERDAY, YESTERDAY, "binance")
    assert closed == midnight
    assert float(price) == pytest.approx(hosts.price("BTC", midnight), rel=1e-6)


def test_the_days_of_another_coin_under_the_same_symbol_are_not_asked_for(
    hosts: SimulatedPrices, database: DatabaseFile, tmp_path: Path
) -> None:
    """Until May 2022 Binance's LUNAUSDT was the coin that is LUNC now."""
    rotation = rotation_over(hosts, tmp_path, sources="binance")
    report = fill_daily(database, rotation, ["LUNA"], date(2022, 5, 1), date(2022, 6, 5), NOW)
    with database.read() as connection:
        closes = daily_closes(connection, "LUNA", date(2022, 5, 1), date(2022, 6, 5), "binance")
    assert [at.date() - timedelta(days=1) for at, _ in closes] == [
        date(2022, 5, 28) + timedelta(days=day) for day in range(9)
    ]
    assert report.days_missing == {"LUNA": 27}
    assert "another coin" in report.problems[0]
    assert fill_daily(database, rotation, ["LUNA"], date(2022, 5, 1), date(2022, 5, 27), NOW).new_rows == 0
    assert len(hosts.requests) == 1


def test_a_short_history_by_the_hour_closes_before_its_midnights(
    hosts: SimulatedPrices, database: DatabaseFile, tmp_path: Path
) -> None:
    rotation = rotation_over(hosts, tmp_path, sources="coingecko")
    report = fill_daily(database, rotation, ["BTC"], date(2026, 2, 26), NOW.date(), NOW)
    assert (report.new_rows, report.days_missing) == (4, {})
    with database.read() as connection:
        closes = daily_closes(connection, "BTC", date(2026, 2, 26), NOW.date(), "coingecko")
    for at, price in closes:
        last_point = at - timedelta(hours=1) + timedelta(seconds=13)
        assert price == Decimal(repr(hosts.price("BTC", last_point, "coingecko"))).quantize(Decimal("1e-12"))


def test_the_reference_index_is_fetched_whole_once_and_then_only_what_is_missing(
    hosts: SimulatedPrices, database: DatabaseFile, tmp_path: Path
) -> None:
    session = polite_session(hosts.url, "", tmp_path / "rate")
    whole = update_reference_index(database, session, hosts.url, NOW)
    assert whole.new_days == (NOW.date() - date(2017, 1, 1)).days + 1
    hosts.now = NOW + timedelta(days=3)
    assert update_reference_index(database, session, hosts.url, hosts.now).new_days == 3
    assert update_reference_index(database, session, hosts.url, hosts.now).new_days == 0
    assert [record.query.split("&")[0] for record in hosts.requests] == ["limit=0", "limit=4", "limit=1"]
    with database.read() as connection:
        rows = connection.execute("SELECT DISTINCT source FROM reference_index").fetchall()
        values = dict(connection.execute("SELECT day, value FROM reference_index").fetchall())
    assert rows == [("alternative.me",)]
    assert all(value == hosts.reference_value(day) for day, value in values.items())


def test_keys_go_to_their_own_host_in_a_header_and_are_found_nowhere_else(
    hosts: SimulatedPrices,
    database: DatabaseFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    gecko_key, market_key = f"{KEY}-gecko", f"{KEY}-market"
    monkeypatch.setenv("COINGECKO_API_KEY", gecko_key)
    monkeypatch.setenv("COINMARKETCAP_API_KEY", market_key)
    said: list[str] = []
    troubles: list[int | Fault | None] = [None, 401, 429, 451, 500, Fault.HTML, Fault.MALFORMED, Fault.RESET]
    for number, trouble in enumerate(troubles):
        hosts.troubles = {} if trouble is None else dict.fromkeys(("coingecko", "binance", "coinmarketcap"), trouble)
        hosts.now = NOW + number * timedelta(days=2)  # no rest lasts so long
        monkeypatch.setenv("BIZCHARTS_NOW", hosts.now.isoformat())
        rotation = rotation_over(hosts, tmp_path)
        said.append(repr(rotation))
        try:
            said.append(repr(update_prices(database, rotation, COINS, hosts.now)))
            said.append(repr(fill_daily(database, rotation, ["HYPE"], NOW.date(), NOW.date(), hosts.now)))
        except BizchartsError as error:
            cause: BaseException | None = error
            while cause is not None:
                said.append(f"{cause!r} {cause}")
                cause = cause.__cause__ or cause.__context__
    assert {("coingecko", gecko_key), ("coinmarketcap", market_key)} == set(hosts.keys)
    said += [record.getMessage() for record in caplog.records]
    said += [f"{record.path}?{record.query}" for record in hosts.requests]
    assert len(said) > 2 * len(troubles)
    assert not [text for text in said if KEY in text]
    with sqlite3.connect(tmp_path / "home" / "ledgers" / "requests.sqlite") as ledger:
        assert ledger.execute("SELECT count(*) FROM rests").fetchone()[0] > 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "requests.sqlite" for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_paid_coingecko_key_goes_in_the_paid_plans_header() -> None:
    assert key_header("https://api.coingecko.com") == "x-cg-demo-api-key"
    assert key_header("https://pro-api.coingecko.com") == "x-cg-pro-api-key"


def test_without_any_source_the_error_has_each_ones_reason(hosts: SimulatedPrices, tmp_path: Path) -> None:
    hosts.troubles = {"coingecko": 403, "binance": 451}
    with pytest.raises(PricesUnavailable) as caught:
        take_prices(rotation_over(hosts, tmp_path), COINS, NOW)
    assert isinstance(caught.value, SourceError)
    for reason in ("coingecko: ", "403", "binance: ", "451", "coinmarketcap: ", "COINMARKETCAP_API_KEY is not set"):
        assert reason in str(caught.value)


@pytest.mark.slow
def test_the_assets_show_source_differences_and_budget_and_dagster_never_sees_a_key(
    hosts: SimulatedPrices, database: DatabaseFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINGECKO_API_KEY", KEY)
    monkeypatch.setenv("COINMARKETCAP_API_KEY", KEY)
    monkeypatch.setenv("BIZCHARTS_NOW", NOW.isoformat())
    hosts.bias = {"binance": 0.03}
    resources = {
        "warehouse": Warehouse(database=str(database.path)),
        "prices": Prices(
            home=str(tmp_path / "home"),
            coingecko_url=hosts.url,
            binance_url=hosts.url,
            coinmarketcap_url=hosts.url,
            alternative_me_url=hosts.url,
            values=PriceSettings().model_dump(mode="json"),
        ),
    }
    config = {"ops": {"coin_prices": {"config": {"history_days": 5}}}}
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        result = dg.materialize(
            [coin_prices, reference_index], resources=resources, run_config=config, instance=instance
        )
        metadata = result.asset_materializations_for_node("coin_prices")[0].metadata
        assert metadata["source"].value == "coingecko"
        assert metadata["compared_with"].value == "binance"
        assert metadata["requests_left_this_month"].value["coinmarketcap"] == 10_000  # type: ignore[index]
        assert metadata["daily_closes_added"].value == 5 * len(COINS)
        assert "BTC" in str(metadata["prices"].value)
        checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        assert not checks["sources_agree"].passed
        assert checks["sources_agree"].severity is dg.AssetCheckSeverity.WARN
        assert checks["every_coin_has_a_price"].passed
        index = result.asset_materializations_for_node("reference_index")[0].metadata
        assert "alternative.me" in str(index["attribution"].value)
        hosts.troubles = dict.fromkeys(("coingecko", "binance", "coinmarketcap"), 401)
        failed = dg.materialize([coin_prices], resources=resources, instance=instance, raise_on_error=False)
        assert not failed.success
    assert {key for _, key in hosts.keys} == {KEY}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_an_error_names_a_few_problems_and_counts_the_rest(hosts: SimulatedPrices, tmp_path: Path) -> None:
    unknown = [f"NOCOIN{number}" for number in range(40)]
    with pytest.raises(PricesUnavailable) as caught:
        take_prices(rotation_over(hosts, tmp_path), unknown, NOW)
    assert "NOCOIN0" in str(caught.value)
    assert "more problems" in str(caught.value)
    assert len(str(caught.value)) < 1000
