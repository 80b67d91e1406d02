"""From a database to the report: what is knowable, what is stored, what is said."""

import csv
import json
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from installation import Installation
from lab_home import BEGIN, DAYS, NOW, fill, hour_of
from lab_worlds import world
from published_rows import DAY, insert_index

from assets.backtest_report import backtest_report
from bizcharts_pipeline.core.ledgers import connect
from bizcharts_pipeline.lab.errors import LabError
from bizcharts_pipeline.lab.inputs import read_pairs
from bizcharts_pipeline.lab.leadlag import ALPHA, lead_lag
from bizcharts_pipeline.lab.page import report_page
from bizcharts_pipeline.lab.report import QUESTION, Report, report_path, stored_report, to_json
from bizcharts_pipeline.lab.run import backtest, make_report
from bizcharts_pipeline.lab.series import Pair, lagged
from bizcharts_pipeline.lab.trials import LEDGER, Trial, TrialLedger
from bizcharts_pipeline.prices.returns import day_grid, log_returns, on_grid
from bizcharts_pipeline.settings import PriceSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.values import literal
from resources.prices import Prices
from resources.warehouse import Warehouse

COINS = ("ETH", "DOGE")
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("lab") / "home"
    fill(home)
    return home


@pytest.fixture
def installation(filled: Path, tmp_path: Path) -> Installation:
    shutil.copytree(filled, tmp_path / "home")
    return Installation(tmp_path, "http://127.0.0.1:9")


def pairs_of(database: DatabaseFile, as_of: datetime | None = None) -> dict[str, Pair]:
    with database.read() as connection:
        return {pair.name: pair for pair in read_pairs(connection, COINS, NOW, as_of)}


def report_of(pairs: Sequence[Pair], folder: Path) -> Report:
    return make_report(pairs, TrialLedger(folder / LEDGER), NOW)


def test_each_mood_is_what_was_knowable_at_the_days_end(installation: Installation) -> None:
    pairs = pairs_of(installation.database)
    assert list(pairs) == ["index", "coin:ETH", "reference", "placebo"], "no post names DOGE"
    mood = world(21, DAYS).mood
    returns = world(21, DAYS).returns
    for name, expected in {"index": mood, "coin:ETH": (mood - 50) / 100, "reference": np.round(mood)}.items():
        pair = pairs[name]
        assert (pair.days[0], pair.days.size) == (np.datetime64("2025-01-01"), DAYS)
        assert pair.mood == pytest.approx(expected, abs=1e-6)
        assert pair.returns == pytest.approx(returns, abs=1e-6)
    assert np.isfinite(pairs["placebo"].mood).all()
    assert np.abs(pairs["placebo"].mood).max() < 1, "the late thread, and that of another general, have a score of 1"


def test_a_reading_that_became_knowable_after_midnight_is_not_the_days(installation: Installation) -> None:
    before = pairs_of(installation.database)["index"].mood
    with installation.database.write() as connection:
        connection.execute(
            "UPDATE fear_greed_index SET knowable_at = '2025-03-02 00:00:01' WHERE bucket_start = '2025-03-01 22:00'"
        )
    after = pairs_of(installation.database)["index"].mood
    assert np.isnan(after[59])
    assert np.array_equal(np.delete(after, 59), np.delete(before, 59))


def test_a_later_vintage_and_a_later_day_change_nothing_of_before(installation: Installation, tmp_path: Path) -> None:
    as_of = BEGIN + 300 * DAY + timedelta(hours=2)
    before = report_of(list(pairs_of(installation.database, as_of).values()), tmp_path / "a")
    with installation.database.write() as connection:
        insert_index(connection, [hour_of(day, 1.0, computed=300 * DAY) for day in range(300)])
        insert_index(connection, [hour_of(day, 99.0) for day in range(DAYS, DAYS + 1)])
        connection.execute(f'UPDATE coin_prices SET usd = usd * 2 WHERE "at" > {literal(as_of)}')
    after = report_of(list(pairs_of(installation.database, as_of).values()), tmp_path / "b")
    assert after == before
    now = pairs_of(installation.database)["index"]
    assert now.mood[:300] == pytest.approx(world(21, DAYS).mood[:300]), "of an hour's vintages the first counts"


