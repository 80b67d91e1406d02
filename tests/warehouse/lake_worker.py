"""A process of its own that writes to a database: ``lake_worker.py KIND NAME``. No two kinds write the same rows."""

import faulthandler
import sys
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from types import SimpleNamespace

from samples import NOON, minute, prepared

from bizcharts_pipeline.core.rows import ScoredPost
from bizcharts_pipeline.warehouse.archive_days import ArchiveDay, record_day
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.prices import merge_prices
from bizcharts_pipeline.warehouse.scores import save_scores
from bizcharts_pipeline.warehouse.snapshots import record_poll

TIMES = 12
OLD = date(2025, 1, 1)


def poll(database: Database, times: int = TIMES) -> None:
    for number in range(times):
        threads = [
            prepared(thread, text=f"gm {thread}", reply_count=number * (thread % 3), coins=("BTC",))
            for thread in range(number, number + 150)
        ]
        for _ in (1, 2):  # a poll that is recorded again changes nothing
            with database.write() as connection:
                record_poll(
                    connection,
                    snapshot_at=minute(number),
                    last_modified=None,
                    threads=threads,
                    rejected=0,
                    ingested_at=minute(number),
                )


def days(database: Database, times: int = TIMES) -> None:
    for number in range(times):
        day, posted = OLD + timedelta(days=number), NOON.replace(year=2025, month=1, day=1 + number)
        threads = [
            prepared(10_000 + number * 100 + each, source="warosu", posted_at=posted, text=f"wagmi {each}")
            for each in range(100)
        ]
        with database.write() as connection:
            record_day(connection, ArchiveDay(day, len(threads), 1, True, NOON, "search"), threads)


def scores(database: Database, times: int = TIMES) -> None:
    for number in range(2 * times):
        posts = [
            ScoredPost(20_000 + each, 0.2, 0.3, 0.5, 0.3, number / 100, "test") for each in range(number, number + 60)
        ]
        with database.write() as connection:
            save_scores(connection, "test-1", posts, [], minute(number))


def prices(database: Database, times: int = TIMES) -> None:
    for number in range(2 * times):
        quoted = [
            SimpleNamespace(coin_symbol=coin, at=minute(number // 2), usd=Decimal(number) + each, source="test")
            for each, coin in enumerate(("BTC", "ETH", "SOL"), 1)
        ]
        with database.write() as connection:
            merge_prices(connection, quoted)


KINDS: dict[str, Callable[..., None]] = {"poll": poll, "days": days, "scores": scores, "prices": prices}

if __name__ == "__main__":
    faulthandler.dump_traceback_later(600)  # it takes seconds
    KINDS[sys.argv[1]](Database.named(sys.argv[2], None, 120))
