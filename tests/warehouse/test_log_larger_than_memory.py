"""A log that is larger than DuckDB's memory limit: a full disk has let no checkpoint through for a while."""

from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from bizcharts_pipeline.warehouse import checkpoints, database_file
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.log import wal

LIMIT = "32MB"
LOG_BYTES = 64_000_000
ROWS = 4_000  # of a kilobyte, in one transaction
INSERT = """
INSERT INTO thread_ops (thread_id, posted_at, text_known_at, ingested_at, source, op_text_clean)
SELECT number, TIMESTAMP '2026-03-01', TIMESTAMP '2026-03-01', TIMESTAMP '2026-03-01', 'live',
       string_agg(md5(concat(number, '-', part)), '')
FROM range({first}, {last}) AS n(number), range(32) AS p(part) GROUP BY number
"""


@pytest.mark.slow
@pytest.mark.fault("log > memory", stage="database", expected="the log is replayed; every commit is there")
def test_a_log_larger_than_the_memory_limit_is_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_checkpoint(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        connection.close()

    database = DatabaseFile(tmp_path / "bizcharts.duckdb", 30)
    database.migrate()
    transactions = 0
    with monkeypatch.context() as full_disk:
        full_disk.setattr(checkpoints, "checkpoint", no_checkpoint)
        with suppress(FileNotFoundError):
            wal(database.path).unlink()
        while not wal(database.path).exists() or wal(database.path).stat().st_size < LOG_BYTES:
            first = transactions * ROWS
            with database.write() as connection:
                connection.execute(INSERT.format(first=first, last=first + ROWS))
            transactions += 1
    monkeypatch.setitem(database_file._HARDENED, "memory_limit", LIMIT)
    with database.read() as connection:
        assert connection.execute("SELECT current_setting('memory_limit')").fetchone() == ("30.5 MiB",)
        count = "SELECT count(*), sum(length(op_text_clean)) FROM thread_ops"
        assert connection.execute(count).fetchone() == (transactions * ROWS, transactions * ROWS * 32 * 32)
    with database.write() as connection:
        connection.execute("DELETE FROM thread_ops WHERE thread_id = 0")
    assert not wal(database.path).exists()
    with database.read() as connection:
        assert connection.execute("SELECT count(*) FROM thread_ops").fetchone() == (transactions * ROWS - 1,)