@pytest.mark.slow
def test_as_of_a_moment_equals_a_database_that_was_cut_then(installation: Installation, tmp_path: Path) -> None:
    as_of = BEGIN + 299 * DAY + timedelta(hours=20)
    whole = backtest(installation.database, tmp_path / "one", COINS, NOW, as_of)
    with installation.database.write() as connection:
        for table in ("fear_greed_index", "coin_sentiment"):
            connection.execute(f"DELETE FROM {table} WHERE greatest(computed_at, knowable_at) > {literal(as_of)}")
        connection.execute(f'DELETE FROM coin_prices WHERE "at" > {literal(as_of)}')
        connection.execute(f"DELETE FROM reference_index WHERE fetched_at > {literal(as_of)}")
        connection.execute(f"DELETE FROM scored_posts WHERE scored_at > {literal(as_of)}")
        connection.execute(f"DELETE FROM thread_ops WHERE text_known_at > {literal(as_of)}")
    cut = backtest(installation.database, tmp_path / "two", COINS, NOW, as_of)
    assert cut == whole
    assert whole.parts[0].studies[0].last_day == date(2025, 10, 26)
    assert whole == stored_report(tmp_path / "one", as_of)
    assert stored_report(tmp_path / "one") is None


@pytest.mark.slow
def test_the_command_answers_in_words_first_and_stores_the_report(installation: Installation) -> None:
    done = installation.run_here("backtest", now=NOW)
    assert done.returncode == 0, done.stderr
    first, *_ = done.stdout.splitlines()
    assert first == f"{QUESTION} No."
    assert "95 % interval" in done.stdout
    assert "adjusted p" in done.stdout
    assert "Alternative.me's index: None of" in done.stdout
    stored = json.loads(report_path(installation.home).read_text())
    assert [part["source"] for part in stored["parts"]] == ["index", "reference", "placebo"]
    assert [part["answer"] for part in stored["parts"]] == ["no", "no", "no"]
    page = report_path(installation.home).with_suffix(".html").read_text()
    assert QUESTION.replace("'", "&#x27;") in page
    assert "<svg" in page
    assert "<script" not in page
    again = installation.run_here("backtest", "--json", now=NOW)
    assert json.loads(again.stdout) == stored, "the same data and seeds, and no further trial"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [(["--as-of", "2027-01-01"], 2, "is in the future"), (["--as-of", "noon"], 2, "is no ISO 8601 time")],
)
def test_a_bad_moment_is_refused_in_one_line(
    installation: Installation, words: list[str], status: int, said: str
) -> None:
    done = installation.run_here("backtest", *words, now=NOW)
    assert (done.returncode, len(done.stderr.splitlines())) == (status, 1)
    assert said in done.stderr
    assert not (installation.home / "lab").exists()


def test_too_few_days_are_said_and_no_answer_is_made_up(tmp_path: Path) -> None:
    database = DatabaseFile(tmp_path / "bizcharts.duckdb", 20)
    database.migrate()
    report = backtest(database, tmp_path, COINS, NOW)
    assert str(report).splitlines()[:2] == [
        f"{QUESTION} It cannot be said yet.",
        "0 days with a mood and a price; it takes 250.",
    ]
    with database.write() as connection:
        insert_index(connection, [hour_of(day, 50.0 + day % 7) for day in range(100)])
    said = str(backtest(database, tmp_path, COINS, NOW))
    assert "It cannot be said yet" in said
    assert stored_report(tmp_path)


def test_without_its_packages_command_and_asset_say_in_one_line_what_to_install(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "arch", None)
    done = installation.run_here("backtest", now=NOW)
    assert done.returncode == 1
    assert done.stderr == "bizcharts: The backtest needs arch: run `make install-lab`.\n"
    result = materialized(installation)
    assert not result.success
    failure = result.failure_data_for_node("backtest_report")
    assert failure
    assert failure.user_failure_data
    assert failure.user_failure_data.description == "The backtest needs arch: run `make install-lab`."


def materialized(installation: Installation) -> dg.ExecuteInProcessResult:
    home = str(installation.home)
    hosts = {
        f"{name}_url": "http://127.0.0.1:9" for name in ("coingecko", "binance", "coinmarketcap", "alternative_me")
    }
    values = PriceSettings(coins=COINS).model_dump(mode="json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIZCHARTS_NOW", NOW.isoformat())
        return dg.materialize(
            [backtest_report],
            resources={
                "warehouse": Warehouse(database=str(installation.home / "bizcharts.duckdb"), home=home),
                "prices": Prices(home=home, values=values, **hosts),
            },
            raise_on_error=False,
        )


def test_the_asset_has_the_answer_and_the_numbers(installation: Installation) -> None:
    result = materialized(installation)
    assert result.success
    metadata = result.asset_materializations_for_node("backtest_report")[0].metadata
    assert str(metadata["answer"].value).startswith(f"{QUESTION} No.")
    assert metadata["days"].value == DAYS
    assert metadata["tests that hold"].value == 0
    assert 0 < float(str(metadata["smallest adjusted p"].value)) <= 1
    assert metadata["trials ever run"].value == 8, "four rules on the index, and on alternative.me's"
    assert "| mood | price |" in str(metadata["tests"].value)
    assert stored_report(installation.home)


