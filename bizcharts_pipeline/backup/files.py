"""Models, data sets and images of a home: selection for a backup, and integrity checks."""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from bizcharts_pipeline.core.counted import counted, some_of
from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import TEMPORARY_PREFIX, open_regular, read_regular
from bizcharts_pipeline.sentiment.artifact import MANIFEST as MODEL_MANIFEST
from bizcharts_pipeline.sentiment.artifact import MODELS, CorruptModel, read_artifact
from bizcharts_pipeline.training import sharegpt
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.datasets import current_dataset
from bizcharts_pipeline.warehouse.errors import DatabaseError
from bizcharts_pipeline.warehouse.models import champion
from bizcharts_pipeline.warehouse.pictures import stored_hashes

DATASETS, IMAGES = "datasets", "images"  # below the home
SHA256_DIGITS = 64  # the name of an image
VERSION_DIGITS = 12  # of a hash, at the end of a name
_VERSION = re.compile(rf"(?!{re.escape(TEMPORARY_PREFIX)}).+-[0-9a-f]{{{VERSION_DIGITS}}}")


def part_files(home: Path, part: str, *, images: bool) -> Iterator[Path]:
    """Return the files of a folder of the home to back up, except unfinished ones; ``images`` includes those of data
    sets."""
    for path in sorted((home / part).rglob("*")):
        folders = path.relative_to(home).parts
        unfinished = any(folder.startswith(TEMPORARY_PREFIX) for folder in folders)
        left_out = part == DATASETS and not images and sharegpt.IMAGES in folders[:-1]
        if path.is_file() and not unfinished and not left_out:
            yield path


def model_problems(home: Path, registered: Mapping[str, str]) -> dict[Path, str]:
    """Return the damaged models of a home to back up or repair: folder and reason.

    ``registered`` has the hash of each model version; that of other versions is checked against the end of their name.
    """
    found = {}
    for folder in sorted((home / MODELS).glob("*")):
        if _VERSION.fullmatch(folder.name):
            try:
                read_artifact(folder, registered.get(folder.name) or _hash_by_name(folder))
            except CorruptModel as error:
                found[folder] = str(error)
    return found


def dataset_problems(home: Path) -> dict[Path, str]:
    """Return the damaged data sets of a home to back up or repair: path and reason. Images may be missing, as backups
    without images lack them."""
    found = {}
    for path in sorted((home / DATASETS).glob("*")):
        if _VERSION.fullmatch(path.stem) and (problem := _dataset_problem(path)):
            found[path] = f"{path}: {problem}"
    return found


def damaged_images(home: Path) -> list[Path]:
    """Return the images of a home to back up or repair that do not match the SHA-256 in their name."""
    found = []
    for path in _images(home):
        with suppress(FileNotFoundError):  # retention has deleted it meanwhile
            if _sha256(path) != path.stem:
                found.append(path)
    return found


def missing_champion(database: Database, home: Path) -> str | None:
    """Return which of champion and current data set has no files in ``home``, for a backup or repair to report;
    ``None`` if both have some, or if the database cannot be read."""
    if not database.exists():
        return None
    with suppress(DatabaseError), database.read() as connection:
        model, dataset = champion(connection), current_dataset(connection)
        needed = {MODELS: model.path if model else None, DATASETS: dataset.path if dataset else None}
        if missing := {part: path for part, path in needed.items() if path and not (home / path).exists()}:
            restored = " and ".join(f"`bizcharts restore FILE --only {part}`" for part in missing)
            others = {MODELS: "promote another model", DATASETS: "make the data set again"}
            return (
                f"{' and '.join(missing.values())} of the database {'have' if len(missing) > 1 else 'has'} no files in "
                f"{home}. {restored} {'restore' if len(missing) > 1 else 'restores'} those of a backup that has some; "
                f"or {', and '.join(others[part] for part in missing)}."
            )
    return None


def missing_images(database: Database, home: Path) -> str | None:
    """Return which images of ``database`` have no file in ``home``, for a backup or repair to report; ``None`` if all
    have one, or if the database cannot be read."""
    if not database.exists():
        return None
    with suppress(DatabaseError), database.read() as connection:  # which keeps writers from removing images meanwhile
        stored = stored_hashes(connection)
        missing = sorted(stored - {path.stem for path in _images(home)})
        if missing:
            return (
                f"{len(missing):,} of {counted(len(stored), 'image')} of the database have no file in {home / IMAGES}: "
                f"{some_of(missing)}. Check that its disk is mounted; `bizcharts restore FILE --only images` restores "
                "those of a backup."
            )
    return None


def missing_dataset_images(home: Path, damaged: Collection[Path] = ()) -> str | None:
    """Return which data sets lack images, for a backup or repair to report; ``None`` if none does. Those in
    ``damaged`` are left out."""
    lacking = []
    for path in sorted((home / DATASETS).glob("*")):
        if path.is_dir() and _VERSION.fullmatch(path.name) and path not in damaged:
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # that is named as damage
                named = [name for name in _hashes(path) if _is_image(name)]
                if missing := sum(not (path / name).exists() for name in named):
                    lacking.append(f"{missing:,} of the {counted(len(named), 'image')} of {path}")
    if not lacking:
        return None
    return (
        f"{'; '.join(lacking)} have no file. `bizcharts restore FILE --only datasets` restores those of a backup made "
        "with --images; or make the data set again."
    )


def _hashes(dataset: Path) -> dict[str, str]:
    return dict(json.loads(read_regular(dataset / sharegpt.MANIFEST))["files"])


def _is_image(name: str) -> bool:
    return name.startswith(f"{sharegpt.IMAGES}/")


def _images(home: Path) -> Iterator[Path]:
    return (path for path in part_files(home, IMAGES, images=True) if len(path.stem) == SHA256_DIGITS)


def _hash_by_name(folder: Path) -> str:
    try:
        digest = _sha256(folder / MODEL_MANIFEST)
    except OSError:
        return ""
    return digest if folder.name.endswith(digest[:VERSION_DIGITS]) else ""


def _dataset_problem(path: Path) -> str | None:
    try:
        if path.is_file():
            return None if path.stem.endswith(_sha256(path)[:VERSION_DIGITS]) else "it is damaged."
        manifest, hashes = read_regular(path / sharegpt.MANIFEST), _hashes(path)
        content = {name: sha256 for name, sha256 in hashes.items() if name != sharegpt.DATASHEET}
        version = sharegpt.digest(json.dumps(content, sort_keys=True).encode())
        if sharegpt.manifest(version, hashes) != manifest or not path.name.endswith(version[:VERSION_DIGITS]):
            return f"{sharegpt.MANIFEST} is damaged."
        for name, sha256 in hashes.items():
            if not (_is_image(name) and _is_absent(path / name)) and _sha256(path / name) != sha256:
                return f"{name} is damaged."
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read ({reason_of(error)})."
    return None


def _is_absent(path: Path) -> bool:
    """Whether nothing is at ``path``, as after a restore without images: no link without a target, no file instead of
    its folder."""
    return not os.path.lexists(path) and (path.parent.is_dir() or not os.path.lexists(path.parent))


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
