import subprocess
import sys
from dataclasses import replace
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import NOON, minute, prepared

from bizcharts_pipeline.core.rows import PreparedThread
from bizcharts_pipeline.warehouse.threads import MergeResult, Sighting, merge_threads
from bizcharts_pipeline.warehouse.values import literal

Connection = duckdb.DuckDBPyConnection


def live(connection: Connection, at: float, *threads: PreparedThread) -> MergeResult:
    return merge_threads(connection, threads, ingested_at=minute(at), seen_at=minute(at))


def archive(connection: Connection, at: float, *threads: PreparedThread) -> MergeResult:
    rows = [replace(prepared, thread=replace(prepared.thread, source="warosu")) for prepared in threads]
    return merge_threads(connection, rows, ingested_at=minute(at), seen_at=None)


def row(connection: Connection, thread_id: int = 1) -> dict[str, Any]:
    found = connection.execute(f"SELECT * FROM thread_ops WHERE thread_id = {thread_id}").fetchall()
    assert len(found) == 1
    return dict(zip([column[0] for column in connection.description], found[0], strict=True))


def observations(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT seen_at, reply_count, page, sticky FROM thread_observations ORDER BY seen_at"
    ).fetchall()


def contents(connection: Connection) -> list[list[tuple[Any, ...]]]:
    tables = ("thread_ops", "thread_observations", "coin_mentions", "catalog_snapshots")
    return [connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in tables]


def test_counts_never_go_down_and_the_last_sighting_is_kept_beside_them(connection: Connection) -> None:
    for at, replies in ((0, 5), (1, 9), (2, 7)):
        live(connection, at, prepared(reply_count=replies))
    assert (row(connection)["reply_count"], row(connection)["observed_reply_count"]) == (9, 7)
    assert [seen[1] for seen in observations(connection)] == [5, 9, 7]


def test_an_archives_final_count_never_overwrites_an_observation(connection: Connection) -> None:
    live(connection, 0, prepared(reply_count=5))
    archive(connection, 9, prepared(reply_count=300))
    found = row(connection)
    assert (found["source"], found["reply_count"], found["archive_reply_count"]) == ("live", 5, 300)
    assert found["last_seen_at"] == minute(0)
    assert len(observations(connection)) == 1


def test_live_takes_an_archive_row_over_without_its_count(connection: Connection) -> None:
    archive(connection, 0, prepared(text="archived words", reply_count=300, subject="old"))
    found = row(connection)
    assert (found["reply_count"], found["archive_reply_count"], found["first_seen_at"]) == (300, 300, None)
    result = live(connection, 1, prepared(text="live words", reply_count=2))
    found = row(connection)
    assert result == MergeResult(changed_text=1, observations=1)
    assert (found["op_text_clean"], found["reply_count"], found["archive_reply_count"]) == (
        "live words",
        2,
        300,
    )
    assert found["subject"] == "old"  # live saw none, and the archive fills what live never saw
    assert (found["ingested_at"], found["first_seen_at"]) == (minute(0), minute(1))


def test_the_archive_fills_what_live_never_saw_and_replaces_nothing(connection: Connection) -> None:
    live(connection, 0, prepared(text="mine", image_md5=None))
    archive(connection, 1, prepared(text="theirs", subject="theirs", image_md5="abc"))
    found = row(connection)
    assert (found["op_text_clean"], found["subject"], found["image_md5"]) == ("mine", "theirs", "abc")


def test_an_older_poll_overwrites_nothing_newer(connection: Connection) -> None:
    live(connection, 10, prepared(text="new", reply_count=4, sticky=True))
    late = live(connection, 3, prepared(text="old", reply_count=6, sticky=False))
    found = row(connection)
    assert (found["op_text_clean"], found["observed_reply_count"], found["reply_count"]) == ("new", 4, 6)
    assert (found["first_seen_at"], found["last_seen_at"]) == (minute(3), minute(10))
    assert found["sticky"] is False  # as first seen
    assert late.observations == 1
    assert [(seen[0], seen[1]) for seen in observations(connection)] == [(minute(3), 6), (minute(10), 4)]
    assert live(connection, 3, prepared(text="old", reply_count=6)).observations == 0
    assert live(connection, 5, prepared(text="old", reply_count=6)).observations == 0  # as at minute 3


