"""The asset: counts, named problems, and a run that one bad picture does not fail."""

import logging
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import dagster as dg
import pytest
from hostile import HTML, drawn, encoded
from picture_world import NOON, PictureWorld

from assets.image_features import image_features
from assets.thumbnails import thumbnails
from bizcharts_pipeline.images.features import extractor_version
from resources.images import Images
from resources.warehouse import Warehouse


def resources(world: PictureWorld) -> dict[str, Any]:
    return {
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


@pytest.mark.slow
def test_a_run_says_what_became_of_every_picture(world: PictureWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_NOW", (NOON + timedelta(minutes=1)).isoformat())
    world.poll(
        world.thread(1, encoded(drawn(), "JPEG")),
        world.thread(2, HTML),
        world.thread(3, thumbnail_url="https://elsewhere.example/3s.jpg"),
    )
    result = dg.materialize([thumbnails, image_features], resources=resources(world))
    metadata = result.asset_materializations_for_node("thumbnails")[0].metadata
    shown = {name: value.value for name, value in metadata.items()}
    assert (shown["pictures: stored"], shown["pictures: rejected"], shown["pictures: foreign"]) == (1, 1, 1)
    assert shown["all_pictures_by_status"] == {"foreign": 1, "rejected": 1, "stored": 1}
    named = [problem.split(":")[0] for problem in str(shown["problems"]).splitlines()]
    assert named == ["thread 3 (thumbnail)", "thread 2 (thumbnail)"]
    assert world.rows()[1] == "stored"
    features = result.asset_materializations_for_node("image_features")[0].metadata
    kinds = features["all_pictures_by_kind"].value
    assert isinstance(kinds, dict)
    assert (sum(kinds.values()), "none" in kinds) == (1, False)
    assert features["extractor"].value == extractor_version()
    assert ("text_is_not_read" in features) == (find_spec("rapidocr") is None)


def test_a_host_that_is_left_alone_is_named_in_the_log(world: PictureWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_NOW", (NOON + timedelta(minutes=1)).isoformat())
    world.poll(world.thread(1, encoded(drawn(), "JPEG")))
    world.board.retry_after = "1000000000"
    world.board.fail_next("429")
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([thumbnails], resources=resources(world), instance=instance)
        logged = instance.all_logs(result.run_id)
    assert result.success
    warned = [entry.user_message for entry in logged if entry.level == logging.WARNING]
    assert any(f"{world.board.url} is skipped for now" in message for message in warned)
