"""The label ledger as tables."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bizcharts_pipeline.labels.ledger import LEDGER, GoldPost, Label, LabelLedger
from bizcharts_pipeline.labels.projection import materialise_gold, materialise_labels
from bizcharts_pipeline.labels.transfer import import_labels
from bizcharts_pipeline.settings import LabellingSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.labels import LABEL_COLUMNS, invalid_labels, labellers, stored_labels

NOON = datetime(2026, 3, 1, 12)
LABEL = Label(
    1, 3, "ann", NOON + timedelta(microseconds=1), 2.5, False, "it's \0 fine", "", "u", "labeller",
    NOON, "/smg/", "irony", "morning", "random", 0.25, "bearish",
)  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    return DatabaseFile(tmp_path / "bizcharts.duckdb")


@pytest.fixture
def ledger(tmp_path: Path) -> LabelLedger:
    return LabelLedger(tmp_path / LEDGER)


def stored(database: DatabaseFile) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return sorted(stored_labels(connection))


def test_the_columns_of_the_table_and_the_fields_of_a_label_are_one_list(database: DatabaseFile) -> None:
    with database.read() as connection:
        columns = connection.execute("SELECT column_name, column_type FROM (DESCRIBE training_labels)").fetchall()
    assert columns == list(LABEL_COLUMNS.items())
    assert len(LABEL.values()) == len(columns)


def test_a_label_arrives_with_every_value(database: DatabaseFile, ledger: LabelLedger) -> None:
    skipped = Label(2, None, "ann", NOON, skipped=True)
    ledger.append([LABEL, skipped])
    report = materialise_labels(database, ledger, NOON)
    assert (report.labels, report.added, report.removed, report.of_the_future) == (2, 2, 0, 1)
    assert stored(database) == [replace(LABEL, notes="it's \ufffd fine").values(), skipped.values()]


def test_the_table_follows_the_ledger_through_relabels_and_undo_and_a_repeat_changes_nothing(
    database: DatabaseFile, ledger: LabelLedger
) -> None:
    relabel = replace(LABEL, sentiment_rating=1, labeled_at=NOON + timedelta(days=1), notes=None)
    ledger.append([replace(LABEL, notes=None), relabel])
    assert materialise_labels(database, ledger, NOON).added == 2
    again = materialise_labels(database, ledger, NOON)
    assert (again.labels, again.added, again.removed) == (2, 0, 0)
    ledger.undo("ann", NOON)
    undone = materialise_labels(database, ledger, NOON)
    assert (undone.labels, undone.added, undone.removed, undone.taken_back) == (1, 0, 1, 1)
    assert stored(database) == [replace(LABEL, notes=None).values()]
    assert ledger.count() == 2


def test_whatever_else_stands_in_the_table_gives_way_to_the_ledger(database: DatabaseFile, ledger: LabelLedger) -> None:
    ledger.append([replace(LABEL, notes=None)])
    materialise_labels(database, ledger, NOON)
    with database.write() as connection:
        connection.execute("INSERT INTO training_labels SELECT * FROM training_labels")
        connection.execute("UPDATE training_labels SET sentiment_rating = 2, text_snapshot = 'else'")
        connection.execute("INSERT INTO training_labels (thread_id, labeler_id, labeled_at) VALUES (9, 'bob', now())")
        assert len(invalid_labels(connection)) == 2
    report = materialise_labels(database, ledger, NOON)
    assert (report.added, report.removed) == (1, 3)
    assert stored(database) == [replace(LABEL, notes=None).values()]


def test_gold_is_what_the_ledger_has(database: DatabaseFile, ledger: LabelLedger) -> None:
    ledger.freeze_gold([GoldPost(2, "2026-02", NOON)])
    assert materialise_labels(database, ledger, NOON).gold == 1
    ledger.freeze_gold([GoldPost(1, "2026-03", NOON)])
    assert materialise_gold(database, ledger) == 2
    with database.read() as connection:
        assert connection.execute("FROM gold_split ORDER BY 1").fetchall() == [
            (1, "2026-03", NOON),
            (2, "2026-02", NOON),
        ]


def test_many_labels_arrive_and_are_counted_by_labeller(database: DatabaseFile, ledger: LabelLedger) -> None:
    ledger.append([Label(n, 1 + n % 3, "ann", NOON + timedelta(seconds=n)) for n in range(12_000)])
    ledger.append([Label(n, 1, "ann", NOON + timedelta(days=1)) for n in range(3)])
    assert materialise_labels(database, ledger, NOON).added == 12_003
    with database.read() as connection:
        assert labellers(connection).rows == [("ann", 12_000, 4002, 3999, 3999, 0, "2026-03-02 12:00")]


@pytest.mark.slow
def test_the_asset_shows_the_real_labels_and_passes_its_checks(
    tmp_path: Path, ledger: LabelLedger, database: DatabaseFile, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assets import label_checks
    from assets.human_labels import human_labels
    from resources.labelling import Labelling
    from resources.warehouse import Warehouse

    monkeypatch.setenv("BIZCHARTS_NOW", NOON.isoformat())
    import_labels(shared_data / "labels" / "biz_op_labels_2025_part_a.jsonl", ledger, tmp_path)
    resources = {
        "warehouse": Warehouse(database=str(database.path)),
        "labelling": Labelling(home=str(tmp_path), values=LabellingSettings().model_dump()),
    }
    checks = dg.load_asset_checks_from_modules([label_checks])
    for added, gold in ((672, 150), (0, 150)):
        result = dg.materialize([human_labels, *checks], resources=resources)
        metadata = result.asset_materializations_for_node("human_labels")[0].metadata
        shown = {name: value.value for name, value in metadata.items()}
        assert [shown[f"posts: {name}"] for name in ("bearish", "neutral", "bullish")] == [233, 319, 120]
        assert (shown["labels_added"], shown["gold_posts"]) == (added, gold)
        assert "default" in str(shown["labellers"])
        assert {check.check_name for check in result.get_asset_check_evaluations() if check.passed} == {
            "labels_are_valid",
            "gold_is_the_ledgers",
            "labels_are_of_the_past",
        }
    with database.write() as connection:
        connection.execute("DELETE FROM gold_split WHERE thread_id = (SELECT max(thread_id) FROM gold_split)")
        connection.execute("UPDATE training_labels SET sentiment_rating = 7 WHERE thread_id = 61061608")
    assert not label_checks.labels_are_valid(resources["warehouse"]).passed
    assert not label_checks.gold_is_the_ledgers(**resources).passed