def test_a_sighting_is_stored_only_when_something_changed(connection: Connection) -> None:
    sightings = [
        {},
        {},
        {"reply_count": 1},
        {"reply_count": 1, "page": 9},
        {"reply_count": 1, "sticky": True},
    ]
    stored = [live(connection, at, prepared(**fields)).observations for at, fields in enumerate(sightings)]
    assert stored == [1, 0, 1, 0, 1]
    assert row(connection)["last_seen_at"] == minute(4)
    assert row(connection)["sticky"] is False


def test_another_text_asks_for_another_score_and_other_counts_do_not(connection: Connection) -> None:
    scored = ["sentiment_model_version", "sentiment_score", "sentiment_confidence", "cluster_id"]
    live(connection, 0, prepared(coins=("BTC", "ETH")))
    assignments = ", ".join(f"{column} = '1'" for column in scored)
    connection.execute(f"UPDATE thread_ops SET {assignments}")
    assert live(connection, 1, prepared(reply_count=3, coins=("BTC",))).changed_counts == 1
    assert live(connection, 2, prepared(reply_count=3, bump_limit_reached=True)).changed_details == 1
    assert None not in [row(connection)[column] for column in scored]
    assert live(connection, 3, prepared(text="other", reply_count=3, coins=("LINK",))).changed_text == 1
    assert [row(connection)[column] for column in scored] == [None] * 4
    assert connection.execute("SELECT coin_symbol FROM coin_mentions").fetchall() == [("LINK",)]
    connection.execute(f"UPDATE thread_ops SET {assignments}")
    live(connection, 4, prepared(text="other", subject="a subject", reply_count=3))
    assert [row(connection)[column] for column in scored] == [None] * 4


def test_of_two_rows_of_one_thread_in_a_batch_the_last_counts(connection: Connection) -> None:
    result = live(connection, 0, prepared(text="first", coins=("BTC",)), prepared(text="second", coins=("ETH",)))
    assert result.new == 1
    assert row(connection)["op_text_clean"] == "second"
    assert connection.execute("SELECT coin_symbol FROM coin_mentions").fetchall() == [("ETH",)]


def test_each_thread_may_bring_its_own_sightings(connection: Connection) -> None:
    sightings = {1: Sighting(minute(1), minute(5)), 2: Sighting(minute(2), minute(3))}
    batch = [prepared(1), prepared(2), prepared(3)]
    merge_threads(connection, batch, ingested_at=NOON, seen_at=sightings)
    seen = connection.execute("SELECT first_seen_at, last_seen_at FROM thread_ops ORDER BY thread_id").fetchall()
    assert seen == [(minute(1), minute(5)), (minute(2), minute(3)), (None, None)]
    assert [observation[0] for observation in observations(connection)] == [minute(3), minute(5)]


HOSTILE = ["a\x00b", "\ud800 half", "\udc00\ud800", "'; DROP TABLE thread_ops; --", "x" * 1_000_000,
           "\x01\x1b[2J",
           "\uffff\ufdd0", "𝕭𝖎𝖙 ‮ rtl", '{"a": "\\u0000"}', "\\", "$1 ? {0}", "NaN", ""]  # fmt: skip


