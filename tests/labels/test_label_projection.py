"""The table of labels beside the ledger."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bizcharts_pipeline.labels.ledger import Label, LabelLedger
from bizcharts_pipeline.labels.projection import materialise_labels
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

NOON = datetime(2026, 3, 1, 12)
NEWEST = """
SELECT thread_id, labeler_id, arg_max(sentiment_rating, labeled_at) FROM training_labels GROUP BY ALL ORDER BY ALL
"""
LABELS = st.builds(
    Label,
    thread_id=st.integers(1, 2),
    sentiment_rating=st.integers(1, 3),
    labeler_id=st.sampled_from(["ann", "bob"]),
    labeled_at=st.integers(0, 2).map(lambda microseconds: NOON + timedelta(microseconds=microseconds)),
    origin=st.sampled_from(["labeller", "a.csv", "b.csv"]),
)


@pytest.mark.slow
@settings(max_examples=8)
@given(st.lists(LABELS, min_size=1, max_size=12))
@example([Label(1, 1, "ann", NOON, origin="a.csv"), Label(1, 3, "ann", NOON, origin="b.csv")])
@example([Label(1, 1, "ann", NOON, origin="b.csv"), Label(1, 3, "ann", NOON, origin="a.csv")])
def test_the_newest_label_in_the_table_is_the_ledgers_also_of_one_moment(labels: list[Label]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger, database = LabelLedger(Path(folder) / "labels.sqlite"), DatabaseFile(Path(folder) / "bizcharts.duckdb")
        ledger.append(labels)
        materialise_labels(database, ledger, NOON)
        newest = [(label.thread_id, label.labeler_id, label.sentiment_rating) for label in ledger.newest()]
        with database.read() as connection:
            assert connection.execute(NEWEST).fetchall() == newest
        assert materialise_labels(database, ledger, NOON).added == 0
