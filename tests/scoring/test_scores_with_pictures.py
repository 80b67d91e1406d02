"""A post is scored at once without its picture's features, and again when they are there."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from training.pictured_posts import features, pictured

from bizcharts_pipeline.core.rows import PreparedThread, SourceThread
from bizcharts_pipeline.models.registry import as_row, fit_and_publish
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.new_posts import score_new_posts
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.training.recipes.image import ImageRecipe
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.image_features import save_features
from bizcharts_pipeline.warehouse.models import promote
from bizcharts_pipeline.warehouse.pictures import PictureRow, record_picture
from bizcharts_pipeline.warehouse.threads import merge_threads

NOON = datetime(2026, 1, 2, 12)
SHA256 = "a" * 64
BLIND, SEEING = "image (without picture)", "image"


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    """A board with two posts with pictures, read by an image model."""
    database = DatabaseFile(tmp_path / "bizcharts.duckdb")
    model = as_row(fit_and_publish(ImageRecipe(), pictured(90), "made up", tmp_path, 1), NOON)
    threads = [
        PreparedThread(SourceThread(n, NOON, "live", op_html="gm", thumbnail_url=f"u{n}"), "gm", None, 0.0, ())
        for n in (1, 2)
    ]
    with database.write() as connection:
        promote(connection, replace(model, status="champion"))
        merge_threads(connection, threads, ingested_at=NOON, seen_at=NOON)
    return database


@pytest.fixture
def store(database: DatabaseFile) -> Callable[..., None]:
    def store(thread: int, status: str = "stored", sha256: str = SHA256) -> None:
        with database.write() as connection:
            path = "images/a.jpg" if status == "stored" else None
            record_picture(connection, PictureRow(thread, "thumbnail", status, NOON, path=path, sha256=sha256))

    return store


def tick(database: DatabaseFile) -> dict[int, tuple[str, str | None]]:
    """Score what can be scored; return method and what each score waits for."""
    score_new_posts(database, champion_scorer(database, Place(database.path.parent), NOON), limit=500, now=NOON)
    with database.read() as connection:
        rows = connection.execute("SELECT thread_id, method, waits_for FROM scored_posts").fetchall()
    return {thread: (method, waits_for) for thread, method, waits_for in rows}


def compute(database: DatabaseFile, found: object = None) -> None:
    with database.write() as connection:
        save_features(connection, SHA256, "test", features(2, 7) if found is None else str(found), NOON)


def bullish(database: DatabaseFile, thread: int) -> float:
    with database.read() as connection:
        return connection.execute(f"SELECT p_bullish FROM scored_posts WHERE thread_id = {thread}").fetchall()[0][0]


def test_a_post_is_scored_again_when_the_features_of_its_picture_are_there(
    database: DatabaseFile, store: Callable[..., None]
) -> None:
    assert tick(database) == {1: (BLIND, "features"), 2: (BLIND, "features")}
    store(1)
    assert tick(database)[1] == (BLIND, "features")
    before = bullish(database, 1)
    compute(database)
    assert tick(database) == {1: (SEEING, None), 2: (BLIND, "features")}
    assert bullish(database, 1) > before + 0.2


def test_features_of_an_expired_picture_still_count_and_those_of_another_status_are_not_awaited(
    database: DatabaseFile, store: Callable[..., None]
) -> None:
    store(1, "expired")
    store(2, "rejected", sha256="b" * 64)
    compute(database)
    assert tick(database) == {1: (SEEING, None), 2: (BLIND, None)}


def test_a_picture_without_features_keeps_the_score_without_them(
    database: DatabaseFile, store: Callable[..., None]
) -> None:
    store(1)
    compute(database, "it crashed the reader")
    assert tick(database)[1] == tick(database)[1] == (BLIND, "features")
