"""What can go wrong between the program and its database file."""

from bizcharts_pipeline.core.errors import BizchartsError


class DatabaseError(BizchartsError):
    """The database cannot be used; the root of this room's errors."""


class DatabaseBusy(DatabaseError):
    """Somebody held the database open until the deadline."""


class DatabaseUnavailable(DatabaseError):
    """The file cannot be reached: no such folder, no permission."""


class DatabaseLost(DatabaseUnavailable):
    """The database is missing or empty, and the installation has had one; none is made in its place."""


class DatabaseFull(DatabaseError):
    """The disk took no more; the transaction was rolled back."""


class DatabaseCorrupt(DatabaseError):
    """The file is damaged, or no DuckDB database at all."""


class DatabaseLogCorrupt(DatabaseCorrupt):
    """The write-ahead log is damaged; the file beside it may be whole."""


class DatabaseChanged(DatabaseError):
    """The file can be read, but it is not the one that BizCharts closed last."""


class ForeignDatabase(DatabaseError):
    """A sound DuckDB database that is not one of BizCharts."""


class NewerDatabase(DatabaseError):
    """The database was written by a newer program."""


class MigrationError(DatabaseError):
    """A migration that was applied has been edited since, or the numbering has a gap."""


class StatementRefused(DatabaseError):
    """The database is sound, but a statement or a value in it is not."""


class UnknownCatalog(DatabaseError):
    """The source says "not modified" of a catalogue that is not the last one recorded here."""


class BackupError(DatabaseError):
    """A copy was not made or not taken back; nothing was replaced."""
