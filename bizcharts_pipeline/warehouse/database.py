"""The database, whatever holds it: short reads and writes, each one transaction.

There are three: a DuckDB file (:mod:`.database_file`), a lake for many machines (:mod:`.lake`), and MotherDuck, which
is passed through (:mod:`.motherduck`). All run the same SQL. Compute first, then read or write, and leave: nothing is
held across a network call, a model or a user's input.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from bizcharts_pipeline.core.moved import Note
from bizcharts_pipeline.settings import LAKE, MOTHERDUCK, Settings
from bizcharts_pipeline.warehouse.errors import NotAFile
from bizcharts_pipeline.warehouse.installation import Installation

if TYPE_CHECKING:
    from bizcharts_pipeline.warehouse.compact import Compaction
    from bizcharts_pipeline.warehouse.database_file import DatabaseFile


@dataclass(frozen=True)
class Held:
    """A database that no other process can write to.

    Args:
        connection: reads it.
        leave: lets no process use the database and its ledgers any more, in one step, because they were moved. Takes
            the name of the new database, the ledgers that are files, the time (naive UTC), and the home that moves
            it, for messages. Returns the path that the file is kept at; ``None`` if the database is no file, and stays.
            Raises ``DatabaseError`` if it was not recorded, and ``OSError`` if a file cannot be renamed: the next
            process to open the database continues.
    """

    connection: duckdb.DuckDBPyConnection
    leave: Callable[[str, Sequence[Path], datetime, str], Path | None]


class Database(ABC):
    """A database shared by many processes: one writer at a time; each reader sees one consistent state.

    Connections are lent by :meth:`read` and :meth:`write` only; do not nest the two.
    """

    many_homes = False  # whether machines with homes of their own, so with other pictures and models, use it
    instead_of_a_file = ""  # what to use in place of a command that works on a file only

    @staticmethod
    def named(name: str, home: Path | None, wait_seconds: float, files: str = "") -> "Database":
        """Return the database that a setting names; nothing is checked, opened or created.

        Args:
            name: absolute path of a DuckDB file, or an address that begins with ``ducklake:`` or ``md:``.
            home: the installation's home; ``None``: the database belongs to no installation.
            wait_seconds: maximum wait while another process writes.
            files: folder of a lake's files; empty: the one that its catalogue names, or ``lake`` in the home.
        """
        if name.startswith(LAKE):
            from bizcharts_pipeline.warehouse.lake import Lake

            return Lake(name, home, files, wait_seconds)
        if name.startswith(MOTHERDUCK):
            from bizcharts_pipeline.warehouse.motherduck import MotherDuck

            return MotherDuck(name, home or Path(), wait_seconds)
        from bizcharts_pipeline.warehouse.database_file import DatabaseFile

        return DatabaseFile(Path(name), wait_seconds, Installation(home, Path(name)) if home else None)

    @classmethod
    def configured(cls, settings: Settings) -> "Database":
        """Return the installation's database; nothing is checked, opened or created."""
        return cls.named(
            settings.database_name, settings.home_path, settings.database_wait_seconds, settings.database_files
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> "Database":
        """Return the installation's database for a command that may create it.

        Raises:
            DatabaseLost: it is missing, and the installation has had one.
        """
        database = cls.configured(settings)
        database.prepare()
        return database

    @classmethod
    def existing(cls, settings: Settings) -> "Database":
        """Return the installation's database for a command that needs an existing one.

        Raises:
            DatabaseUnavailable: it does not exist; nothing is created.
        """
        database = cls.configured(settings)
        database.require()
        return database

    @property
    @abstractmethod
    def name(self) -> str:
        """The database's path or address, for messages; it holds no password."""

    @property
    @abstractmethod
    def runs(self) -> Path:
        """Folder of the locks of runs that use this database."""

    @abstractmethod
    def waiting(self, seconds: float) -> "Database":
        """Return the same database with another maximum wait."""

    @abstractmethod
    def read(self, copy_to: Path | None = None) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Yield a read-only connection to a consistent state of the database.

        ``copy_to`` is the one folder into which it may COPY; without it, into none.

        Raises:
            DatabaseBusy: it was not free until the deadline.
            DatabaseError: another subclass names the fault.
        """

    @abstractmethod
    def write(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Yield a connection to the database inside one transaction: committed at the end, rolled back on any
        exception.

        Raises:
            DatabaseBusy: another process was writing until the deadline.
            DatabaseError: another subclass names the fault.
        """

    def migrate(self) -> None:
        """Create the database if it does not exist, and migrate its schema."""
        with self.write():
            pass

    @abstractmethod
    def check(self) -> None:
        """Check, without opening it, that the database is not lost and that its place is usable.

        Raises:
            DatabaseError: names what is wrong; nothing was created.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Prepare a first start of the installation; call it before the first write to its home.

        Raises:
            DatabaseLost: the database is missing, and the installation has had one.
        """

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is a database; creates none."""

    @abstractmethod
    def require(self) -> None:
        """Check that there is a usable database.

        Raises:
            DatabaseUnavailable: there is none; nothing is created.
        """

    @abstractmethod
    def stamp(self) -> Hashable:
        """Return a value that changes with every write to the database."""

    @abstractmethod
    def bytes_used(self) -> int:
        """Return the bytes of the files that hold the database."""

    @abstractmethod
    def compact(self, *, dry_run: bool = False) -> "Compaction":
        """Return the space of the database's deleted rows to the file system, if it is worth it.

        Raises:
            DatabaseError: the database cannot be used; its rows stay as they are.
        """

    @abstractmethod
    def filled(self, folder: Path) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Yield a connection to a new database with the schema and no row at all, which may read the files of
        ``folder``. The block fills it; if it raises, or the process is killed, there is no database.

        Raises:
            DatabaseUnavailable: the database exists.
            DatabaseError: it cannot be created.
        """

    @abstractmethod
    def held(self, copy_to: Path, ledgers: Sequence[str]) -> AbstractContextManager[Held]:
        """Yield the database for a move, read like by :meth:`read`: until the end of the block no other process can
        write to it, nor to the ``ledgers``, by name, that are in the same place.

        Raises:
            DatabaseError: as :meth:`write`.
        """

    @abstractmethod
    def begin_move(self, source: str, mover: str) -> "Database":
        """Let no other process use this database, which must be new, until :meth:`end_move`: a move from ``source`` by
        the home ``mover`` is to fill it. What an unfinished move has left there, the same home's, is deleted. Return
        the database for the process that fills it.

        Raises:
            DatabaseUnavailable: it exists, or was moved elsewhere.
            DatabaseError: it was not recorded.
            OSError: a note cannot be written.
        """

    @abstractmethod
    def end_move(self) -> None:
        """Let every process use this database, which was filled.

        Raises:
            DatabaseError: it was not recorded.
            OSError: a note cannot be deleted.
        """

    @abstractmethod
    def note(self) -> Note | None:
        """Return the note of :attr:`Held.leave`, or of :meth:`begin_move` until the move has ended; ``None`` if the
        database is in use.

        Raises:
            DatabaseError: the server does not answer.
        """

    def file(self) -> "DatabaseFile":
        """Return the database as a file, for what only a file has: copies, restores and repairs.

        Raises:
            NotAFile: it is none; says what to use instead.
        """
        raise NotAFile(f"{self.name} is not a file: {self.instead_of_a_file}")
