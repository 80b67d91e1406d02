"""Features of pictures: read once for each content, in a guarded process, and gone with the picture."""

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hostile import drawn, encoded
from picture_world import PictureWorld
from PIL import Image, ImageDraw, ImageFont

from bizcharts_pipeline.images import features as features_module
from bizcharts_pipeline.images.features import FeatureReader, FeatureReport, compute_features
from bizcharts_pipeline.images.structure import PictureRejected
from bizcharts_pipeline.images.withdrawal import block
from bizcharts_pipeline.warehouse.image_features import COLOURS, ImageFeatures, features_of

MAX_PIXELS = 4_000_000
OCR = pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="the extra ocr is not installed")
LINUX = pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def reader() -> Iterator[FeatureReader]:
    with FeatureReader(MAX_PIXELS, "test") as reader:
        yield reader


def line(colour: str, rises: bool) -> bytes:
    image = Image.new("RGB", (250, 180), (240, 240, 240))
    ends = [(5, 150), (245, 30)] if rises else [(5, 30), (245, 150)]
    ImageDraw.Draw(image).line(ends, fill=colour, width=4)
    return encoded(image, "JPEG")


def captioned(text: str, ground: Image.Image) -> bytes:
    ground.thumbnail((250, 250))
    font = ImageFont.load_default(24)
    ImageDraw.Draw(ground).text((12, 12), text, fill="white", stroke_fill="black", stroke_width=2, font=font)
    return encoded(ground, "JPEG")


def noise() -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((320, 240), 90) for _ in range(3)])


def colour(found: ImageFeatures, name: str) -> float:
    return found.colours[COLOURS.index(name)]


def computed(world: PictureWorld, limit: int = 100) -> FeatureReport:
    return compute_features(world.database, world.home, max_pixels=MAX_PIXELS, limit=limit, now=world.now)


def stored(world: PictureWorld) -> dict[str, ImageFeatures]:
    with world.database.read() as connection:
        hashes = [sha256 for (sha256,) in connection.execute("SELECT sha256 FROM thumbnails").fetchall() if sha256]
        return features_of(connection, hashes)


def test_a_rising_green_line_and_a_falling_red_one_are_told_apart(reader: FeatureReader) -> None:
    up, down = reader.read(line("green", rises=True)), reader.read(line("red", rises=False))
    assert (up.kind, down.kind) == ("chart", "chart")
    assert colour(up, "green") > 0.005 > colour(up, "red")
    assert colour(down, "red") > 0.005 > colour(down, "green")
    assert colour(up, "slope") > 0.3 > -0.3 > colour(down, "slope")
    assert not np.array_equal(up.vector, down.vector)
    assert up.vector.min() >= 0
    assert np.isfinite(up.vector).all()


def test_a_picture_without_a_colour_or_of_one_pixel_has_features_too(reader: FeatureReader) -> None:
    for size in ((1, 1), (1, 200), (200, 1)):
        found = reader.read(encoded(Image.new("L", size, 90), "PNG"))
        assert colour(found, "slope") == 0
        assert found.perceptual_hash is None


@OCR
def test_a_caption_is_read_and_makes_a_photo_a_meme(reader: FeatureReader) -> None:
    plain, meme = reader.read(captioned("", noise())), reader.read(captioned("IT IS OVER", noise()))
    assert (plain.kind, plain.ocr_text) == ("photo", "")
    assert meme.kind == "meme"
    assert (meme.ocr_text or "").replace(" ", "") == "ITISOVER"


@OCR
def test_text_that_takes_too_long_to_read_costs_the_text_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "hasty.py"
    folder = Path(features_module.__file__).parent
    script.write_text(
        f"import sys; sys.path.insert(0, {str(folder)!r})\nimport feature_worker\n"
        "feature_worker.READ_SECONDS = 1e-6\nfeature_worker.main(int(sys.argv[1]), int(sys.argv[2]))\n"
    )
    monkeypatch.setattr(features_module, "_WORKER", script)
    with FeatureReader(MAX_PIXELS, "test") as reader:
        found = reader.read(line("green", rises=True))
    assert found.ocr_text is None
    assert colour(found, "green") > 0.005


@LINUX
def test_the_largest_allowed_picture_fits_into_the_process(reader: FeatureReader) -> None:
    assert reader.read(encoded(Image.new("RGBA", (2000, 2000), (10, 200, 30, 128)), "PNG")).kind


def test_what_is_no_picture_is_refused_and_the_next_is_read(reader: FeatureReader) -> None:
    with pytest.raises(PictureRejected, match="cannot be decoded"):
        reader.read(b"no picture")
    assert reader.read(line("green", rises=True)).kind == "chart"


@pytest.mark.slow
def test_each_content_is_read_once_and_a_limited_pass_is_continued_by_the_next(world: PictureWorld) -> None:
    a, b, c = (encoded(drawn(seed), "JPEG") for seed in (1, 2, 3))
    world.poll(world.thread(1, a), world.thread(2, a), world.thread(3, b), world.thread(4, c))
    world.fetch()
    first = computed(world, limit=2)
    assert (sum(first.counts.values()), first.more_waiting, len(stored(world))) == (2, True, 2)
    second = computed(world, limit=2)
    assert (sum(second.counts.values()), second.more_waiting, len(stored(world))) == (1, False, 3)
    assert computed(world).counts == {}