def test_names_in_a_report_cannot_become_markup(tmp_path: Path) -> None:
    pair = replace(world(1, 400), name=f"coin:{HOSTILE}", title=HOSTILE, price=HOSTILE)
    short = replace(pair.part(slice(0, 100)), name=f"coin:{HOSTILE}2")
    page = report_page(report_of([world(1, 400), pair, short], tmp_path))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page


def test_a_yes_is_said_with_its_test_its_interval_and_its_adjusted_p(tmp_path: Path) -> None:
    report = report_of([world(31, 1000, 2, 0.1), replace(world(32, 1000), name="reference")], tmp_path)
    answer, tests, effect, power, *_ = report.first_lines
    assert answer == f"{QUESTION} Yes."
    assert "adjusted p below 0.001" in tests
    assert "95 % interval +" in effect
    assert "80 %" in power
    assert [part.answer for part in report.parts] == ["yes", "no"]
    assert to_json(report) == to_json(report)


def test_every_configuration_ever_run_counts_once_and_no_row_is_changed(home: Path) -> None:
    ledger = TrialLedger(home / LEDGER)
    ledger.record([Trial("a", 0.1, 300), Trial("b", 0.2, 300)], NOW)
    ledger.record([Trial("a", 0.3, 301)], NOW)
    assert ledger.sharpes() == [0.3, 0.2]
    with closing(connect(ledger.path)) as connection:
        for statement in ("UPDATE runs SET sharpe = 0", "DELETE FROM runs"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                connection.execute(statement)
    damaged = home.parent / "trials.sqlite"
    damaged.write_bytes(b"not a ledger" * 1000)
    with pytest.raises(LabError, match=r"trials\.sqlite"):
        TrialLedger(damaged).sharpes()


def test_an_earlier_try_deflates_a_later_one(tmp_path: Path) -> None:
    pair = world(33, 400)
    alone = report_of([pair], tmp_path / "a").parts[0].comparison
    ledger = TrialLedger(tmp_path / "b" / LEDGER)
    ledger.record([Trial(f"tried {place}", 0.2 * (-1) ** place, 400) for place in range(50)], NOW)
    after = report_of([pair], tmp_path / "b").parts[0].comparison
    assert alone
    assert after
    assert (alone.trials, after.trials) == (4, 54)
    for one, other in zip(alone.rules, after.rules, strict=True):
        assert (one.deflated_sharpe or 0) > (other.deflated_sharpe or 0)


def test_a_report_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = report_path(tmp_path)
    path.parent.mkdir()
    path.write_text('{"schema": 99}')
    with pytest.raises(LabError, match=r"backtest\.json cannot be read"):
        stored_report(tmp_path)


def test_on_the_real_series_the_price_leads_alternative_mes_index_and_not_the_reverse(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "market"
    closes = _column(folder / "btc_daily_2014-12-01_2026-03-06.csv", "date", "price")
    readings = _column(folder / "fear_greed_2018-02-01_2025-12-04.csv", "Date", "FearGreed")
    readings |= _column(folder / "fear_greed_2025-12-05_2025-12-31.csv", "Date", "fear_greed_index")
    grid = day_grid(min(readings), max(readings))
    pair = Pair("reference", "", "BTC", grid, on_grid(readings, grid), log_returns(closes, grid), classes=True)
    part = report_of([pair.trimmed()], tmp_path).part("reference")
    assert part
    assert (part.studies[0].days > 2800, part.answer) == (True, "no")
    assert not any(test.found for test in part.forward)
    assert part.studies[0].forecast
    assert part.studies[0].forecast.r2 < 0
    joint = next(test for test in part.reverse if "joint" in test.what)
    assert joint.found
    assert joint.adjusted_p < 1e-12
    assert part.studies[0].reverse.by_lag[0].coefficient > 0, "after a rise the index is higher"
    # A reading appears at its day's begin. Counted there, it knows one day less, and still follows the price.
    earlier = lagged(pair.mood, -1)
    back, forth = lead_lag(pair.returns, earlier), lead_lag(earlier, pair.returns)
    assert back
    assert forth
    assert (back.p < 1e-6, forth.p > ALPHA) == (True, True)


def _column(path: Path, day: str, value: str) -> dict[date, float]:
    with path.open(newline="") as file:
        return {date.fromisoformat(row[day]): float(row[value]) for row in csv.DictReader(file)}
