"""The rules about pictures that are SQL: what waits, what matches the block list, what is withdrawn."""

from datetime import timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import NOON, minute, prepared

from bizcharts_pipeline.warehouse.pictures import (
    MAX_ATTEMPTS,
    NEAR_BITS,
    PictureRow,
    add_blocks,
    block_reason,
    expirable_pictures,
    record_picture,
    status_counts,
    waiting_pictures,
    withdraw_deleted,
    withdraw_expired,
)
from bizcharts_pipeline.warehouse.snapshots import record_poll
from bizcharts_pipeline.warehouse.thread_fates import (
    forget_returned,
    record_fates,
    returned_threads,
    undecided_threads,
)
from bizcharts_pipeline.warehouse.threads import merge_threads

LIVE, ARCHIVE = "https://live.example", "https://archive.example"
SHA = "ab" * 32


def poll(connection: duckdb.DuckDBPyConnection, at: float, *threads: Any) -> None:
    moment = minute(at)
    record_poll(connection, snapshot_at=moment, last_modified=None, threads=threads, rejected=0, ingested_at=moment)


def waiting(connection: duckdb.DuckDBPyConnection, kind: Any = "thumbnail", **changes: Any) -> list[int]:
    asked = {"live": True, "archive": False, "live_url": LIVE, "archive_url": ARCHIVE, "now": NOON, "limit": 100}
    return [picture.thread_id for picture in waiting_pictures(connection, kind, **(asked | changes))]


def stored(thread_id: int, sha256: str = SHA, **fields: Any) -> PictureRow:
    known = {"sha256": sha256, "media_type": "image/jpeg", "path": "images/x", "fetched_at": NOON}
    return PictureRow(thread_id, **{"kind": "thumbnail", "status": "stored"} | known | fields)


def test_live_pictures_wait_newest_first_then_the_archives_if_wanted(connection: duckdb.DuckDBPyConnection) -> None:
    poll(
        connection,
        0,
        prepared(1, thumbnail_url=f"{LIVE}/1s.jpg", posted_at=minute(-9)),
        prepared(2, thumbnail_url=f"{LIVE}/2s.jpg", posted_at=minute(-5)),
        prepared(3, thumbnail_url=f"{ARCHIVE}/3s.jpg", posted_at=minute(-3)),
        prepared(4),
    )
    old = [prepared(5, source="warosu", thumbnail_url=f"{ARCHIVE}/5s.jpg", posted_at=minute(-1))]
    merge_threads(connection, old, ingested_at=NOON, seen_at=None)
    assert waiting(connection) == [2, 1]
    assert waiting(connection, archive=True) == [3, 2, 1, 5]
    assert waiting(connection, archive=True, live=False) == [3, 5]
    assert waiting(connection, live=False) == []
    assert waiting(connection, limit=1) == [2]
    assert waiting(connection, now=NOON + timedelta(days=4)) == []


def test_only_failures_wait_again_and_not_for_ever(connection: duckdb.DuckDBPyConnection) -> None:
    poll(connection, 0, *(prepared(number, thumbnail_url=f"{LIVE}/{number}s.jpg") for number in range(1, 5)))
    record_picture(connection, PictureRow(1, "thumbnail", "missing", NOON, attempts=1))
    record_picture(connection, PictureRow(2, "thumbnail", "failed", NOON, attempts=2))
    record_picture(connection, PictureRow(3, "thumbnail", "failed", NOON, attempts=MAX_ATTEMPTS))
    assert waiting(connection, now=minute(19)) == [4]
    assert waiting(connection, now=minute(20)) == [4, 2]
    assert waiting(connection, now=minute(4000)) == [4, 2]


def test_a_picture_has_one_row_whose_newest_state_counts(connection: duckdb.DuckDBPyConnection) -> None:
    record_picture(connection, PictureRow(1, "thumbnail", "failed", NOON, reason="it's down; DROP TABLE x"))
    record_picture(connection, stored(1))
    record_picture(connection, stored(1, kind="full"))
    assert status_counts(connection) == {"stored": 2}


