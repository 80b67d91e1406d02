"""The ledger of human labels: what a person decided, written the moment he did.

SQLite in WAL mode: a commit costs less than a millisecond, and nobody who explores the warehouse can lock a
labeller out. Rows are appended and never changed; a second thought is a second row.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from bizcharts_pipeline.errors import BizchartsError

LEDGER = Path("ledgers") / "labels.sqlite"  # below the home
BUSY_SECONDS = 30

_SCHEMA = """
CREATE TABLE IF NOT EXISTS labels (
    id                  INTEGER PRIMARY KEY,
    thread_id           INTEGER NOT NULL,
    sentiment_rating    INTEGER CHECK (sentiment_rating IN (1, 2, 3)),  -- bearish, neutral, bullish
    labeler_id          TEXT    NOT NULL,
    labeled_at          TEXT    NOT NULL,  -- UTC, ISO 8601 with microseconds
    seconds             REAL,
    skipped             INTEGER NOT NULL CHECK (skipped = (sentiment_rating IS NULL)),
    notes               TEXT,
    text_snapshot       TEXT,              -- what the labeller saw
    image_url_snapshot  TEXT,
    origin              TEXT    NOT NULL,
    UNIQUE (thread_id, labeler_id, labeled_at, origin)
);
CREATE TRIGGER IF NOT EXISTS labels_are_never_changed BEFORE UPDATE ON labels
BEGIN SELECT raise(ABORT, 'labels are append-only'); END;
CREATE TRIGGER IF NOT EXISTS labels_are_never_deleted BEFORE DELETE ON labels
BEGIN SELECT raise(ABORT, 'labels are append-only'); END;
"""


class LedgerError(BizchartsError):
    """The label ledger cannot be used, or a label is none."""


@dataclass(frozen=True)
class Label:
    """One decision. ``sentiment_rating`` is 1 bearish, 2 neutral, 3 bullish, and ``None`` exactly when
    skipped."""

    thread_id: int
    sentiment_rating: int | None
    labeler_id: str
    labeled_at: datetime  # naive UTC
    seconds: float | None = None  # how long the labeller looked
    skipped: bool = False
    notes: str | None = None
    text_snapshot: str | None = None
    image_url_snapshot: str | None = None
    origin: str = "labeller"  # where the label came from: the labeller's page, or a file that was imported


_COLUMNS = ", ".join(column.name for column in fields(Label))
_INSERT = (
    f"INSERT INTO labels ({_COLUMNS}) VALUES ({', '.join('?' for _ in fields(Label))}) "
    "ON CONFLICT (thread_id, labeler_id, labeled_at, origin) DO NOTHING"
)
_NEWEST = f"""
SELECT {_COLUMNS} FROM (
    SELECT *, row_number() OVER (PARTITION BY thread_id, labeler_id ORDER BY labeled_at DESC, id DESC) AS age
    FROM labels
) WHERE age = 1 ORDER BY thread_id, labeler_id
"""


@dataclass(frozen=True)
class LabelLedger:
    """The ledger in the file ``path``, which is made on first use; many processes may use it at once."""

    path: Path

    def append(self, labels: Sequence[Label]) -> int:
        """Write ``labels`` durably, all or none; return how many were not there yet.

        A label is known by thread, labeller, time and origin, so that an import may be repeated.

        Raises:
            LedgerError: a rating is not 1, 2 or 3, or a skipped post has one; or the file cannot be used.
        """
        for label in labels:
            _check(label)
        with self._opened() as connection, connection:
            before = connection.total_changes
            connection.executemany(_INSERT, [_row(label) for label in labels])
            return connection.total_changes - before

    def newest(self) -> list[Label]:
        """Return each labeller's newest label of each thread, by thread and labeller."""
        return self._select(_NEWEST)

    def all(self) -> list[Label]:
        """Return every label, in the order of their arrival."""
        return self._select(f"SELECT {_COLUMNS} FROM labels ORDER BY id")

    def count(self) -> int:
        """Return the number of labels, superseded and skipped ones included."""
        with self._opened() as connection:
            return int(connection.execute("SELECT count(*) FROM labels").fetchone()[0])

    def _select(self, sql: str) -> list[Label]:
        with self._opened() as connection:
            return [_label(row) for row in connection.execute(sql)]

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.executescript(_SCHEMA)
                yield connection
        except sqlite3.Error as error:
            raise LedgerError(f"{self.path}: the label ledger cannot be used: {error}") from error


def _check(label: Label) -> None:
    if label.skipped != (label.sentiment_rating is None) or label.sentiment_rating not in (None, 1, 2, 3):
        raise LedgerError(
            f"Thread {label.thread_id}, labeller {label.labeler_id}: rating {label.sentiment_rating!r} with "
            f"skipped={label.skipped}; a label is 1, 2 or 3, or skipped without a rating."
        )


def _row(label: Label) -> tuple[object, ...]:
    return tuple(_storable(value) for value in astuple(label))


def _storable(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _label(row: tuple[object, ...]) -> Label:
    values: dict[str, Any] = dict(zip((column.name for column in fields(Label)), row, strict=True))
    values["labeled_at"] = datetime.fromisoformat(values["labeled_at"])
    values["skipped"] = bool(values["skipped"])
    return Label(**values)


def ledger_threads(home: Path, *, skipped: bool) -> list[int]:
    """Return the threads that anybody has labelled, and if ``skipped`` those that he only skipped; in their order.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    ledger = home / LEDGER
    if not ledger.exists():
        return []
    return sorted({label.thread_id for label in LabelLedger(ledger).newest() if skipped or not label.skipped})
