"""The ledger of human labels: what a person decided, written the moment he did.

SQLite in WAL mode: a commit costs less than a millisecond, and nobody who explores the warehouse can lock a
labeller out. Rows are appended and never changed: a second thought is a second row, and taking a label back is a row
in ``undone`` that names it. The ledger also holds which posts are gold, for that must outlive the database too.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from bizcharts_pipeline.errors import BizchartsError
from bizcharts_pipeline.sqlite import BUSY_SECONDS, connect

LEDGER = Path("ledgers") / "labels.sqlite"  # below the home

_VERSION = 2  # of the schema, kept in the file as its user_version
_MOST = 2**63 - 1
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
CREATE TABLE IF NOT EXISTS undone (
    label_id   INTEGER PRIMARY KEY REFERENCES labels,
    undone_at  TEXT    NOT NULL
);
CREATE TABLE IF NOT EXISTS gold (
    thread_id  INTEGER PRIMARY KEY,
    period     TEXT    NOT NULL,  -- the labelled period that it was drawn from: the UTC month, as 2025-10
    frozen_at  TEXT    NOT NULL
);
CREATE TRIGGER IF NOT EXISTS labels_are_never_changed BEFORE UPDATE ON labels
BEGIN SELECT raise(ABORT, 'labels are append-only'); END;
CREATE TRIGGER IF NOT EXISTS labels_are_never_deleted BEFORE DELETE ON labels
BEGIN SELECT raise(ABORT, 'labels are append-only'); END;
CREATE TRIGGER IF NOT EXISTS gold_is_never_changed BEFORE UPDATE ON gold
BEGIN SELECT raise(ABORT, 'gold is frozen'); END;
CREATE TRIGGER IF NOT EXISTS gold_is_never_deleted BEFORE DELETE ON gold
BEGIN SELECT raise(ABORT, 'gold is frozen'); END;
"""
# What ledgers of earlier versions lack.
_LATER_COLUMNS = {
    "posted_at": "TEXT",  # UTC, as labeled_at
    "subject_snapshot": "TEXT",
    "flag": "TEXT CHECK (flag IN ('irony', 'not crypto', 'unreadable', 'illegal'))",
    "session": "TEXT",
    "stratum": "TEXT",
    "probability": "REAL",
    "suggestion": "TEXT",
}


class LedgerError(BizchartsError):
    """The label ledger cannot be used, or a label is none."""


Flag = Literal["irony", "not crypto", "unreadable", "illegal"]


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
    posted_at: datetime | None = None  # of the post, naive UTC
    subject_snapshot: str | None = None
    flag: Flag | None = None
    session: str | None = None
    stratum: str | None = None  # why the post was asked: a stratum of `label_queue`, 'relabel', 'shared', 'filter'
    probability: float | None = None  # with which the post was drawn, if it was
    suggestion: str | None = None  # the suggested class that the labeller saw, if he saw one

    def values(self) -> tuple[Any, ...]:
        """Return the fields in their order, which is that of the columns of ``training_labels``."""
        return tuple(getattr(self, name) for name in _NAMES)


@dataclass(frozen=True)
class GoldPost:
    """A post of the frozen test set; no training ever sees it."""

    thread_id: int
    period: str
    frozen_at: datetime


