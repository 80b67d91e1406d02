"""A database is moved from the file to a lake, and back."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lake_worker import KINDS
from postgres import Postgres

from bizcharts_pipeline.warehouse import errors, moving
from bizcharts_pipeline.warehouse.contents import Contents, read_contents
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.lake import Lake
from bizcharts_pipeline.warehouse.moving import Copied, copy_tables

MOVE = """
import sys
from pathlib import Path
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.moving import copy_tables
source, target, home, other, folder = sys.argv[1:]
Path(folder).mkdir(exist_ok=True)
print("moving", flush=True)
with Database.named(source, Path(home), 30).held(Path(folder), ()) as held:
    copy_tables(held.connection, Database.named(target, Path(other), 30), Path(folder))
"""
# What Parquet, JSON and a lake could lose: times to the microsecond, money, numbers that are none, bytes, nothing.
ODD = (
    "INSERT INTO coin_prices VALUES ('BTC', '2026-01-01 00:00:00.000001', 98765432109876543210.123456789012, 'test')",
    "INSERT INTO index_states VALUES ('m', 'x', '2026-01-01', 'market', NULL, [0.1, 'nan'::DOUBLE, -0.0, 5e-324])",
    "INSERT INTO image_features (sha256, extractor, vector, ocr_text, computed_at) "
    "VALUES ('a', 'b', '\\x00\\xff'::BLOB, '', now()::TIMESTAMP)",
    "INSERT INTO model_versions (model_version, kind, status, settings, usd) "
    """VALUES ('m', 'k', 'retired', '{"a": [1, null, "é"]}', 0.000001)""",
)


@pytest.fixture
def file(tmp_path: Path) -> Database:
    """A file with rows of every kind."""
    database = Database.named(str(tmp_path / "file" / "bizcharts.duckdb"), tmp_path / "file", 30)
    database.prepare()
    for write in KINDS.values():
        write(database, times=2)
    with database.write() as connection:
        for statement in ODD:
            connection.execute(statement)
    return database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "draft").mkdir()
    return tmp_path / "draft"


def move(source: Database, target: Database, folder: Path) -> Copied:
    with source.held(folder, ()) as held:
        return copy_tables(held.connection, target, folder)


def contents(database: Database) -> dict[str, Contents]:
    with database.read() as connection:
        return read_contents(connection)


@pytest.mark.slow
def test_a_file_is_moved_to_a_lake_and_back_without_a_bit_changed(
    file: Database, lake: Lake, folder: Path, tmp_path: Path
) -> None:
    before = contents(file)
    moved = move(file, lake, folder)
    assert moved.rows == {name: table.rows for name, table in before.items()}
    assert contents(lake) == contents(file) == before
    back = Database.named(str(tmp_path / "home" / "back.duckdb"), tmp_path / "home", 30)
    move(lake, back, folder)
    assert contents(back) == before
    for database in (lake, back):  # both go on as databases do
        with database.write() as connection:
            connection.execute("INSERT INTO warosu_days (day, complete) VALUES ('2026-01-01', TRUE)")
        assert contents(database)["warosu_days"].rows == before["warosu_days"].rows + 1


@pytest.mark.slow
def test_a_database_in_use_is_never_filled_and_one_that_was_not_completed_is_filled_anew(
    file: Database, lake: Lake, folder: Path, tmp_path: Path, postgres: Postgres
) -> None:
    before, other = contents(file), postgres.new_lake()
    with lake.write() as connection:
        connection.execute("INSERT INTO warosu_days (day, complete) VALUES ('2026-01-01', TRUE)")
    changed = contents(lake)
    for target in (lake, file):
        with pytest.raises(errors.DatabaseUnavailable, match="already exists; name a new one"):
            target.begin_move("another", "the home /a on b")
    assert (contents(lake), contents(file)) == (changed, before)
    back = Database.named(str(tmp_path / "home" / "back.duckdb"), tmp_path / "home", 30)
    for source, new in ((lake, back), (file, Database.named(other, tmp_path / "home", 30, str(tmp_path / "files")))):
        for _ in range(2):  # the second finds what the first has left
            target = new.begin_move(source.name, "the home /a on b")
            move(source, target, folder)
            assert new.note()
            with pytest.raises(errors.DatabaseUnavailable, match=f"a move from {source.name} has not ended"):
                new.require()
        target.end_move()
        assert new.note() is None
        assert contents(new) == contents(source)


@pytest.mark.slow
def test_a_move_whose_copy_differs_leaves_no_target(
    file: Database, lake: Lake, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = Database.named(str(tmp_path / "home" / "back.duckdb"), tmp_path / "home", 30)
    right = moving.read_contents
    monkeypatch.setattr(
        moving,
        "read_contents",
        lambda connection: right(connection) | {"coin_prices": Contents(0, str(id(connection)))},
    )
    for target in (lake, back):
        with pytest.raises(errors.MoveFailed, match="the copy of coin_prices does not agree"):
            move(file, target, folder)
    monkeypatch.undo()
    assert not lake.exists()
    assert not back.exists()
    move(file, lake, folder)
    move(lake, back, folder)
    assert contents(back) == contents(file)


@pytest.mark.slow
@pytest.mark.parametrize("to_lake", [True, False])
@pytest.mark.fault("SIGKILL", stage="move", expected="no target, or a whole one")
def test_a_move_killed_at_any_moment_leaves_no_target_or_a_whole_one(
    file: Database, lake: Lake, folder: Path, tmp_path: Path, *, to_lake: bool
) -> None:
    back = Database.named(str(tmp_path / "home" / "back.duckdb"), tmp_path / "home", 30)
    if not to_lake:
        move(file, lake, folder)
    source, target = (file, lake) if to_lake else (lake, back)
    before = contents(source)
    for number, seconds in enumerate((0.6, 1.2, 2.0, 3.0)):
        homes = [str(tmp_path / "file"), str(tmp_path / "home")] if to_lake else [str(tmp_path / "home")] * 2
        words = [source.name, target.name, *homes, str(tmp_path / f"draft{number}")]
        mover = subprocess.Popen([sys.executable, "-c", MOVE, *words], stdout=subprocess.PIPE, text=True)
        assert mover.stdout
        assert mover.stdout.readline() == "moving\n"
        time.sleep(seconds)
        os.kill(mover.pid, signal.SIGKILL)
        mover.wait()
        assert not target.exists() or contents(target) == before
    if not target.exists():
        move(source, target, folder)
    assert contents(target) == before
