"""What the main chart marks beside the figures, read from a real database."""

from pathlib import Path

from app_world import DAY, HOUR, MODEL, NOW, hour_row
from published_rows import insert_index

from bizcharts_pipeline.app.queries.index import hours
from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.model_previews import SWITCHED, ModelPreview, append_preview
from bizcharts_pipeline.warehouse.values import literal


def test_outages_and_hours_computed_afterwards_are_stretches_of_time(home: Path) -> None:
    database = DatabaseFile(home / "bizcharts.duckdb", 20)
    hour = NOW.replace(minute=0)
    polls = (NOW - 9 * HOUR, NOW - 4 * HOUR, NOW - 3 * HOUR)
    again = [hour - 20 * HOUR, hour - 19 * HOUR, hour - 7 * HOUR]
    with database.write() as connection:
        connection.execute("DELETE FROM catalog_snapshots")
        for at in polls:
            connection.execute(
                f"INSERT INTO catalog_snapshots BY NAME SELECT {literal(at)} AS snapshot_at, FALSE AS not_modified"
            )
        insert_index(
            connection,
            [hour_row(start, computed_at=hour - HOUR, model_version="b", basis="reconstructed") for start in again],
        )
    found = hours(database, NOW - DAY, NOW, None)
    assert found.outages == ((to_epoch(polls[0]), to_epoch(polls[1])),)
    assert found.afterwards == (
        (to_epoch(again[0]), to_epoch(again[1] + HOUR)),
        (to_epoch(again[2]), to_epoch(again[2] + HOUR)),
    )
    earlier = hours(database, NOW - DAY, NOW, NOW - 5 * HOUR)
    assert (earlier.outages, earlier.afterwards) == ((), ())


def test_the_chart_marks_when_readers_first_saw_another_models_values(home: Path) -> None:
    database = DatabaseFile(home / "bizcharts.duckdb", 20)
    switched, published = NOW - 5 * HOUR, NOW - 3 * HOUR
    with database.write() as connection:
        preview = ModelPreview(switched, "tfidf-9", MODEL, SWITCHED, None, shift=-6.6)
        append_preview(connection, preview)
        again = [hour_row(NOW - hours * HOUR, computed_at=published, model_version="tfidf-9") for hours in (6, 5)]
        insert_index(connection, again)
    start = NOW.replace(minute=0) - 4 * HOUR
    assert hours(database, start, NOW, None).switches == ((to_epoch(published), "tfidf-9 (\u22127)"),)
    assert hours(database, start, NOW, NOW - 4 * HOUR).switches == ()
