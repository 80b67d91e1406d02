"""Taking pictures away: by hash, by age, and what no row knows of."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

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

_HASHES: dict[HashKind, re.Pattern[str]] = {
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "md5": re.compile(r"[A-Za-z0-9+/]{22}=="),
    "perceptual": re.compile(r"[0-9a-f]{16}"),
}


@dataclass(frozen=True)
class BlockReport:
    """How many hashes are new on the block list, and how many stored pictures went."""

    new_hashes: int
    pictures: int


@dataclass(frozen=True)
class ExpiryReport:
    """How many pictures expired, and the bytes of the files that went with them."""

    pictures: int
    bytes: int


@dataclass(frozen=True)
class TidyReport:
    """Files that no picture refers to, their bytes, and pictures whose file is gone."""

    orphans: int
    bytes: int
    lost: int


def block(database: Database, home: Path, what: int | str, reason: str, now: datetime) -> BlockReport:
    """Put a picture on the block list and delete it; its hashes alone are kept, so that it is known when it returns.

    ``what`` is a thread's number (all of its pictures) or a hash: SHA-256 or perceptual in hexadecimal digits, MD5 in
    base64. Everything stored that matches any of the hashes goes, in whatever thread.

    Raises:
        NothingToBlock: no such hash or thread, or no hash of the thread's picture is known.
    """
    with database.write() as connection:
        if isinstance(what, int):
            hashes = hashes_of_thread(connection, what)
            if not hashes:
                raise NothingToBlock(f"Thread {what}: no picture of it is known here; give its hash instead")
        else:
            kind = _kind_of(what)
            others = hashes_of_content(connection, what) if kind == "sha256" else []
            hashes = [(what, kind), *others]
        added = add_blocks(connection, hashes, reason, now)
        withdrawal = withdraw_blocked(connection)
        remove_files(PictureStore(home), withdrawal)
    return BlockReport(added, withdrawal.pictures)


def expire_pictures(database: Database, home: Path, older_than: datetime, *, dry_run: bool = False) -> ExpiryReport:
    """Remove the pictures that were fetched before ``older_than``; those of labelled posts stay.

    A dry run says how many pictures it would take, and counts no bytes.
    """
    with database.read() as connection:
        expirable = expirable_pictures(connection, older_than)
    if dry_run or not expirable:
        return ExpiryReport(expirable, 0)
    with database.write() as connection:
        withdrawal = withdraw_expired(connection, older_than)
        freed = remove_files(PictureStore(home), withdrawal)
    return ExpiryReport(withdrawal.pictures, freed)


def tidy_store(database: Database, home: Path, *, dry_run: bool = False) -> TidyReport:
    """Remove files that no stored picture refers to, as killed runs leave them, and mark pictures without a file."""
    store = PictureStore(home)
    files = list(store.files())
    with database.read() as connection:
        referred = stored_hashes(connection)
    suspects = [(sha256, path) for sha256, path in files if sha256 not in referred]
    lost = referred - {sha256 for sha256, _ in files}
    if dry_run or not (suspects or lost):
        return TidyReport(len(suspects), sum(path.stat().st_size for _, path in suspects), len(lost))
    with database.write() as connection:
        referred = stored_hashes(connection)  # a run may have stored some meanwhile
        present = {sha256 for sha256, _ in store.files()}
        orphans = [path for sha256, path in suspects if sha256 not in referred and path.exists()]
        size = sum(path.stat().st_size for path in orphans)
        for path in orphans:
            path.unlink()
        lost = referred - {sha256 for sha256 in present if sha256}
        mark_lost(connection, lost)
    return TidyReport(len(orphans), size, len(lost))


def remove_files(store: PictureStore, withdrawal: Withdrawal) -> int:
    """Remove the files that nothing refers to any more; return their bytes. Inside the same write as the withdrawal."""
    return sum(store.remove(file.sha256, cast(MediaType, file.media_type)) for file in withdrawal.files)


def _kind_of(text: str) -> HashKind:
    for kind, pattern in _HASHES.items():
        if pattern.fullmatch(text):
            return kind
    raise NothingToBlock(
        f"{text!r:.80} is no hash: give a SHA-256 (64 hexadecimal digits), an MD5 (base64, 24 characters), "
        "a perceptual hash (16 hexadecimal digits) or a thread's number"
    )
