"""A home with something of everything that a backup holds, and what is compared of two homes."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bizcharts_pipeline.core.sqlite import connect
from bizcharts_pipeline.http.request_budget import Allowance, RequestLedger
from bizcharts_pipeline.labels.ledger import LEDGER, Label, LabelLedger
from bizcharts_pipeline.pods.identity import installation_id
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.sentiment.artifact import Artifact, new_model, publish
from bizcharts_pipeline.training import sharegpt
from bizcharts_pipeline.warehouse import checkpoints
from bizcharts_pipeline.warehouse.contents import read_contents
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

NOW = datetime(2026, 3, 1, 12)
# Text without a pattern, so that it fills blocks.
POSTS = """
INSERT INTO thread_ops (thread_id, posted_at, source, ingested_at, text_known_at, op_text_clean)
SELECT {first} + i, TIMESTAMP '2026-03-01' + to_minutes(i), 'live', TIMESTAMP '2026-03-01', TIMESTAMP '2026-03-01',
       md5({seed}::VARCHAR || i) || md5(i::VARCHAR || {seed})
FROM range({count}) AS r(i)
"""


@dataclass(frozen=True)
class World:
    """A home, and its database."""

    home: Path

    @property
    def database(self) -> DatabaseFile:
        return DatabaseFile(self.home / "bizcharts.duckdb", wait_seconds=20)

    @property
    def labels(self) -> LabelLedger:
        return LabelLedger(self.home / LEDGER)

    def add_posts(self, first: int, count: int, seed: int) -> None:
        with self.database.write() as connection:
            connection.execute(POSTS.format(first=first, count=count, seed=seed))

    def add_label(self, thread_id: int, notes: str = "") -> None:
        labeled_at = NOW + timedelta(seconds=thread_id)
        self.labels.append([Label(thread_id, 1 + thread_id % 3, "ann", labeled_at, notes=notes)])

    def copy(self, home: Path) -> "World":
        shutil.copytree(self.home, home)
        return World(home)

    def contents(self) -> dict[str, object]:
        """What the tables of database and ledgers hold, and the files of models and data sets."""
        with self.database.read() as connection:
            found: dict[str, object] = dict(read_contents(connection))
        for path in sorted((self.home / "ledgers").glob("*.sqlite")):
            found[path.name] = ledger_rows(path)
        for part in ("models", "datasets"):
            for path in sorted((self.home / part).rglob("*")):
                if path.is_file():
                    found[path.relative_to(self.home).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


def make_world(home: Path, seed: int = 1) -> World:
    """Make a home whose content depends on ``seed``."""
    world = World(home)
    home.mkdir()
    for number in range(3):
        world.add_posts(number * 10_000, 8_000, seed)
    for thread_id in range(40):
        world.add_label(thread_id, notes=hashlib.sha256(f"{seed}{thread_id}".encode()).hexdigest() * 8)
    for second in range(30):
        at = NOW + timedelta(seconds=second)
        RequestLedger(home / "ledgers" / "requests.sqlite").book(f"source {seed}", Allowance(1000, 1000), at)
    PodLedger(home / "ledgers" / "pods.sqlite").begin("0123456789ab", f"job {seed}", "local", "run", NOW)
    installation_id(home / "ledgers")
    for number in range(2):
        with new_model(home) as folder:
            (folder / "weights.json").write_text(hashlib.sha256(f"{seed}{number}".encode()).hexdigest() * 400)
            _register(world, _publish(folder, home, seed))
    text = hashlib.sha256(f"{seed}".encode()).hexdigest().encode() * 100
    datasets = home / "datasets"
    datasets.mkdir()
    (datasets / f"text-{hashlib.sha256(text).hexdigest()[:12]}.json").write_bytes(text)
    _write_sharegpt(datasets, text)
    return world


def leave_log(world: World, transactions: int = 4, seed: int = 1) -> None:
    """Write ``transactions`` into the database's log, as a process leaves it that is killed before its checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "checkpoint", lambda connection, path: connection.close())
        for number in range(transactions):
            world.add_posts(100_000 + number * 100, 100, seed)


def leave_ledger_log(path: Path, commits: int = 6) -> None:
    """Write ``commits`` into a ledger's log, as a process leaves it that is killed."""
    state = path.parent.parent / "killed"
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE IF NOT EXISTS more (text TEXT)")
        for number in range(commits):
            connection.execute("INSERT INTO more VALUES (?)", (hashlib.sha256(f"{number}".encode()).hexdigest() * 50,))
        shutil.copytree(path.parent, state)
    shutil.rmtree(path.parent)
    state.rename(path.parent)
    Path(f"{path}-shm").unlink()


def ledger_rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


def tree(folder: Path) -> dict[str, str]:
    """The files of a folder, with their hashes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _publish(folder: Path, home: Path, seed: int) -> Artifact:
    return publish(
        folder,
        home,
        kind="tfidf",
        base_model=None,
        base_revision=None,
        dataset_version="text",
        code_version="1",
        seed=seed,
        settings={},
    )


def _register(world: World, artifact: Artifact) -> None:
    with world.database.write() as connection:
        connection.execute(
            "INSERT INTO model_versions (model_version, kind, trained_at, status, path, sha256) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            [
                artifact.model_version,
                artifact.kind,
                NOW,
                "candidate",
                f"models/{artifact.model_version}",
                artifact.sha256,
            ],
        )


def _write_sharegpt(datasets: Path, content: bytes) -> None:
    files = {"train.json": content, sharegpt.ROWS: content + b"rows"}
    hashes = {name: sharegpt.digest(file) for name, file in files.items()}
    picture = b"a picture"
    hashes[f"images/{sharegpt.digest(picture)}.jpg"] = sharegpt.digest(picture)
    version = sharegpt.digest(json.dumps(hashes, sort_keys=True).encode())
    folder = datasets / f"sharegpt-{version[:12]}"
    (folder / "images").mkdir(parents=True)
    for name, file in {**files, f"images/{sharegpt.digest(picture)}.jpg": picture}.items():
        (folder / name).write_bytes(file)
    (folder / sharegpt.MANIFEST).write_bytes(sharegpt.manifest(version, hashes))
