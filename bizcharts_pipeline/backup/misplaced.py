"""What stands in the place of a file or folder of a home, and what this user may not read."""

import os
from collections.abc import Collection
from pathlib import Path

from bizcharts_pipeline.backup import drafts
from bizcharts_pipeline.backup.files import DATASETS, IMAGES
from bizcharts_pipeline.core import attempts
from bizcharts_pipeline.core.counted import some_of
from bizcharts_pipeline.core.files import is_special
from bizcharts_pipeline.core.sqlite_seal import FOLDER, KNOWN, SQLITE_FILES, ledger_paths
from bizcharts_pipeline.sentiment.artifact import MODELS
from bizcharts_pipeline.warehouse.installation import BESIDE_DATABASE, MARK
from bizcharts_pipeline.warehouse.swap import journal

_FOLDERS = (FOLDER, KNOWN, MODELS, DATASETS, IMAGES, drafts.FOLDER, attempts.FOLDER, "spool", "http", "runs", "vectors")
_OF_A_LEDGER = (*SQLITE_FILES, ".lock", ".seal")


def misplaced(database: Path, home: Path) -> dict[Path, str]:
    """Return what is in the place of a file or folder of ``home`` to back up or repair, and the problem; the database
    itself is left out."""
    folders = [path for path in [*_folders(home), *_image_folders(home)] if path.exists() and not path.is_dir()]
    files = _files(database, home)
    special = [path for path in files if is_special(path)]
    links = [path for path in (*_folders(home), *files) if path.is_symlink()]
    dangling = [path for path in links if not path.exists()]
    to_others = [
        path for path in links if path.exists() and path.suffix not in (".json", ".sqlite") and not path.is_dir()
    ]
    return (
        {path: f"{path} is not a folder." for path in folders}
        | {path: f"{path} is {'a folder, ' if path.is_dir() else ''}not a regular file." for path in special}
        | {path: f"{path} is a link to {path.readlink()}, which is missing; is its disk mounted?" for path in dangling}
        | {
            path: f"{path} is a link to {path.readlink()}; the file belongs beside the one it is named after."
            for path in to_others
        }
    )


def forbidden(database: Path, home: Path) -> list[Path]:
    """Return the files and folders of ``home`` to back up or repair that this user may not read."""
    folders, files = [*_folders(home), *_image_folders(home)], [database, *_files(database, home)]
    for part in (MODELS, DATASETS, KNOWN):
        for folder, names, others in os.walk(home / part):
            folders += [Path(folder, name) for name in names]
            files += [Path(folder, name) for name in others]
    closed = [path for path in folders if path.is_dir() and not os.access(path, os.R_OK | os.X_OK)]
    return [*closed, *(path for path in files if path.is_file() and not os.access(path, os.R_OK))]


def permission_denied(paths: Collection[Path]) -> str:
    """Return the problem of files to back up or repair that are :func:`forbidden`."""
    whose = "its owner" if len(paths) == 1 else "their owner"
    return f"{some_of(list(map(str, paths)))}: permission denied; check {whose}, and the user that runs this command."


def _folders(home: Path) -> list[Path]:
    return [home / name for name in _FOLDERS]


def _image_folders(home: Path) -> list[Path]:
    return [path for depth in ("??", "??/??") for path in sorted((home / IMAGES).glob(depth))]


def _files(database: Path, home: Path) -> list[Path]:
    ledgers = [Path(f"{ledger}{suffix}") for ledger in ledger_paths(home) for suffix in _OF_A_LEDGER]
    ledgers += [home / KNOWN / ledger.name for ledger in ledger_paths(home)]
    return [home / MARK, journal(database), *(Path(f"{database}{suffix}") for suffix in BESIDE_DATABASE), *ledgers]
