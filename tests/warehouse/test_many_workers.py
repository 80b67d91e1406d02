"""Machines that work at once on one lake and its ledgers, and are killed, lose and double nothing."""

import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from lake_worker import KINDS
from ledger_worker import CAP, NANO, PER_MONTH, POSTS
from postgres import Postgres

from bizcharts_pipeline.autolabel.ledger import LEDGER as AUTO_LABELS
from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
from bizcharts_pipeline.core.ledgers import connect, keep_in_postgres
from bizcharts_pipeline.core.money import in_usd
from bizcharts_pipeline.http.request_budget import Allowance, RequestLedger
from bizcharts_pipeline.labels.ledger import LEDGER as LABELS
from bizcharts_pipeline.labels.ledger import LabelLedger
from bizcharts_pipeline.prices.rotation import REQUESTS
from bizcharts_pipeline.settings import postgres_words
from bizcharts_pipeline.warehouse.contents import Contents, read_contents
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.lake import Lake

HERE = Path(__file__).parent
SECONDS = 1200  # ten processes on however many cores


@dataclass
class Machine:
    """A process with a home of its own that is started again until it has done its work."""

    command: list[str]
    errors: Path  # of its starts, one after the other
    said: list[str] = field(default_factory=list)
    process: "subprocess.Popen[str] | None" = None
    starts: int = 0

    def start(self) -> None:
        with self.errors.open("a") as errors:
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=HERE.parent.parent
            )
        self.starts += 1

    def is_done(self) -> bool:
        """Whether it has done its work; one that has failed is started again."""
        if self.process is None or self.process.poll() is None:
            return False
        assert self.process.stdout
        self.said += self.process.stdout.read().split()
        if self.process.returncode == 0:
            return True
        self.start()
        return False

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()


def machines(lake: Lake, tmp_path: Path) -> list[Machine]:
    """Two machines for each kind of ledger, and one for each kind of table."""
    address = postgres_words(lake.address)
    started = [[str(HERE / "lake_worker.py"), kind, lake.name] for kind in KINDS]
    for name in ("label0", "label1", "spend0", "spend1", "ask0", "ask1"):
        started.append([str(HERE / "ledger_worker.py"), name[:-1], str(tmp_path / name), address, name])
    return [
        Machine([sys.executable, *words], tmp_path / f"errors-{number}.txt") for number, words in enumerate(started)
    ]


def contents(database: Database) -> dict[str, Contents]:
    with database.read() as connection:
        found = read_contents(connection)
    del found["schema_migrations"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_machines_that_write_at_once_and_are_killed_lose_nothing_double_nothing_and_hold_every_budget(
    tmp_path: Path, lake: Lake, postgres: Postgres
) -> None:
    """The server is killed too, in the middle, and recovers."""
    alone = Database.named(str(tmp_path / "alone.duckdb"), None, 60)
    for write in KINDS.values():
        write(alone)
    lake.migrate()
    working = machines(lake, tmp_path)
    for machine in working:
        machine.start()
    began, chance, server_kills = time.monotonic(), random.Random(7), 2
    everyone, kills = list(working), 12
    while working:
        assert time.monotonic() < began + SECONDS, [
            (machine.command[1:3], machine.starts, machine.errors.read_text()[-2000:]) for machine in working
        ]
        time.sleep(chance.uniform(0.1, 0.6))
        working = [machine for machine in working if not machine.is_done()]
        if kills and working:
            chance.choice(working).kill()
            kills -= 1
        elif server_kills:
            postgres.kill()
            time.sleep(0.2)
            postgres.start()
            server_kills -= 1
    assert sum(machine.starts for machine in everyone) > len(everyone) + 5
    assert contents(lake) == contents(alone)

    home = tmp_path / "label0"
    try:
        keep_in_postgres(home, postgres_words(lake.address))
        labels = LabelLedger(home / LABELS).all()
        assert sorted((label.thread_id, label.labeler_id) for label in labels) == [
            (thread, name) for thread in range(POSTS) for name in ("label0", "label1")
        ]
        check_money(home, [each.said for each in everyone if "spend" in each.command])
        requests = RequestLedger(home / REQUESTS)
        assert requests.left_this_month("x", Allowance(1, PER_MONTH), datetime(2026, 3, 1)) == 0
        asked = sum(len(each.said) for each in everyone if "ask" in each.command)
        assert asked <= PER_MONTH
    finally:
        keep_in_postgres(home, None)


def check_money(home: Path, said: list[list[str]]) -> None:
    """No reservation that was reported is missing or was reported twice, and the sum is what the triggers kept."""
    with AutoLabelLedger(home / AUTO_LABELS) as ledger:
        spent = ledger.spent(month="2026-03")
    assert in_usd(CAP - NANO) < spent.usd <= in_usd(CAP)
    reported = [int(number) for numbers in said for number in numbers]
    assert len(set(reported)) == len(reported)
    connection = connect(home / AUTO_LABELS)
    rows = connection.execute("SELECT id FROM reservations").fetchall()
    (total,) = connection.execute("SELECT nano_usd FROM totals WHERE scope = 'month 2026-03'").fetchone()
    connection.close()
    assert set(reported) <= {number for (number,) in rows}
    assert in_usd(total) == spent.usd
