"""The database at MotherDuck: its address is passed to DuckDB as it is. Untried.

DuckDB downloads the extension ``motherduck`` and reads its token from the environment (``motherduck_token``). There is
no lock of our own: of two writers that meet, MotherDuck refuses one.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse import migrations
from bizcharts_pipeline.warehouse.compact import Compaction
from bizcharts_pipeline.warehouse.database import Database, Held
from bizcharts_pipeline.warehouse.errors import DatabaseUnavailable, StatementRefused
from bizcharts_pipeline.warehouse.installation import Installation
from bizcharts_pipeline.warehouse.interrupts import passed_on, transaction


@dataclass(frozen=True)
class MotherDuck(Database):
    """A database at MotherDuck; ``address`` begins with ``md:``."""

    address: str
    home: Path
    wait_seconds: float = 60

    instead_of_a_file = "MotherDuck keeps backups of its own; `bizcharts migrate --to FILE` makes a DuckDB file of it."

    @property
    def name(self) -> str:
        return self.address

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    def waiting(self, seconds: float) -> "MotherDuck":
        return replace(self, wait_seconds=seconds)

    def check(self) -> None:
        Installation(self.home, None).check()

    def prepare(self) -> None:
        Installation(self.home, None).begin()

    def exists(self) -> bool:
        with self._connected() as connection:
            return bool(connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'thread_ops'").fetchone())

    def require(self) -> None:
        if not self.exists():
            raise DatabaseUnavailable(f"{self.name}: there is no database; create one with `bizcharts poll --once`.")

    def stamp(self) -> object:
        return object()  # what was read before is never reused

    def bytes_used(self) -> int:
        return 0  # it does not say

    @contextmanager
    def read(self, copy_to: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        with self.write() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._connected() as connection:
            migrations.apply(connection, migrations.pending(connection, migrations.known_migrations()), utc_now())
            with transaction(connection):
                yield connection

    def compact(self, *, dry_run: bool = False) -> Compaction:
        return Compaction(0, 0, 0, worth_it=False, done=False)

    @contextmanager
    def filled(self, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._connected() as connection, transaction(connection):
            migrations.create_tables(connection, migrations.known_migrations())
            yield connection

    @contextmanager
    def held(self, copy_to: Path, ledgers: Sequence[str]) -> Iterator[Held]:
        with self.read(copy_to) as connection:
            yield Held(connection, lambda *_: None)  # it can still be used

    def begin_move(self, source: str, mover: str) -> "MotherDuck":
        return self

    def end_move(self) -> None:
        pass

    def note(self) -> None:
        return None

    @contextmanager
    def _connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            with closing(duckdb.connect(self.address)) as connection, passed_on(connection):
                connection.execute("SET TimeZone = 'UTC'")
                yield connection
        except duckdb.IOException as error:
            raise DatabaseUnavailable(f"{self.name}: MotherDuck does not answer: {error}") from None
        except duckdb.Error as error:
            raise StatementRefused(f"{self.name}: DuckDB refused a statement: {error}") from None
