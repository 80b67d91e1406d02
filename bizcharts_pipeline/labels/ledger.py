"""Ledger of human labels; each label is written at the key press.

SQLite in WAL mode: a commit costs less than a millisecond, and readers of the warehouse cannot lock a labeller out.
Rows are appended and never changed: a correction is a second row, taking a label back is a row in ``undone`` that
refers to it, and undoing an import is a row in ``retractions``. The ledger also holds the gold split, which has to
outlive the database.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.ledgers import (
    BUSY_SECONDS,
    Connection,
    connect,
    is_known,
    of_newer_version,
    place,
    transaction,
)
from bizcharts_pipeline.labels.ledger_schema import NO_IMPORT, bring_up_to_date

LEDGER = Path("ledgers") / "labels.sqlite"  # below the home
REJECTED = Path("ledgers") / "rejected"  # below the home: rejected rows of imported files

_MAX_INTEGER = 2**63 - 1


class LedgerError(BizchartsError):
    """The label ledger cannot be used, or a label is invalid."""


Flag = Literal["irony", "not crypto", "unreadable", "illegal"]


@dataclass(frozen=True)
class Label:
    """One decision. ``sentiment_rating`` is 1 bearish, 2 neutral, 3 bullish, and ``None`` exactly if skipped."""

    thread_id: int
    sentiment_rating: int | None
    labeler_id: str
    labeled_at: datetime  # naive UTC
    seconds: float | None = None  # time the labeller took
    skipped: bool = False
    notes: str | None = None
    text_snapshot: str | None = None
    image_url_snapshot: str | None = None
    origin: str = "labeller"  # source of the label: the labeller's page, or an imported file
    posted_at: datetime | None = None  # of the post, naive UTC
    subject_snapshot: str | None = None
    flag: Flag | None = None
    session: str | None = None
    stratum: str | None = None  # why the post was offered: a stratum of `label_queue`, 'relabel', 'shared', 'filter'
    probability: float | None = None  # inclusion probability, if the post was drawn at random
    suggestion: str | None = None  # the suggested class that the labeller saw, if any
    # Whether the image was shown uncovered before the label was given; None: no image, or unknown.
    image_visible: bool | None = None

    def values(self) -> tuple[Any, ...]:
        """Return the label's fields in the order of the columns of ``training_labels``."""
        return tuple(getattr(self, name) for name in _NAMES)


@dataclass(frozen=True)
class GoldPost:
    """A post of the frozen test set; it is never used for training."""

    thread_id: int
    period: str
    frozen_at: datetime


@dataclass(frozen=True)
class LabelImport:
    """A file whose labels were imported into the ledger. Times are naive UTC."""

    import_id: int
    file: str
    imported_at: datetime | None  # None: before the ledger recorded imports
    scale: str  # of the file's ratings
    labels: int  # added by this import
    known: int  # rows already in the ledger
    rejected: int  # invalid rows
    retracted_at: datetime | None  # when the import was undone


