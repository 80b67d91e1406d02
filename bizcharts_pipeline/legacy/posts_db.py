"""Reads the database of the first implementation (``posts.db``, SQLite), written by any of its versions.

A column may be missing, and any value may be NULL or of another type than declared. Unreadable values are left out; a
row is skipped only if it is useless without the missing value, and ``skipped`` counts those by reason. Names and
tripcodes are personal data and are not imported; scores and coin mentions are computed again.
"""

import html
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bizcharts_pipeline.core.clock import from_epoch, naive_utc
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.rows import Source, SourceThread
from bizcharts_pipeline.http.fields import SITE_OPENED, whole_number

BATCH = 5_000

_SOURCES: dict[str, Source] = {"live": "live", "warosu": "warosu", "archived.moe": "warosu"}
_BIGINT = 2**63 - 1
_INTEGER = 2**31 - 1
_MAX_TIME = datetime(2100, 1, 1)

_THREAD_COLUMNS = """
    thread_id board source created_at subject op_text op_text_clean image_url thumbnail_url image_md5
    image_filename image_width image_height image_size first_seen_at last_seen_at archived_at last_modified
    reply_count image_count unique_ips page_position bump_limit_reached image_limit_reached is_sticky
    is_closed source_url
"""
_SNAPSHOT_COLUMNS = "snapshot_at total_threads avg_reply_count top_coins"
_LABEL_COLUMNS = "id thread_id sentiment_rating skipped notes labeler_id labeled_at text_snapshot image_url_snapshot"

Row = dict[str, Any]


class OriginalDatabaseError(BizchartsError):
    """The file is not a database of the first implementation, or is damaged."""


@dataclass(frozen=True)
class OriginalThread:
    """An opening post with its live sightings; counts are those of the last one. Archive rows have no sightings."""

    thread: SourceThread
    first_seen_at: datetime | None
    last_seen_at: datetime | None


