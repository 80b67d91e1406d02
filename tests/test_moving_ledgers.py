"""All ledgers are moved from the files of a home into PostgreSQL, and back."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from installation import Installation
from postgres import Postgres

from bizcharts_pipeline.alerts.events import Event
from bizcharts_pipeline.alerts.ledger import LEDGER as ALERTS
from bizcharts_pipeline.alerts.ledger import AlertLedger
from bizcharts_pipeline.autolabel import budget
from bizcharts_pipeline.autolabel.budget import Caps, Charge
from bizcharts_pipeline.autolabel.keys import Run, Version
from bizcharts_pipeline.autolabel.ledger import LEDGER as AUTO_LABELS
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger, AutoLabelLedgerError
from bizcharts_pipeline.core import postgres as engine
from bizcharts_pipeline.core.ledgers import keep_in_postgres
from bizcharts_pipeline.core.sqlite import connect
from bizcharts_pipeline.endpoints.ledger import LEDGER as ENDPOINTS
from bizcharts_pipeline.endpoints.ledger import EndpointLedger, EndpointRow
from bizcharts_pipeline.http.request_budget import Allowance, RequestLedger
from bizcharts_pipeline.lab.trials import LEDGER as TRIALS
from bizcharts_pipeline.lab.trials import Trial, TrialLedger
from bizcharts_pipeline.labels.ledger import LEDGER as LABELS
from bizcharts_pipeline.labels.ledger import GoldPost, Label, LabelLedger
from bizcharts_pipeline.moving.ledgers import LedgersNotMoved, copy_ledgers, opened_ledgers
from bizcharts_pipeline.pods.budget import Caps as PodCaps
from bizcharts_pipeline.pods.ledger import LEDGER as PODS
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.pods.protocol import Candidate, State
from bizcharts_pipeline.prices.rotation import REQUESTS
from bizcharts_pipeline.scoring.vision import LEDGER as SCORES
from bizcharts_pipeline.service.serve import instance_lock
from bizcharts_pipeline.settings import postgres_words

NOW = datetime(2026, 11, 30, 12)
CAPS = PodCaps(Decimal(9), Decimal(9))
VERSION = Version("openai", "m", "chat", "v", "0" * 64)
FREE = Caps(None, None)
MOVE = """
import sys
from datetime import datetime
from pathlib import Path
from bizcharts_pipeline.moving.ledgers import copy_ledgers, opened_ledgers
home, source, target, folder = sys.argv[1:]
Path(folder).mkdir()
print("moving", flush=True)
with opened_ledgers(Path(home), source or None) as held:
    copy_ledgers(held, Path(home), target or None, Path(folder), datetime(2026, 11, 30))