def test_full_pictures_wait_for_labelled_posts_that_were_not_skipped(connection: duckdb.DuckDBPyConnection) -> None:
    poll(connection, 0, *(prepared(number, image_url=f"{LIVE}/{number}.png") for number in range(1, 4)))
    connection.execute(
        "INSERT INTO training_labels (thread_id, labeler_id, labeled_at, skipped) VALUES "
        "(1, 'a', now()::TIMESTAMP, FALSE), (2, 'a', now()::TIMESTAMP, TRUE)"
    )
    assert waiting(connection, "full") == [1]
    assert waiting(connection, "full", labelled=[3]) == [3, 1]
    record_picture(connection, stored(1))
    assert waiting(connection, "full") == [1]
    record_picture(connection, stored(1, kind="full"))
    assert waiting(connection, "full") == []


@pytest.mark.usefixtures("connection")
@given(known=st.integers(0, 2**64 - 1), flipped=st.sets(st.integers(0, 63), max_size=12))
def test_perceptual_hashes_match_within_so_many_bits_and_no_more(
    schema: duckdb.DuckDBPyConnection, known: int, flipped: set[int]
) -> None:
    schema.execute("DELETE FROM blocked_images")
    add_blocks(schema, [(f"{known:016x}", "perceptual")], "seen before", NOON)
    other = known
    for bit in flipped:
        other ^= 1 << bit
    found = block_reason(schema, sha256=SHA, md5s=[], perceptual_hash=f"{other:016x}")
    assert found == ("seen before" if len(flipped) <= NEAR_BITS else None)


def test_a_hash_matches_its_own_kind_only(connection: duckdb.DuckDBPyConnection) -> None:
    add_blocks(connection, [(SHA, "sha256"), ("a" * 22 + "==", "md5")], "", NOON)
    assert block_reason(connection, sha256=SHA, md5s=[], perceptual_hash=None) is not None
    assert block_reason(connection, sha256="", md5s=["a" * 22 + "=="], perceptual_hash=None) is not None
    assert block_reason(connection, sha256="a" * 22 + "==", md5s=[SHA], perceptual_hash="ab" * 8) is None
    assert add_blocks(connection, [(SHA, "sha256"), (SHA, "sha256"), ("cd" * 32, "sha256")], "", NOON) == 1


def test_a_file_is_given_up_with_its_last_picture(connection: duckdb.DuckDBPyConnection) -> None:
    poll(connection, 0, prepared(1, file_deleted=True), prepared(2), prepared(3, file_deleted=True))
    for row in (stored(1), stored(2), stored(3, "cd" * 32)):
        record_picture(connection, row)
    withdrawal = withdraw_deleted(connection)
    assert (withdrawal.pictures, [file.sha256 for file in withdrawal.files]) == (2, ["cd" * 32])
    assert withdraw_deleted(connection).pictures == 0
    assert expirable_pictures(connection, minute(1))[0] == 1
    assert [file.sha256 for file in withdraw_expired(connection, minute(1)).files] == [SHA]
    assert status_counts(connection) == {"expired": 1, "purged": 2}


def test_a_thread_is_undecided_from_when_it_has_surely_left_until_nobody_can_tell(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    poll(connection, 0, prepared(1), prepared(2))
    poll(connection, 5, prepared(2))

    def undecided(now: float = 60, since: float = -60) -> dict[int, bool]:
        return undecided_threads(connection, since=minute(since), now=minute(now), settling=timedelta(minutes=10))

    assert undecided() == {}
    poll(connection, 11, prepared(2))
    assert undecided() == {1: False}
    assert undecided(now=10) == {}
    record_fates(connection, {1: "missing once"}, minute(12))
    assert undecided(now=21) == {}
    assert undecided(now=22) == {1: True}
    record_fates(connection, {1: "deleted"}, minute(22))
    record_fates(connection, {1: "missing once"}, minute(22))  # of a run that had looked before
    assert undecided() == {}
    assert returned_threads(connection) == []
    poll(connection, 23, prepared(1), prepared(2))
    assert returned_threads(connection) == [1]
    forget_returned(connection)
    poll(connection, 40)
    assert undecided() == {1: False, 2: False}
    assert undecided(since=24) == {}
