from datetime import date, datetime, timedelta

import duckdb
import pytest
from samples import prepared

from bizcharts_pipeline.core.rows import PreparedThread
from bizcharts_pipeline.warehouse.overlap import overlap_problems, overlap_report, record_overlap
from bizcharts_pipeline.warehouse.threads import merge_threads
from bizcharts_pipeline.warehouse.values import literal

Connection = duckdb.DuckDBPyConnection
DAY = date(2026, 3, 1)
MIDNIGHT = datetime(2026, 3, 1)
NOW = datetime(2026, 3, 2, 6)


def thread(number: int, source: str, *, later: float = 0, text: str | None = None) -> PreparedThread:
    posted = MIDNIGHT + timedelta(minutes=number, seconds=later)
    return prepared(number, text=text or f"post {number}", posted_at=posted, source=source)


def live(connection: Connection, *threads: PreparedThread, hours: int = 24) -> None:
    merge_threads(connection, threads, ingested_at=NOW, seen_at=NOW)
    for hour in range(hours):
        moment = literal(MIDNIGHT + timedelta(hours=hour))
        connection.execute(f"INSERT INTO catalog_snapshots (snapshot_at, not_modified) VALUES ({moment}, FALSE)")


def compare(connection: Connection, *threads: PreparedThread, complete: bool = True) -> None:
    connection.execute("DELETE FROM warosu_days")
    connection.execute(f"INSERT INTO warosu_days (day, complete) VALUES (DATE '{DAY}', {complete})")
    record_overlap(connection, DAY, threads, NOW)


def test_the_comparison_counts_what_each_side_has_and_where_they_differ(connection: Connection) -> None:
    live(connection, *(thread(number, "live") for number in range(10)), hours=7)
    merge_threads(connection, [thread(99, "warosu")], ingested_at=NOW, seen_at=None)  # no sighting of live's
    others = [thread(number, "warosu") for number in (2, 3, 20, 21, 99, 24 * 60)]  # the last is of the next day
    compare(
        connection,
        *others,
        thread(4, "warosu", later=1),
        thread(5, "warosu", later=-70),
        thread(6, "warosu", text=" post \n 6 "),
        thread(7, "warosu", text="another"),
    )
    (found,) = overlap_report(connection)
    assert (found.hours_polled, found.live_threads, found.archive_threads, found.both_threads) == (7, 10, 9, 6)
    assert (found.time_differences, found.largest_difference, found.text_differences) == (1, -70, 1)
    assert (found.archive_recall, found.live_recall) == (0.6, pytest.approx(6 / 9))


def test_a_day_is_compared_anew_and_days_that_live_did_not_see_are_left_out(connection: Connection) -> None:
    compare(connection, thread(1, "warosu"))
    assert overlap_report(connection) == []
    live(connection, thread(1, "live"))
    compare(connection)
    compare(connection, thread(1, "warosu"))
    assert [found.both_threads for found in overlap_report(connection)] == [1]


def test_an_honest_archive_passes_and_each_way_to_err_is_named(connection: Connection) -> None:
    live(connection, *(thread(number, "live") for number in range(100)))

    def say(changed: int = 0, *, complete: bool = True, missing: int = 0, **change: object) -> list[str]:
        there = [thread(n, "warosu", **(change if n < changed else {})) for n in range(100 - missing)]  # type: ignore[arg-type]
        compare(connection, *there, complete=complete)
        return overlap_problems(connection)

    assert say() == []
    assert say(missing=5) == []
    assert "94.0%" in say(missing=6)[0]
    assert say(missing=6, complete=False) == []
    assert say(2, text="changed") == []
    assert "3 of 100 texts" in say(3, text="changed")[0]
    assert say(1, later=1800) == []
    assert "+4 h" in say(1, later=4 * 3600)[0]
    connection.execute("DELETE FROM catalog_snapshots WHERE hour(snapshot_at) < 2")
    assert say(missing=50) == []
