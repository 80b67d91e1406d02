"""A disk that is not mounted, or a database that was emptied, is never taken for a first start."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from installation import Installation

from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.service.health import health
from bizcharts_pipeline.settings import load_settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import DatabaseLost
from bizcharts_pipeline.warehouse.installation import DATABASE
from bizcharts_pipeline.warehouse.installation import Installation as Marks

NOW = datetime(2026, 3, 2, 12, 0)
CSV = "thread_id,sentiment_rating,labeler_id,labeled_at\n1,3,me,2026-03-01 10:00:00\n"


@pytest.fixture(scope="module")
def polled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that has polled once; it is only copied."""
    with SimulatedBoard(World(7, NOW - timedelta(days=2), 3), now=NOW) as board:
        made = Installation(tmp_path_factory.mktemp("polled"), board.url)
        extra = {"BIZCHARTS_SETTINGS_FILE": "/dev/null", "BIZCHARTS_ENV_FILE": "/dev/null"}
        made.extra.update(extra)
        done = made.run_here("poll", "--once", now=NOW)
        assert done.returncode == 0, done.stderr
        yield made


@pytest.fixture
def installation(polled: Installation, tmp_path: Path) -> Installation:
    shutil.copytree(polled.folder, tmp_path, dirs_exist_ok=True)
    copied = replace(polled, folder=tmp_path)
    assert copied.run_here("maintain", now=NOW).returncode == 0  # marks the copy as an installation of its own
    return copied


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refuses(installation: Installation, *words: str) -> str:
    finished = installation.run_here(*words, now=NOW)
    assert (finished.returncode, finished.stdout) == (1, ""), (words, finished)
    assert finished.stderr.count("\n") == 1, finished.stderr
    assert "has had one" in finished.stderr, (words, finished.stderr)
    assert "bizcharts init --new" in finished.stderr
    return finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mount_point_stays", [True, False])
def test_no_door_starts_from_nothing_on_an_unmounted_disk(
    installation: Installation, tmp_path: Path, mount_point_stays: bool
) -> None:
    disk = tmp_path / "disk"
    installation.home.rename(disk)
    if mount_point_stays:
        installation.home.mkdir()
    labels = tmp_path / "labels.csv"
    labels.write_text(CSV)
    for words in (
        ["poll", "--once"],
        ["stats"],
        ["index"],
        ["maintain"],
        ["init"],
        ["serve"],
        ["search", "bitcoin"],
        ["import", "--pages", "1"],
        ["import", "--from", "2026-02-01", "--to", "2026-02-02"],
        ["labels", "import", str(labels)],
        ["labels", "stats"],
        ["labels", "restore"],
        ["label"],
        ["pods", "list"],
        ["snapshot", str(tmp_path / "copy")],
    ):
        assert ", since 2026-03-02" in refuses(installation, *words)
    for job in ["live", "fetch_prices"] if mount_point_stays else ["maintenance"]:
        assert "has had one" in installation.run_job(job, NOW, fails=True)
    assert installation.home.exists() == mount_point_stays
    assert not mount_point_stays or not tree(installation.home)
    if mount_point_stays:
        installation.home.rmdir()
    disk.rename(installation.home)
    assert installation.run_here("poll", "--once", now=NOW + timedelta(minutes=1)).returncode == 0


@pytest.mark.parametrize("kept_bytes", [None, 0])
def test_a_database_that_vanished_or_was_emptied_is_not_made_again(
    installation: Installation, kept_bytes: int | None
) -> None:
    """Also where only its own disk is missing: the home knows."""
    database = installation.database.path
    database.unlink()
    shutil.rmtree(installation.dagster_home / "installations")
    if kept_bytes is not None:
        database.touch()
    assert "is empty" in refuses(installation, "poll", "--once") or kept_bytes is None
    refuses(installation, "coverage")
    assert database.exists() == (kept_bytes is not None)


