"""Versions of the ShareGPT data set: folders identified by the hash of their content, kept until a person deletes them.

``home/datasets/sharegpt-<first 12 digits of the hash>``. The same content is the same version and is not written again.
A version is written under a temporary name and renamed once all of it is on disk; leftovers of a killed run are deleted
by the next one. A version with a picture that was blocked or deleted by the board later is removed completely.
"""

import fcntl
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import TEMPORARY_PREFIX, link, regular_only, sync, write_atomically
from bizcharts_pipeline.labels.near_duplicates import duplicate_groups
from bizcharts_pipeline.settings import LabellingSettings
from bizcharts_pipeline.training import sharegpt
from bizcharts_pipeline.training.datasheet import Facts, balance_table, datasheet
from bizcharts_pipeline.training.examples import Example, Selection, read_labelled, select_examples
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.datasets import (
    SHAREGPT,
    DatasetVersion,
    measured_trust,
    record_dataset,
    record_nothing,
    withdrawn_pictures,
)

FOLDER = "datasets"  # below the home


class DatasetError(BizchartsError):
    """A data set could not be made; no partial one was left."""


@dataclass(frozen=True)
class DatasetReport:
    """Result of a build. ``version`` is ``None`` if there are no examples."""

    version: DatasetVersion | None
    new: bool  # it did not exist before
    left_out: Mapping[str, int]  # labelled posts by reason
    unusable_images: Mapping[int, str]  # by thread: why a trainer would refuse the post's image
    balance: str  # Markdown
    datasheet: str  # Markdown
    removed: tuple[str, ...]  # versions with a withdrawn picture


@dataclass(frozen=True)
class _Content:
    """A data set before it is written: its files, and the sources of its pictures."""

    files: Mapping[str, bytes]
    pictures: Mapping[str, Path]
    hashes: Mapping[str, str]  # of files and pictures

    @property
    def version(self) -> str:
        return sharegpt.digest(json.dumps(self.hashes, sort_keys=True).encode())


def build_dataset(database: Database, home: Path, settings: LabellingSettings, now: datetime) -> DatasetReport:
    """Build the version of the training data set that follows from the current labels, trust in models and pictures.

    Raises:
        LedgerLost: the label ledger lacks labels or gold that the database has.
        DatasetError: a picture was deleted during the run, or the disk is full.
    """
    removed = remove_withdrawn(database, home)
    found = read_labelled(database, home)
    with database.read() as connection:
        trust = measured_trust(connection)
    selection = select_examples(found.candidates, found.gold_posts, found.judged, home, text_only=settings.text_only)
    chosen = [example.post for example in selection.examples]
    groups = duplicate_groups(chosen)
    splits = _split(selection, groups, settings)
    labellers = len({label.labeler_id for label in found.people})
    sheet = datasheet(
        Facts(
            splits,
            selection.left_out,
            len(set(groups.values())),
            labellers,
            len(found.gold),
            trust,
            Counter(reason.partition(": ")[0] for reason in selection.unusable_images.values()),
        )
    )
    if not selection.examples:
        with database.write() as connection:
            record_nothing(connection, now)
        return DatasetReport(
            None, False, selection.left_out, selection.unusable_images, balance_table(splits), sheet, removed
        )
    content = _content(splits)
    with _locked(home) as folder:
        target = folder / f"{SHAREGPT}-{content.version[:12]}"
        if new := not target.exists():
            _write(target, content, sheet)
        version = DatasetVersion(
            content.version,
            SHAREGPT,
            target.relative_to(home).as_posix(),
            len(splits[sharegpt.TRAIN]),
            len(splits[sharegpt.VALIDATION]),
            {split: sharegpt.class_counts(examples) for split, examples in splits.items()},
            now,
        )
        _record(database, target, version, content)
    return DatasetReport(
        version, new, selection.left_out, selection.unusable_images, balance_table(splits), sheet, removed
    )