_NAMES = tuple(field.name for field in fields(Label))
_COLUMNS = ", ".join(_NAMES)
_SAME = "thread_id = ? AND labeler_id = ? AND labeled_at = ? AND origin = ?"
_INSERT = (
    f"INSERT INTO labels ({_COLUMNS}, import_id) SELECT {', '.join('?' for _ in _NAMES)}, ? "
    f"WHERE NOT EXISTS (SELECT 1 FROM labels WHERE {_SAME}{{unless}})"
)
_KEY = [_NAMES.index(name) for name in ("thread_id", "labeler_id", "labeled_at", "origin")]
_IN_FORCE = "import_id NOT IN (SELECT import_id FROM retractions)"
_NOT_RETRACTED = f"({_IN_FORCE} OR id IN (SELECT label_id FROM repeats WHERE {_IN_FORCE}))"
_REPEAT = (
    f"INSERT INTO repeats SELECT id, ? FROM labels WHERE import_id NOT IN ({NO_IMPORT}, ?) "
    f"AND {_NOT_RETRACTED} AND {_SAME} ON CONFLICT DO NOTHING"
)
_STANDING = f"labels WHERE id NOT IN (SELECT label_id FROM undone) AND {_NOT_RETRACTED}"
_NEWEST = f"""
SELECT {_COLUMNS} FROM (
    SELECT *, row_number() OVER (PARTITION BY thread_id, labeler_id ORDER BY labeled_at DESC, id DESC) AS age
    FROM {_STANDING}
) AS aged WHERE age = 1 ORDER BY thread_id, labeler_id
"""
_IMPORTS = """
SELECT imports.id, file, imported_at, scale, (SELECT count(*) FROM labels WHERE import_id = imports.id), known,
       rejected, retracted_at
FROM imports LEFT JOIN retractions ON retractions.import_id = imports.id ORDER BY imports.id
"""
_LAST = f"SELECT id, {_COLUMNS} FROM {_STANDING} AND labeler_id = ? AND origin = ? ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True)
class LabelLedger:
    """The ledger ``path``, created on first use; many processes may use it at once."""

    path: Path
    busy_seconds: float = BUSY_SECONDS  # how long to wait for another process that writes

    def append(self, labels: Sequence[Label]) -> int:
        """Write ``labels`` durably to the label ledger, all or none; return the number of new ones.

        A label is identified by thread, labeller, time and origin, so writing it again adds nothing.

        Raises:
            LedgerError: a rating is not 1, 2 or 3, or a skipped post has one; or the file cannot be used.
        """
        rows = _rows(labels, NO_IMPORT)
        with self._opened() as connection, transaction(connection):
            return connection.execute_for_each(_INSERT.format(unless=""), rows)

    def add_import(
        self,
        file: str,
        labels: Sequence[Label],
        now: datetime,
        *,
        scale: str,
        known: int,
        rejected: int,
        repeated: Sequence[Label] = (),
    ) -> LabelImport | None:
        """Write the labels of an imported file durably, all or none, as one import that can be undone.

        A label already in the ledger (:meth:`append`) is skipped, unless its import was undone. ``repeated`` are labels
        of the ledger that the file has too: they count as long as one import that has them is not undone.

        Returns:
            The import; ``None`` if nothing was added, in which case no import is recorded.

        Raises:
            LedgerError: as :meth:`append`.
        """
        with self._opened() as connection, transaction(connection):
            values = (storable_text(file), _storable(now), scale, known, rejected)
            insert = (
                "INSERT INTO imports (file, imported_at, scale, known, rejected) VALUES (?, ?, ?, ?, ?) RETURNING id"
            )
            import_id = int(connection.execute(insert, values).fetchone()[0])
            new = _INSERT.format(unless=f" AND {_NOT_RETRACTED}")
            added = connection.execute_for_each(new, _rows(labels, import_id))
            if not added:
                connection.rollback()
                return None
            keys = [[_storable(label.values()[index]) for index in _KEY] for label in repeated]
            connection.execute_for_each(_REPEAT, [(import_id, import_id, *key) for key in keys])
        return LabelImport(import_id, file, now, scale, added, known, rejected, None)

    def imports(self) -> list[LabelImport]:
        """Return every import, undone ones included, oldest first."""
        with self._opened() as connection:
            return [
                LabelImport(import_id, file, _moment(imported), scale, labels, known, rejected, _moment(retracted))
                for import_id, file, imported, scale, labels, known, rejected, retracted in connection.execute(_IMPORTS)
            ]

    def imported(self, import_id: int) -> list[Label]:
        """Return the labels that an import added, in order of arrival."""
        return self._select(f"SELECT {_COLUMNS} FROM labels WHERE import_id = {int(import_id)} ORDER BY id")

    def repeated(self, import_id: int) -> list[Label]:
        """Return the labels of earlier imports that this import has too, in order of arrival."""
        repeats = f"SELECT label_id FROM repeats WHERE import_id = {int(import_id)}"
        return self._select(f"SELECT {_COLUMNS} FROM labels WHERE id IN ({repeats}) ORDER BY id")

    def retract(self, import_id: int, now: datetime) -> bool:
        """Undo an import: its labels no longer count. Return whether they counted before.

        Raises:
            LedgerError: there is no such import, or the file cannot be used.
        """
        with self._opened() as connection, transaction(connection):
            if not connection.execute("SELECT 1 FROM imports WHERE id = ?", (import_id,)).fetchone():
                raise LedgerError(f"There is no import {import_id}; `bizcharts labels imports` lists all imports.")
            insert = "INSERT INTO retractions VALUES (?, ?) ON CONFLICT (import_id) DO NOTHING"
            return connection.execute(insert, (import_id, _storable(now))).rowcount > 0

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the label ledger open, so that each write by other threads and calls costs only one flush to disk.

        The last process to close a ledger checkpoints its log, which costs several.
        """
        with self._opened():
            yield

    def undo(self, labeler_id: str, now: datetime, origin: str = "labeller") -> Label | None:
        """Take back the labeller's last standing label, and return it; ``None`` if there is none."""
        with self._opened() as connection, transaction(connection):
            row = connection.execute(_LAST, (storable_text(labeler_id), origin)).fetchone()
            if row is None:
                return None
            connection.execute("INSERT INTO undone VALUES (?, ?)", (row[0], _storable(now)))
            return _label(row[1:])

    def newest(self) -> list[Label]:
        """Return each labeller's newest standing label of each thread, ordered by thread and labeller."""
        return self._select(_NEWEST)

    def standing(self) -> list[Label]:
        """Return every label that was not taken back, including superseded and skipped ones, in order of arrival."""
        return self._select(f"SELECT {_COLUMNS} FROM {_STANDING} ORDER BY id")

    def not_retracted(self) -> list[Label]:
        """Return every label except those of undone imports, including labels taken back; in order of arrival."""
        return self._select(f"SELECT {_COLUMNS} FROM labels WHERE {_NOT_RETRACTED} ORDER BY id")

    def all(self) -> list[Label]:
        """Return every label, including those taken back and those of undone imports, in order of arrival."""
        return self._select(f"SELECT {_COLUMNS} FROM labels ORDER BY id")

    def freeze_gold(self, posts: Sequence[GoldPost]) -> int:
        """Add ``posts`` to the gold split permanently; return the number of new ones."""
        with self._opened() as connection, transaction(connection):
            return connection.execute_for_each(
                "INSERT INTO gold VALUES (?, ?, ?) ON CONFLICT (thread_id) DO NOTHING",
                [(post.thread_id, post.period, _storable(post.frozen_at)) for post in posts],
            )

    def gold(self) -> list[GoldPost]:
        """Return the gold split, ordered by thread."""
        with self._opened() as connection:
            rows = connection.execute("SELECT thread_id, period, frozen_at FROM gold ORDER BY thread_id")
            return [GoldPost(thread, period, datetime.fromisoformat(at)) for thread, period, at in rows]

    def count(self) -> int:
        """Return the number of labels, including superseded, skipped and taken-back ones."""
        with self._opened() as connection:
            return int(connection.execute("SELECT count(*) FROM labels").fetchone()[0])

    def _select(self, sql: str) -> list[Label]:
        with self._opened() as connection:
            return [_label(row) for row in connection.execute(sql)]

    @contextmanager
    def _opened(self) -> Iterator[Connection]:
        try:
            with closing(connect(self.path, self.busy_seconds)) as connection:
                if not bring_up_to_date(connection):
                    raise LedgerError(of_newer_version(self.path))
                yield connection
        except sqlite3.Error as error:
            raise LedgerError(f"{place(self.path)}: the label ledger cannot be used: {error}") from error


