"""The perceptual hash tells copies from different pictures."""

from datetime import datetime
from io import BytesIO
from itertools import combinations

from hostile import drawn, encoded
from PIL import Image

from bizcharts_pipeline.demo.pictures import picture, plan_of
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.images.worker import perceptual_hash
from bizcharts_pipeline.warehouse.pictures import NEAR_BITS


def bits(image: Image.Image) -> int:
    found = perceptual_hash(image)
    assert found is not None
    return int(found, 16)


def copies(image: Image.Image) -> list[Image.Image]:
    width, height = image.size
    return [
        Image.open(BytesIO(encoded(image, "JPEG", quality=60))),
        Image.open(BytesIO(encoded(image, "JPEG", quality=40))),
        image.resize((width // 2, height // 2)),
        image.resize((width * 3 // 2, height * 3 // 2)),
        image.crop((2, 2, width - 2, height - 2)),
    ]


def test_copies_of_a_chart_are_near_it_and_other_charts_are_not() -> None:
    start = datetime(2026, 1, 1)
    threads = World(3, start, 2).threads_between(start, datetime(2026, 1, 2))
    threads = [thread for thread in threads if plan_of(thread).kind == "chart"][:150]
    charts = [Image.open(BytesIO(picture(thread, "thumbnail"))).convert("RGB") for thread in threads]
    hashes = [bits(chart) for chart in charts]
    near = [
        (bits(copy) ^ known).bit_count() <= NEAR_BITS
        for chart, known in zip(charts[:60], hashes, strict=False)
        for copy in copies(chart)
    ]
    assert sum(near) / len(near) > 0.97
    assert all((one ^ other).bit_count() > NEAR_BITS for one, other in combinations(hashes, 2))


def test_a_picture_of_one_tone_has_no_hash_that_could_match_another() -> None:
    assert perceptual_hash(Image.new("RGB", (100, 80), "white")) is None
    assert perceptual_hash(Image.new("RGB", (100, 80), (40, 40, 41))) is None
    assert perceptual_hash(drawn()) is not None
