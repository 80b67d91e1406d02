"""The asset: counts, named problems, and a run that one bad picture does not fail."""

from datetime import timedelta

import dagster as dg
import pytest
from hostile import HTML, drawn, encoded
from picture_world import NOON, PictureWorld

from assets.thumbnails import thumbnails
from resources.images import Images
from resources.warehouse import Warehouse


def test_a_run_says_what_became_of_every_picture(world: PictureWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_NOW", (NOON + timedelta(minutes=1)).isoformat())
    world.poll(
        world.thread(1, encoded(drawn(), "JPEG")),
        world.thread(2, HTML),
        world.thread(3, thumbnail_url="https://elsewhere.example/3s.jpg"),
    )
    resources = {
        "warehouse": Warehouse(database=str(world.database.path)),
        "images": Images(
            home=str(world.home),
            board="biz",
            api_url=world.board.url,
            image_url=world.board.url,
            archive_image_url=world.archive.url,
            seconds_per_request=0,
            archive_seconds_per_request=0,
            values=world.settings.model_dump(),
        ),
    }
    result = dg.materialize([thumbnails], resources=resources)
    metadata = result.asset_materializations_for_node("thumbnails")[0].metadata
    shown = {name: value.value for name, value in metadata.items()}
    assert (shown["pictures: stored"], shown["pictures: rejected"], shown["pictures: foreign"]) == (1, 1, 1)
    assert shown["all_pictures_by_status"] == {"foreign": 1, "rejected": 1, "stored": 1}
    named = [problem.split(":")[0] for problem in str(shown["problems"]).splitlines()]
    assert named == ["thread 3 (thumbnail)", "thread 2 (thumbnail)"]
    assert world.rows()[1] == "stored"
