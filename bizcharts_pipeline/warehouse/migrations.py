"""Schema migrations: numbered SQL files, each applied once, forward only."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import duckdb

from bizcharts_pipeline.warehouse.errors import ForeignDatabase, MigrationError, NewerDatabase
from bizcharts_pipeline.warehouse.interrupts import transaction
from bizcharts_pipeline.warehouse.values import literal

FOLDER = Path(__file__).parent / "migrations"
_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")

_CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER NOT NULL, name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL, sha256 VARCHAR NOT NULL
)
"""

_OTHER_TABLES = "SELECT 1 FROM duckdb_tables() WHERE NOT temporary AND database_name = current_database() LIMIT 1"
# A lake has no keys. Nothing relies on the one that a migration declares: every write is a MERGE.
_KEY = " PRIMARY KEY"


@dataclass(frozen=True)
class Migration:
    """One step of the schema. ``sha256`` is the hash of its SQL, so that a later edit is detected."""

    version: int
    name: str
    sql: str
    sha256: str


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Read the database's migrations, the ``NNNN_name.sql`` files, in order; raises :class:`MigrationError` unless
    numbered 1, 2, 3 ….
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        if not (match := _FILE_NAME.fullmatch(path.name)):
            raise MigrationError(f"{path}: a migration is named like 0002_what_it_does.sql.")
        sql = path.read_text(encoding="utf-8")
        found.append(Migration(int(match[1]), match[2], sql, hashlib.sha256(sql.encode()).hexdigest()))
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"{folder}: migrations must be numbered 0001, 0002 … without gaps or duplicates.")
    return tuple(found)


@cache
def known_migrations() -> tuple[Migration, ...]:
    """Return the database migrations of this program."""
    return read_migrations(FOLDER)


def pending(connection: duckdb.DuckDBPyConnection, known: Sequence[Migration]) -> list[Migration]:
    """Return the migrations still to be applied to the database.

    Raises:
        ForeignDatabase: the database holds tables, but not those of BizCharts.
        NewerDatabase: a migration was applied that this program does not know.
        MigrationError: an applied migration has been edited since.
    """
    try:
        applied = connection.execute("SELECT version, name, sha256 FROM schema_migrations").fetchall()
    except duckdb.CatalogException:
        if connection.execute(_OTHER_TABLES).fetchone():
            raise ForeignDatabase("It holds tables, but is not a BizCharts database (no schema_migrations).") from None
        return list(known)
    by_version = {migration.version: migration for migration in known}
    for version, name, sha256 in applied:
        if version not in by_version:
            raise NewerDatabase(
                f"Its schema has version {version} ({name}) and this program knows {len(known)}; "
                "update BizCharts, or restore an earlier backup."
            )
        if by_version[version].sha256 != sha256:
            raise MigrationError(
                f"Migration {version:04} ({name}) was edited after it had been applied; "
                "restore the old text and write the change as a new migration."
            )
    done = {version for version, _, _ in applied}
    return [migration for migration in known if migration.version not in done]


def apply(
    connection: duckdb.DuckDBPyConnection, migrations: Sequence[Migration], applied_at: datetime, *, keys: bool = True
) -> None:
    """Apply ``migrations`` in order, each in its own transaction together with its row in ``schema_migrations``;
    without ``keys`` for a database that has none."""
    for migration in migrations:
        with transaction(connection):
            create_tables(connection, [migration], keys=keys)
            connection.execute(
                f"INSERT INTO schema_migrations VALUES ({migration.version}, {literal(migration.name)}, "
                f"{literal(applied_at)}, {literal(migration.sha256)})"
            )


def create_tables(connection: duckdb.DuckDBPyConnection, migrations: Sequence[Migration], *, keys: bool = True) -> None:
    """Execute ``migrations`` without recording them in ``schema_migrations``, in the caller's transaction."""
    connection.execute(_CREATE_LEDGER)
    for migration in migrations:
        connection.execute(migration.sql if keys else migration.sql.replace(_KEY, ""))