@dataclass(frozen=True)
class OriginalSnapshot:
    """One poll. ``top_coins`` are (symbol, mentions), in their stored order, most mentions first."""

    snapshot_at: datetime
    total_threads: int | None
    avg_reply_count: float | None
    top_coins: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class OriginalDatabase:
    """Reader of the database; each method reads its table again in one pass.

    ``skipped`` counts the rows of all passes so far that could not be imported, by reason.
    """

    path: Path
    board: str
    skipped: Counter[str] = field(default_factory=Counter, compare=False)

    def threads(self) -> Iterator[list[OriginalThread]]:
        """Yield the opening posts of the first implementation's database in batches, by ascending number."""
        batch: list[OriginalThread] = []
        for row in self._rows("thread_ops", _THREAD_COLUMNS, "thread_id"):
            thread = _thread(row, self.board)
            if isinstance(thread, str):
                self.skipped[f"thread: {thread}"] += 1
                continue
            batch.append(thread)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def thread_batches(self) -> int:
        """Return the number of batches of the first implementation's posts that :meth:`threads` yields, if no row is
        skipped."""
        with _opened(self.path) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM thread_ops").fetchone()
        return -(-int(rows) // BATCH)

    def snapshots(self) -> Iterator[OriginalSnapshot]:
        """Yield the polls of the live catalogue in the first implementation's database, oldest first."""
        for row in self._rows("catalog_snapshots", _SNAPSHOT_COLUMNS, "snapshot_at"):
            if (moment := _time(row["snapshot_at"])) is None:
                self.skipped["snapshot: no readable snapshot_at"] += 1
                continue
            yield OriginalSnapshot(
                snapshot_at=moment,
                total_threads=_integer(row["total_threads"], 0, _INTEGER),
                avg_reply_count=_number(row["avg_reply_count"]),
                top_coins=_top_coins(row["top_coins"]),
            )

    def labels(self) -> Iterator[tuple[int, Row]]:
        """Yield a number and the stored columns of each label in the first implementation's database, whether or not
        its thread is in it too.

        The number is the row's id, or its position if it has none. Ratings may be on any scale, and values of any type;
        a time in Unix seconds is converted to ISO 8601, UTC; a value of another type in a text column becomes ``None``.
        """
        for place, row in enumerate(self._rows("training_labels", _LABEL_COLUMNS, "id"), start=1):
            row |= {name: _text(row[name]) for name in ("notes", "text_snapshot", "image_url_snapshot")}
            if not isinstance(row["labeled_at"], str) or _number(row["labeled_at"]) is not None:
                moment = _time(row["labeled_at"])
                row["labeled_at"] = moment.isoformat() if moment else row["labeled_at"]
            number = row.pop("id")
            yield number if isinstance(number, int) else place, row

    def _rows(self, table: str, names: str, order: str) -> Iterator[Row]:
        wanted = names.split()
        with _opened(self.path) as connection:
            present = _columns(connection, table)
            columns = [name for name in wanted if name in present]
            if not columns:
                return
            order_by = f" ORDER BY {order}" if order in present else ""
            for values in connection.execute(f"SELECT {', '.join(columns)} FROM {table}{order_by}"):
                yield dict.fromkeys(wanted) | dict(zip(columns, values, strict=True))


def read_original(path: Path, board: str = "biz") -> OriginalDatabase:
    """Open the first implementation's ``posts.db`` after checking all of it. Each board has its own thread numbers, so
    rows of other boards are skipped.

    Raises:
        OriginalDatabaseError: ``path`` is no SQLite file, or damaged, or has no ``thread_ops`` with a ``thread_id``.
    """
    with _opened(path) as connection:
        columns = _columns(connection, "thread_ops")
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _damaged(path, " ".join(found.replace("*** in database main ***", "").split()))
    if "thread_id" not in columns:
        raise OriginalDatabaseError(
            f"{path}: no table thread_ops with a thread_id; name the posts.db of the first implementation."
        )
    return OriginalDatabase(path, board)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise OriginalDatabaseError(f"{path}: there is no such file.")
    # Without a journal file, nothing is writing: open it as immutable, which leaves no files next to it.
    written_to = any(Path(f"{path}{suffix}").exists() for suffix in ("-wal", "-journal"))
    address = f"file:{quote(str(path.absolute()))}?{'mode=ro' if written_to else 'immutable=1'}"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            yield connection
    except UnicodeDecodeError:  # from SQLite's message, which quotes a damaged schema
        raise _damaged(path, "a text of its schema is not UTF-8") from None
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_CORRUPT:
            raise _damaged(path, str(error)) from None
        raise OriginalDatabaseError(
            f"{path} cannot be read as the SQLite database of the first implementation: {error}. "
            "`bizcharts labels import FILE` imports files of labels."
        ) from None


def _damaged(path: Path, why: str) -> OriginalDatabaseError:
    return OriginalDatabaseError(
        f"{path} is damaged ({why}), so nothing was imported; import a backup of it, or what SQLite's "
        "command `.recover` can save."
    )


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def _thread(row: Row, board: str) -> OriginalThread | str:
    """Return the thread, or the reason for skipping it."""
    thread_id = _thread_id(row["thread_id"])
    posted_at = _time(row["created_at"])
    source = _SOURCES.get(_text(row["source"]) or "live")
    if thread_id is None:
        return "no readable thread_id"
    if posted_at is None:
        return "no readable created_at"
    if source is None:
        return f"unknown source {_text(row['source'])!r:.40}"
    if (_text(row["board"]) or board) != board:
        return "of another board"
    thread = SourceThread(
        thread_id=thread_id,
        posted_at=posted_at,
        source=source,
        subject=_text(row["subject"]),
        op_html=_html(row),
        reply_count=_integer(row["reply_count"], 0, _INTEGER),
        image_count=_integer(row["image_count"], 0, _INTEGER),
        image_url=_text(row["image_url"]),
        thumbnail_url=_text(row["thumbnail_url"]),
        image_md5=_text(row["image_md5"]),
        image_filename=_text(row["image_filename"]),
        image_width=_integer(row["image_width"], 1, _INTEGER),
        image_height=_integer(row["image_height"], 1, _INTEGER),
        image_bytes=_integer(row["image_size"], 0, _BIGINT),
        sticky=_flag(row["is_sticky"]),
        closed=_flag(row["is_closed"]),
        bump_limit_reached=_flag(row["bump_limit_reached"]),
        image_limit_reached=_flag(row["image_limit_reached"]),
        extra=_extra(row),
    )
    seen = [moment for name in ("first_seen_at", "last_seen_at") if (moment := _time(row[name]))]
    if source != "live" or not seen:
        return OriginalThread(thread, None, None)
    return OriginalThread(thread, min(seen), max(seen))


def _thread_id(value: Any) -> int | None:
    try:
        thread_id = whole_number(value)
    except ValueError:
        return None
    return thread_id if 1 <= thread_id <= _BIGINT else None


def _html(row: Row) -> str | None:
    if (as_served := _text(row["op_text"])) is not None:
        return as_served
    if (clean := _text(row["op_text_clean"])) is not None:
        return html.escape(clean).replace("\n", "<br>")
    return None


def _extra(row: Row) -> Row:
    """Return the values without a column of their own, by name."""
    extra: Row = {name: _integer(row[name], 0, _BIGINT) for name in ("unique_ips", "page_position", "last_modified")}
    extra["source_url"] = _text(row["source_url"])
    if (archived_at := _time(row["archived_at"])) is not None:
        extra["archived_at"] = archived_at.isoformat()
    if _text(row["source"]) == "archived.moe":
        extra["archive"] = "archived.moe"
    return {name: value for name, value in extra.items() if value is not None}


def _top_coins(value: Any) -> tuple[tuple[str, int], ...]:
    """Parse ``{"BTC": 3}``, ``[["BTC", 3]]`` or ``[{"symbol": "BTC", "mentions": 3}]``; other values give an empty
    result."""
    try:
        coins = json.loads(_text(value) or "[]")
    except (ValueError, RecursionError):
        return ()
    pairs = list(coins.items()) if isinstance(coins, dict) else coins if isinstance(coins, list) else []
    read = []
    for pair in pairs:
        if isinstance(pair, dict):
            pair = (pair.get("symbol", pair.get("coin")), pair.get("mentions", pair.get("count")))
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            continue
        symbol, mentions = _text(pair[0]), _integer(pair[1], 0, _INTEGER)
        if symbol and mentions is not None:
            read.append((symbol, mentions))
    return tuple(read)


def _integer(value: Any, least: int, most: int) -> int | None:
    number = _number(value)
    if number is None or number != int(number):
        return None
    whole = value if isinstance(value, int) else int(number)
    return whole if least <= whole <= most else None


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _flag(value: Any) -> bool:
    return bool(_number(value))


def _time(value: Any) -> datetime | None:
    """Parse Unix seconds or an ISO date and time, UTC; ``None`` if it is not a time between 4chan's opening and
    2100."""
    try:
        seconds = _number(value)
        moment = from_epoch(seconds) if seconds is not None else naive_utc(datetime.fromisoformat(value))
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return moment if SITE_OPENED <= moment < _MAX_TIME else None