def remove_withdrawn(database: Database, home: Path) -> tuple[str, ...]:
    """Remove every version of the training data set with a picture that was blocked or purged since; return their
    names.

    Their rows in ``dataset_versions`` stay, because models refer to them.
    """
    if not (home / FOLDER).is_dir():
        return ()
    with database.read() as connection:
        withdrawn = withdrawn_pictures(connection)
    with _locked(home) as folder:
        held = [path for path in sorted(folder.glob(f"{SHAREGPT}-*")) if _holds(path, withdrawn)]
        for path in held:
            _remove(path)
    return tuple(path.name for path in held)


def _holds(version: Path, withdrawn: Collection[str]) -> bool:
    return any(path.stem in withdrawn for path in (version / sharegpt.IMAGES).glob("*"))


def _split(selection: Selection, groups: Mapping[int, int], settings: LabellingSettings) -> dict[str, list[Example]]:
    chosen = sharegpt.validation_threads(selection.examples, groups, settings.validation_share, settings.gold_seed)
    return {
        sharegpt.TRAIN: [example for example in selection.examples if example.post.thread_id not in chosen],
        sharegpt.VALIDATION: [example for example in selection.examples if example.post.thread_id in chosen],
    }


def _content(splits: Mapping[str, list[Example]]) -> _Content:
    # Loaders reject an empty list, so a split without rows has no file.
    files = {f"{split}.json": sharegpt.as_json(list(map(sharegpt.row, rows))) for split, rows in splits.items() if rows}
    abouts = [sharegpt.about_row(example, split) for split, rows in splits.items() for example in rows]
    files[sharegpt.ROWS] = sharegpt.as_json(abouts)
    files[sharegpt.INFO] = (
        json.dumps(sharegpt.dataset_info([split for split in splits if splits[split]]), indent=2) + "\n"
    ).encode()
    pictures, hashes = {}, {name: sharegpt.digest(file) for name, file in files.items()}
    for example in (example for rows in splits.values() for example in rows):
        if example.picture and example.sha256:
            pictures[sharegpt.image_name(example)] = example.picture
            hashes[sharegpt.image_name(example)] = example.sha256
    return _Content(files, pictures, hashes)


def _write(target: Path, content: _Content, sheet: str) -> None:
    unfinished = target.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
    try:
        _fill(unfinished, content, sheet)
        unfinished.rename(target)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, FileNotFoundError):
            raise DatasetError(f"{error.filename}: the picture was deleted during the run; run again") from None
        raise DatasetError(f"{target} cannot be written: {error.strerror or error}; fix that and run again") from None
    sync(target.parent)


def _fill(folder: Path, content: _Content, sheet: str) -> None:
    images = folder / sharegpt.IMAGES
    images.mkdir(parents=True)
    for name, source in content.pictures.items():
        link(source, folder / name)
    files = {**content.files, sharegpt.DATASHEET: sheet.encode()}
    hashes = {**content.hashes, sharegpt.DATASHEET: sharegpt.digest(sheet.encode())}
    files[sharegpt.MANIFEST] = sharegpt.manifest(content.version, hashes)
    for name, file in files.items():
        write_atomically(folder / name, file)
    sync(images)


def _record(database: Database, target: Path, version: DatasetVersion, content: _Content) -> None:
    """Record the version, unless one of its pictures was withdrawn since its selection; withdrawals lock the database
    too.
    """
    with database.write() as connection:
        withdrawn = withdrawn_pictures(connection)
        if clean := not any(content.hashes[name] in withdrawn for name in content.pictures):
            record_dataset(connection, version)
    if not clean:
        _remove(target)
        raise DatasetError(f"{target}: a picture was withdrawn during the run; run again")


@contextmanager
def _locked(home: Path) -> Iterator[Path]:
    """Lock and yield the folder of the data sets, after deleting incomplete versions."""
    folder = home / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    with open(folder / ".lock", "wb", opener=regular_only) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
            shutil.rmtree(path)
        yield folder


def _remove(path: Path) -> None:
    """Remove a folder atomically: rename it first, then delete its files."""
    doomed = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}")
    path.rename(doomed)
    shutil.rmtree(doomed)
