"""Errors of the database file and its connections."""

from bizcharts_pipeline.core.errors import BizchartsError


class DatabaseError(BizchartsError):
    """The database cannot be used; base class of this package's errors."""


class DatabaseBusy(DatabaseError):
    """Another process held the database open until the deadline."""


class DatabaseUnavailable(DatabaseError):
    """The file cannot be accessed: missing folder, no permission."""


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


class BackupError(DatabaseError):
    """A copy was not made or not restored; nothing was replaced."""
