"""Table ``thumbnails``: pictures of opening posts, their download status, block list and withdrawal.

A row is one picture of a thread. Its ``status``:

- ``stored``: the file exists, at ``path`` under the home.
- ``spoiler``: the poster hid it; it is not fetched.
- ``deleted``: the board removed the file before it was fetched.
- ``missing``: the host no longer has it (404), or the store has lost it.
- ``foreign``: its URL is not on a configured image host; no request was sent.
- ``rejected``: not an acceptable picture; ``reason`` is why.
- ``blocked``: on the block list; the bytes are not kept, the hashes are.
- ``purged``: was stored, until the board deleted the file or its thread.
- ``expired``: was stored, until its retention period ended.
- ``failed``: no usable response; retried a few times with growing pauses.

All but ``failed`` are final; a thread that reappears after it was taken for deleted starts over.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

import duckdb

from bizcharts_pipeline.warehouse.image_features import FORGET_FEATURES
from bizcharts_pipeline.warehouse.labelled import as_table, labelled_threads
from bizcharts_pipeline.warehouse.thread_fates import THREAD_DELETED
from bizcharts_pipeline.warehouse.values import inserted, literal, table

Kind = Literal["thumbnail", "full"]
HashKind = Literal["sha256", "md5", "perceptual"]

MAX_ATTEMPTS = 5
FIRST_PAUSE = timedelta(minutes=5)  # after a failure; four times as long after each further one
ON_THE_BOARD = timedelta(days=3)  # how long a thread's files stay on the board and in its archive
# Of 44,850 pairs of different drawn charts none is nearer than 6 bits, and of 700 scaled, cropped or compressed copies
# 99 % are within 4: tests/images/test_images_hash.py.
NEAR_BITS = 4

_COLUMNS = {
    "thread_id": "BIGINT",
    "kind": "VARCHAR",
    "status": "VARCHAR",
    "reason": "VARCHAR",
    "source": "VARCHAR",
    "path": "VARCHAR",
    "sha256": "VARCHAR",
    "width": "INTEGER",
    "height": "INTEGER",
    "bytes": "BIGINT",
    "media_type": "VARCHAR",
    "perceptual_hash": "VARCHAR",
    "nsfw": "DOUBLE",
    "attempts": "INTEGER",
    "fetched_at": "TIMESTAMP",
}

_WAITING = """
SELECT t.thread_id, '{kind}' AS kind, t.{url} AS url, t.image_md5, t.image_bytes, t.image_width, t.image_height,
       t.spoiler, t.file_deleted,
       t.image_md5 IN (SELECT hash FROM blocked_images WHERE kind = 'md5') IS TRUE AS blocked,
       coalesce(p.attempts, 0) AS attempts, t.posted_at
FROM thread_ops AS t
LEFT JOIN thumbnails AS p ON p.thread_id = t.thread_id AND p.kind = '{kind}'
WHERE (t.{url} IS NOT NULL OR t.file_deleted)
  AND (p.thread_id IS NULL OR p.status = 'failed' AND p.attempts < {max_attempts}
       AND p.fetched_at + to_seconds(CAST({first_pause} * 4 ** (p.attempts - 1) AS BIGINT)) <= {now})
  AND ({wanted})
  AND t.thread_id NOT IN (SELECT thread_id FROM thread_fates WHERE fate = 'deleted')
  {chosen}
ORDER BY t.last_seen_at IS NULL, t.posted_at DESC, t.thread_id DESC
LIMIT {limit}
"""
_LABELLED = (
    "AND t.thread_id IN (SELECT thread_id FROM training_labels WHERE NOT skipped UNION SELECT thread_id FROM {ledger})"
)
_LIVE = (
    "t.last_seen_at >= {since} "
    "AND (starts_with(coalesce(t.{url}, ''), {live_url}) OR NOT starts_with(coalesce(t.{url}, ''), {archive_url}))"
)
_ARCHIVE = (
    "(t.source = 'warosu' OR starts_with(coalesce(t.{url}, ''), {archive_url})) "
    "AND NOT starts_with(coalesce(t.{url}, ''), {live_url})"
)

_RECORD = """
MERGE INTO thumbnails AS t
USING {row} AS p
ON t.thread_id = p.thread_id AND t.kind = p.kind
WHEN MATCHED THEN UPDATE SET
    status = p.status, reason = p.reason, source = p.source, path = p.path, sha256 = p.sha256, width = p.width,
    height = p.height, bytes = p.bytes, media_type = p.media_type, perceptual_hash = p.perceptual_hash,
    nsfw = p.nsfw, attempts = p.attempts, fetched_at = p.fetched_at
