"""How people labelled posts with nearly the same picture."""

from datetime import datetime, timedelta
from pathlib import Path

from labelled_world import NOW, LabelledWorld, made_up

from bizcharts_pipeline.warehouse.image_neighbours import PictureLabels, labels_of_pictures
from bizcharts_pipeline.warehouse.pictures import PictureRow, record_picture

SAME, NEAR, FAR = "00000000000000ff", "00000000000000f0", "ffffffff00000000"


def found(world: LabelledWorld, thread: int, as_of: datetime | None = None) -> PictureLabels | None:
    with world.database.read() as connection:
        return labels_of_pictures(connection, [thread], as_of).get(thread)


def test_labels_of_other_posts_with_nearly_the_same_picture_are_counted(tmp_path: Path) -> None:
    world = LabelledWorld(tmp_path)
    hashes = {1: SAME, 2: SAME, 3: NEAR, 4: FAR, 5: SAME, 6: None, 7: SAME}
    with world.database.write() as connection:
        for thread, hash in hashes.items():
            record_picture(connection, PictureRow(thread, "thumbnail", "stored", NOW, perceptual_hash=hash))
    hour = timedelta(hours=1)
    world.label(made_up([1], sentiment_rating=3))
    world.label(made_up([2], sentiment_rating=3))
    world.label(made_up([2], sentiment_rating=1, labeled_at=NOW + hour))  # this labeller changed their mind
    world.label(made_up([2, 3], sentiment_rating=1, labeler_id="bob"))
    world.label(made_up([4, 6], sentiment_rating=2))
    world.label(made_up([5], sentiment_rating=None, skipped=True))
    assert found(world, 1) == PictureLabels(bearish=3, neutral=0, bullish=0)
    assert found(world, 7) == PictureLabels(bearish=3, neutral=0, bullish=1)
    assert found(world, 1, NOW) == PictureLabels(bearish=2, neutral=0, bullish=1)
    assert str(found(world, 7)) == "this picture was labelled 4 times: 3 bearish, 1 bullish"
    assert found(world, 4) is None
    assert found(world, 6) is None
