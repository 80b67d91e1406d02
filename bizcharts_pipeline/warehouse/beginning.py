"""Creation of an installation's first database, or of a new one after a loss."""

import os
from contextlib import suppress
from pathlib import Path

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.checkpoints import saved_blocks
from bizcharts_pipeline.warehouse.closed import note_path, seal_path
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.errors import DatabaseCorrupt, DatabaseUnavailable
from bizcharts_pipeline.warehouse.installation import Installation
from bizcharts_pipeline.warehouse.log import wal


def make_database(settings: Settings, *, replace: bool) -> tuple[Path, ...]:
    """Create the installation's empty database; return the files of a lost one, kept as ``<name>.before-init-<time>``.

    Raises:
        DatabaseLost: the installation has had a database, and ``replace`` is not set.
        DatabaseCorrupt: the file is damaged, and ``replace`` is not set.
        DatabaseUnavailable: a usable database already exists.
        NotAFile: ``replace`` is set, and the database is no file.
    """
    database = Database.configured(settings)
    file = database.file() if replace else None
    if database.exists():
        try:
            Database.existing(settings).migrate()
        except DatabaseCorrupt:
            if not replace:
                raise
        else:
            raise DatabaseUnavailable(f"{database.name}: the database already exists; nothing was done.")
    kept = _set_aside(file, Installation.of(settings)) if file else ()
    Database.from_settings(settings).migrate()
    return kept


def _set_aside(file: DatabaseFile, installation: Installation) -> tuple[Path, ...]:
    path, kept = file.path, []
    path.parent.mkdir(parents=True, exist_ok=True)
    with file.exclusive():
        for old in (path, wal(path), saved_blocks(path), seal_path(path), note_path(path)):
            with suppress(FileNotFoundError):
                backup = Path(f"{path}.before-init-{utc_now():%Y%m%dT%H%M%S%f}{old.name.removeprefix(path.name)}")
                os.replace(old, backup)
                kept.append(backup)
        installation.forget()
    return tuple(kept)
