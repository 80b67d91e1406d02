"""One configuration for every command, and nothing made in a home that was mistyped."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from installation import Installation
from postgres import Postgres

from bizcharts_pipeline.archive.calendar_plot import LIVE, PARTLY, kind
from bizcharts_pipeline.cli.main import main
from bizcharts_pipeline.demo.board.server import ReplayBoard, SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.images.errors import NothingToBlock
from bizcharts_pipeline.images.withdrawal import block
from bizcharts_pipeline.service.health import health
from bizcharts_pipeline.settings import load_settings
from bizcharts_pipeline.warehouse.coverage import DayCoverage, coverage
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

NOW = datetime(2026, 3, 2, 12, 0)


@pytest.fixture
def board() -> Iterator[SimulatedBoard]:
    with SimulatedBoard(World(7, NOW - timedelta(days=2), 3), now=NOW) as board:
        yield board


@pytest.fixture
def installation(board: SimulatedBoard, tmp_path: Path) -> Installation:
    return Installation(tmp_path, board.url)


@pytest.mark.parametrize(
    "words",
    [
        ["stats"],
        ["coverage"],
        ["maintain"],
        ["block", "61072729"],
        ["backup", "copy.duckdb"],
        ["snapshot", "copy.duckdb"],
        ["label"],
        ["labels", "stats"],
        ["labels", "imports"],
        ["labels", "undo-import", "1"],
        ["pods", "list"],
        ["alerts", "list"],
        ["endpoint", "cost"],
        ["pods", "reap"],
        ["labels", "export", "labels.csv"],
        ["labels", "estimate"],
        ["labels", "restore"],
        ["models", "list"],
        ["models", "promote", "x", "--reason", "y"],
        ["import", "--backfill"],
    ],
)
def test_a_command_on_a_home_that_is_not_there_says_so_and_makes_nothing(
    installation: Installation, words: list[str]
) -> None:
    before = sorted(installation.folder.rglob("*"))
    finished = installation.run_command(*words)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.count("\n") == 1
    assert str(installation.home) in finished.stderr
    assert sorted(installation.folder.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("database", ["never made", "lost"])
def test_commands_that_read_create_nothing_in_a_home_without_a_database(
    installation: Installation, database: str
) -> None:
    installation.home.mkdir()
    if database == "lost":
        (installation.home / "installation.json").write_text("{}")

    def there() -> list[Path]:
        return [path for path in installation.folder.rglob("*") if installation.dagster_home not in path.parents]

    before = sorted(there())
    for words in (
        ["index"],
        ["coins"],
        ["moved"],
        ["health"],
        ["stats"],
        ["coverage"],
        ["labels", "stats"],
        ["labels", "imports"],
        ["labels", "estimate"],
        ["models", "list"],
        ["pods", "list"],
        ["alerts", "list"],
        ["endpoint", "cost"],
        ["repair"],
        ["maintain", "--dry-run"],
        ["repair-clock", "--dry-run"],
        ["backup", str(installation.folder / "file")],
        ["export", str(installation.folder / "files")],
    ):
        installation.run_here(*words, now=datetime(2026, 3, 2, 12))
        assert sorted(there()) == before, words


@pytest.mark.slow
def test_nothing_is_created_beside_a_file_that_is_no_database(installation: Installation) -> None:
    foreign = installation.folder / "notes.txt"
    foreign.write_text("notes\n" * 1000)
    installation.extra["BIZCHARTS_DATABASE"] = str(foreign)
    installation.home.mkdir()
    for command in (["stats"], ["index"], ["poll", "--once"], ["serve"]):
        refused = installation.run_command(*command, now=datetime(2026, 3, 2, 12))
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert f"{foreign} is not a DuckDB database" in refused.stderr
    installation.run_job("live", datetime(2026, 3, 2, 12), fails=True)
    assert [path.name for path in installation.folder.glob("notes*")] == ["notes.txt"]
    assert not (installation.folder / "runs").exists()


@pytest.mark.slow
def test_nothing_is_created_beside_the_duckdb_file_of_another_program(installation: Installation) -> None:
    foreign = installation.folder / "other.duckdb"
    duckdb.connect(str(foreign)).execute("CREATE TABLE t (n INTEGER)").close()
    installation.extra["BIZCHARTS_DATABASE"] = str(foreign)
    installation.home.mkdir()
    for command in (["stats"], ["poll", "--once"], ["serve"], ["app"], ["api"], ["label"]):
        refused = installation.run_command(*command, now=datetime(2026, 3, 2, 12))
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), command
        assert f"{foreign} is a DuckDB file of another program" in refused.stderr
    assert [path.name for path in installation.folder.glob("other*")] == ["other.duckdb"]


@pytest.mark.slow
@pytest.mark.parametrize("command", [["import", "--last", "2"], ["serve"], ["run", "live"]])
def test_an_instance_that_is_not_there_is_named_and_nothing_is_created(
    installation: Installation, command: list[str]
) -> None:
    installation.extra["DAGSTER_HOME"] = str(installation.folder / "nowhere")
    before = sorted(installation.folder.rglob("*"))
    refused = installation.run_command(*command, now=datetime(2026, 3, 2, 12))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"DAGSTER_HOME: there is no folder {installation.folder / 'nowhere'}" in refused.stderr
    assert sorted(installation.folder.rglob("*")) == before


def test_a_folder_that_holds_nothing_of_bizcharts_is_not_called_undamaged(installation: Installation) -> None:
    installation.home.mkdir()
    (installation.home / "notes.txt").write_text("notes")
    refused = installation.run_command("repair")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "there is no database" in refused.stderr


def test_a_mistyped_database_or_home_keeps_its_modes(installation: Installation) -> None:
    elsewhere = installation.folder / "elsewhere"
    (elsewhere / "models").mkdir(parents=True)
    names = ["notes.txt", "notes.txt.lock", "notes.txt.wal", "other.duckdb", "other.duckdb.lock", "models/weights"]
    for name in names:
        (elsewhere / name).write_text("notes\n" * 1000)
    (elsewhere / "other.duckdb").unlink()
    duckdb.connect(str(elsewhere / "other.duckdb")).execute("CREATE TABLE t (n INTEGER)").close()
    for part in (elsewhere, *elsewhere.rglob("*")):
        part.chmod(0o755 if part.is_dir() else 0o644)
    installation.home.mkdir()
    modes = {part: part.stat().st_mode for part in (elsewhere, *elsewhere.rglob("*"))}
    for variable, value in [
        ("BIZCHARTS_DATABASE", elsewhere / "notes.txt"),
        ("BIZCHARTS_DATABASE", elsewhere / "other.duckdb"),
        ("BIZCHARTS_HOME", elsewhere),
    ]:
        installation.extra = {variable: str(value)}
        assert installation.run_command("stats").returncode == 1
        assert {part: part.stat().st_mode for part in modes} == modes, value


@pytest.mark.parametrize("below", ["", "home"])
def test_a_home_that_is_a_file_is_called_that(installation: Installation, below: str) -> None:
    installation.home.write_text("notes")
    installation.extra["BIZCHARTS_HOME"] = str(installation.home / below)
    for command in (["stats"], ["serve"], ["poll", "--once"]):
        refused = installation.run_command(*command, now=datetime(2026, 3, 2, 12))
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert f"({installation.home} is not a folder)" in refused.stderr


@pytest.mark.parametrize(
    ("day", "said"), [("2025-02-30", "there is no day 2025-02-30"), ("30.3.2025", "'30.3.2025' is not a day, such as")]
)
def test_a_day_that_does_not_exist_is_said_in_words(installation: Installation, day: str, said: str) -> None:
    refused = installation.run_command("import", "--from", day)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_a_hash_that_is_none_is_refused_before_the_database_is_opened_to_write(tmp_path: Path) -> None:
    database = DatabaseFile(tmp_path / "bizcharts.duckdb")
    database.migrate()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(NothingToBlock):
        block(database, tmp_path, "zzz", "because", datetime(2026, 3, 1))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_commands_and_dagster_read_the_same_dotenv(installation: Installation, tmp_path: Path) -> None:
    """A home that only .env names is the home of both, also where Dagster is started in the folder of .env."""
    environment = installation.environment(NOW)
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"BIZCHARTS_HOME={environment.pop('BIZCHARTS_HOME')}\nBIZCHARTS_BOARD=nowhere\n")
    environment["BIZCHARTS_ENV_FILE"] = str(dotenv)
    program = "from bizcharts_pipeline.cli.main import main; main()"
    for words in (["run", "live"], ["stats"]):
        command = [sys.executable, "-c", program, *words]
        finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert finished.returncode == 0, finished.stderr
    assert installation.query("SELECT count(*) FROM catalog_snapshots") == [(1,)]
    assert not (tmp_path / "data").exists()


def test_a_misspelt_variable_stops_commands_and_dagster(installation: Installation) -> None:
    installation.extra["BIZCHARTS_IMAGE__LIVE"] = "false"
    for words in (["poll", "--once"], ["run", "live"], ["serve"]):
        finished = installation.run_command(*words)
        assert finished.returncode == 1
        assert "did you mean BIZCHARTS_IMAGES__LIVE" in finished.stderr
    assert "did you mean BIZCHARTS_IMAGES__LIVE" in installation.run_job(fails=True)
    assert not installation.home.exists()


@pytest.mark.slow
def test_a_job_runs_in_the_instance_of_the_repository_and_says_how_it_went(
    installation: Installation, board: SimulatedBoard
) -> None:
    done = installation.run_command("run", "live", now=NOW)
    assert done.returncode == 0, done.stderr
    assert "catalog_snapshot" in done.stdout + done.stderr
    assert "DEBUG" not in done.stdout + done.stderr
    assert list((installation.dagster_home / "history" / "runs").glob("*.db"))
    unknown = installation.run_command("run", "lve", now=NOW)
    assert unknown.returncode == 2
    assert "fetch_prices" in unknown.stderr
    installation.extra["BIZCHARTS_FOURCHAN_API_URL"] = "http://127.0.0.1:9"
    failed = installation.run_command("run", "live", now=NOW)
    assert failed.returncode == 1
    assert "127.0.0.1:9" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_poll_names_the_entries_that_it_could_not_read(installation: Installation) -> None:
    good = {"no": 61000001, "time": 1772445000, "resto": 0, "com": "buy ETH"}
    odd = [{"resto": 0}, good | {"no": 61000012, "time": 1772445000000}, good | {"no": 61000015, "resto": 61000001}]
    body = json.dumps([{"page": 1, "threads": [good, *odd]}]).encode()
    with ReplayBoard([(body, None)]) as replay:
        installation.extra["BIZCHARTS_FOURCHAN_API_URL"] = replay.url
        polled = installation.run_command("poll", "--once", now=NOW)
    assert polled.returncode == 0, polled.stderr
    assert polled.stdout.count("in the catalogue") == 3
    assert "no 61000012" in polled.stdout


@pytest.mark.parametrize("name", ["BIZCHARTS_HOME", "BIZCHARTS_DATABASE"])
def test_a_loop_of_links_is_named(installation: Installation, name: str) -> None:
    one, other = installation.folder / "one", installation.folder / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    installation.extra[name] = str(one)
    refused = installation.run_command("stats")
    assert refused.returncode == 1
    assert refused.stderr == f"bizcharts: {one}: its symbolic links form a loop\n"


def test_settings_that_are_nested_too_deeply_are_named(installation: Installation) -> None:
    file = installation.folder / "settings.toml"
    file.write_text(f"contact = {'[' * 100_000}")
    installation.extra["BIZCHARTS_SETTINGS_FILE"] = str(file)
    refused = installation.run_command("stats")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"bizcharts: {file} cannot be read as TOML: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["BIZCHARTS_SETTINGS_FILE", "BIZCHARTS_ENV_FILE"])
def test_a_settings_file_that_is_not_utf_8_is_said_in_plain_words(installation: Installation, name: str) -> None:
    file = installation.folder / "file"
    file.write_bytes('contact = "caf\xe9"\n'.encode("latin-1"))
    installation.extra[name] = str(file)
    refused = installation.run_command("stats")
    assert (refused.returncode, refused.stderr) == (1, f"bizcharts: {file} cannot be read: it is not UTF-8\n")


def test_a_file_of_somebody_else_is_named_and_not_unexpected(capsys: pytest.CaptureFixture[str]) -> None:
    def refused(standalone_mode: bool) -> None:
        raise PermissionError(13, "Permission denied", "/srv/file")

    with pytest.raises(SystemExit) as ended:
        main(refused)
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (1, 1)
    assert said.startswith("bizcharts: /srv/file: permission denied")


def test_a_day_that_is_not_over_is_not_called_polled_in_all_its_hours() -> None:
    today = DayCoverage(date(2026, 3, 2), 9, 0, 24, "not asked", over=False)
    assert (today.complete, kind(today)) == (False, PARTLY)
    assert kind(DayCoverage(date(2026, 3, 1), 9, 0, 24, "not asked")) == LIVE


def test_today_is_known_not_to_be_over(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    installation.home.mkdir()
    with installation.database.write() as connection:
        for hour in range(24):
            connection.execute(
                "INSERT INTO catalog_snapshots (snapshot_at, total_threads, not_modified) VALUES (?, 150, FALSE)",
                [datetime(2026, 3, 2, hour)],
            )
    for now, complete in (("2026-03-02T23:30:00", False), ("2026-03-03T00:00:00", True)):
        monkeypatch.setenv("BIZCHARTS_NOW", now)
        with installation.database.read() as connection:
            assert [day.complete for day in coverage(connection)] == [complete]


def test_a_pretended_time_that_is_none_is_refused_by_readers_too(installation: Installation) -> None:
    refusals = {"index": "garbage", "stats": "9999-12-31", "coverage": "0001-01-01", "maintain": "2200-01-01"}
    for command, now in refusals.items():
        installation.extra["BIZCHARTS_NOW"] = now
        refused = installation.run_command(command)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
        assert "BIZCHARTS_NOW is not an ISO 8601 time" in refused.stderr


@pytest.mark.slow
def test_health_of_a_home_without_a_database_says_that_nothing_was_polled(installation: Installation) -> None:
    installation.home.mkdir()
    found = installation.run_command("health", "--json")
    assert found.returncode == 1
    said = {each["what"]: each["detail"] for each in json.loads(found.stdout)}
    assert (said["last poll"], said["database"]) == ("never", "none yet: the first poll creates it")
    assert list(installation.home.iterdir()) == []


def test_health_of_a_home_that_is_not_there_says_so_and_makes_nothing(installation: Installation) -> None:
    found = installation.run_command("health", "--json")
    assert found.returncode == 1
    database = next(each for each in json.loads(found.stdout) if each["what"] == "database")
    assert not database["ok"]
    assert str(installation.home) in database["detail"]
    assert not installation.home.exists()


@pytest.mark.slow
def test_health_while_postgresql_is_away_is_json_that_says_so(installation: Installation, postgres: Postgres) -> None:
    here = replace(installation, lake=postgres.new_lake())
    assert here.run_command("poll", "--once", now=NOW).returncode == 0
    postgres.kill()
    try:
        found = here.run_command("health", "--json")
    finally:
        postgres.start()
    assert found.returncode == 1
    said = {each["what"]: each for each in json.loads(found.stdout)}
    for what in ("database", "ledgers", "alerts"):
        assert not said[what]["ok"]
        assert "PostgreSQL does not answer" in said[what]["detail"], what
    assert not found.stderr


def test_health_names_the_disk_with_the_least_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    settings = load_settings(home=home, database=str(other / "x.duckdb"))
    Database.configured(settings).migrate()
    left = {home: 9_000_000_000, other: 900_000_000}
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=left[folder]))
    found = {each.what: each for each in health(settings, datetime(2026, 1, 1))}["free disk"]
    assert (found.ok, found.detail) == (False, f"0.9 GB at {other}")
    assert load_settings(home=home).data_folders == (home,)
    lake = load_settings(home=home, database="ducklake:postgres:dbname=x", database_files=str(other))
    assert lake.data_folders == (home, other)


def test_health_of_a_home_whose_databases_folder_is_missing_says_so(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    settings = load_settings(home=tmp_path / "home", database=str(tmp_path / "other" / "x.duckdb"))
    found = {each.what: each for each in health(settings, NOW)}["free disk"]
    assert (found.ok, found.detail) == (False, f"not known: {tmp_path / 'other'}: No such file or directory")


def test_health_says_nothing_of_the_parts_of_a_home_that_does_not_exist(installation: Installation) -> None:
    found = installation.run_command("health")
    assert found.returncode == 1
    lines = found.stdout.splitlines()
    assert [line.split("NOT OK")[0].strip() for line in lines] == ["web server", "daemon", "database"]
    assert all(line == line.rstrip() for line in lines)
    assert not installation.home.exists()


def test_health_of_an_instance_that_never_ran_creates_nothing_in_it(installation: Installation) -> None:
    installation.home.mkdir()
    (installation.dagster_home / "dagster.yaml").unlink()
    found = installation.run_command("health", "--json")
    details = {each["what"]: each["detail"] for each in json.loads(found.stdout)}
    assert details["daemon"] == f"has never run with DAGSTER_HOME={installation.dagster_home}"
    assert list(installation.dagster_home.iterdir()) == []


@pytest.mark.slow
def test_an_instance_without_a_configuration_gets_the_projects(installation: Installation) -> None:
    configuration = installation.dagster_home / "dagster.yaml"
    ours = configuration.read_bytes()
    configuration.unlink()
    assert installation.run_command("run", "live", now=NOW).returncode == 0
    assert configuration.read_bytes() == ours
    assert not (installation.dagster_home / ".telemetry").exists()
    installation.extra["DAGSTER_HOME"] = str(installation.folder / "missing")
    refused = installation.run_command("run", "live")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "DAGSTER_HOME: there is no folder" in refused.stderr