@pytest.mark.slow
def test_another_extractor_reads_all_again(world: PictureWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.poll(world.thread(1, encoded(drawn(1), "JPEG")))
    world.fetch()
    monkeypatch.setattr(features_module, "extractor_version", lambda: "0")
    computed(world)
    monkeypatch.undo()
    computed(world)
    (found,) = stored(world).values()
    assert found.extractor == features_module.extractor_version()


@pytest.mark.slow
@pytest.mark.fault("SIGKILL", stage="image features", expected="each picture has its features after the next run")
def test_a_killed_process_loses_no_picture(world: PictureWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {number: encoded(drawn(number), "JPEG") for number in range(1, 9)}
    world.poll(*(world.thread(number, content) for number, content in pictures.items()))
    world.fetch()
    killed: list[int] = []
    read = FeatureReader.read

    def killing(reader: FeatureReader, content: bytes) -> ImageFeatures:
        pid = reader.pid
        if pid and len(killed) < 2 and len(stored(world)) > 2 * len(killed):
            killed.append(pid)
            threading.Thread(target=lambda: (time.sleep(0.01), os.kill(pid, signal.SIGKILL))).start()
        return read(reader, content)

    monkeypatch.setattr(FeatureReader, "read", killing)
    report = computed(world)
    assert len(killed) == 2
    assert report.problems == ()
    assert len(stored(world)) == 8


def test_a_picture_without_features_is_named_and_not_tried_again(world: PictureWorld) -> None:
    world.poll(world.thread(1, encoded(drawn(1), "JPEG")), world.thread(2, encoded(drawn(2), "JPEG")))
    world.fetch()
    world.files()[0].write_bytes(b"changed")
    report = computed(world)
    assert report.counts["none"] == 1
    assert "its file was changed" in report.problems[0]
    assert len(stored(world)) == 1
    assert computed(world).problems == ()


@pytest.mark.slow
def test_a_file_that_is_not_there_is_named_and_tried_again(world: PictureWorld) -> None:
    content = encoded(drawn(1), "JPEG")
    world.poll(world.thread(1, content))
    world.fetch()
    (file,) = world.files()
    file.unlink()
    assert "cannot be read" in computed(world).problems[0]
    file.write_bytes(content)
    assert computed(world).problems == ()
    assert len(stored(world)) == 1


@pytest.mark.slow
def test_features_go_with_a_blocked_picture_and_stay_with_another_post_of_a_purged_one(world: PictureWorld) -> None:
    a, b = (encoded(drawn(seed), "JPEG") for seed in (1, 2))
    world.poll(world.thread(1, a), world.thread(2, b), world.thread(3, b))
    world.fetch()
    computed(world)
    assert len(stored(world)) == 2
    block(world.database, world.home, 1, "reported", world.now)
    assert len(stored(world)) == 1
    world.later(minutes=1)
    world.poll(world.thread(2, b, file_deleted=True, thumbnail_url=None), world.thread(3, b))
    world.fetch()
    assert world.rows() == {1: "blocked", 2: "purged", 3: "stored"}
    assert len(stored(world)) == 1
    world.later(minutes=1)
    world.poll(world.thread(3, b, file_deleted=True, thumbnail_url=None))
    world.fetch()
    assert stored(world) == {}


def test_without_text_recognition_the_rest_works_and_the_report_says_so(
    world: PictureWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "without.py"
    folder = Path(features_module.__file__).parent
    script.write_text(
        f"import sys; sys.modules['rapidocr'] = None; sys.path.insert(0, {str(folder)!r})\nimport feature_worker\n"
        "feature_worker.main(int(sys.argv[1]), int(sys.argv[2]))\n"
    )
    monkeypatch.setattr(features_module, "_WORKER", script)
    world.poll(world.thread(1, line("green", rises=True)))
    world.fetch()
    report = computed(world)
    assert "rapidocr" in (report.ocr_problem or "")
    (found,) = stored(world).values()
    assert (found.kind, found.ocr_text) == ("chart", None)


@pytest.mark.slow
@OCR
def test_a_coin_that_only_the_picture_names_is_a_mention_and_survives_a_second_pass(world: PictureWorld) -> None:
    content = captioned("$LINK 1000 EOY", Image.new("RGB", (400, 300), "grey"))
    world.poll(world.thread(1, content), world.thread(2, encoded(drawn(1), "JPEG")))
    world.fetch()
    assert (computed(world).coins, computed(world).coins) == (1, 0)
    with world.database.read() as connection:
        rows = connection.execute("SELECT thread_id, coin_symbol, confidence, mention_source FROM coin_mentions")
        assert rows.fetchall() == [(1, "LINK", 0.8, "image")]
