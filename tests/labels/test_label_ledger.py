import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bizcharts_pipeline.labels.ledger import Label, LabelLedger, LedgerError

NOON = datetime(2026, 3, 1, 12)
BULLISH = Label(1, 3, "ann", NOON, seconds=2.5, notes="ok \ud800", text_snapshot="buy", image_url_snapshot="u")


@pytest.fixture
def ledger(tmp_path: Path) -> LabelLedger:
    return LabelLedger(tmp_path / "ledgers" / "labels.sqlite")


def test_what_is_appended_comes_back_whole(ledger: LabelLedger) -> None:
    skipped = Label(2, None, "ann", NOON + timedelta(microseconds=1), skipped=True)
    assert ledger.append([BULLISH, skipped]) == 2
    assert ledger.all() == [replace(BULLISH, notes="ok ?"), skipped]
    assert ledger.count() == 2


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
    ],
)
def test_what_is_no_label_is_refused_with_its_whole_batch(ledger: LabelLedger, bad: Label) -> None:
    with pytest.raises(LedgerError, match="Thread 1"):
        ledger.append([replace(BULLISH, thread_id=2), bad])
    assert ledger.count() == 0


def test_rows_are_never_changed_or_deleted(ledger: LabelLedger) -> None:
    ledger.append([BULLISH])
    connection = sqlite3.connect(ledger.path)
    for change in ("UPDATE labels SET sentiment_rating = 1", "DELETE FROM labels"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(change)
    connection.close()


def test_processes_append_at_once_to_a_ledger_that_none_has_made(ledger: LabelLedger) -> None:
    program = f"""
import sys
from datetime import datetime, timedelta
from pathlib import Path
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
ledger = LabelLedger(Path({str(ledger.path)!r}))
for number in range(20):
    assert ledger.append([Label(number, 2, sys.argv[1], datetime(2026, 1, 1))]) == 1
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", program, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(6)
    ]
    for worker in workers:
        assert worker.communicate(timeout=60)[1] == ""
    assert ledger.count() == 120


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.sqlite").write_text("not a ledger" * 1000)
    with pytest.raises(LedgerError, match=r"labels\.sqlite"):
        LabelLedger(tmp_path / "labels.sqlite").count()
