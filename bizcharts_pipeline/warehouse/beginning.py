"""Making the first database of an installation, or a new one where the old one is lost."""

import os
from contextlib import suppress
from pathlib import Path

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.checkpoints import saved_blocks
from bizcharts_pipeline.warehouse.closed import note_path, seal_path
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import DatabaseCorrupt, DatabaseUnavailable
from bizcharts_pipeline.warehouse.installation import Installation, is_missing
from bizcharts_pipeline.warehouse.log import wal


def make_database(settings: Settings, *, anew: bool) -> tuple[Path, ...]:
    """Make an empty database; return the files of a lost one, which are kept as ``<name>.before-init-<time>``.

    Raises:
        DatabaseLost: the installation has had a database, and this is not meant ``anew``.
        DatabaseCorrupt: the file is damaged, and this is not meant ``anew``.
        DatabaseUnavailable: there is a database already, which can be opened.
    """
    path, installation = settings.database_path, Installation.of(settings)
    if not is_missing(path):
        try:
            with Database.existing(settings).write():
                pass
        except DatabaseCorrupt:
            if not anew:
                raise
        else:
            raise DatabaseUnavailable(f"{path}: there is a database already; nothing was done.")
    if not anew:
        Database.from_settings(settings).migrate()
        return ()
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = []
    with Database(path, settings.database_wait_seconds).alone():
        for old in (path, wal(path), saved_blocks(path), seal_path(path), note_path(path)):
            with suppress(FileNotFoundError):
                aside = Path(f"{path}.before-init-{utc_now():%Y%m%dT%H%M%S%f}{old.name.removeprefix(path.name)}")
                os.replace(old, aside)
                kept.append(aside)
        installation.forget()
    Database.from_settings(settings).migrate()
    return tuple(kept)
