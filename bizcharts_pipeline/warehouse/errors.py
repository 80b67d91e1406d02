"""Errors of the database and its connections."""

import re

from bizcharts_pipeline.core.errors import BizchartsError

DISK_FAILED = "Input/output error"  # in a message of DuckDB
_FULL = re.compile(r"No space left|File too large|quota exceeded|Could not write all bytes", re.IGNORECASE)


class DatabaseError(BizchartsError):
    """The database cannot be used; base class of this package's errors."""


class DatabaseBusy(DatabaseError):
    """Another process held the database open until the deadline."""


class DatabaseUnavailable(DatabaseError):
    """The database cannot be accessed: missing folder, no permission, a server that does not answer."""


class DatabaseLost(DatabaseUnavailable):
    """The database is missing or empty, although the installation has had one; no new one is created."""


class DatabaseFull(DatabaseError):
    """The disk is full; the transaction was rolled back."""


class DatabaseCorrupt(DatabaseError):
    """The file is damaged, or not a DuckDB database."""


class DatabaseLogCorrupt(DatabaseCorrupt):
    """The write-ahead log is damaged; the database file itself may be intact."""


class DatabaseChanged(DatabaseError):
    """The file can be read, but another program changed it since BizCharts closed it."""


class ForeignDatabase(DatabaseError):
    """An intact DuckDB database that does not belong to BizCharts."""


class NewerDatabase(DatabaseError):
    """The database was written by a newer program."""


class MigrationError(DatabaseError):
    """An applied migration has been edited since, or the numbering has a gap."""


class StatementRefused(DatabaseError):
    """The database is intact, but a statement or a value in it is invalid."""


class UnknownCatalog(DatabaseError):
    """The source answered "not modified", but for another catalogue than the last one recorded here."""


class NotAFile(DatabaseError):
    """A command for DuckDB files was given another database; the message says what to use instead."""


class MoveFailed(DatabaseError):
    """A database was not moved; the source is as it was, and the target cannot be used."""


class BackupError(DatabaseError):
    """A copy was not made or not restored; nothing was replaced."""


def disk_is_full(message: str) -> bool:
    """Return whether DuckDB's ``message`` says that a disk is full; a failing disk, too, writes less than it should."""
    return bool(_FULL.search(message)) and DISK_FAILED not in message
