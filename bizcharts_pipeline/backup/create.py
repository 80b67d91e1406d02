"""Creates a backup: one file with database, ledgers, models and data sets, refused where `repair` finds damage.

The database is copied before the ledgers, so that a restored database has no label that its ledger lacks.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import duckdb

from bizcharts_pipeline.backup import archive
from bizcharts_pipeline.backup.drafts import Draft, new_draft, space_in
from bizcharts_pipeline.backup.errors import BackupFailed, SourceDamaged
from bizcharts_pipeline.backup.files import (
    DATASETS,
    IMAGES,
    missing_champion,
    missing_dataset_images,
    missing_images,
    part_files,
)
from bizcharts_pipeline.backup.ledgers import copy_ledger
from bizcharts_pipeline.backup.misplaced import misplaced
from bizcharts_pipeline.backup.repair import Damage, find_damage
from bizcharts_pipeline.core.files import owner_only, sync
from bizcharts_pipeline.core.sqlite_seal import FOLDER, ledger_paths
from bizcharts_pipeline.sentiment.artifact import MODELS
from bizcharts_pipeline.warehouse.copies import copy_database
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.errors import BackupError
from bizcharts_pipeline.warehouse.log import wal

_FAILED = "No backup was made"


@dataclass(frozen=True)
class Made:
    """A created backup: file, size in bytes, number of files by part, and what of it the home lacks."""

    file: Path
    bytes: int
    parts: Mapping[str, int]
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = ", ".join(f"{part} ({count:,} files)" if count > 1 else part for part, count in self.parts.items())
        return f"Backed up to {self.file}, {self.bytes / 1e6:,.1f} MB: {parts}."


def create(database: DatabaseFile, home: Path, file: Path, now: datetime, *, images: bool = False) -> Made:
    """Write a backup of ``home`` and ``database`` to the new file ``file``; both may be in use meanwhile.

    Args:
        now: naive UTC; stored in the backup.
        images: include the images.

    Raises:
        SourceDamaged: a part of it is damaged; names it, and the intact parts.
        BackupFailed: ``file`` exists or its folder does not, or something changed meanwhile; no file is left.
        NoSpace: the disk of ``home``, which needs room for a copy of database and ledgers, or that of ``file`` is full.
        DatabaseError: the database cannot be used.
    """
    if os.path.lexists(file):
        raise BackupFailed(f"{file} already exists; name a new file.")
    if not file.absolute().parent.is_dir():
        raise BackupFailed(f"{file}: the folder {file.parent} does not exist; create it first.")
    if wrong := misplaced(database.path, home):
        raise SourceDamaged(list(wrong.values()), [])
    with space_in(_FAILED, home), new_draft(home) as draft:
        sources = _Sources(draft, home, images)
        damages = find_damage(database, home, sources.add_database, images=images)
        if damages:
            raise SourceDamaged([damage.problem for damage in damages], sources.intact(damages))
        missing = [missing_champion(database, home)]
        if images:
            missing += [missing_images(database, home), missing_dataset_images(home)]
        sources.add_ledgers()
        sources.add_files()
        if not sources.files:
            raise BackupFailed(f"{home} holds nothing to back up; no backup was made.")
        facts = {"created_at": now.isoformat(), "bizcharts": version("bizcharts"), "duckdb": duckdb.__version__}
        written = draft.elsewhere(file.absolute().with_name(f".{file.name}.{draft.name}"))
        needed = sum(map(_size, sources.files.values()))
        with space_in(_FAILED, file.absolute().parent, needed), open(written, "xb", opener=owner_only) as out:
            writer = archive.Writer(out)
            for name, path in sources.files.items():
                try:
                    writer.add(name, path)
                except FileNotFoundError:
                    if path.is_relative_to(draft.folder):
                        raise
                    # A model, data set or image that retention deleted meanwhile.
            manifest = writer.finish({**facts, "rows": sources.rows})
            out.flush()
            os.fsync(out.fileno())
        if archive.read(written) != manifest:
            raise BackupFailed(f"{file} differs from what was written; check the disk. No backup was made.")
        with space_in(_FAILED, file.absolute().parent):
            _put(written, file)
    counts = {part: sum(member.part == part for member in manifest.members) for part in archive.PARTS}
    return Made(
        file,
        file.stat().st_size,
        {part: count for part, count in counts.items() if count},
        tuple(filter(None, missing)),
    )


class _Sources:
    """Contents of one backup: files by name, and rows by table."""

    def __init__(self, draft: Draft, home: Path, images: bool) -> None:
        self._draft, self._home, self._images = draft.folder, home, images
        self.files: dict[str, Path] = {}
        self.rows: dict[str, Mapping[str, int]] = {}

    def add_database(self, database: DatabaseFile) -> None:
        """Copy the database.

        Raises:
            DatabaseCorrupt, DatabaseChanged: it is damaged.
            BackupFailed: the copy does not agree with it.
            NoSpace: the disk of the home is full.
        """
        copy = self._draft / archive.DATABASE
        try:
            with space_in(_FAILED, self._home, _size(database.path) + _size(wal(database.path))):
                tables = copy_database(database, copy)
        except BackupError as error:
            raise BackupFailed(str(error)) from None
        self._add(archive.DATABASE, copy, {name: table.rows for name, table in tables.items()})

    def intact(self, damages: Sequence[Damage]) -> list[str]:
        """Return the parts without damage: the database, if it was copied, and ledgers."""
        damaged = [damage.path.name for damage in damages]
        ledgers = [path.name for path in ledger_paths(self._home)]
        sound = [name for name in ledgers if not any(each.startswith(name) for each in damaged)]
        return [*self.files, *(f"{FOLDER}/{name}" for name in sound)]

    def add_ledgers(self) -> None:
        (self._draft / FOLDER).mkdir()
        for path in ledger_paths(self._home):
            name = f"{FOLDER}/{path.name}"
            self._add(name, self._draft / name, copy_ledger(path, self._draft / name))
        for path in [self._home / FOLDER / "installation", *sorted((self._home / FOLDER / "rejected").glob("*"))]:
            if path.is_file():
                self.files[path.relative_to(self._home).as_posix()] = path

    def add_files(self) -> None:
        for part in (MODELS, DATASETS, *([IMAGES] if self._images else [])):
            for path in part_files(self._home, part, images=self._images):
                self.files[path.relative_to(self._home).as_posix()] = path

    def _add(self, name: str, path: Path, rows: Mapping[str, int]) -> None:
        self.files[name], self.rows[name] = path, rows


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _put(written: Path, file: Path) -> None:
    """Rename the finished archive to ``file``, without replacing a file created meanwhile."""
    try:
        os.link(written, file)
    except FileExistsError:
        raise BackupFailed(f"{file} already exists; name a new file.") from None
    except OSError:  # a file system without hard links
        os.rename(written, file)
    with suppress(FileNotFoundError):
        written.unlink()
    sync(file.absolute().parent)