_NAMES = tuple(field.name for field in fields(Label))
_COLUMNS = ", ".join(_NAMES)
_INSERT = (
    f"INSERT INTO labels ({_COLUMNS}) VALUES ({', '.join('?' for _ in _NAMES)}) "
    "ON CONFLICT (thread_id, labeler_id, labeled_at, origin) DO NOTHING"
)
_STANDING = "labels WHERE id NOT IN (SELECT label_id FROM undone)"
_NEWEST = f"""
SELECT {_COLUMNS} FROM (
    SELECT *, row_number() OVER (PARTITION BY thread_id, labeler_id ORDER BY labeled_at DESC, id DESC) AS age
    FROM {_STANDING}
) WHERE age = 1 ORDER BY thread_id, labeler_id
"""
_LAST = f"SELECT id, {_COLUMNS} FROM {_STANDING} AND labeler_id = ? AND origin = ? ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True)
class LabelLedger:
    """The ledger in the file ``path``, which is made on first use; many processes may use it at once."""

    path: Path
    busy_seconds: float = BUSY_SECONDS  # how long to wait for another process that writes

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

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the file open meanwhile: what other threads and calls write then costs one flush of the disk.

        Whoever closes a ledger as the last one folds its log in, which costs several.
        """
        with self._opened():
            yield

    def undo(self, labeler_id: str, now: datetime, origin: str = "labeller") -> Label | None:
        """Take back the labeller's last label that stands, and return it; ``None`` when there is none left."""
        with self._opened() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute(_LAST, (storable_text(labeler_id), origin)).fetchone()
            if row is None:
                return None
            connection.execute("INSERT INTO undone VALUES (?, ?)", (row[0], _storable(now)))
            return _label(row[1:])

    def newest(self) -> list[Label]:
        """Return each labeller's newest standing label of each thread, by thread and labeller."""
        return self._select(_NEWEST)

    def standing(self) -> list[Label]:
        """Return every label that was not taken back, superseded and skipped ones included, by arrival."""
        return self._select(f"SELECT {_COLUMNS} FROM {_STANDING} ORDER BY id")

    def all(self) -> list[Label]:
        """Return every label, those taken back too, in the order of their arrival."""
        return self._select(f"SELECT {_COLUMNS} FROM labels ORDER BY id")

    def freeze_gold(self, posts: Sequence[GoldPost]) -> int:
        """Add ``posts`` to the gold split, for good; return how many were not in it yet."""
        with self._opened() as connection, connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT INTO gold VALUES (?, ?, ?) ON CONFLICT (thread_id) DO NOTHING",
                [(post.thread_id, post.period, _storable(post.frozen_at)) for post in posts],
            )
            return connection.total_changes - before

    def gold(self) -> list[GoldPost]:
        """Return the gold split, by thread."""
        with self._opened() as connection:
            rows = connection.execute("SELECT thread_id, period, frozen_at FROM gold ORDER BY thread_id")
            return [GoldPost(thread, period, datetime.fromisoformat(at)) for thread, period, at in rows]

    def count(self) -> int:
        """Return the number of labels, superseded, skipped and taken-back ones included."""
        with self._opened() as connection:
            return int(connection.execute("SELECT count(*) FROM labels").fetchone()[0])

    def _select(self, sql: str) -> list[Label]:
        with self._opened() as connection:
            return [_label(row) for row in connection.execute(sql)]

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect(self.path, self.busy_seconds)) as connection:
                _bring_up_to_date(connection)
                yield connection
        except sqlite3.Error as error:
            raise LedgerError(f"{self.path}: the label ledger cannot be used: {error}") from error


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Make the tables, or add what they lack, in one transaction that other processes wait for."""
    if connection.execute("PRAGMA user_version").fetchone()[0] >= _VERSION:
        return
    connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
    present = {row[1] for row in connection.execute("PRAGMA table_info(labels)")}
    for name, declaration in _LATER_COLUMNS.items():
        if name not in present:
            connection.execute(f"ALTER TABLE labels ADD COLUMN {name} {declaration}")
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.commit()


def _check(label: Label) -> None:
    problems = []
    if label.skipped != (label.sentiment_rating is None) or label.sentiment_rating not in (None, 1, 2, 3):
        problems.append(
            f"rating {label.sentiment_rating!r} with skipped={label.skipped}; a label is 1, 2 or 3, or skipped "
            "without a rating"
        )
    if not 0 <= label.thread_id <= _MOST:
        problems.append("that is no thread's number")
    if not label.labeler_id:
        problems.append("a label needs to say whose it is")
    if label.labeled_at.tzinfo or (label.posted_at and label.posted_at.tzinfo):
        problems.append("times are UTC and carry no zone")
    if label.flag not in (None, *get_args(Flag)):
        problems.append(f"flag {label.flag!r}; a flag is one of {', '.join(get_args(Flag))}")
    if problems:
        raise LedgerError(f"Thread {label.thread_id}, labeller {label.labeler_id}: {'; '.join(problems)}.")


def _row(label: Label) -> tuple[object, ...]:
    return tuple(_storable(value) for value in label.values())


def _storable(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return storable_text(value) if isinstance(value, str) else value


def storable_text(text: str) -> str:
    """Return ``text`` as the ledger keeps it: half characters, which no file can hold, as question marks."""
    return text.encode("utf-8", "replace").decode()


def _label(row: tuple[object, ...]) -> Label:
    values: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    for name in ("labeled_at", "posted_at"):
        values[name] = values[name] and datetime.fromisoformat(values[name])
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
