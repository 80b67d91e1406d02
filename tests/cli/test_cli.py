"""The command line as a user meets it: a process of its own."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from installation import Installation

from bizcharts_pipeline.cli.main import bizcharts
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.labels.ledger import LabelLedger

NOW = datetime(2026, 3, 2, 12, 0)


@pytest.fixture
def board() -> Iterator[SimulatedBoard]:
    with SimulatedBoard(World(7, NOW - timedelta(days=2), 3), now=NOW) as board:
        yield board


@pytest.fixture
def installation(board: SimulatedBoard, tmp_path: Path) -> Installation:
    return Installation(tmp_path, board.url)


def test_a_poll_fills_the_database_and_stats_show_it(installation: Installation) -> None:
    polled = installation.run_command("poll", "--once", "--json", now=NOW)
    assert polled.returncode == 0, polled.stderr
    tick = json.loads(polled.stdout)
    assert (tick["state"], tick["posts_scored"], tick["not_modified"]) == ("calibrating", tick["total_threads"], False)
    assert (tick["lo"], tick["value"], tick["hi"]) == (None, None, None)  # nothing to rank in yet
    total = tick["total_threads"]
    stats = json.loads(installation.run_command("stats", "--json").stdout)
    rows = {table["table"]: table["rows"] for table in stats["tables"]}
    assert rows["thread_ops"] == rows["scored_posts"] == total > 100
    assert rows["catalog_snapshots"] == 1
    shown = installation.run_command("stats").stdout
    assert "thread_ops" in shown
    assert f"{total}" in shown


@pytest.mark.slow
def test_a_backup_comes_back_and_the_replaced_database_is_kept(
    installation: Installation, board: SimulatedBoard
) -> None:
    installation.run_command("poll", "--once", now=NOW)
    before = installation.query("SELECT * FROM thread_ops ORDER BY ALL")
    backup = installation.folder / "copy.duckdb"
    assert installation.run_command("backup", str(backup)).returncode == 0
    board.now = NOW + timedelta(hours=3)
    installation.run_command("poll", "--once", now=board.now)
    assert installation.query("SELECT * FROM thread_ops ORDER BY ALL") != before
    restored = installation.run_command("restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    assert installation.query("SELECT * FROM thread_ops ORDER BY ALL") == before
    assert list(installation.home.glob("*before-restore*"))


def test_the_lists_of_commands_are_whole_at_80_columns() -> None:
    for group in ([], ["labels"], ["models"], ["pods"], ["endpoint"]):
        listed = CliRunner().invoke(bizcharts, [*group, "--help"], terminal_width=80).stdout.partition("Commands:")[2]
        assert listed.count("\n") > 2
        assert "..." not in listed


def test_an_empty_argument_is_refused_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ["export", ""],
        ["backup", ""],
        ["app", "--host", ""],
        ["api", "--host="],
        ["coverage", "--from", ""],
    ):
        refused = CliRunner().invoke(bizcharts, words)
        assert refused.exit_code == 2
        assert "is empty" in refused.output
    assert not list(tmp_path.iterdir())


def fails_in_one_line(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("bizcharts: ")
    assert finished.stderr.count("\n") == 1
    return finished.stderr


@pytest.mark.slow
def test_a_failure_is_one_line_that_names_the_thing(installation: Installation) -> None:
    assert "not a valid backup" in fails_in_one_line(installation.run_command("restore", __file__))
    assert "SQLite" in fails_in_one_line(installation.run_command("import-sqlite", __file__))
    installation.run_command("poll", "--once", now=NOW)
    assert "not an earlier copy" in fails_in_one_line(installation.run_command("snapshot", __file__))
    assert "already exists" in fails_in_one_line(installation.run_command("backup", __file__))
    installation.extra["BIZCHARTS_FOURCHAN_API_URL"] = "http://127.0.0.1:9"
    assert "127.0.0.1:9" in fails_in_one_line(installation.run_command("poll", "--once", now=NOW))


def test_bad_settings_are_named_and_bad_usage_is_status_2(installation: Installation) -> None:
    assert installation.run_command("poll", "--twice").returncode == 2
    installation.extra["BIZCHARTS_NOW"] = "noon"
    assert "BIZCHARTS_NOW" in fails_in_one_line(installation.run_command("poll", "--once"))
    del installation.extra["BIZCHARTS_NOW"]
    installation.extra["BIZCHARTS_BOARD"] = "../x"
    assert "board: " in fails_in_one_line(installation.run_command("stats"))


def test_a_snapshot_is_a_copy_to_explore_and_replaces_an_earlier_one(installation: Installation) -> None:
    installation.run_command("poll", "--once", now=NOW)
    copy = installation.folder / "read.duckdb"
    for _ in range(2):
        assert installation.run_command("snapshot", str(copy)).returncode == 0
    with duckdb.connect(str(copy)) as connection:
        rows = connection.execute("SELECT count(*) FROM thread_ops").fetchall()
    assert rows == installation.query("SELECT count(*) FROM thread_ops")


def test_every_command_has_a_help_text() -> None:
    for name, command in bizcharts.commands.items():
        shown = CliRunner().invoke(bizcharts, [name, "--help"])
        assert shown.exit_code == 0
        assert command.help, name


def test_the_first_implementations_database_is_taken_over_once(installation: Installation, tmp_path: Path) -> None:
    original = tmp_path / "posts.db"
    with sqlite3.connect(original) as connection:
        connection.executescript(
            """
            CREATE TABLE thread_ops (thread_id INTEGER PRIMARY KEY, subject TEXT, op_text TEXT, op_text_clean TEXT,
                created_at INTEGER, first_seen_at INTEGER, last_seen_at INTEGER, reply_count INTEGER, source TEXT,
                op_name TEXT);
            INSERT INTO thread_ops VALUES
                (1001, 'LINK', 'to the <wbr>moon', NULL, 1764590000, 1764590060, 1764593600, 42, 'live', 'a name'),
                (1002, NULL, NULL, 'it''s over', 1764590100, NULL, NULL, 7, 'archived.moe', NULL),
                (1003, 'no time', NULL, NULL, NULL, NULL, NULL, 0, 'warosu', NULL);
            CREATE TABLE catalog_snapshots (id INTEGER, snapshot_at TEXT, total_threads INTEGER, top_coins TEXT);
            INSERT INTO catalog_snapshots VALUES (1, '2025-12-01 12:00:00', 151, '[["LINK", 3]]'),
                (2, '2055-01-01', 9, NULL), (3, '2056-01-01', 9, NULL);
            CREATE TABLE training_labels (thread_id INTEGER, sentiment_rating INTEGER, skipped INTEGER,
                labeler_id TEXT, labeled_at TEXT, text_snapshot TEXT);
            INSERT INTO training_labels VALUES (1001, 3, 0, 'me', '2025-12-19 20:57:25.5', 'to the moon'),
                (999, 1, 0, 'me', '2025-12-19 20:57:30', 'seen, and gone since'),
                (1002, 9, 0, 'me', '2025-12-19 20:57:35', NULL), (1002, 2, 0, NULL, '2025-12-19 20:57:36', NULL);
            """
        )
    first = json.loads(installation.run_command("import-sqlite", str(original), "--json", now=NOW).stdout)
    assert (first["new_threads"], first["new_snapshots"], first["new_labels"]) == (2, 1, 3)
    assert first["notes"] == [
        "1 label of 'original', the labeller of those without a name",
        "1 of its 3 threads is not in the database: check the numbers, or import those days from the archive "
        "(`bizcharts import --from DAY`)",
    ]
    assert first["skipped"] == {
        "thread: no readable created_at": 1,
        "snapshot: snapshot_at is in the future": 2,
        "label: sentiment_rating 9, not 1 to 3": 1,
    }
    rows = installation.query("SELECT thread_id, source, op_text_clean, reply_count FROM thread_ops ORDER BY 1")
    assert rows == [(1001, "live", "to the moon", 42), (1002, "warosu", "it's over", 7)]
    assert installation.query("SELECT thread_id, coin_symbol FROM coin_mentions") == [(1001, "LINK")]
    assert installation.query("SELECT total_threads FROM catalog_snapshots") == [(151,)]
    labels = LabelLedger(installation.home / "ledgers" / "labels.sqlite").newest()
    assert [(label.thread_id, label.sentiment_rating) for label in labels] == [(999, 1), (1001, 3), (1002, 2)]
    assert "a name" not in (installation.home / "bizcharts.duckdb").read_bytes().decode("latin-1")
    again = installation.run_command("import-sqlite", str(original), now=NOW).stdout
    assert "2 snapshots: snapshot_at is in the future\n" in again
    assert "1 thread: no readable created_at\n" in again
    second = json.loads(installation.run_command("import-sqlite", str(original), "--json", now=NOW).stdout)
    assert (second["new_threads"], second["new_snapshots"], second["new_labels"]) == (0, 0, 0)
