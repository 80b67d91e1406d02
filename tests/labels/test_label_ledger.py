import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bizcharts_pipeline.core.ledgers import connect
from bizcharts_pipeline.labels.ledger import GoldPost, Label, LabelLedger, LedgerError, ledger_threads

NOON = datetime(2026, 3, 1, 12)
BULLISH = Label(1, 3, "ann", NOON, seconds=2.5, notes="ok \ud800", text_snapshot="buy", image_url_snapshot="u")
EVERYTHING = replace(
    BULLISH,
    notes="",
    posted_at=NOON - timedelta(days=1),
    subject_snapshot="/smg/",
    flag="irony",
    session="morning",
    stratum="random",
    probability=0.25,
    suggestion="bearish",
    image_visible=False,
)
FIRST_VERSION = """
CREATE TABLE labels (
    id INTEGER PRIMARY KEY, thread_id INTEGER NOT NULL, sentiment_rating INTEGER CHECK (sentiment_rating IN (1, 2, 3)),
    labeler_id TEXT NOT NULL, labeled_at TEXT NOT NULL, seconds REAL,
    skipped INTEGER NOT NULL CHECK (skipped = (sentiment_rating IS NULL)), notes TEXT, text_snapshot TEXT,
    image_url_snapshot TEXT, origin TEXT NOT NULL, UNIQUE (thread_id, labeler_id, labeled_at, origin)
);
INSERT INTO labels VALUES (1, 1, 3, 'ann', '2026-03-01T12:00:00.000000', 2.5, 0, NULL, 'buy', 'u', 'labeller');
"""


IN_FILES = pytest.mark.parametrize("home", ["files"], indirect=True)


@pytest.fixture
def ledger(home: Path) -> LabelLedger:
    return LabelLedger(home / "ledgers" / "labels.sqlite")


def again(ledger: LabelLedger) -> LabelLedger:
    """The ledger as a restarted program sees it."""
    return LabelLedger(Path(str(ledger.path)))


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_what_is_appended_comes_back_whole(ledger: LabelLedger) -> None:
    skipped = Label(2, None, "ann", NOON + timedelta(microseconds=1), skipped=True)
    assert ledger.append([BULLISH, skipped, replace(EVERYTHING, thread_id=3)]) == 3
    assert ledger.all() == [replace(BULLISH, notes="ok ?"), skipped, replace(EVERYTHING, thread_id=3)]
    assert ledger.count() == 3


def test_importing_again_adds_nothing(ledger: LabelLedger) -> None:
    assert ledger.append([BULLISH, BULLISH]) == 1
    assert ledger.append([BULLISH, replace(BULLISH, origin="posts.db")]) == 1
    assert ledger.count() == 2


def test_the_newest_of_each_labeller_counts_whatever_the_order_of_arrival(ledger: LabelLedger) -> None:
    later = replace(BULLISH, sentiment_rating=1, labeled_at=NOON + timedelta(hours=1))
    other = replace(BULLISH, labeler_id="bob")
    ledger.append([later, BULLISH, other])
    assert [(label.labeler_id, label.sentiment_rating) for label in ledger.newest()] == [
        ("ann", 1),
        ("bob", 3),
    ]
    assert ledger.count() == 3


