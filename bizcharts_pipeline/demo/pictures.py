"""Pictures for the simulated board: a price line that rises, falls or stays level, according to the thread's stance."""

import random
from functools import lru_cache
from io import BytesIO
from typing import Literal

from bizcharts_pipeline.demo.board.threads import WorldThread
from bizcharts_pipeline.demo.mood import Stance

THUMBNAIL_SIDE = 250
_POINTS = 40
_COLOURS: dict[Stance, tuple[int, int, int]] = {
    "bullish": (30, 160, 60),
    "bearish": (200, 40, 40),
    "neutral": (120, 120, 120),
}
_SLOPES: dict[Stance, float] = {"bullish": 0.6, "bearish": -0.6, "neutral": 0.0}


@lru_cache(maxsize=2048)
def picture(thread: WorldThread, form: Literal["thumbnail", "JPEG", "PNG"]) -> bytes:
    """Return the picture of ``thread`` as a file; a thumbnail is a JPEG that fits into 250 x 250 pixels."""
    from PIL import Image, ImageDraw

    rng = random.Random(thread.tim)
    width, height = thread.width, thread.height
    image = Image.new("RGB", (width, height), (rng.randint(225, 255),) * 3)
    draw = ImageDraw.Draw(image)
    for line in range(1, 5):
        draw.line([(0, height * line // 5), (width, height * line // 5)], fill=(210, 210, 215))
    level = 0.5 - _SLOPES[thread.stance] / 2
    points = []
    for index in range(_POINTS):
        level = min(0.95, max(0.05, level + _SLOPES[thread.stance] / _POINTS + rng.gauss(0, 0.03)))
        points.append((width * index / (_POINTS - 1), height * (1 - level)))
    draw.line(points, fill=_COLOURS[thread.stance], width=max(4, width // 100), joint="curve")
    if form == "thumbnail":
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = BytesIO()
    if form == "PNG":
        image.save(file, "PNG", compress_level=1)
    else:
        image.save(file, "JPEG", quality=80)
    return file.getvalue()
