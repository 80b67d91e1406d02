"""A commit whose answer is lost: DuckLake deletes its files although PostgreSQL has made it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cut_commits import CutCommits, cutting
from lake_worker import KINDS
from postgres import Postgres

from bizcharts_pipeline.warehouse import errors
from bizcharts_pipeline.warehouse import lake as lake_module
from bizcharts_pipeline.warehouse.contents import Contents, read_contents
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.lake import Lake

WRITER = Path(__file__).with_name("lake_worker.py")
MORE = """
INSERT INTO thread_observations (thread_id, seen_at, reply_count)
SELECT i, TIMESTAMP '2026-03-02', i FROM range({}, {}) AS t(i)
"""
NARROW = "SELECT min(thread_id), max(thread_id) FROM thread_observations"
STATEMENTS = """
import sys
from bizcharts_pipeline.warehouse.database import Database
with Database.named(sys.argv[1], None, 30).write() as connection:
    connection.execute({0!r})
"""
# What deletes rows of files of which rows were deleted before.
DELETIONS = {
    "once more": "DELETE FROM thread_observations WHERE thread_id = 3",
    "of several files": "DELETE FROM thread_observations WHERE thread_id % 10 = 4",
    "changed": "UPDATE thread_observations SET reply_count = 7 WHERE thread_id BETWEEN 2 AND 120",
    "with the rest of another": "DELETE FROM thread_observations WHERE thread_id < 100 OR thread_id = 199",
    "and more added": "DELETE FROM thread_observations WHERE thread_id = 5; " + MORE.format(-5, -1),
    "all but new ones": "DELETE FROM thread_observations; " + MORE.format(-5, -1),
}
FILES = "TABLE ducklake_{} ORDER BY 1"
COMPACT = """
import sys
from bizcharts_pipeline.warehouse import lake
from bizcharts_pipeline.warehouse.database import Database
lake.MIN_SMALL_FILES = 1
lake._UPKEEP = [each.replace("24 HOUR", "0 SECOND") if "expire" in each else each for each in lake._UPKEEP]
Database.named(sys.argv[1], None, 30).compact()
"""


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[CutCommits]:
    with cutting(postgres.port) as proxy:
        yield proxy


def contents(database: Database) -> dict[str, Contents]:
    with database.read() as connection:
        found = read_contents(connection)
    del found["schema_migrations"]
    return found


def run_cut(proxy: CutCommits, lake: Lake, postgres: Postgres, *command: str, cut: int) -> None:
    """Run a process that reaches the lake through the proxy, which breaks its commit number ``cut``."""
    proxy.commits, proxy.cut = 0, cut
    address = lake.address.replace(f"port={postgres.port}", f"port={proxy.port}")
    done = subprocess.run([sys.executable, *command, address], capture_output=True, text=True, timeout=120)
    assert done.returncode, "it has reported no error"
    assert proxy.commits == cut, done.stderr


@pytest.mark.slow
@pytest.mark.fault(
    "dropped network", stage="database", expected="a commit of a lake whose answer is lost is undone by the next write"
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["lake", "bucket_lake"])
def test_a_commit_whose_answer_is_lost_leaves_nothing_and_the_writer_repeated_completes_it(
    kind: str, where: str, request: pytest.FixtureRequest, proxy: CutCommits, postgres: Postgres, tmp_path: Path
) -> None:
    lake: Lake = request.getfixturevalue(where)
    alone = Database.named(str(tmp_path / "alone.duckdb"), None, 10)
    for database in (lake, alone):
        for each, write in KINDS.items():
            write(database, times=2 if each == kind else 1)
    before = contents(lake)
    assert before == contents(alone)
    run_cut(proxy, lake, postgres, str(WRITER), kind, cut=1)
    with pytest.raises(errors.DatabaseUnavailable, match=r"opened|cannot be used"):
        contents(lake)
    with lake.write():
        pass
    assert contents(lake) == before
    for database in (lake, alone):
        KINDS[kind](database)
    assert contents(lake) == contents(alone)
    for database in (lake, alone):
        with database.read() as connection:
            extremes = connection.execute(NARROW).fetchall()
    with lake.read() as connection:
        assert connection.execute(NARROW).fetchall() == extremes


@pytest.mark.slow
@pytest.mark.fault("dropped network", stage="database", expected="so is one that deletes more rows of a file")
@pytest.mark.parametrize("deletion", DELETIONS)
@pytest.mark.parametrize("where", ["lake", "bucket_lake"])
def test_a_lost_commit_that_deletes_more_of_a_file_leaves_what_was_deleted_before(
    deletion: str,
    where: str,
    request: pytest.FixtureRequest,
    proxy: CutCommits,
    postgres: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake: Lake = request.getfixturevalue(where)
    alone = Database.named(str(tmp_path / "alone.duckdb"), None, 10)
    statement, database = DELETIONS[deletion], lake.address.split("dbname=")[1].split()[0]

    def write(*statements: str) -> None:
        for each in statements:
            for target in (lake, alone):
                with target.write() as connection:
                    connection.execute(each)

    def catalogue() -> list[str]:
        tables = ("data_file", "delete_file", "files_scheduled_for_deletion", "file_column_stats")
        return [postgres.query(FILES.format(table), database) for table in tables]

    write(MORE.format(0, 100), MORE.format(100, 200))
    write(*(f"DELETE FROM thread_observations WHERE thread_id IN ({each}, 15{each})" for each in (1, 2)))
    for _ in range(2):  # also after a commit that was undone
        before, files = contents(lake), catalogue()
        run_cut(proxy, lake, postgres, "-c", STATEMENTS.format(statement), cut=1)
        with lake.write():
            pass
        assert contents(lake) == before == contents(alone)
        assert catalogue() == files
        write(
            "DELETE FROM thread_observations WHERE thread_id = 66",
            "DELETE FROM thread_observations WHERE thread_id = 6",
        )
        assert contents(lake) == contents(alone)
    write(statement)
    assert contents(lake) == contents(alone)
    monkeypatch.setattr(lake_module, "MIN_SMALL_FILES", 1)
    monkeypatch.setattr(lake_module, "_UPKEEP", [each.replace("24 HOUR", "0 SECOND") for each in lake_module._UPKEEP])
    for _ in range(2):
        lake.compact()
        assert contents(lake) == contents(alone)
    with lake.read() as connection, alone.read() as other:
        assert connection.execute(NARROW).fetchall() == other.execute(NARROW).fetchall()


@pytest.mark.slow
def test_a_lost_commit_that_only_ends_files_may_stay_and_nothing_is_missing(
    lake: Lake, proxy: CutCommits, postgres: Postgres
) -> None:
    for each in (MORE.format(0, 100), "DELETE FROM thread_observations WHERE thread_id = 3", MORE.format(100, 200)):
        with lake.write() as connection:
            connection.execute(each)
    rest = "DELETE FROM thread_observations WHERE thread_id < 100"
    run_cut(proxy, lake, postgres, "-c", STATEMENTS.format(rest), cut=1)
    with lake.write() as connection:
        connection.execute(rest)
    with lake.read() as connection:
        assert connection.execute(NARROW).fetchall() == [(100, 199)]


@pytest.mark.slow
def test_the_extremes_of_a_table_without_deletions_are_those_of_its_rows_after_a_lost_commit(
    lake: Lake, proxy: CutCommits, postgres: Postgres
) -> None:
    with lake.write() as connection:
        connection.execute(MORE.format(0, 100))
    run_cut(proxy, lake, postgres, "-c", STATEMENTS.format(MORE.format(-50, 300)), cut=1)
    with lake.write():
        pass
    with lake.read() as connection:
        assert connection.execute(NARROW).fetchall() == [(0, 99)]
        assert connection.execute("SELECT count(*) FROM thread_observations").fetchall() == [(100,)]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["expire", "rewrite", "merge"])
def test_a_merge_of_files_whose_answer_is_lost_loses_no_row(
    step: str, lake: Lake, proxy: CutCommits, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for write in KINDS.values():
        write(lake)
    before = contents(lake)
    run_cut(proxy, lake, postgres, "-c", COMPACT, cut={"expire": 1, "rewrite": 2, "merge": 3}[step])
    changes = "SELECT changes_made FROM ducklake_snapshot_changes ORDER BY snapshot_id DESC LIMIT 1"
    made = postgres.query(changes, lake.address.split("dbname=")[1].split()[0])
    assert step in made or (step == "expire" and "rewrite" not in made)
    with lake.write():
        pass
    assert contents(lake) == before
    monkeypatch.setattr(lake_module, "MIN_SMALL_FILES", 1)
    monkeypatch.setattr(lake_module, "_UPKEEP", [each.replace("24 HOUR", "0 SECOND") for each in lake_module._UPKEEP])
    for _ in range(2):
        assert lake.compact().done
        assert contents(lake) == before


@pytest.mark.slow
def test_a_first_start_whose_answer_is_lost_at_any_commit_is_completed_by_the_next(
    lake: Lake, proxy: CutCommits, postgres: Postgres
) -> None:
    migrate = "import sys; from pathlib import Path; from bizcharts_pipeline.warehouse.database import Database;"
    migrate += f"Database.named(sys.argv[1], Path({str(lake.home)!r}), 30).migrate()"
    for cut in (1, 2, 3):
        run_cut(proxy, lake, postgres, "-c", migrate, cut=cut)
    lake.migrate()
    for write in KINDS.values():
        write(lake, times=1)
    assert contents(lake)