WHEN NOT MATCHED THEN INSERT BY NAME
"""

_BITS = "TRY_CAST('0x' || {hash} AS UBIGINT)"
_NEAR = "bit_count(xor({one}, {other})) <= " + str(NEAR_BITS)
_BLOCKED_BY = """
SELECT coalesce(reason, kind) FROM blocked_images AS b
WHERE b.kind = 'sha256' AND b.hash = {sha256} OR b.kind = 'md5' AND b.hash IN ({md5})
   OR b.kind = 'perceptual' AND {near}
LIMIT 1
"""

_WITHDRAW = """
CREATE OR REPLACE TEMP TABLE withdrawn AS
SELECT p.thread_id, p.kind, p.sha256, p.media_type, {reason} AS reason
FROM thumbnails AS p
LEFT JOIN thread_ops AS t ON t.thread_id = p.thread_id
LEFT JOIN thread_fates AS f ON f.thread_id = p.thread_id
WHERE p.status = 'stored' AND ({condition})
"""
_MARK_WITHDRAWN = """
MERGE INTO thumbnails AS t USING withdrawn AS w ON t.thread_id = w.thread_id AND t.kind = w.kind
WHEN MATCHED THEN UPDATE SET status = {status}, reason = w.reason, path = NULL
"""
_UNREFERENCED = """
SELECT DISTINCT w.sha256, w.media_type FROM withdrawn AS w
WHERE NOT EXISTS (FROM thumbnails AS p WHERE p.status = 'stored' AND p.sha256 = w.sha256)
"""
_ON_BLOCK_LIST = (
    "p.sha256 IN (SELECT hash FROM blocked_images WHERE kind = 'sha256') "
    "OR t.image_md5 IN (SELECT hash FROM blocked_images WHERE kind = 'md5') "
    "OR p.perceptual_hash IN ("
    f"WITH here AS (SELECT DISTINCT perceptual_hash AS hash, {_BITS.format(hash='perceptual_hash')} AS bits "
    "FROM thumbnails WHERE status = 'stored' AND perceptual_hash IS NOT NULL), "
    f"listed AS (SELECT {_BITS.format(hash='hash')} AS bits FROM blocked_images WHERE kind = 'perceptual') "
    f"SELECT here.hash FROM here JOIN listed ON {_NEAR.format(one='here.bits', other='listed.bits')})"
)
_DELETED = "t.file_deleted OR f.fate = 'deleted'"
_EXPIRED = "p.fetched_at < {older_than} AND p.thread_id NOT IN ({labelled})"


@dataclass(frozen=True)
class WaitingPicture:
    """A picture without a final status. ``declared_*`` describe the full picture, as reported by the board."""

    thread_id: int
    kind: Kind
    url: str | None  # None: the board had removed the file before it was first seen
    md5: str | None  # base64, of the full picture
    declared_bytes: int | None
    declared_width: int | None
    declared_height: int | None
    spoiler: bool
    file_deleted: bool
    blocked: bool  # its MD5 is on the block list
    attempts: int
    posted_at: datetime


@dataclass(frozen=True)
class PictureRow:
    """One row of ``thumbnails``: the status of one picture. Times are naive UTC."""

    thread_id: int
    kind: Kind
    status: str
    fetched_at: datetime
    reason: str | None = None
    source: str | None = None
    path: str | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    media_type: str | None = None
    perceptual_hash: str | None = None
    nsfw: float | None = None
    attempts: int = 0


@dataclass(frozen=True)
class StoredFile:
    """The content of a file in the picture store."""

    sha256: str
    media_type: str


@dataclass(frozen=True)
class Withdrawal:
    """Withdrawn pictures, and the files that no stored picture refers to any more."""

    pictures: int
    files: tuple[StoredFile, ...]


def waiting_pictures(
    connection: duckdb.DuckDBPyConnection,
    kind: Kind,
    *,
    live: bool,
    archive: bool,
    live_url: str,
    archive_url: str,
    now: datetime,
    limit: int,
    labelled: Collection[int] = (),
) -> list[WaitingPicture]:
    """Read from the database at most ``limit`` pictures to fetch: the live board's newest first, then the archive's.

    ``live`` selects pictures of threads that the board can still have, ``archive`` those of the archive. Full pictures
    are fetched only for posts that a person has labelled, in ``training_labels`` or in ``labelled``. A URL on neither
    host is assigned to the source of its post.
    """
    url = "thumbnail_url" if kind == "thumbnail" else "image_url"
    places = {
        "url": url,
        "live_url": literal(f"{live_url}/"),
        "archive_url": literal(f"{archive_url}/"),
        "since": literal(now - ON_THE_BOARD),
    }
    wanted = [text.format(**places) for text, enabled in ((_LIVE, live), (_ARCHIVE, archive)) if enabled]
    if not wanted:
        return []
    sql = _WAITING.format(
        kind=kind,
        url=url,
        max_attempts=MAX_ATTEMPTS,
        first_pause=int(FIRST_PAUSE.total_seconds()),
        now=literal(now),
        wanted=" OR ".join(f"({condition})" for condition in wanted),
        chosen=_LABELLED.format(ledger=as_table(labelled)) if kind == "full" else "",
        limit=int(limit),
    )
    return [WaitingPicture(*row) for row in connection.execute(sql).fetchall()]


def record_picture(connection: duckdb.DuckDBPyConnection, picture: PictureRow) -> None:
    """Store the status of a picture in the database. Call it inside :meth:`Database.write`."""
    connection.execute(_RECORD.format(row=table([asdict(picture)], _COLUMNS)))


def block_reason(
    connection: duckdb.DuckDBPyConnection, *, sha256: str, md5s: Iterable[str], perceptual_hash: str | None
) -> str | None:
    """Read from the database why a picture with these hashes is blocked; ``None`` if it is not.

    Perceptual hashes match within :data:`NEAR_BITS` bits.
    """
    near = "FALSE"
    if perceptual_hash is not None:
        near = _NEAR.format(one=_BITS.format(hash="b.hash"), other=_BITS.format(hash=literal(perceptual_hash)))
    md5 = ", ".join(map(literal, md5s)) or "NULL"
    found = connection.execute(_BLOCKED_BY.format(sha256=literal(sha256), md5=md5, near=near)).fetchone()
    return str(found[0]) if found else None


def hashes_of_thread(connection: duckdb.DuckDBPyConnection, thread_id: int) -> list[tuple[str, HashKind]]:
    """Read from the database all hashes that identify the pictures of a thread."""
    return _hashes(connection, f"t.thread_id = {int(thread_id)}")


def hashes_of_content(connection: duckdb.DuckDBPyConnection, sha256: str) -> list[tuple[str, HashKind]]:
    """Read from the database all other hashes that identify the picture with this content."""
    return _hashes(connection, f"p.sha256 = {literal(sha256)}")


def _hashes(connection: duckdb.DuckDBPyConnection, condition: str) -> list[tuple[str, HashKind]]:
    return connection.execute(
        f"""
        WITH found AS (
            SELECT p.sha256, p.perceptual_hash, t.image_md5
            FROM thread_ops AS t LEFT JOIN thumbnails AS p ON p.thread_id = t.thread_id WHERE {condition}
        )
        SELECT sha256, 'sha256' FROM found WHERE sha256 IS NOT NULL
        UNION SELECT perceptual_hash, 'perceptual' FROM found WHERE perceptual_hash IS NOT NULL
        UNION SELECT image_md5, 'md5' FROM found WHERE image_md5 IS NOT NULL
        ORDER BY ALL
        """
    ).fetchall()


def add_blocks(
    connection: duckdb.DuckDBPyConnection,
    hashes: Iterable[tuple[str, HashKind]],
    reason: str,
    blocked_at: datetime,
) -> int:
    """Store hashes in the pictures' block list; return the number of new ones. Call it inside
    :meth:`Database.write`.
    """
    rows = table([{"hash": hash, "kind": kind} for hash, kind in hashes], {"hash": "VARCHAR", "kind": "VARCHAR"})
    return inserted(
        connection,
        f"""
        INSERT INTO blocked_images BY NAME
        SELECT DISTINCT hash, kind, {literal(reason)} AS reason, {literal(blocked_at)} AS blocked_at FROM {rows}
        WHERE (hash, kind) NOT IN (SELECT (hash, kind) FROM blocked_images)
        """,
    )


def withdraw_blocked(connection: duckdb.DuckDBPyConnection) -> Withdrawal:
    """Mark in the database the stored pictures on the block list as blocked. Call it inside :meth:`Database.write`."""
    return _withdraw(connection, _ON_BLOCK_LIST, "blocked", "'on the block list'")


def pictures_of_threads(connection: duckdb.DuckDBPyConnection, threads: Collection[int]) -> int:
    """Read from the database the number of stored pictures of ``threads``, and of pictures with the same content in
    other threads.
    """
    these = f"list_contains([{', '.join(str(int(thread)) for thread in threads)}]::BIGINT[], thread_id)"
    return _count(
        connection,
        f"FROM thumbnails WHERE status = 'stored' AND ({these} "
        f"OR sha256 IN (SELECT sha256 FROM thumbnails WHERE {these} AND sha256 IS NOT NULL))",
    )


def withdraw_deleted(connection: duckdb.DuckDBPyConnection) -> Withdrawal:
    """Mark in the database the stored pictures deleted at their source as purged. Call it inside
    :meth:`Database.write`.
    """
    reason = f"CASE WHEN t.file_deleted THEN 'the board deleted the file' ELSE {literal(THREAD_DELETED)} END"
    return _withdraw(connection, _DELETED, "purged", reason)


def withdraw_expired(
    connection: duckdb.DuckDBPyConnection, older_than: datetime, labelled: Collection[int] = ()
) -> Withdrawal:
    """Mark in the database the pictures fetched before ``older_than`` as expired, except those of labelled posts.

    ``labelled`` threads are exempt like those in ``training_labels`` and ``auto_labels``. Call it inside
    :meth:`Database.write`.
    """
    return _withdraw(connection, _expired(older_than, labelled), "expired", "NULL")


def expirable_pictures(
    connection: duckdb.DuckDBPyConnection, older_than: datetime, labelled: Collection[int] = ()
) -> tuple[int, int]:
    """Read from the database the number of pictures that :func:`withdraw_expired` would mark, and their bytes."""
    row = connection.execute(
        f"SELECT count(*), coalesce(sum(bytes), 0)::BIGINT FROM thumbnails AS p "
        f"WHERE p.status = 'stored' AND {_expired(older_than, labelled)}"
    ).fetchone()
    assert row  # an aggregate always gives one
    return row[0], row[1]


def _expired(older_than: datetime, labelled: Collection[int]) -> str:
    return _EXPIRED.format(older_than=literal(older_than), labelled=labelled_threads(labelled))


def deleted_pictures(connection: duckdb.DuckDBPyConnection) -> int:
    """Read from the database the number of pictures that :func:`withdraw_deleted` would mark."""
    return _count(
        connection,
        "FROM thumbnails AS p LEFT JOIN thread_ops AS t ON t.thread_id = p.thread_id "
        f"LEFT JOIN thread_fates AS f ON f.thread_id = p.thread_id WHERE p.status = 'stored' AND ({_DELETED})",
    )


def _withdraw(connection: duckdb.DuckDBPyConnection, condition: str, status: str, reason: str) -> Withdrawal:
    connection.execute(_WITHDRAW.format(condition=condition, reason=reason))
    connection.execute(_MARK_WITHDRAWN.format(status=literal(status)))
    if status != "expired":
        connection.execute(FORGET_FEATURES)
    files = connection.execute(_UNREFERENCED).fetchall()
    return Withdrawal(_count(connection, "FROM withdrawn"), tuple(StoredFile(*row) for row in files))


def stored_hashes(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Read the SHA-256 of all stored pictures from the database."""
    return {
        sha256 for (sha256,) in connection.execute("SELECT sha256 FROM thumbnails WHERE status = 'stored'").fetchall()
    }


def mark_lost(connection: duckdb.DuckDBPyConnection, hashes: Iterable[str]) -> None:
    """Mark in the database the pictures whose files were lost as missing. Call it inside :meth:`Database.write`."""
    lost = table([{"sha256": sha256} for sha256 in hashes], {"sha256": "VARCHAR"})
    connection.execute(
        "UPDATE thumbnails SET status = 'missing', reason = 'lost from the store', path = NULL "
        f"WHERE status = 'stored' AND sha256 IN (SELECT sha256 FROM {lost})"
    )


def status_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Read the number of pictures by status from the database."""
    return dict(
        connection.execute("SELECT status, count(*) FROM thumbnails GROUP BY status ORDER BY status").fetchall()
    )


def _count(connection: duckdb.DuckDBPyConnection, rest: str) -> int:
    row = connection.execute(f"SELECT count(*) {rest}").fetchone()
    assert row  # an aggregate always gives one
    return int(row[0])
