"""Restores a backup: unpacks and verifies everything first, then replaces atomically; replaced files are kept."""

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from bizcharts_pipeline.backup import archive
from bizcharts_pipeline.backup.archive import DATABASE, Member
from bizcharts_pipeline.backup.drafts import Draft, clean_up, new_draft, no_empty_home, space_in
from bizcharts_pipeline.backup.errors import BackupDamaged, RestoreInterrupted, RestoreRefused
from bizcharts_pipeline.backup.ledgers import find_problem
from bizcharts_pipeline.backup.misplaced import misplaced
from bizcharts_pipeline.core.duckdb_file import is_duckdb
from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import owner_only, sync
from bizcharts_pipeline.core.run_locks import active
from bizcharts_pipeline.core.sqlite_seal import FOLDER, KNOWN, exclusive_lock, ledger_paths, mark_known, write_seal
from bizcharts_pipeline.warehouse import closed
from bizcharts_pipeline.warehouse.copies import copy_file, verify
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.log import wal
from bizcharts_pipeline.warehouse.swap import Move, journal, swap

_FAILED = "Nothing was restored"


@dataclass(frozen=True)
class Restored:
    """Result of a restore: the restored parts, and the paths of the replaced files.

    ``created_at`` is when the backup was made (UTC); ``None`` for a copy of the database alone.
    """

    file: Path
    parts: tuple[str, ...]
    created_at: str | None
    kept: tuple[Path, ...]

    def __str__(self) -> str:
        kept = f" The replaced files are kept: {', '.join(map(str, self.kept))}." if self.kept else ""
        return f"Restored {', '.join(self.parts)} from {self.file}.{kept}"


def restore(database: DatabaseFile, home: Path, file: Path, now: datetime, only: Collection[str] = ()) -> Restored:
    """Replace ``home`` and ``database`` by the content of the backup ``file``.

    Everything is read, verified and written next to its target first. After a kill, the old or the new state is in
    place: once the renames have begun, the next command that opens the database finishes them. Files that are not part
    of the backup (images, unless included; spooled polls) stay.

    Args:
        file: a backup, or a copy of the database alone.
        now: naive UTC; part of the names of kept files.
        only: the parts to restore, of :data:`archive.PARTS`; if empty, all.

    Raises:
        BackupDamaged, NewerBackup: the backup is incomplete, damaged, or of a newer version; nothing was replaced.
        RestoreRefused: it is the database itself, lacks a requested part, a run is in progress, or a ledger is in use.
        NoSpace: the disk of ``home`` or of the database is full; nothing was replaced.
        DatabaseError: its database is damaged or not of BizCharts; nothing was replaced.
        RestoreInterrupted: a file could not be renamed; the next command continues.
    """
    if not file.is_file():
        raise RestoreRefused(f"{file}: there is no such file.")
    if file.resolve() == database.path.resolve():
        raise RestoreRefused(f"{file} is the database itself; name a backup of it.")
    _refuse_runs(database)
    with no_empty_home(home), space_in(_FAILED, home):
        return _restore(database, home, file, now, only)