"""


def labels(home: Path) -> LabelLedger:
    return LabelLedger(home / LABELS)


def spend(path: Path, nano: int) -> None:
    """Reserve twice and settle once, so that triggers keep sums."""
    with AutoLabelLedger(path) as ledger, ledger.transaction() as connection:
        for _ in range(2):
            booked = budget.reserve(connection, "k", VERSION, Run("run", NOW), nano, FREE, None, 0.5)
        budget.settle(connection, booked, "ok", Charge("known", nano // 2), NOW)


def fill(home: Path) -> None:
    """Put rows into every ledger, with what an engine could lose."""
    ledger = labels(home)
    ledger.append([Label(2**53 + 1, 3, "ann 'ä'\n", NOW, seconds=0.1 + 0.2, notes=""), Label(2, 1, "bob", NOW)])
    ledger.undo("bob", NOW)
    known = Label(9, 2, "cy", NOW, origin="a.csv")
    ledger.add_import("a.csv", [known, Label(10, 2, "cy", NOW, origin="a.csv")], NOW, scale="1-3", known=0, rejected=1)
    again = [Label(11, 2, "cy", NOW, origin="a.csv")]
    ledger.add_import("b.csv", again, NOW, scale="1-3", known=0, rejected=0, repeated=[known])
    ledger.retract(1, NOW)
    ledger.freeze_gold([GoldPost(7, "2026-11", NOW)])
    spend(home / AUTO_LABELS, 1_000)
    spend(home / SCORES, 3)
    pods = PodLedger(home / PODS)
    job = pods.begin("a" * 12, "pod", "world", "run", NOW)
    row = pods.book(job.id, None, Candidate("A", "SECURE", None), Decimal("0.7"), 60, CAPS, NOW, NOW)
    pods.enter(job.id, row, State.CREATING, "ordered", NOW)
    EndpointLedger(home / ENDPOINTS).write(EndpointRow("e", "m", None, Decimal("0.1"), 1, 2, 3), NOW)
    note = AlertLedger(home / ALERTS).past().note
    AlertLedger(home / ALERTS).record([Event("class", "index", "1", "event", ("line",), NOW)], ["d"], note, "1", NOW)
    for second in range(50):
        RequestLedger(home / REQUESTS).book("x", Allowance(999, 999), NOW + timedelta(seconds=second))
    TrialLedger(home / TRIALS).record([Trial("one", -0.1, 3), Trial("one", float("inf"), 4)], NOW)


def told(home: Path) -> list[Any]:
    """What each ledger tells of its rows."""
    found: list[Any] = [labels(home).all(), labels(home).newest(), labels(home).imports(), labels(home).gold()]
    for path in (AUTO_LABELS, SCORES):
        with AutoLabelLedger(home / path) as ledger:
            found += [ledger.spent(), ledger.spent(month="2026-11"), ledger.spent(run_id="run")]
    pods = PodLedger(home / PODS)
    found += [pods.spent(), pods.live(), pods.events(1), pods.open_job("a" * 12, "world")]
    found += [EndpointLedger(home / ENDPOINTS).rows(), AlertLedger(home / ALERTS).deliveries()]
    found += [AlertLedger(home / ALERTS).past(), AlertLedger(home / ALERTS).hash_key()]
    found += [RequestLedger(home / REQUESTS).left_this_month("x", Allowance(999, 999), NOW)]
    return [*found, TrialLedger(home / TRIALS).sharpes()]


@pytest.fixture
def words(postgres: Postgres) -> str:
    return postgres_words(postgres.new_lake())


@pytest.fixture
def move(tmp_path: Path) -> Callable[..., Any]:
    """Move the ledgers of the home, each time with a folder of its own."""
    numbers = iter(range(99))

    def run(source: str | None, target: str | None) -> Any:
        folder = tmp_path / f"draft {next(numbers)}"
        folder.mkdir()
        with opened_ledgers(tmp_path / "home", source) as held:
            return copy_ledgers(held, tmp_path / "home", target, folder, NOW)

    return run


def test_money_and_labels_are_the_same_in_postgresql_and_after_the_way_back(
    tmp_path: Path, words: str, move: Callable[..., Any]
) -> None:
    home = tmp_path / "home"
    fill(home)
    before = told(home)
    files = {path: path.read_bytes() for path in (home / "ledgers").glob("*.sqlite")}
    moved = move(None, words)
    assert moved.rows["requests"] == 50
    assert moved.rows == move(None, words).rows  # repeated, it finds all there
    with closing(psycopg2.connect(words)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE '%moving'")
        assert not cursor.fetchall()
    assert {path: path.read_bytes() for path in files} == files
    keep_in_postgres(home, words)
    try:
        assert told(home) == before
        # The counters of rows, the sums that triggers keep, and the numbers of trials go on where they were.
        fill(home)
        more = told(home)
        assert more != before
    finally:
        keep_in_postgres(home, None)
    with pytest.raises(LedgersNotMoved, match="name a new database"):
        move(None, words)
    assert told(home) == before
    back = move(words, None)
    assert told(home) == more
    assert back.kept == home / "ledgers" / "before-move-20261130T120000"
    replaced = {path.name for path in files} - {"alerts.sqlite"}  # whose rows are the same
    assert {path.name for path in back.kept.iterdir()} == replaced
    assert (back.kept / "labels.sqlite").read_bytes() == files[home / LABELS]
    assert move(words, None).kept == back.kept, "nothing was replaced this time"


@pytest.mark.parametrize(
    "made",
    [
        "CREATE SCHEMA alerts; CREATE TABLE alerts.precious (n int)",
        "CREATE SCHEMA requests; COMMENT ON SCHEMA requests IS 'of the shop 1'; CREATE VIEW requests.v AS SELECT 1",
        "CREATE SCHEMA alerts; COMMENT ON SCHEMA alerts IS 'ledger of BizCharts, version 1'; "
        "CREATE TABLE alerts.precious (n int)",
        "CREATE SCHEMA trials_moving; CREATE TABLE trials_moving.precious (n int)",
    ],
)
def test_no_table_of_another_program_is_replaced(
    tmp_path: Path, words: str, move: Callable[..., Any], postgres: Postgres, made: str
) -> None:
    fill(tmp_path / "home")
    name = words.split()[0].removeprefix("dbname=")
    postgres.query(made, name)
    schemas = "SELECT string_agg(nspname || ' ' || relname, ', ' ORDER BY 1) FROM pg_class JOIN pg_namespace n ON "
    schemas += "n.oid = relnamespace WHERE nspname NOT LIKE 'pg_%' AND nspname <> 'information_schema'"
    before = postgres.query(schemas, name)
    with pytest.raises(LedgersNotMoved, match=rf"schema {made.split()[2].rstrip(';')} .*name another database"):
        move(None, words)
    assert postgres.query(schemas, name) == before


@pytest.mark.slow
def test_migrate_refuses_a_served_home_and_a_database_with_schemas_of_another_program_before_it_writes(
    tmp_path: Path, postgres: Postgres
) -> None:
    here, target = Installation(tmp_path, "http://127.0.0.1:9"), postgres.new_lake()
    assert here.run_here("init").returncode == 0
    name = postgres_words(target).split()[0].removeprefix("dbname=")
    postgres.query("CREATE SCHEMA pods; CREATE TABLE pods.precious (n int)", name)
    with instance_lock(here.home):
        served = here.run_here("migrate", "--to", target)
        assert (served.returncode, served.stderr.count("\n")) == (1, 1)
        assert f"in use by process {os.getpid()}; stop it first" in served.stderr
    refused = here.run_here("migrate", "--to", target)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "The schema pods" in refused.stderr
    tables = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text"
    assert postgres.query(f"{tables} NOT IN ('pg_catalog', 'information_schema')", name) == "precious"
    assert not (here.home / "lake").exists()


@pytest.mark.slow
def test_a_move_that_is_killed_at_any_moment_is_completed_by_the_next(tmp_path: Path, words: str) -> None:
    home = tmp_path / "home"
    fill(home)
    before = told(home)
    pauses = random.Random(5)
    for source, target in (("", words), (words, "")):
        if source:
            for ledger in (home / "ledgers").glob("labels.*"):
                ledger.unlink()  # so that the way back has to make it
        for number in range(6):
            command = [sys.executable, "-c", MOVE, str(home), source, target, str(tmp_path / f"{source[:1]}{number}")]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout
            assert process.stdout.readline() == "moving\n"
            if number < 5:
                time.sleep(pauses.uniform(0, 0.3))
                process.send_signal(signal.SIGKILL)
            process.wait(60)
        assert process.returncode == 0
        keep_in_postgres(home, target or None)
        assert told(home) == before
    assert os.path.exists(home / LABELS)


@pytest.mark.slow
def test_nothing_is_moved_while_another_writes_or_over_a_ledger_of_a_newer_version(
    tmp_path: Path, words: str, move: Callable[..., Any]
) -> None:
    home = tmp_path / "home"
    fill(home)
    with closing(connect(home / LABELS)) as writer:
        writer.begin()
        with pytest.raises(LedgersNotMoved, match=r"labels\.sqlite is in use"):
            move(None, words)
        writer.version = 99
        writer.commit()
    with pytest.raises(LedgersNotMoved, match="newer version"):
        move(None, words)
    with closing(engine.connect(words, "labels", 5)) as target:
        assert target.version == 0


def test_a_dump_that_is_loaded_elsewhere_has_the_same_ledgers(
    tmp_path: Path, words: str, move: Callable[..., Any], postgres: Postgres
) -> None:
    home = tmp_path / "home"
    fill(home)
    before = told(home)
    move(None, words)
    copied = postgres_words(postgres.new_lake())
    names = [re.search(r"dbname=(\w+)", each)[1] for each in (words, copied)]  # type: ignore[index]
    server = ["-h", str(postgres.folder), "-p", str(postgres.port), "-U", "postgres", "-d"]
    dump = subprocess.run([postgres.programs / "pg_dump", *server, names[0]], capture_output=True, check=True).stdout
    subprocess.run([postgres.programs / "psql", "-Xq", *server, names[1]], input=dump, check=True, capture_output=True)
    keep_in_postgres(home, copied)
    try:
        (home / "ledgers").rename(home / "files")  # this machine never had them
        assert told(home) == before
        spend(home / AUTO_LABELS, 1_000)  # its triggers work, too
        with AutoLabelLedger(home / AUTO_LABELS) as ledger:
            assert ledger.spent().usd == 2 * before[4].usd
    finally:
        keep_in_postgres(home, None)


def test_a_lost_ledger_is_not_left_behind_in_silence(tmp_path: Path, words: str, move: Callable[..., Any]) -> None:
    home = tmp_path / "home"
    fill(home)
    content = (home / LABELS).read_bytes()
    (home / LABELS).unlink()
    with pytest.raises(LedgersNotMoved, match="missing or empty"):
        move(None, words)
    (home / LABELS).write_bytes(content)
    move(None, words)
    for name in ("labels", "auto_labels"):
        with closing(engine.connect(words, name, 5)) as there:
            there.drop()
    for source, target in ((words, None), (None, words)):  # the files may be older than what was lost
        with pytest.raises(LedgersNotMoved, match=r"auto_labels.*Restore PostgreSQL's dump"):
            move(source, target)
    elsewhere = tmp_path / "elsewhere"
    keep_in_postgres(elsewhere, words)
    try:
        with (
            pytest.raises(AutoLabelLedgerError, match="Restore PostgreSQL's dump"),
            AutoLabelLedger(elsewhere / AUTO_LABELS),
        ):
            pass
    finally:
        keep_in_postgres(elsewhere, None)
