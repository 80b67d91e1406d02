import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bizcharts_pipeline.legacy.posts_db import (
    OriginalDatabase,
    OriginalDatabaseError,
    OriginalThread,
    read_original,
)

POSTED = 1_700_000_000
PAGE = 4_096
POSTED_AT = datetime(2023, 11, 14, 22, 13, 20)
COLUMNS = """
    thread_id INTEGER PRIMARY KEY, subject TEXT, board TEXT, op_text TEXT, op_text_clean TEXT, op_name TEXT,
    op_tripcode TEXT, image_url TEXT, image_width INTEGER, image_size INTEGER, created_at INTEGER,
    first_seen_at DATETIME, last_seen_at DATETIME, reply_count INTEGER, image_count INTEGER,
    unique_ips INTEGER,
    is_sticky INTEGER, is_closed INTEGER, source TEXT
"""


def make(path: Path, threads: list[dict[str, Any]], columns: str = COLUMNS) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE thread_ops ({columns})")
    for thread in threads:
        names = ", ".join(thread)
        connection.execute(
            f"INSERT INTO thread_ops ({names}) VALUES ({', '.join('?' * len(thread))})", list(thread.values())
        )
    connection.commit()
    return connection


def threads_of(original: OriginalDatabase) -> list[OriginalThread]:
    return [thread for batch in original.threads() for thread in batch]


def test_a_live_row_keeps_its_sightings_and_an_archive_row_has_none(tmp_path: Path) -> None:
    seen = {"first_seen_at": "2023-11-14 22:14:00", "last_seen_at": "2023-11-15 01:00:00.250000"}
    rows = [
        {"thread_id": number, "created_at": POSTED, "source": source, "reply_count": 7, "is_sticky": 1} | seen
        for number, source in enumerate(("live", "warosu", "archived.moe", None), start=1)
    ]
    make(tmp_path / "posts.db", rows).close()
    live, warosu, moe, unnamed = threads_of(read_original(tmp_path / "posts.db"))
    assert live.first_seen_at == datetime(2023, 11, 14, 22, 14)
    assert live.last_seen_at == datetime(2023, 11, 15, 1, 0, 0, 250_000)
    assert (live.thread.posted_at, live.thread.reply_count, live.thread.sticky) == (POSTED_AT, 7, True)
    assert (warosu.thread.source, warosu.first_seen_at, warosu.last_seen_at) == ("warosu", None, None)
    assert (moe.thread.source, moe.thread.extra["archive"]) == ("warosu", "archived.moe")
    assert unnamed.thread.source == "live"


def test_an_old_file_of_few_columns_is_read(tmp_path: Path) -> None:
    make(tmp_path / "posts.db", [{"thread_id": 5, "created_at": POSTED}], "thread_id, created_at, surprise").close()
    original = read_original(tmp_path / "posts.db")
    (thread,) = threads_of(original)
    assert (thread.thread.thread_id, thread.thread.op_html, thread.last_seen_at) == (5, None, None)
    assert list(original.snapshots()) == []
    assert list(original.labels()) == []
    assert not original.skipped


def test_clean_text_stands_in_for_missing_html_as_the_same_text(tmp_path: Path) -> None:
    make(tmp_path / "posts.db", [{"thread_id": 1, "created_at": POSTED, "op_text_clean": ">a < b\n&amp;"}]).close()
    (thread,) = threads_of(read_original(tmp_path / "posts.db"))
    assert thread.thread.op_html == "&gt;a &lt; b<br>&amp;amp;"


def test_names_and_tripcodes_are_left_behind(tmp_path: Path) -> None:
    row = {"thread_id": 1, "created_at": POSTED, "op_name": "Satoshi", "op_tripcode": "!trip"}
    make(tmp_path / "posts.db", [row]).close()
    (thread,) = threads_of(read_original(tmp_path / "posts.db"))
    assert "Satoshi" not in repr(thread)
    assert "!trip" not in repr(thread)


def test_garbage_costs_the_value_or_the_row_and_is_counted(tmp_path: Path) -> None:
    good = {"thread_id": 1, "created_at": POSTED}
    garbage = {
        "subject": b"\xff\x00blob", "reply_count": "many", "image_count": -4, "image_width": 1.5,
        "image_size": float("inf"), "last_seen_at": "yesterday", "is_closed": "no", "unique_ips": 2**40,
    }  # fmt: skip
    rows = [
        good | garbage,
        good | {"thread_id": 2, "created_at": None},
        good | {"thread_id": 3, "created_at": "never"},
        good | {"thread_id": 4, "created_at": 10**15},
        good | {"thread_id": 8, "created_at": 1_064_966_399},  # the second before 4chan opened
        good | {"thread_id": -5},
        good | {"thread_id": 6, "source": "reddit"},
        good | {"thread_id": 7, "board": "pol"},
    ]
    make(tmp_path / "posts.db", rows).close()
    original = read_original(tmp_path / "posts.db")
    (survivor,) = threads_of(original)
    thread = survivor.thread
    assert (thread.subject, thread.reply_count, thread.image_count, thread.image_width) == (
        None,
        None,
        None,
        None,
    )
    assert (thread.image_bytes, thread.closed, survivor.last_seen_at) == (None, False, None)
    assert original.skipped == {
        "thread: no readable created_at": 4,
        "thread: no readable thread_id": 1,
        "thread: unknown source 'reddit'": 1,
        "thread: of another board": 1,
    }


