"""Removal of pictures: by hash, by age, and of files without a row."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.images.errors import NothingToBlock
from bizcharts_pipeline.images.store import PictureStore
from bizcharts_pipeline.images.structure import MediaType
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.pictures import (
    HashKind,
    Withdrawal,
    add_blocks,
    expirable_pictures,
    hashes_of_content,
    hashes_of_thread,
    mark_lost,
    stored_hashes,
    withdraw_blocked,
    withdraw_expired,
)

# After a restore of an older database, newer files have no row either.
ORPHAN_KEPT = timedelta(days=7)

_HASHES: dict[HashKind, re.Pattern[str]] = {
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "md5": re.compile(r"[A-Za-z0-9+/]{22}=="),
    "perceptual": re.compile(r"[0-9a-f]{16}"),
}


@dataclass(frozen=True)
class BlockReport:
    """Counts of new hashes on the block list, and of removed pictures."""

    new_hashes: int
    pictures: int


@dataclass(frozen=True)
class ExpiryReport:
    """Number of expired pictures, and the bytes of the removed files."""

    pictures: int
    bytes: int


@dataclass(frozen=True)
class TidyReport:
    """Files without a row and their bytes, and the number of contents without a file."""

    orphans: int
    bytes: int
    lost: int
    problem: str | None = None  # why nothing was marked as lost


def block(database: Database, home: Path, what: int | str, reason: str, now: datetime) -> BlockReport:
    """Put a picture on the block list and delete it; only its hashes are kept, to recognise it later.

    ``what`` is a thread's number (all of its pictures) or a hash: SHA-256 or perceptual in hexadecimal digits, MD5 in
    base64. Every stored picture that matches any of the hashes is removed, in any thread.

    Raises:
        NothingToBlock: unknown thread, invalid hash, or no known hash of the thread's picture.
    """
    kind = None if isinstance(what, int) else _kind_of(what)
    with database.write() as connection:
        if isinstance(what, int):
            hashes = hashes_of_thread(connection, what)
            if not hashes:
                raise NothingToBlock(f"Thread {what}: no known picture; give its hash instead")
        else:
            assert kind
            others = hashes_of_content(connection, what) if kind == "sha256" else []
            hashes = [(what, kind), *others]
        added = add_blocks(connection, hashes, reason, now)
        withdrawal = withdraw_blocked(connection)
        remove_files(PictureStore(home), withdrawal)
    return BlockReport(added, withdrawal.pictures)


def expire_pictures(
    database: Database, home: Path, older_than: datetime, *, labelled: Collection[int] = (), dry_run: bool = False
) -> ExpiryReport:
    """Remove the pictures that were fetched before ``older_than``, except those of labelled posts.

    ``labelled`` are threads to keep in addition to those in ``training_labels`` and ``auto_labels``. A dry run returns
    the number of pictures and their total bytes, with shared files counted for each.
    """
    with database.read() as connection:
        expirable, size = expirable_pictures(connection, older_than, labelled)
    if dry_run or not expirable:
        return ExpiryReport(expirable, size)
    with database.write() as connection:
        withdrawal = withdraw_expired(connection, older_than, labelled)
        freed = remove_files(PictureStore(home), withdrawal)
    return ExpiryReport(withdrawal.pictures, freed)


def tidy_store(database: Database, home: Path, now: datetime, *, dry_run: bool = False) -> TidyReport:
    """Remove pictures' files without a row, left by killed runs, and mark pictures without a file.

    Files of the last :data:`ORPHAN_KEPT` are kept. If most pictures' files are missing, the cause is probably an
    unmounted disk: then nothing is marked, and ``problem`` describes it. Nothing is marked either if several machines
    use the database, as another one may have the file.
    """
    store = PictureStore(home)
    with database.read() as connection:
        found = _loose_ends(store, stored_hashes(connection), now, marks=not database.many_homes)
    if dry_run or not (found.orphans or found.lost):
        return found.report()
    with database.write() as connection:
        # A run may have stored some meanwhile.
        found = _loose_ends(store, stored_hashes(connection), now, marks=not database.many_homes)
        for path in found.orphans:
            path.unlink(missing_ok=True)
        mark_lost(connection, found.lost)
    return found.report()


@dataclass(frozen=True)
class _LooseEnds:
    orphans: dict[Path, int]  # and their bytes
    lost: set[str]
    problem: str | None

    def report(self) -> TidyReport:
        return TidyReport(len(self.orphans), sum(self.orphans.values()), len(self.lost), self.problem)


def _loose_ends(store: PictureStore, referred: set[str], now: datetime, *, marks: bool) -> _LooseEnds:
    files = list(store.files())
    orphans = _old_files((path for sha256, path in files if sha256 not in referred), to_epoch(now - ORPHAN_KEPT))
    lost = referred - {sha256 for sha256, _ in files if sha256} if marks else set()
    if 2 * len(lost) <= len(referred):
        return _LooseEnds(orphans, lost, None)
    problem = (
        f"{store.folder}: {len(lost):,} of {len(referred):,} pictures are missing, so none is marked as lost; "
        "check whether its disk is mounted"
    )
    return _LooseEnds(orphans, set(), problem)


def _old_files(paths: Iterable[Path], before: float) -> dict[Path, int]:
    found = {}
    for path in paths:
        try:
            facts = path.stat()
        except FileNotFoundError:  # a partial file that has been completed and renamed
            continue
        if facts.st_mtime < before:
            found[path] = facts.st_size
    return found


def remove_files(store: PictureStore, withdrawal: Withdrawal) -> int:
    """Remove the files of withdrawn pictures that are no longer referenced; return their bytes. Call it in the
    withdrawal's write transaction.
    """
    return sum(store.remove(file.sha256, cast(MediaType, file.media_type)) for file in withdrawal.files)


def _kind_of(text: str) -> HashKind:
    for kind, pattern in _HASHES.items():
        if pattern.fullmatch(text):
            return kind
    raise NothingToBlock(
        f"{text!r:.80} is not a hash: give a SHA-256 (64 hexadecimal digits), an MD5 (base64, 24 characters), "
        "a perceptual hash (16 hexadecimal digits) or a thread's number"
    )
