"""What the database holds, table by table."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

# The column that dates a table's rows; a table without one has no oldest and newest.
_DATED_BY = {
    "thread_ops": "posted_at",
    "thread_observations": "seen_at",
    "catalog_snapshots": "snapshot_at",
    "warosu_days": "day::TIMESTAMP",
    "training_labels": "labeled_at",
    "auto_labels": "labeled_at",
    "model_versions": "trained_at",
    "scored_posts": "scored_at",
    "fear_greed_index": "bucket_start",
    "coin_sentiment": "bucket_start",
    "coin_prices": '"at"',
    "schema_migrations": "applied_at",
}
_BLOCK_BYTES = 262_144


@dataclass(frozen=True)
class TableStatistics:
    """One table. ``bytes`` is an estimate, as small columns share blocks; times are naive UTC."""

    table: str
    rows: int
    bytes: int
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class SourceStatistics:
    """The opening posts of one source."""

    source: str
    threads: int
    oldest: datetime
    newest: datetime


def table_statistics(connection: duckdb.DuckDBPyConnection) -> list[TableStatistics]:
    """Return every table's figures, in the order of their names; takes a second at millions of rows."""
    tables = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' AND NOT temporary ORDER BY table_name"
    ).fetchall()
    return [_statistics(connection, name) for (name,) in tables]


def source_statistics(connection: duckdb.DuckDBPyConnection) -> list[SourceStatistics]:
    """Return how many opening posts came from where, and of when."""
    rows = connection.execute(
        "SELECT source, count(*), min(posted_at), max(posted_at) FROM thread_ops GROUP BY source ORDER BY source"
    ).fetchall()
    return [SourceStatistics(*row) for row in rows]


def row_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return the number of rows of every table."""
    return {table.table: table.rows for table in table_statistics(connection)}


def _statistics(connection: duckdb.DuckDBPyConnection, name: str) -> TableStatistics:
    dated_by = _DATED_BY.get(name, "NULL::TIMESTAMP")
    row = connection.execute(f'SELECT count(*), min({dated_by}), max({dated_by}) FROM "{name}"').fetchone()
    blocks = connection.execute(
        f"SELECT count(DISTINCT block_id) FROM pragma_storage_info('{name}') WHERE persistent"
    ).fetchone()
    assert row  # an aggregate always gives one
    assert blocks
    return TableStatistics(name, row[0], blocks[0] * _BLOCK_BYTES, row[1], row[2])