def _restore(database: DatabaseFile, home: Path, file: Path, now: datetime, only: Collection[str]) -> Restored:
    database.path.parent.mkdir(parents=True, exist_ok=True)
    if wrong := misplaced(database.path, home):
        raise RestoreRefused(
            f"{' '.join(wrong.values())} `bizcharts repair --set-aside` moves it away; then restore again."
        )
    clean_up(database, home)
    # Once the renames have begun, the next command needs the draft to finish them.
    with new_draft(home, journal(database.path).exists) as draft:
        new_database = draft.elsewhere(
            database.path.absolute().with_name(f"{database.path.name}.{draft.name}.restoring")
        )
        draft.elsewhere(wal(new_database))
        created_at, parts = _unpack(file, home, draft, new_database, only)
        if missing := sorted(set(only) - set(parts)):
            raise RestoreRefused(f"{file} holds no {', '.join(missing)}; it holds {', '.join(parts) or 'nothing'}.")
        held = [part for part in parts if not only or part in only]
        if new_database.exists():
            verify(new_database, named=file)
        _check_ledgers(draft.folder, file)
        moves = list(_moves(database.path, home, draft, new_database, held, f"{now:%Y%m%dT%H%M%S%f}"))
        for move in moves:
            if move.draft:
                _sync_all(move.draft)
        kept = tuple(move.kept for move in moves if move.draft and os.path.lexists(move.target))
        with ExitStack() as locks:
            if FOLDER in held:
                for path in ledger_paths(home):
                    if not locks.enter_context(exclusive_lock(path)):
                        raise RestoreRefused(
                            f"{path} is in use; stop the service and the labeller, and restore again. "
                            "Nothing was replaced."
                        )
            locks.enter_context(database.replacing())
            _refuse_runs(database)  # that began meanwhile; one that begins now waits for the locks
            try:
                swap(database.path, moves)
            except OSError as error:
                if not journal(database.path).exists():
                    raise
                raise RestoreInterrupted(
                    f"The restore was interrupted: {reason_of(error)}. The next command that opens the database "
                    "completes it."
                ) from None
    return Restored(file, tuple(held), created_at, kept)


def _refuse_runs(database: DatabaseFile) -> None:
    if runs := active(database.runs):
        raise RestoreRefused(
            f"Runs are in progress ({', '.join(runs)}); wait until they have ended, or stop them. Nothing was replaced."
        )


def _unpack(
    file: Path, home: Path, draft: Draft, new_database: Path, only: Collection[str]
) -> tuple[str | None, list[str]]:
    """Unpack the parts ``only`` into the draft, verifying the complete backup; return when it was made, and all its
    parts."""
    if not archive.is_archive(file):
        if is_duckdb(file):
            with space_in(_FAILED, new_database.parent, file.stat().st_size):
                copy_file(file, new_database)
            return None, ["database"]
        raise BackupDamaged(file, "it does not begin with the backup header")

    def take(name: str, content: BinaryIO, size: int) -> Member:
        member = Member(name, size, "")
        if only and member.part not in only:
            return archive.copy_member(name, content, size, None)
        target = new_database if name == DATABASE else draft.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = new_database.parent if name == DATABASE else home
        with space_in(_FAILED, folder, file.stat().st_size), open(target, "xb", opener=owner_only) as out:
            return archive.copy_member(name, content, size, out)

    manifest = archive.read(file, take)
    parts = {member.part for member in manifest.members}
    return str(manifest.facts.get("created_at")), [part for part in archive.PARTS if part in parts]


def _check_ledgers(folder: Path, file: Path) -> None:
    (folder / KNOWN).mkdir(mode=0o700)
    for path in ledger_paths(folder):
        if problem := find_problem(path):
            raise BackupDamaged(file, f"{FOLDER}/{path.name} in it is damaged ({problem})")
        write_seal(path)
        mark_known(path)


def _moves(
    database: Path, home: Path, draft: Draft, new_database: Path, held: Collection[str], now: str
) -> Iterator[Move]:
    kept_folder = home.absolute() / f"before-restore-{now}"
    for part in held:
        if part == "database":
            kept = database.absolute().with_name(f"{database.name}.before-restore-{now}")
            yield Move(None, wal(database.absolute()), wal(kept))
            yield Move(None, closed.seal_path(database.absolute()), closed.seal_path(kept))
            yield Move(None, closed.note_path(database.absolute()), closed.note_path(kept))
            yield Move(new_database, database.absolute(), kept)
        else:
            yield Move(draft.folder.absolute() / part, home.absolute() / part, kept_folder / part)
            if part == FOLDER:
                yield Move(draft.folder.absolute() / KNOWN, home.absolute() / KNOWN, kept_folder / KNOWN)


def _sync_all(path: Path) -> None:
    for inner in path.rglob("*") if path.is_dir() else ():
        sync(inner)
    sync(path)