def test_hostile_strings_are_stored_and_never_break_the_batch(connection: Connection) -> None:
    batch = [
        prepared(
            number,
            text=text,
            subject=text,
            image_filename=text,
            extra={text[:50]: [text, {"x": float("nan")}]},
        )
        for number, text in enumerate(HOSTILE, start=1)
    ]
    batch.append(prepared(999, image_bytes=10**30, reply_count=2**40))
    assert live(connection, 0, *batch).new == len(batch)
    for number, text in enumerate(HOSTILE, start=1):
        expected = "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)
        assert row(connection, number)["subject"] == expected
        assert row(connection, number)["op_text_clean"] == expected
    assert row(connection, 999)["image_bytes"] is None  # what a column can not hold is missing, and no more


@given(st.one_of(st.text(st.characters()), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.none()))
def test_a_literal_means_its_value(schema: Connection, value: Any) -> None:
    found = schema.execute(f"SELECT {literal(value)}").fetchall()[0][0]
    expected = value
    if isinstance(value, str):
        expected = "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)
    assert found == expected


LIVE = st.fixed_dictionaries(
    {
        "reply_count": st.integers(0, 5),
        "image_count": st.integers(0, 3),
        "op": st.sampled_from(["buy", "sell"]),
        "subject": st.sampled_from(["one", "two"]),
        "sticky": st.booleans(),
        "closed": st.booleans(),
        "bump_limit_reached": st.booleans(),
    }
)
ARCHIVE = st.fixed_dictionaries({"reply_count": st.integers(0, 9), "image_count": st.integers(0, 9)})
ORDER_DEPENDS = {"ingested_at", "text_known_at"}


@pytest.mark.slow
@settings(max_examples=25)
@given(
    sightings=st.lists(LIVE, max_size=4),
    archived=st.lists(ARCHIVE, max_size=2),
    data=st.data(),
)
def test_any_order_of_live_and_archive_batches_ends_in_the_same_row(
    schema: Connection, sightings: list[dict[str, Any]], archived: list[dict[str, Any]], data: st.DataObject
) -> None:
    batches: list[tuple[int | None, dict[str, Any]]] = [*enumerate(sightings), *((None, a) for a in archived)]

    def outcome(order: list[tuple[int | None, dict[str, Any]]]) -> dict[str, Any] | None:
        schema.begin()
        try:
            for at, given_fields in order * data.draw(st.integers(1, 2)):
                fields = dict(given_fields)
                if at is None:
                    archive(schema, 0, prepared(text="archived", subject="archived", **fields))
                else:
                    live(schema, at, prepared(text=fields.pop("op"), **fields))
            found = row(schema) if order else {}
            return {name: value for name, value in found.items() if name not in ORDER_DEPENDS}
        finally:
            schema.rollback()

    assert outcome(data.draw(st.permutations(batches))) == outcome(batches)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), LIVE), min_size=1, max_size=6))
def test_recording_the_last_batch_twice_is_recording_it_once(
    schema: Connection, sightings: list[tuple[int, int, dict[str, Any]]]
) -> None:
    schema.begin()
    try:
        for at, thread_id, given_fields in sightings:
            fields = dict(given_fields)
            batch = prepared(thread_id, text=fields.pop("op"), coins=("BTC",), **fields)
            live(schema, at, batch)
            before = contents(schema)
            assert live(schema, at, batch) == MergeResult()
            assert contents(schema) == before
        assert schema.execute(
            "SELECT count(*) - count(DISTINCT (thread_id, seen_at)) FROM thread_observations"
        ).fetchall() == [(0,)]
    finally:
        schema.rollback()


def test_a_poll_does_not_import_pandas() -> None:
    program = """
import sys, duckdb
from samples import NOON, prepared
from bizcharts_pipeline.warehouse import migrations, snapshots
with duckdb.connect() as connection:
    migrations.apply(connection, migrations.known_migrations(), NOON)
    threads = [prepared(coins=("BTC",))]
    snapshots.record_poll(
        connection, snapshot_at=NOON, last_modified=NOON, threads=threads, rejected=0, ingested_at=NOON
    )
assert not {"pandas", "pyarrow", "numpy"} & set(sys.modules), "a minutely poll pays for this import"
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=__file__.rpartition("/")[0], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
