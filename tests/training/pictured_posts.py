"""Labelled posts with made-up features of pictures."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from training.made_up_posts import made_up

from bizcharts_pipeline.sentiment.scorer import Picture, Post
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.warehouse.image_features import COLOURS, KINDS, VECTOR_LENGTH, ImageFeatures

_CAPTIONS = ("it is over", "no news", "we are so back")


def features(label: int | None, seed: int, caption: str | None = None) -> ImageFeatures:
    """Return the features of a picture in the colours of ``label``; of ``None``: in any."""
    draw = random.Random(seed)
    colours = dict.fromkeys(COLOURS, 0.0) | {"brightness": draw.random(), "ground": draw.random()}
    colours["green"] = 0.05 * (label == 2) + draw.uniform(0, 0.01)
    colours["red"] = 0.05 * (label == 0) + draw.uniform(0, 0.01)
    vector = np.random.default_rng(seed).gamma(1.0, 1.0, VECTOR_LENGTH).astype(np.float32)
    return ImageFeatures(draw.choice(KINDS), f"{seed:016x}", tuple(colours.values()), caption, vector, "test")


def picture(found: ImageFeatures | None) -> Picture:
    return Picture("stored", features=found)


def pictured(
    n: int, seed: int = 1, *, says: float = 1.0, text: bool = True, share: float = 1.0, captions: bool = False
) -> list[TextExample]:
    """Return ``n`` examples.

    Args:
        says: share of the pictures that have the colours of the label; the others have any.
        text: whether the text says anything about the label.
        share: of the posts that have a picture.
        captions: whether pictures that say something say it in words too.
    """
    draw = random.Random(f"pictures {seed}")
    examples = []
    for number, example in enumerate(made_up(n, seed)):
        right = draw.random() < says
        found = features(
            example.label if right else draw.randrange(3),
            1000 * seed + number,
            _CAPTIONS[example.label] if captions and right else "",
        )
        post = example.post if text else Post("", draw.choice(["pic related", "thoughts?", "what now"]))
        shown = picture(found) if draw.random() < share else None
        examples.append(replace(example, post=replace(post, thread_id=example.thread_id, picture=shown)))
    return examples


def without_pictures(examples: Sequence[TextExample]) -> list[Post]:
    return [replace(example.post, picture=None) for example in examples]
