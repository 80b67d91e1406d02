"""A lake whose files are in a bucket of an S3-compatible service that checks every signature."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from buckets import Buckets, running_buckets
from installation import Installation
from lake_worker import KINDS
from postgres import Postgres

from bizcharts_pipeline.core.ledgers import keep_in_postgres
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.labels.ledger import LEDGER as LABELS
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
from bizcharts_pipeline.warehouse import errors, lake, lake_files
from bizcharts_pipeline.warehouse.catalogue import named_error
from bizcharts_pipeline.warehouse.contents import Contents, read_contents
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.lake import Lake

WRITER = Path(__file__).with_name("lake_worker.py")
ADD = "INSERT INTO thread_observations (thread_id, seen_at, reply_count) SELECT {0}, now()::TIMESTAMP, {0}"
NOW = datetime(2026, 3, 2, 12)


@pytest.fixture
def board() -> Iterator[SimulatedBoard]:
    with SimulatedBoard(World(3, NOW - timedelta(days=1), 2), now=NOW) as server:
        yield server


def rows(database: Database) -> int:
    with database.read() as connection:
        (found,) = connection.execute("SELECT count(*) FROM thread_observations").fetchall()
    return int(found[0])


def add(database: Database, number: int) -> None:
    with database.write() as connection:
        connection.execute(ADD.format(number))


def contents(database: Database) -> dict[str, Contents]:
    with database.read() as connection:
        found = read_contents(connection)
    del found["schema_migrations"]
    return found


@pytest.mark.slow
def test_four_processes_that_write_at_once_leave_in_a_bucket_what_one_leaves_in_a_file(
    bucket_lake: Lake, tmp_path: Path
) -> None:
    bucket_lake.migrate()
    workers = [
        subprocess.Popen(
            [sys.executable, str(WRITER), kind, bucket_lake.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for kind in KINDS
    ]
    alone = Database.named(str(tmp_path / "alone.duckdb"), None, 10)
    for write in KINDS.values():
        write(alone)
    for worker in workers:
        assert worker.communicate(timeout=240) == ("", None)
        assert worker.returncode == 0
    assert contents(bucket_lake) == contents(alone)


@pytest.mark.slow
def test_maintenance_merges_files_and_deletes_from_the_bucket_what_no_snapshot_needs(
    bucket_lake: Lake, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        add(bucket_lake, number)
    expected, before = contents(bucket_lake), buckets.objects(bucket_lake.files)
    monkeypatch.setattr(lake, "_UPKEEP", [step.replace("24 HOUR", "0 SECOND") for step in lake._UPKEEP])
    assert bucket_lake.compact().done
    assert contents(bucket_lake) == expected
    after = buckets.objects(bucket_lake.files)
    assert len(after) < len(before) - 50
    assert sum(key.endswith(lake_files.MARK) for key in after) == 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "not-the-key-0123456789"}, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "AKIANOBODY0123456789"}, "InvalidAccessKeyId"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "set AWS_SECRET_ACCESS_KEY in the environment or in .env"),
        ({"AWS_SESSION_TOKEN": "not-the-token-0123456789"}, "bucket of the lake's files cannot be used"),
        ({"AWS_ENDPOINT_URL": "http://storage.example:9000"}, "AWS_ENDPOINT_URL is not encrypted"),
        ({"AWS_ENDPOINT_URL": "https://storage.example/s3"}, "AWS_ENDPOINT_URL must be an address without a path"),
        ({"AWS_ENDPOINT_URL": "https://me:no-password@storage.example"}, "AWS_ENDPOINT_URL holds a user name"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "bucket of the lake's files cannot be used.*[Cc]ould not connect"),
        ({"BIZCHARTS_DATABASE_FILES": "s3://other/place"}, "the lake's files are in s3://bucket.*not in s3://other"),
    ],
)
def test_a_service_that_cannot_be_used_is_named_in_one_line_without_the_key(
    changed: dict[str, str],
    says: str,
    bucket_lake: Lake,
    board: SimulatedBoard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(bucket_lake, 1)
    lake._attached.clear()  # a process reads the variables once
    here = Installation(tmp_path, board.url, lake=bucket_lake.address)
    secrets = [value for name, value in changed.items() if value and ("SECRET" in name or "TOKEN" in name)]
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    done = here.run_here("stats", now=NOW)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert re.search(says, done.stderr), done.stderr
    assert not [secret for secret in [*secrets, "no-password"] if secret in done.stderr]


def test_another_service_and_another_bucket_are_not_taken_for_that_of_the_lake(
    bucket_lake: Lake, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(bucket_lake, 1)
    lake._attached.clear()
    with running_buckets() as other:
        other.client().create_bucket(Bucket=bucket_lake.files.split("/")[2])
        for name, value in other.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(errors.DatabaseUnavailable, match="files are not there; AWS_ENDPOINT_URL or the key"):
            add(bucket_lake, 2)
        nowhere = Database.named(postgres.new_lake(), tmp_path / "other", 5, "s3://no-such-bucket/lake")
        with pytest.raises(errors.DatabaseUnavailable, match=r"cannot be used.*NoSuchBucket"):
            nowhere.migrate()
        assert not other.objects(bucket_lake.files)


def test_a_token_that_the_service_repeats_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "not-the-token-0123456789")
    said = duckdb.HTTPException("HTTP Error: GET of x (HTTP 503) ExpiredToken: not-the-token-0123456789 has expired")
    assert "ExpiredToken: <AWS_SESSION_TOKEN> has expired" in str(named_error("x", said))


def test_a_lake_is_not_put_where_other_objects_are_but_where_a_killed_command_has_begun_it(
    bucket_lake: Lake, buckets: Buckets, postgres: Postgres, tmp_path: Path
) -> None:
    bucket, _, prefix = bucket_lake.files.removeprefix("s3://").partition("/")
    note = f"The Parquet files of {bucket_lake.address}. Delete none, and add none: maintenance would delete it.\n"
    buckets.client().put_object(Bucket=bucket, Key=f"{prefix}/{lake_files.MARK}", Body=note.encode())
    add(bucket_lake, 1)
    second = Database.named(postgres.new_lake(), tmp_path / "other", 5, bucket_lake.files)
    before = buckets.objects(bucket_lake.files)
    with pytest.raises(errors.DatabaseUnavailable, match="is not empty"):
        second.migrate()
    assert buckets.objects(bucket_lake.files) == before
    assert not second.exists()
    assert rows(bucket_lake) == 1


@pytest.mark.fault("slow network", stage="database", expected="given up in time; nothing is written, the next one is")
def test_a_service_that_answers_nothing_is_given_up_and_the_next_write_goes_on(
    bucket_lake: Lake, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lake_files._SETTINGS, "http_timeout", "1")
    monkeypatch.setitem(lake_files._SETTINGS, "http_retries", "0")
    add(bucket_lake, 1)
    with buckets.hanging(), pytest.raises(errors.DatabaseUnavailable, match=r"cannot be used.*Timeout"):
        add(bucket_lake, 2)
    assert rows(bucket_lake) == 1
    add(bucket_lake, 3)
    assert rows(bucket_lake) == 2


def test_a_certificate_that_nobody_vouches_for_is_refused(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    make += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    options = ("-c", str(certificate), "-k", str(key))
    with running_buckets(*options, scheme="https", bundle=str(certificate)) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        database = Database.named(postgres.new_lake(), tmp_path / "home", 5, service.new())
        with pytest.raises(errors.DatabaseUnavailable, match=r"cannot be used.*SSL"):
            database.migrate()
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        add(database, 1)
        assert rows(database) == 1


@pytest.mark.slow
def test_a_home_moves_to_a_bucket_and_back_and_no_file_of_it_holds_the_key(
    bucket_lake: Lake, buckets: Buckets, board: SimulatedBoard, tmp_path: Path
) -> None:
    here = Installation(tmp_path / "here", board.url)
    assert here.run_here("run", "live", now=NOW).returncode == 0
    LabelLedger(here.home / LABELS).append([Label(1, 3, "ann", NOW)])
    before = contents(here.database)
    moved = here.run_here("migrate", "--to", bucket_lake.address, "--files", bucket_lake.files, now=NOW)
    assert moved.returncode == 0, moved.stderr
    assert contents(bucket_lake) == before
    here.extra["BIZCHARTS_DATABASE"] = bucket_lake.address
    for command in (["stats"], ["run", "live"], ["labels", "stats"]):
        done = here.run_command(*command, now=NOW + timedelta(minutes=1))
        assert done.returncode == 0, done.stderr
        assert buckets.key not in done.stdout + done.stderr
    on_lake, objects = contents(bucket_lake), buckets.objects(bucket_lake.files)
    assert len(objects) > sum(table.rows > 0 for table in before.values())
    back = here.run_here("migrate", "--to", str(here.home / "back.duckdb"), now=NOW)
    assert back.returncode == 0, back.stderr
    keep_in_postgres(here.home, None)
    assert contents(Database.named(str(here.home / "back.duckdb"), None, 5)) == on_lake
    assert [each.thread_id for each in LabelLedger(here.home / LABELS).all()] == [1]
    assert buckets.objects(bucket_lake.files) == objects
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or buckets.key.encode() not in file.read_bytes(), file
