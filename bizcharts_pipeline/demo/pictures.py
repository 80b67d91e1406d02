"""Pictures for the simulated board: charts, memes, screenshots and photos.

A chart's line rises, falls or stays level; a meme has a caption, a screenshot a few lines of text; a photo says
nothing. Where the text of a post says nothing, or the opposite of what it means, the picture carries the stance; so
does half of the others. The rest carries none.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from bizcharts_pipeline.demo.board.threads import WorldThread
from bizcharts_pipeline.demo.mood import Stance
from bizcharts_pipeline.demo.phrases import CAPTIONS

if TYPE_CHECKING:
    from PIL.Image import Image

PictureKind = Literal["chart", "meme", "screenshot", "photo"]
THUMBNAIL_SIDE = 250
_SPEAKING = 0.5  # share of the pictures that carry the stance, beside a text that does
_KINDS: dict[PictureKind, float] = {"chart": 0.6, "meme": 0.2, "screenshot": 0.1, "photo": 0.1}
_POINTS = 40
_COLOURS: dict[Stance, tuple[int, int, int]] = {
    "bullish": (30, 160, 60),
    "bearish": (200, 40, 40),
    "neutral": (120, 120, 120),
}
_SLOPES: dict[Stance, float] = {"bullish": 0.6, "bearish": -0.6, "neutral": 0.0}
_BLOBS = 9


@dataclass(frozen=True)
class Plan:
    """What a picture shows. ``stance``: what it carries; ``None``: nothing, and a chart's line is in any colour."""

    kind: PictureKind
    stance: Stance | None


def plan_of(thread: WorldThread) -> Plan:
    """Return what the picture of the simulated ``thread`` shows."""
    rng = random.Random(f"plan {thread.tim}")
    speaks = thread.wordless or thread.ironic or rng.random() < _SPEAKING
    kinds = [kind for kind in _KINDS if kind != "photo" or not speaks]
    (kind,) = rng.choices(kinds, [_KINDS[kind] for kind in kinds])
    return Plan(kind, thread.stance if speaks else None)


@lru_cache(maxsize=2048)
def picture(thread: WorldThread, form: Literal["thumbnail", "JPEG", "PNG"]) -> bytes:
    """Return the picture of the simulated ``thread`` as a file; a thumbnail is a JPEG that fits into 250 x 250
    pixels."""
    image = draw(plan_of(thread), (thread.width, thread.height), random.Random(thread.tim))
    if form == "thumbnail":
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = BytesIO()
    if form == "PNG":
        image.save(file, "PNG", compress_level=1)
    else:
        image.save(file, "JPEG", quality=80)
    return file.getvalue()


def draw(plan: Plan, size: tuple[int, int], rng: random.Random) -> "Image":
    """Return a simulated poster's picture that shows ``plan``."""
    if plan.kind == "chart":
        return _chart(plan.stance, size, rng)
    if plan.kind == "screenshot":
        return _screenshot(plan.stance or "neutral", size, rng)
    image = _photo(size, rng)
    if plan.kind == "meme":
        _write(image, [rng.choice(CAPTIONS[plan.stance or "neutral"])], rng, outlined=True)
    return image


def _chart(stance: Stance | None, size: tuple[int, int], rng: random.Random) -> "Image":
    from PIL import Image, ImageDraw

    width, height = size
    image = Image.new("RGB", (width, height), (rng.randint(225, 255),) * 3)
    canvas = ImageDraw.Draw(image)
    for line in range(1, 5):
        canvas.line([(0, height * line // 5), (width, height * line // 5)], fill=(210, 210, 215))
    slope = rng.uniform(-0.6, 0.6) if stance is None else _SLOPES[stance]
    colour = tuple(rng.randint(30, 200) for _ in range(3)) if stance is None else _COLOURS[stance]
    level = 0.5 - slope / 2
    points = []
    for index in range(_POINTS):
        level = min(0.95, max(0.05, level + slope / _POINTS + rng.gauss(0, 0.03)))
        points.append((width * index / (_POINTS - 1), height * (1 - level)))
    canvas.line(points, fill=colour, width=max(4, width // 100), joint="curve")
    return image


def _photo(size: tuple[int, int], rng: random.Random) -> "Image":
    """Return soft blobs of colour with the grain of a camera."""
    from PIL import Image, ImageDraw, ImageFilter

    width, height = size[0] // 4, size[1] // 4
    image = Image.new("RGB", (width, height), tuple(rng.randint(40, 200) for _ in range(3)))
    canvas = ImageDraw.Draw(image)
    for _ in range(_BLOBS):
        x, y, radius = rng.randrange(width), rng.randrange(height), rng.randint(height // 8, height // 2)
        colour = tuple(rng.randint(0, 255) for _ in range(3))
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    image = image.filter(ImageFilter.GaussianBlur(height / 12))
    grain = Image.frombytes("L", (width, height), rng.randbytes(width * height)).convert("RGB")
    return Image.blend(image, grain, 0.12).resize(size, Image.Resampling.BICUBIC)


def _screenshot(stance: Stance, size: tuple[int, int], rng: random.Random) -> "Image":
    from PIL import Image, ImageDraw

    width, height = size
    image = Image.new("RGB", size, (240, 224, 214) if rng.random() < 0.5 else (250, 250, 250))
    canvas = ImageDraw.Draw(image)
    canvas.rectangle((0, 0, width, height // 10), fill=(rng.randint(60, 160),) * 3)
    canvas.rectangle((20, height * rng.uniform(0.65, 0.9), width * rng.uniform(0.3, 0.9), height), fill=(215,) * 3)
    lines = [rng.choice(CAPTIONS["neutral"]).lower() for _ in range(2)]
    lines.insert(rng.randint(0, 2), rng.choice(CAPTIONS[stance]).lower())
    _write(image, lines, rng, outlined=False)
    return image


def _write(image: "Image", lines: Sequence[str], rng: random.Random, *, outlined: bool) -> None:
    from PIL import ImageDraw, ImageFont

    width, height = image.size
    size = height // 8 if outlined else height // 11
    font = ImageFont.load_default(min(size, width // 10))
    canvas = ImageDraw.Draw(image)
    top = height * (rng.choice((0.05, 0.78)) if outlined else rng.uniform(0.14, 0.22))
    for line in lines:
        if outlined:
            canvas.text(
                (width * rng.uniform(0.03, 0.12), top), line, "white", font, stroke_width=4, stroke_fill="black"
            )
        else:
            canvas.text((width * rng.uniform(0.03, 0.12), top), line, "black", font)
        top += size * 1.5
