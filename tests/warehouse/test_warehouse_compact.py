import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from samples import minute, prepared

from bizcharts_pipeline.core.files import TEMPORARY_PREFIX
from bizcharts_pipeline.warehouse import compact as compact_module
from bizcharts_pipeline.warehouse.compact import compact
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.errors import DatabaseUnavailable
from bizcharts_pipeline.warehouse.snapshots import record_poll
from bizcharts_pipeline.warehouse.statistics import table_statistics

FILL = """
INSERT INTO thread_ops (thread_id, posted_at, op_text, source, ingested_at, text_known_at)
SELECT i, TIMESTAMP '2020-01-01', md5(i::VARCHAR) || md5((i + 1)::VARCHAR) || md5((i + 2)::VARCHAR), 'warosu',
       now()::TIMESTAMP, now()::TIMESTAMP
FROM range({first}, {last}) AS t(i)
"""
SCHEMA = (
    "SELECT table_name, column_name, column_index, data_type, column_default, is_nullable FROM duckdb_columns() "
    "WHERE NOT internal ORDER BY ALL"
)


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    """A database of about 50 MB, half of which is free."""
    database = DatabaseFile(tmp_path / "it's.duckdb", wait_seconds=60)
    with database.write() as connection:
        connection.execute(FILL.format(first=0, last=400_000))
        connection.execute("CREATE VIEW mine AS SELECT count(*) AS n FROM thread_ops")
    make_waste(database)
    return database


def make_waste(database: DatabaseFile) -> None:
    """Write the texts anew, back to front, so that their old blocks are free."""
    with database.write() as connection:
        connection.execute("UPDATE thread_ops SET op_text = reverse(op_text)")


def contents(database: DatabaseFile) -> list[Any]:
    """What must stay the same: every value, but the texts in either direction."""
    either = "least(op_text, reverse(op_text)) AS op_text"
    with database.read() as connection:
        return connection.execute(
            f"SELECT count(*), bit_xor(hash(t)) FROM (SELECT * REPLACE ({either}) FROM thread_ops) AS t"
        ).fetchall()


def schema(database: DatabaseFile) -> list[Any]:
    with database.read() as connection:
        return connection.execute(SCHEMA).fetchall()


@pytest.mark.slow
def test_space_is_really_given_back_and_nothing_else_changes(database: DatabaseFile) -> None:
    before, tables = contents(database), schema(database)
    size = database.path.stat().st_size
    planned = compact(database, dry_run=True)
    assert (planned.done, planned.bytes_after) == (False, size)
    done = compact(database)
    assert done.done
    assert (done.bytes_before, done.bytes_after) == (size, database.path.stat().st_size)
    assert done.bytes_before - done.bytes_after > 0.6 * done.free_bytes  # threads leave blocks of their own half full
    assert contents(database) == before
    assert schema(database) == tables
    with database.write() as connection:
        assert connection.execute("FROM mine").fetchall() == [(400_000,)]
        connection.execute("INSERT INTO thumbnails (thread_id, status) VALUES (1, 'missing')")
        assert connection.execute("SELECT kind, attempts FROM thumbnails").fetchall() == [("thumbnail", 0)]
    assert not compact(database).done
    assert leftovers(database) == []


def test_a_file_without_much_space_to_give_back_is_left_alone_and_what_a_killed_rewrite_left_is_removed(
    tmp_path: Path,
) -> None:
    database = DatabaseFile(tmp_path / "full.duckdb")
    with database.write() as connection:
        connection.execute(FILL.format(first=0, last=200_000))
    inode = database.path.stat().st_ino
    for name in ("full.duckdb.123.compacting", "full.duckdb.123.compacting.wal", "compacting.tmp/duckdb_temp_storage"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    compact(database, dry_run=True)
    assert len(leftovers(database)) == 3
    assert not compact(database).done
    assert leftovers(database) == []
    assert database.path.stat().st_ino == inode


@pytest.mark.slow
def test_polls_wait_for_a_compaction_and_none_is_lost(database: DatabaseFile) -> None:
    done, recorded, failures = threading.Event(), [], []

    def poll() -> None:
        try:
            while not done.is_set():
                number = len(recorded)
                with database.write() as connection:
                    record_poll(
                        connection, snapshot_at=minute(number), last_modified=None, threads=[prepared(10**7 + number)],
                        rejected=0, ingested_at=minute(number),
                    )  # fmt: skip
                recorded.append(number)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    while not recorded:
        time.sleep(0.01)
    assert compact(database).done
    after = len(recorded)
    while len(recorded) < after + 3 and not failures:
        time.sleep(0.01)
    done.set()
    thread.join()
    assert not failures
    with database.read() as connection:
        assert connection.execute("SELECT count(*) FROM catalog_snapshots").fetchall() == [(len(recorded),)]


@pytest.mark.slow
@pytest.mark.fault("SIGKILL", stage="compaction", expected="a whole database")
def test_a_compaction_that_is_killed_at_any_point_leaves_a_whole_database(database: DatabaseFile) -> None:
    before, rng, unfinished = contents(database), random.Random(5), []
    for _ in range(8):
        with subprocess.Popen([sys.executable, __file__, str(database.path)], stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(rng.uniform(0, 1))
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert contents(database) == before
        unfinished.append(compact(database, dry_run=True).free_bytes > 2**24)
        if not unfinished[-1]:
            make_waste(database)
    assert any(unfinished), "every compaction had ended before it was killed"
    assert compact(database).done
    assert contents(database) == before
    assert leftovers(database) == []


@pytest.mark.slow
def test_the_tables_bytes_sum_up_to_what_is_in_use(database: DatabaseFile) -> None:
    compact(database)
    with database.read() as connection:
        (used,) = connection.execute("SELECT used_blocks * block_size FROM pragma_database_size()").fetchall()
        tables = table_statistics(connection)
    total = sum(table.bytes for table in tables)
    assert 0.5 * used[0] <= total <= used[0]  # the rest is the catalogue's
    assert max(tables, key=lambda table: table.bytes).table == "thread_ops"


def leftovers(database: DatabaseFile) -> list[str]:
    kept = {database.path.name + end for end in ("", ".closed", ".lock", ".turn", ".wal")}
    found = set(os.listdir(database.path.parent)) - kept
    # Maintenance removes what a kill in the middle of an atomic write has left.
    return sorted(name for name in found if not name.startswith(TEMPORARY_PREFIX))


@pytest.mark.slow
def test_the_files_permissions_stay(database: DatabaseFile) -> None:
    database.path.chmod(0o600)
    assert compact(database).done
    assert database.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_too_little_memory_is_not_called_damage(database: DatabaseFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact_module, "MEMORY", "3MB")
    before = contents(database)
    with pytest.raises(DatabaseUnavailable, match="not enough memory"):
        compact(database)
    assert contents(database) == before


if __name__ == "__main__":
    print("at work", flush=True)
    compact(DatabaseFile(Path(sys.argv[1]), 60))