@pytest.mark.parametrize(
    "bad",
    [
        replace(BULLISH, sentiment_rating=4),
        replace(BULLISH, sentiment_rating=None),
        replace(BULLISH, skipped=True),
        replace(BULLISH, labeler_id=""),
        replace(BULLISH, labeled_at=datetime.fromisoformat("2026-03-01T12:00:00+01:00")),
        replace(BULLISH, flag="spam"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_label_is_refused_with_its_whole_batch(ledger: LabelLedger, bad: Label) -> None:
    with pytest.raises(LedgerError, match="Thread 1"):
        ledger.append([replace(BULLISH, thread_id=2), bad])
    assert ledger.count() == 0


def test_rows_are_never_changed_or_deleted(ledger: LabelLedger) -> None:
    ledger.append([BULLISH])
    ledger.freeze_gold([GoldPost(1, "2026-02", NOON)])
    with closing(connect(ledger.path)) as connection:
        for table, change in (("labels", "sentiment_rating = 1"), ("gold", "period = '2026-03'")):
            for statement in (f"UPDATE {table} SET {change}", f"DELETE FROM {table}"):
                with pytest.raises(sqlite3.IntegrityError, match=r"append-only|frozen"):
                    connection.execute(statement)


def test_gold_once_frozen_keeps_its_period_and_time(ledger: LabelLedger) -> None:
    assert ledger.freeze_gold([GoldPost(2, "2026-02", NOON), GoldPost(1, "2026-01", NOON)]) == 2
    assert ledger.freeze_gold([GoldPost(2, "2026-03", NOON + timedelta(days=1)), GoldPost(3, "2026-02", NOON)]) == 1
    assert again(ledger).gold() == [
        GoldPost(1, "2026-01", NOON),
        GoldPost(2, "2026-02", NOON),
        GoldPost(3, "2026-02", NOON),
    ]


def test_undo_takes_back_one_label_after_another_through_restarts(ledger: LabelLedger) -> None:
    mine = [replace(EVERYTHING, thread_id=number, labeled_at=NOON + timedelta(seconds=number)) for number in (1, 2, 3)]
    other, imported = replace(EVERYTHING, labeler_id="bob"), replace(EVERYTHING, thread_id=9, origin="labels.csv")
    ledger.append([*mine, other, imported])
    assert again(ledger).undo("ann", NOON) == mine[2]
    assert again(ledger).undo("ann", NOON) == mine[1]
    assert ledger.newest() == [mine[0], other, imported]
    ledger.append([replace(mine[1], labeled_at=NOON + timedelta(minutes=1))])
    assert [again(ledger).undo("ann", NOON) for _ in range(3)] == [
        replace(mine[1], labeled_at=NOON + timedelta(minutes=1)),
        mine[0],
        None,
    ]
    assert ledger.standing() == [other, imported]
    assert ledger.count() == 6  # what was taken back stays in the history
    assert ledger.append(mine) == 0  # and does not come back by an import
    assert ledger.standing() == [other, imported]


def test_undoing_a_relabel_shows_the_earlier_label_again(ledger: LabelLedger) -> None:
    ledger.append([BULLISH, replace(BULLISH, sentiment_rating=1, labeled_at=NOON + timedelta(hours=1))])
    assert [label.sentiment_rating for label in ledger.newest()] == [1]
    ledger.undo("ann", NOON)
    assert [label.sentiment_rating for label in ledger.newest()] == [3]


def test_the_threads_of_the_ledger_are_those_of_labels_that_stand(tmp_path: Path) -> None:
    ledger = LabelLedger(tmp_path / "ledgers" / "labels.sqlite")
    skipped = Label(2, None, "ann", NOON, skipped=True)
    ledger.append([replace(EVERYTHING, thread_id=3), skipped, EVERYTHING])
    ledger.undo("ann", NOON)
    assert ledger_threads(tmp_path, skipped=True) == [2, 3]
    assert ledger_threads(tmp_path, skipped=False) == [3]


@IN_FILES
def test_processes_append_at_once_to_a_ledger_that_none_has_made(ledger: LabelLedger) -> None:
    program = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
ledger = LabelLedger(Path(sys.argv[1]))
for number in range(20):
    assert ledger.append([Label(number, 2, sys.argv[2], datetime(2026, 1, 1))]) == 1
"""
    workers = [start(program, str(ledger.path), str(number)) for number in range(6)]
    for worker in workers:
        assert worker.communicate(timeout=60)[1] == ""
    assert ledger.count() == 120


def test_processes_that_open_a_ledger_of_the_first_version_at_once_bring_it_up_to_date(tmp_path: Path) -> None:
    ledgers = [LabelLedger(tmp_path / f"{number}.sqlite") for number in range(10)]
    for ledger in ledgers:
        connection = sqlite3.connect(ledger.path)
        connection.executescript(FIRST_VERSION)
        connection.close()
    program = """
import sys
from datetime import datetime
from pathlib import Path
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
print("ready", flush=True)
sys.stdin.readline()
for path in sys.argv[2:]:
    label = Label(2, 2, sys.argv[1], datetime(2026, 1, 1), flag="irony", stratum="random")
    assert LabelLedger(Path(path)).append([label]) == 1
"""
    pipe, names = subprocess.PIPE, ("ann", "bob", "cat")
    paths = [str(ledger.path) for ledger in ledgers]
    workers = [
        subprocess.Popen([sys.executable, "-c", program, name, *paths], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for name in names
    ]
    assert [worker.stdout and worker.stdout.readline() for worker in workers] == ["ready\n"] * 3
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [worker.communicate(timeout=60)[1] for worker in workers] == [""] * 3
    for ledger in ledgers:
        assert ledger.newest() == [
            Label(1, 3, "ann", NOON, seconds=2.5, text_snapshot="buy", image_url_snapshot="u"),
            *(Label(2, 2, name, datetime(2026, 1, 1), flag="irony", stratum="random") for name in names),
        ]
        assert ledger.undo("ann", NOON)
        connection = sqlite3.connect(ledger.path)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("DELETE FROM labels")
        connection.close()


@IN_FILES
def test_a_ledger_of_the_second_version_keeps_ids_and_what_was_taken_back_and_its_imports_can_be_undone(
    ledger: LabelLedger,
) -> None:
    ledger.path.parent.mkdir(parents=True)
    connection = sqlite3.connect(ledger.path)
    connection.executescript(FIRST_VERSION)
    connection.executescript(
        """
        ALTER TABLE labels ADD COLUMN flag TEXT CHECK (flag IN ('irony', 'not crypto', 'unreadable', 'illegal'));
        CREATE TABLE undone (label_id INTEGER PRIMARY KEY REFERENCES labels, undone_at TEXT NOT NULL);
        CREATE TABLE gold (thread_id INTEGER PRIMARY KEY, period TEXT NOT NULL, frozen_at TEXT NOT NULL);
        CREATE TRIGGER labels_are_never_deleted BEFORE DELETE ON labels BEGIN SELECT raise(ABORT, 'append-only'); END;
        INSERT INTO labels SELECT 7, 7, 1, 'ann', labeled_at, 1, 0, 'n', 't', 'u', 'labeller', 'irony' FROM labels;
        INSERT INTO labels SELECT 9, 9, 2, 'bob', labeled_at, 1, 0, 'n', 't', 'u', 'a.csv', NULL FROM labels LIMIT 1;
        INSERT INTO undone VALUES (7, '2026-03-01T12:00:00.000000');
        PRAGMA user_version = 2;
        """
    )
    connection.close()
    assert [(label.thread_id, label.flag, label.origin) for label in ledger.all()] == [
        (1, None, "labeller"), (7, "irony", "labeller"), (9, None, "a.csv"),
    ]  # fmt: skip
    assert [label.thread_id for label in ledger.standing()] == [1, 9]
    (earlier,) = ledger.imports()
    assert (earlier.file, earlier.imported_at, earlier.labels) == ("a.csv", None, 1)
    assert ledger.retract(earlier.import_id, NOON)
    assert [label.thread_id for label in again(ledger).standing()] == [1]


@IN_FILES
def test_a_ledger_of_a_newer_version_is_left_alone(ledger: LabelLedger) -> None:
    ledger.append([BULLISH])
    connection = sqlite3.connect(ledger.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match="update BizCharts"):
        ledger.append([replace(BULLISH, thread_id=2)])


def test_a_restored_ledger_brings_no_label_of_an_undone_import_back(ledger: LabelLedger) -> None:
    imported = replace(BULLISH, origin="a.csv")
    record = ledger.add_import("a.csv", [imported], NOON, scale="1-3", known=0, rejected=0)
    assert record
    assert ledger.append([imported]) == 0
    ledger.retract(record.import_id, NOON)
    assert ledger.append([imported]) == 0
    assert ledger.standing() == []


@IN_FILES
@pytest.mark.fault("SIGKILL", stage="labeller", expected="every confirmed label is there")
def test_a_kill_loses_nothing_that_was_said_to_be_written(ledger: LabelLedger) -> None:
    program = """
import sys
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
ledger = LabelLedger(Path(sys.argv[1]))
with ledger.kept_open():
    for number in count(1):
        ledger.append([Label(number, 1 + number % 3, "ann", datetime(2026, 1, 1))])
        print(number, flush=True)
        if number % 5 == 0:
            ledger.undo("ann", datetime(2026, 1, 1))
            print(-number, flush=True)
"""
    worker = start(program, str(ledger.path))
    assert worker.stdout
    said = [int(worker.stdout.readline()) for _ in range(80)]
    os.kill(worker.pid, signal.SIGKILL)
    said += [int(line) for line in worker.communicate(timeout=60)[0].splitlines() if line.lstrip("-").isdigit()]
    written = {label.thread_id for label in ledger.all()}
    standing = {label.thread_id for label in ledger.standing()}
    assert written >= {number for number in said if number > 0}
    assert standing.isdisjoint(-number for number in said if number < 0)
    assert len(written) <= max(said) + 1


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.sqlite").write_text("not a ledger" * 1000)
    with pytest.raises(LedgerError, match=r"labels\.sqlite"):
        LabelLedger(tmp_path / "labels.sqlite").count()