def _check(label: Label) -> None:
    problems = []
    if label.skipped != (label.sentiment_rating is None) or label.sentiment_rating not in (None, 1, 2, 3):
        problems.append(
            f"rating {label.sentiment_rating!r} with skipped={label.skipped}; a label is 1, 2 or 3, or skipped "
            "without a rating"
        )
    if not 0 <= label.thread_id <= _MAX_INTEGER:
        problems.append("the thread number is out of range")
    if not label.labeler_id:
        problems.append("a label needs a labeller")
    if label.labeled_at.tzinfo or (label.posted_at and label.posted_at.tzinfo):
        problems.append("times must be UTC without a time zone")
    if label.flag not in (None, *get_args(Flag)):
        problems.append(f"flag {label.flag!r}; a flag is one of {', '.join(get_args(Flag))}")
    if problems:
        raise LedgerError(f"Thread {label.thread_id}, labeller {label.labeler_id}: {'; '.join(problems)}.")


def _rows(labels: Sequence[Label], import_id: int) -> list[tuple[object, ...]]:
    """Return the labels as parameters of ``_INSERT``."""
    for label in labels:
        _check(label)
    rows = [tuple(_storable(value) for value in label.values()) for label in labels]
    return [(*row, import_id, *(row[index] for index in _KEY)) for row in rows]


def _storable(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return storable_text(value) if isinstance(value, str) else value


def storable_text(text: str) -> str:
    """Return a label's ``text`` with lone surrogates, which UTF-8 cannot encode, replaced by question marks."""
    return text.encode("utf-8", "replace").decode()


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _label(row: tuple[object, ...]) -> Label:
    values: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    for name in ("labeled_at", "posted_at"):
        values[name] = _moment(values[name])
    values["skipped"] = bool(values["skipped"])
    values["image_visible"] = None if values["image_visible"] is None else bool(values["image_visible"])
    return Label(**values)


def ledger_threads(home: Path, *, skipped: bool) -> list[int]:
    """Return the labelled threads, with ``skipped`` also those only skipped; sorted.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    ledger = home / LEDGER
    if not is_known(ledger):
        return []
    return sorted({label.thread_id for label in LabelLedger(ledger).newest() if skipped or not label.skipped})
