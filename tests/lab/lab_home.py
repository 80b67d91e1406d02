"""A database with a year of moods and prices as the pipeline stores them: one hour a day, just before midnight."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
from lab_worlds import world
from published_rows import DAY, HOUR, CoinRow, IndexRow, insert_coins, insert_index

from bizcharts_pipeline.core.rows import PreparedThread, ScoredPost, SourceThread
from bizcharts_pipeline.index.readings import label_of
from bizcharts_pipeline.prices.alternative_me import NAME, ReferenceReading
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.prices import merge_prices, merge_reference_index
from bizcharts_pipeline.warehouse.scores import save_scores
from bizcharts_pipeline.warehouse.threads import merge_threads

BEGIN = datetime(2025, 1, 1)
DAYS = 330
NOW = BEGIN + DAYS * DAY + timedelta(minutes=30)
SECONDS = timedelta(seconds=30)


class Price(NamedTuple):
    coin_symbol: str
    at: datetime
    usd: Decimal
    source: str


def hour_of(day: int, value: float, late: timedelta = SECONDS, computed: timedelta = 4 * SECONDS) -> IndexRow:
    """The hour from 22 to 23 of a day, knowable ``late`` after its end, and computed ``computed`` after it."""
    start = BEGIN + day * DAY + 22 * HOUR
    end = start + HOUR
    return IndexRow(start, end + computed, end + late, value, label=label_of(value), stance=(value - 50) / 50)


def fill(home: Path, days: int = DAYS) -> DatabaseFile:
    """Make the database of the first ``days`` days."""
    home.mkdir(parents=True)
    pair = world(21, DAYS)
    prices = 40_000 * np.exp(np.cumsum(np.concatenate([[0.0], pair.returns])))
    hours = [hour_of(day, pair.mood[day]) for day in range(days)]
    coins = [
        CoinRow("ETH", hour.bucket_start, hour.computed_at, hour.knowable_at, hour.stance / 2, bucket="hour")
        for hour in hours
    ]
    readings = [
        ReferenceReading((BEGIN + day * DAY).date(), round(pair.mood[day]), None, NAME, BEGIN + day * DAY + HOUR)
        for day in range(days)
    ]
    database = DatabaseFile(home / "bizcharts.duckdb", 20)
    with database.write() as connection:
        insert_index(connection, hours)
        insert_coins(connection, coins)
        merge_reference_index(connection, readings)
        for coin, share in (("BTC", 1), ("ETH", 20)):
            closes = [
                Price(coin, BEGIN + day * DAY, Decimal(f"{prices[day] / share:.6f}"), "t") for day in range(days + 1)
            ]
            merge_prices(connection, closes)
        _add_general(connection, days)
    return database


def _add_general(connection: duckdb.DuckDBPyConnection, days: int) -> None:
    """A thread of /smg/ each noon, one of another general, and one that comes too late to be knowable that day."""
    chosen = np.random.default_rng(22)
    posts, scores = [], []
    for day in range(days):
        for place, subject in enumerate(("/smg/ - stock market general", "/xmr/ smgs are not it", "/smg/ - late")):
            posted = BEGIN + day * DAY + (12 + place) * HOUR
            number = 10 * day + place + 1
            posts.append(PreparedThread(SourceThread(number, posted, "live", subject=subject), "text", None, 0.0, ()))
            score = 1.0 if place else float(chosen.uniform(-1, 1))
            scores.append(ScoredPost(number, 0.3, 0.4, 0.3, score, 0.5, "lexicon"))
    merge_threads(connection, posts, ingested_at=BEGIN, seen_at=BEGIN)
    save_scores(connection, "lexicon-1", scores, [], BEGIN)
    late = "if(thread_id % 10 = 3, INTERVAL 1 DAY, INTERVAL 1 HOUR)"
    connection.execute(f"UPDATE thread_ops SET text_known_at = posted_at + {late}")
    connection.execute(
        f"UPDATE scored_posts s SET scored_at = o.posted_at + {late.replace('thread_id', 'o.thread_id')} "
        "FROM thread_ops o WHERE o.thread_id = s.thread_id"
    )
