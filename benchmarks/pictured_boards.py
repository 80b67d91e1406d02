"""Simulated boards whose pictures carry the stance or nothing: the test bed for models of text and picture.

Posts are written by the demo's writer and drawn from a hidden mood; a picture is one of a pool of drawn pictures, whose
features are computed once, as in production. Text is read by TF-IDF alone, as thousands of boards have to be scored in
minutes; the encoder would be stronger with and without pictures.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO

import numpy as np

from bizcharts_pipeline.demo.mood import Floats, MoodPath, Stance, class_probabilities
from bizcharts_pipeline.demo.pictures import THUMBNAIL_SIDE, PictureKind, Plan, draw
from bizcharts_pipeline.demo.writer import write_post
from bizcharts_pipeline.images.features import FeatureReader, extractor_version
from bizcharts_pipeline.index.votes import certainty_factor
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.models.gate import proof_at
from bizcharts_pipeline.sentiment.fusion import FusionModel, FusionParts
from bizcharts_pipeline.sentiment.scorer import Picture, Post
from bizcharts_pipeline.sentiment.temperature import log_softmax
from bizcharts_pipeline.text.html import html_to_text
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes import image, tfidf
from bizcharts_pipeline.training.recipes.fitting import out_of_fold
from bizcharts_pipeline.training.recipes.fusion import choose_pool, train_context
from bizcharts_pipeline.warehouse.image_features import ImageFeatures

START = datetime(2026, 1, 5)
DAYS = 8
BUCKET_HOURS = 12
POSTS_A_DAY = 120
LABELLED = 600
WORDLESS = 0.25  # share of the posts whose text says nothing, where pictures speak
KINDS: tuple[PictureKind, ...] = ("chart", "chart", "chart", "meme", "screenshot")

Pool = Mapping[Stance | None, Sequence[ImageFeatures]]


@dataclass(frozen=True)
class Board:
    """Posts of one board, and by bucket of time the net stance that its mood gives them: bullish minus bearish."""

    posts: Sequence[Post]
    labels: Sequence[int]
    buckets: Sequence[int]  # of each post
    truth: Floats  # (buckets,)


def picture_pool(each: int, seed: int = 1) -> Pool:
    """Draw ``each`` pictures of every stance, and as many that carry none, and read their features."""
    rng = random.Random(f"pool {seed}")
    with FeatureReader(1_000_000, extractor_version()) as reader:
        return {stance: [_read(reader, stance, rng) for _ in range(each)] for stance in (*STANCES, None)}


def _read(reader: FeatureReader, stance: Stance | None, rng: random.Random) -> ImageFeatures:
    kinds: tuple[PictureKind, ...] = KINDS if stance else (*KINDS, "photo")
    drawn = draw(Plan(rng.choice(kinds), stance), rng.choice([(640, 480), (512, 512), (1024, 576)]), rng)
    drawn.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = BytesIO()
    drawn.save(file, "JPEG", quality=80)
    return reader.read(file.getvalue())


def make_board(seed: int, pool: Pool, *, speaking: bool, days: int = DAYS, posts_a_day: int = POSTS_A_DAY) -> Board:
    """Return the board of ``seed``. ``speaking``: pictures carry the stance where the text says nothing or is ironic,
    and beside half of the other texts; otherwise none carries any, and all texts speak."""
    rng = random.Random(f"board {seed} {speaking}")
    mood = MoodPath(seed, START, days)
    posts: list[Post] = []
    labels, buckets = [], []
    for _ in range(days * posts_a_day):
        at = START + timedelta(seconds=rng.uniform(0, days * 86_400))
        chances = class_probabilities(mood.at(at))
        stance = rng.choices(list(chances), list(chances.values()))[0]
        draft = write_post(stance, rng, WORDLESS if speaking else 0.0)
        speaks = speaking and (draft.wordless or draft.ironic or rng.random() < 0.5)
        features = rng.choice(pool[stance if speaks else None])
        subject = None if draft.wordless else draft.subject
        text = html_to_text(draft.html)
        posts.append(Post(subject or "", text, len(posts), Picture("stored", features=features), at))
        labels.append(STANCES.index(stance))
        buckets.append(int((at - START) / timedelta(hours=BUCKET_HOURS)))
    return Board(posts, labels, buckets, _truth(mood, days))


def train_model(pool: Pool, *, speaking: bool, seed: int = 10_000) -> FusionModel:
    """Return the model trained on one labelled board."""
    board = make_board(seed, pool, speaking=speaking, days=30, posts_a_day=LABELLED // 30)
    examples = [
        TextExample(place, post.posted_at, post, label, place)
        for place, (post, label) in enumerate(zip(board.posts, board.labels, strict=True))
    ]

    def train(some: Sequence[TextExample]) -> FusionParts:
        return FusionParts(tfidf.train(some), image.train(some), train_context(some))

    judged, parts = out_of_fold(train, examples, seed)
    return FusionModel(train(examples), choose_pool(parts, [examples[i] for i in judged], proof_at(0.05), seed))


def estimates(board: Board, model: FusionModel) -> tuple[Floats, Floats]:
    """Return the certainty-weighted mean stance of each bucket, weighed as the index does, by text alone and with
    pictures: (buckets,) each."""
    parts = model.parts.log_probabilities(board.posts)
    text, fused = log_softmax(parts[:, 0] / model.pool.text_temperature), model.pool.log_probabilities(parts)
    return _mean_stance(board, np.exp(text)), _mean_stance(board, np.exp(fused))


def _mean_stance(board: Board, p: Floats) -> Floats:
    confidence = 1 + (p * np.log(p)).sum(axis=1) / np.log(3)
    weight = certainty_factor(confidence)
    place, buckets = np.asarray(board.buckets), len(board.truth)
    total = np.bincount(place, weight * (p[:, 2] - p[:, 0]), buckets)
    return np.asarray(total / np.maximum(np.bincount(place, weight, buckets), 1e-9))


def _truth(mood: MoodPath, days: int) -> Floats:
    found = []
    for bucket in range(days * 24 // BUCKET_HOURS):
        hours = [START + timedelta(hours=bucket * BUCKET_HOURS + hour + 0.5) for hour in range(BUCKET_HOURS)]
        shares = [class_probabilities(mood.at(hour)) for hour in hours]
        found.append(float(np.mean([share["bullish"] - share["bearish"] for share in shares])))
    return np.array(found)
