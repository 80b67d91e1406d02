import json
from typing import Any

import duckdb
import pytest
from samples import NOON, minute, prepared

from bizcharts_pipeline.core.rows import PreparedThread
from bizcharts_pipeline.warehouse.errors import UnknownCatalog
from bizcharts_pipeline.warehouse.snapshots import PollResult, Snapshot, insert_snapshots, record_poll

Connection = duckdb.DuckDBPyConnection


def poll(
    connection: Connection,
    at: float,
    threads: list[PreparedThread] | None,
    rejected: int = 0,
    modified: float | None = None,
) -> PollResult:
    return record_poll(
        connection,
        snapshot_at=minute(at),
        last_modified=minute(at if modified is None else modified),
        threads=threads,
        rejected=rejected,
        ingested_at=minute(at),
    )


def snapshots(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute("SELECT * FROM catalog_snapshots ORDER BY snapshot_at").fetchall()
    return [dict(zip([column[0] for column in connection.description], row, strict=True)) for row in rows]


def last_seen(connection: Connection) -> dict[int, Any]:
    return dict(connection.execute("SELECT thread_id, last_seen_at FROM thread_ops").fetchall())


def test_a_poll_is_one_row_with_its_figures(connection: Connection) -> None:
    poll(connection, 0, [prepared(1), prepared(2, reply_count=4)])
    result = poll(connection, 1, [prepared(2, reply_count=6), prepared(3, reply_count=None)], rejected=2)
    assert result == PollResult(new_threads=1, changed_threads=1, observations=2, total_threads=2, not_modified=False)
    row = snapshots(connection)[-1]
    assert (row["total_threads"], row["avg_reply_count"], row["rejected_threads"]) == (2, 6.0, 2)
    assert (row["new_threads"], row["changed_threads"], row["not_modified"]) == (1, 1, False)


def test_top_coins_are_at_most_ten_by_number_of_threads_then_symbol(connection: Connection) -> None:
    coins = [f"C{number:02}" for number in range(12)]
    poll(connection, 0, [prepared(1, coins=tuple(coins)), prepared(2, coins=("C11", "C11"))])
    top = json.loads(snapshots(connection)[0]["top_coins"])
    assert top[0] == {"symbol": "C11", "mentions": 2}
    assert [coin["symbol"] for coin in top[1:]] == coins[:9]


def test_not_modified_repeats_the_figures_and_sees_the_same_threads_again(connection: Connection) -> None:
    poll(connection, 0, [prepared(1), prepared(2, coins=("BTC",))])
    poll(connection, 1, [prepared(2, coins=("BTC",))])
    assert poll(connection, 2, None, modified=1) == PollResult(0, 0, 0, 1, True)
    assert poll(connection, 3, None, modified=1).total_threads == 1
    assert last_seen(connection) == {1: minute(0), 2: minute(3)}
    before, *_, after = snapshots(connection)[1:]
    assert (after["new_threads"], after["changed_threads"], after["not_modified"]) == (0, 0, True)
    for repeated in ("total_threads", "avg_reply_count", "top_coins"):
        assert after[repeated] == before[repeated]


def test_not_modified_since_a_catalogue_that_is_not_the_last_one_here_is_refused(connection: Connection) -> None:
    with pytest.raises(UnknownCatalog):
        poll(connection, 1, None, modified=0)
    poll(connection, 2, [prepared(1)])
    with pytest.raises(UnknownCatalog):
        poll(connection, 3, None, modified=0)
    assert len(snapshots(connection)) == 1


def test_an_empty_catalogue_is_recorded(connection: Connection) -> None:
    assert poll(connection, 0, []) == PollResult(0, 0, 0, 0, False)
    assert snapshots(connection)[0]["total_threads"] == 0


def test_a_poll_recorded_twice_changes_nothing_at_all(connection: Connection) -> None:
    for threads in ([prepared(1, coins=("BTC",))], None):
        at = 0 if threads else 1
        poll(connection, at, threads, modified=0)
        tables = ("thread_ops", "thread_observations", "coin_mentions", "catalog_snapshots")
        before = [connection.execute(f"FROM {table} ORDER BY ALL").fetchall() for table in tables]
        again = poll(connection, at, [prepared(1, text="other"), prepared(2)] if threads else None, modified=0)
        assert again == PollResult(0, 0, 0, 1, threads is None)
        assert [connection.execute(f"FROM {table} ORDER BY ALL").fetchall() for table in tables] == before


def test_past_polls_are_taken_in_once_and_replace_nothing(connection: Connection) -> None:
    poll(connection, 0, [prepared(1)])
    past = [Snapshot(NOON, 150, 1.0, ()), Snapshot(minute(-60), 140, 2.5, [("BTC", 3)])]
    assert insert_snapshots(connection, past) == 1
    assert insert_snapshots(connection, past) == 0
    old, new = snapshots(connection)
    assert (old["total_threads"], json.loads(old["top_coins"])) == (140, [{"symbol": "BTC", "mentions": 3}])
    assert new["total_threads"] == 1