def test_labels_are_given_as_they_stand_with_their_ids(tmp_path: Path) -> None:
    connection = make(tmp_path / "posts.db", [])
    connection.execute(
        "CREATE TABLE training_labels (id INTEGER PRIMARY KEY, thread_id, sentiment_rating, skipped, notes, "
        "labeler_id, labeled_at, text_snapshot, image_url_snapshot)"
    )
    at = "2024-01-02 03:04:05"
    connection.executemany(
        "INSERT INTO training_labels "
        "(thread_id, sentiment_rating, skipped, labeler_id, labeled_at, text_snapshot) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        [
            (1, 3, 0, "ann", at, "to the moon"),
            (2, None, 1, None, at, None),
            (3, 7, 0, "ann", at, None),
            (4, None, None, "ann", at, None),
            (5, 2, 0, "ann", None, None),
            (None, 2, 0, "ann", at, None),
            (6, 2, 0, "ann", 1704164645, None),
        ],
    )
    connection.commit()
    connection.close()
    original = read_original(tmp_path / "posts.db")
    labels = dict(original.labels())
    assert list(labels) == [1, 2, 3, 4, 5, 6, 7]
    assert (labels[1]["thread_id"], labels[1]["sentiment_rating"], labels[1]["text_snapshot"]) == (1, 3, "to the moon")
    assert labels[1]["labeled_at"] == at
    assert (labels[2]["labeler_id"], labels[3]["sentiment_rating"], labels[5]["labeled_at"]) == (None, 7, None)
    assert labels[7]["labeled_at"] == "2024-01-02T03:04:05"
    assert not original.skipped


@pytest.mark.parametrize(
    ("stored", "coins"),
    [
        ('{"BTC": 3, "ETH": 1}', (("BTC", 3), ("ETH", 1))),
        ('[["BTC", 3], "x", ["ETH"]]', (("BTC", 3),)),
        ('[{"symbol": "BTC", "mentions": 3}, {"coin": "ETH", "count": 1}, 5]', (("BTC", 3), ("ETH", 1))),
        ("{broken", ()),
        (None, ()),
    ],
)
def test_snapshots_are_read_with_coins_of_any_shape(
    tmp_path: Path, stored: str | None, coins: tuple[tuple[str, int], ...]
) -> None:
    connection = make(tmp_path / "posts.db", [])
    connection.execute("CREATE TABLE catalog_snapshots (snapshot_at, total_threads, top_coins)")
    connection.execute("INSERT INTO catalog_snapshots VALUES ('2024-01-02 03:04:05', 150, ?)", [stored])
    connection.execute("INSERT INTO catalog_snapshots VALUES (NULL, 150, NULL)")
    connection.commit()
    connection.close()
    original = read_original(tmp_path / "posts.db")
    (snapshot,) = original.snapshots()
    assert (snapshot.total_threads, snapshot.avg_reply_count, snapshot.top_coins) == (150, None, coins)
    assert original.skipped == {"snapshot: no readable snapshot_at": 1}


def test_reading_leaves_the_file_and_its_folder_as_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "of a # strange? name"
    folder.mkdir()
    connection = make(folder / "posts.db", [{"thread_id": 1, "created_at": POSTED}])
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    before = (folder / "posts.db").read_bytes()
    assert len(threads_of(read_original(folder / "posts.db"))) == 1
    assert [path.name for path in folder.iterdir()] == ["posts.db"]
    assert (folder / "posts.db").read_bytes() == before


def test_rows_that_a_running_program_has_not_checkpointed_are_read_too(tmp_path: Path) -> None:
    connection = make(tmp_path / "posts.db", [])
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("INSERT INTO thread_ops (thread_id, created_at) VALUES (1, ?)", [POSTED])
    connection.commit()
    assert len(threads_of(read_original(tmp_path / "posts.db"))) == 1
    connection.close()


def test_a_damaged_file_is_refused_before_any_of_its_rows_is_read(tmp_path: Path) -> None:
    whole = tmp_path / "posts.db"
    rows = [{"thread_id": number, "created_at": POSTED, "op_text": "wagmi " * 40} for number in range(1, 300)]
    make(whole, rows).close()
    pages = [whole.read_bytes()[start : start + PAGE] for start in range(0, whole.stat().st_size, PAGE)]
    assert len(threads_of(read_original(whole))) == 299
    for page in range(2, len(pages)):
        for damaged in (bytes(PAGE), pages[page - 1], pages[page][::-1]):
            path = tmp_path / "damaged.db"
            path.write_bytes(b"".join([*pages[:page], damaged, *pages[page + 1 :]]))
            with pytest.raises(OriginalDatabaseError, match="is damaged"):
                read_original(path)


def test_what_is_no_original_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello " * 1000)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE x (y)").connection.close()
    for name, reason in (("text", "SQLite"), ("other.db", "thread_ops"), ("absent", "no such file")):
        with pytest.raises(OriginalDatabaseError, match=reason):
            read_original(tmp_path / name)
