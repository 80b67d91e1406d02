"""The command line's ways into the past, as a user meets them."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance
from installation import Installation

from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.server import Fault
from bizcharts_pipeline.demo.world import World
from resources.console_log import CONSOLE

START = datetime(2025, 10, 28)
NOW = START + timedelta(days=8, hours=5)


@pytest.fixture(scope="module")
def world() -> World:
    return World(5, START, 9, threads_per_day=60)


@pytest.fixture
def archive(world: World) -> Iterator[SimulatedArchive]:
    """Have an archive per test, so that no test meets the faults that another set."""
    with SimulatedArchive(world, now=NOW) as archive:
        yield archive


@pytest.fixture
def installation(archive: SimulatedArchive, tmp_path: Path) -> Installation:
    extra = {
        "BIZCHARTS_WAROSU_URL": archive.url,
        "BIZCHARTS_WAROSU_IMAGE_URL": archive.url,
        "BIZCHARTS_WAROSU_SECONDS_PER_REQUEST": "0",
        "BIZCHARTS_ARCHIVE_START": f"{START:%Y-%m-%d}",
    }
    return Installation(tmp_path, archive.url, extra=extra)


def backfills(installation: Installation) -> list[list[str]]:
    with DagsterInstance.from_config(str(installation.dagster_home)) as instance:
        asked = [backfill.asset_backfill_data for backfill in instance.get_backfills()]
    return [
        sorted(key.partition_key for key in data.target_subset.iterate_asset_partitions()) for data in asked if data
    ]


def test_pages_and_searches_come_in_at_once(installation: Installation) -> None:
    pages = json.loads(installation.run_command("import", "--pages", "2", "--json", now=NOW).stdout)
    assert (pages["pages"], pages["posts"], pages["new"]) == (2, 20, 20)
    found = installation.run_command("search", "bitcoin", "--max", "7", now=NOW)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("7 opening posts")
    assert installation.query("SELECT count(*) BETWEEN 20 AND 27 FROM thread_ops WHERE source = 'warosu'") == [(True,)]


def test_days_come_in_at_once_without_dagster_and_are_not_fetched_again(
    installation: Installation, archive: SimulatedArchive
) -> None:
    words = ("import", "--from", "2025-10-29", "--to", "2025-10-30", "--here")
    done = installation.run_here(*words, "--json", now=NOW)
    assert (done.returncode, json.loads(done.stdout)["failed"]) == (0, 0), done.stderr
    assert installation.query("SELECT day::VARCHAR FROM warosu_days WHERE complete ORDER BY day") == [
        ("2025-10-29",),
        ("2025-10-30",),
    ]
    assert [line[:10] for line in done.stderr.splitlines()] == ["2025-10-29", "2025-10-30"]
    assert backfills(installation) == []
    asked = len(archive.requests)
    assert installation.run_here(*words, now=NOW).stdout.startswith("Nothing to do")
    assert len(archive.requests) == asked


def test_three_days_in_a_row_that_fail_end_an_import_without_dagster(
    installation: Installation, archive: SimulatedArchive
) -> None:
    archive.fail_every, archive.fail_with = 1, Fault.NEW_LAYOUT
    ended = installation.run_here("import", "--from", "2025-10-28", "--to", "2025-11-02", "--here", now=NOW)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    days = [line[:10] for line in ended.stderr.splitlines() if line.startswith("2025-")]
    assert days == ["2025-10-28", "2025-10-29", "2025-10-30"]


@pytest.mark.slow
def test_days_become_a_backfill_in_dagster_without_those_that_are_complete(installation: Installation) -> None:
    installation.database.path.parent.mkdir(parents=True)
    with installation.database.write() as connection:
        connection.execute("INSERT INTO warosu_days (day, complete) VALUES ('2025-10-30', TRUE), ('2025-10-31', FALSE)")
    asked = installation.run_command("import", "--from", "2025-10-29", "--to", "2025-11-01", "--json", now=NOW)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["days"] == 3
    assert backfills(installation) == [["2025-10-29", "2025-10-31", "2025-11-01"]]
    again = installation.run_command("import", "--from", "2025-10-29", "--to", "2025-11-01", now=NOW)
    assert (again.returncode, again.stdout[:20]) == (0, "Nothing was launched")
    assert json.loads(asked.stdout)["backfill_id"] in again.stdout
    assert len(backfills(installation)) == 1
    with DagsterInstance.from_config(str(installation.dagster_home)) as instance:
        (launched,) = instance.get_backfills()
        assert launched.run_config == CONSOLE  # its runs log one line a warning, as all jobs do
    for words, first, last in (
        (["--last", "3"], "2025-11-02", "2025-11-04"),
        (["--backfill"], "2025-10-28", "2025-10-28"),
    ):
        report = json.loads(installation.run_command("import", *words, "--json", now=NOW).stdout)
        assert (report["first"], report["last"]) == (first, last)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["import"], 2, "give one of"),
        (["import", "--pages", "1", "--continue"], 2, "give one of"),
        (["import", "--last", "60", "--from", "2025-11-01"], 2, "give one of"),
        (["import", "--from", "yesterday"], 2, "--from"),
        (["import", "--from", "2025-11-05"], 1, "is after"),
        (["import", "--from", "2025-10-29", "--to", "2026-01-01"], 1, "not ended yet"),
        (["import", "--from", "2014-01-01"], 1, "BIZCHARTS_ARCHIVE_START"),
        (["import", "--continue"], 1, "--from"),
        (["import", "--from", "2025-11-02", "--to", "2025-11-01"], 2, "is after --to"),
        (["coverage", "--from", "2025-11-02", "--to", "2025-11-01"], 2, "is after --to"),
        (["label", "--from", "2025-11-02", "--to", "2025-11-01"], 2, "is after --to"),
        (["search", "x", "--max", "0"], 2, "--max"),
        (["search", " "], 2, "QUERY is empty"),
        (["improt"], 2, "No such command"),
        (["labels", "import", "no-such-file.csv"], 2, "does not exist"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_line(
    installation: Installation, words: list[str], status: int, says: str
) -> None:
    finished = installation.run_command(*words, now=NOW)
    assert finished.returncode == status
    assert says in finished.stderr
    assert (finished.stderr[:11], finished.stderr.count("\n")) == ("bizcharts: ", 1)
    assert not installation.home.exists()


def test_a_page_that_is_none_is_an_error_that_says_where_it_is_kept(
    installation: Installation, archive: SimulatedArchive
) -> None:
    archive.fail_next(*[Fault.NEW_LAYOUT] * 3)  # the first answers the check of the clock
    finished = installation.run_command("import", "--pages", "1", now=NOW)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    (kept,) = (installation.home / "spool" / "warosu" / "rejected").glob("*.html.gz")
    assert str(kept) in finished.stderr


@pytest.mark.slow
def test_coverage_and_a_dry_run_of_maintenance_show_tables_and_change_nothing(installation: Installation) -> None:
    imported = installation.run_command("import", "--pages", "3", now=NOW)
    assert imported.returncode == 0, imported.stderr
    before = installation.query("SELECT * FROM thread_ops ORDER BY ALL")
    shown = installation.run_command("coverage", now=NOW)
    assert "2025-11-05" in shown.stdout, shown.stderr
    picture = (installation.home / "coverage.svg").read_text()
    assert picture.startswith("<svg")
    part = installation.run_command("coverage", "--from", "2025-11-05", now=NOW)
    assert "2025-11-05" in part.stdout
    assert (installation.home / "coverage.svg").read_text() == picture
    assert "hash" in installation.run_command("block", "no hash", now=NOW).stderr
    later = NOW + timedelta(days=800)
    dry = installation.run_command("maintain", "--dry-run", now=later)
    assert "Nothing was done" in dry.stdout, dry.stderr
    assert installation.query("SELECT * FROM thread_ops ORDER BY ALL") == before