@pytest.mark.parametrize("kept_share", [0.0001, 0.01, 0.5])
def test_a_truncated_database_stays_as_it_is(installation: Installation, kept_share: float) -> None:
    database = installation.database.path
    content = database.read_bytes()
    kept = content[: max(1, int(len(content) * kept_share))]
    for log in database.parent.glob("*.wal"):
        log.unlink()
    database.write_bytes(kept)
    for words in (["poll", "--once"], ["init"], ["maintain"]):
        finished = installation.run_here(*words, now=NOW + timedelta(minutes=1))
        assert (finished.returncode, finished.stderr.count("\n")) == (1, 1), (words, finished)
        assert str(database) in finished.stderr
    assert hashlib.sha256(database.read_bytes()).digest() == hashlib.sha256(kept).digest()
    assert installation.run_here("init", "--new").returncode == 0
    (aside,) = (path for path in database.parent.glob("*.before-init-*") if path.suffix != ".closed")
    assert hashlib.sha256(aside.read_bytes()).digest() == hashlib.sha256(kept).digest()
    assert installation.query("SELECT count(*) FROM thread_ops") == [(0,)]


@pytest.mark.parametrize(
    "left", ["ledgers/labels.sqlite", "ledgers/auto_labels.sqlite", "models/tfidf-1/model.json", "images/a.webp"]
)
def test_an_installation_older_than_the_marks_is_known_by_what_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    home = tmp_path / "home"
    (home / left).parent.mkdir(parents=True)
    (home / left).touch()
    monkeypatch.setenv("BIZCHARTS_HOME", str(home))
    with pytest.raises(DatabaseLost, match="exists"):
        Database.from_settings(load_settings())
    assert tree(home) == {str(part) for part in [Path(left), *Path(left).parents] if str(part) != "."}


def test_a_first_start_needs_no_command_even_where_it_was_killed_half_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIZCHARTS_HOME", str(tmp_path / "home"))
    settings = load_settings()
    Database.from_settings(settings)
    (settings.home_path / "spool").mkdir()
    (settings.home_path / "spool" / "20260302T120000.poll.gz").touch()  # killed before the database was made
    Database.from_settings(settings).migrate()
    Path(settings.database_name).unlink()
    lost = next(found for found in health(settings, NOW) if found.what == "database")
    assert not lost.ok
    assert "has had one" in lost.detail


def test_labels_may_come_before_the_first_poll(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(CSV)
    with SimulatedBoard(World(7, NOW - timedelta(days=2), 3), now=NOW) as board:
        installation = Installation(tmp_path, board.url)
        assert installation.run_here("labels", "import", str(labels)).returncode == 0
        assert installation.run_here("poll", "--once", now=NOW).returncode == 0


def test_starting_from_nothing_has_to_be_meant_and_keeps_the_rest(installation: Installation) -> None:
    database = installation.database.path
    refused = installation.run_here("init", "--new")
    assert "the database already exists" in refused.stderr
    log = Path(f"{database}.wal")
    log.write_bytes(b"what was not folded in")
    database.unlink()
    refuses(installation, "init")
    made = json.loads(installation.run_here("init", "--new", "--json").stdout)
    log, seal = map(Path, made["kept"])
    assert (log.read_bytes(), seal.suffix) == (b"what was not folded in", ".closed")
    assert installation.query("SELECT count(*) FROM thread_ops") == [(0,)]
    assert installation.run_here("poll", "--once", now=NOW).returncode == 0
    database.unlink()
    refuses(installation, "poll", "--once")


@pytest.mark.parametrize("first", ["restore", "service"])
def test_a_restored_or_served_home_is_known_before_anything_is_written_to_its_database(
    installation: Installation, tmp_path: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = tmp_path / "backup"
    assert installation.run_here("backup", str(backup), now=NOW).returncode == 0
    second = replace(installation, folder=tmp_path / "second")
    monkeypatch.setenv("DAGSTER_HOME", str(second.dagster_home))
    if first == "restore":
        assert second.run_here("restore", str(backup), now=NOW).returncode == 0
    else:
        shutil.copytree(installation.home, second.home, ignore=shutil.ignore_patterns("installation.json"))
        Marks(second.home, second.home / DATABASE).begin()
    shutil.rmtree(second.home)
    second.home.mkdir()
    refuses(second, "stats")
    refuses(second, "poll", "--once")
    assert tree(second.home) == set()


def test_a_backup_comes_back_where_the_database_is_lost(installation: Installation, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    assert installation.run_here("backup", str(backup)).returncode == 0
    shutil.rmtree(installation.home)
    refuses(installation, "stats")
    restored = installation.run_here("restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    assert installation.run_here("stats").returncode == 0
