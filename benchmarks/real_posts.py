"""Prediction on real posts: one half of the posts of November 2017 predicts the other half.

The files are outside the repository (``BIZCHARTS_SHARED_DATA``); without them this is skipped. They have thread numbers
but no times; about 18,000 numbers are assigned per day, so time is modelled as linear in them.
"""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Row
from bizcharts_pipeline.index.votes import DAY, HOUR, Bools, Floats, Ints, Posts, certainty_factor
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.text.duplicates import Opening, assign

FILE = "biz_posts/biz_threads_text_2017_part_a.jsonl.gz"
NUMBERS_A_DAY = 18_000
BEGIN = 17_470 * DAY  # about 2017-10-31
BURN_IN = 3 * DAY
SPAN_HOURS = 12
SPLITS = 10
Estimator = Callable[[Posts, Ints], tuple[Floats, Floats, Floats]]


def prediction_rows(estimators: dict[str, Estimator]) -> Iterator[Row]:
    """Yield error and coverage for the other half's mean over the last and the next 12 hours; mean over the splits."""
    path = Path(os.environ.get("BIZCHARTS_SHARED_DATA", "../shared/data")) / FILE
    if not path.exists():
        yield "real posts", 0, "", f"skipped: {path} is absent"
        return
    posts = _score(path)
    for name, estimator in estimators.items():
        found = np.array([_predict(posts, split, estimator) for split in range(SPLITS)])
        mean, spread = found.mean(axis=0), found.std(axis=0, ddof=1)
        for place, figure in enumerate(("last rmse", "last coverage", "next rmse", "next coverage", "half width")):
            note = f"{len(posts.posted_at):,} posts halved at random, {SPLITS} splits; spread {spread[place]:.4f}"
            yield f"real posts, {SPAN_HOURS} h, {name}: {figure}", float(mean[place]), "", note


def _predict(posts: Posts, split: int, estimator: Estimator) -> tuple[float, ...]:
    """Return RMSE and coverage for the last and the next hours of the half that the estimator has not seen."""
    chosen = np.random.default_rng([2017, split]).random(len(posts.posted_at)) < 0.5
    half, other = _part(posts, chosen), _part(posts, ~chosen)
    ends = np.arange(BEGIN + HOUR, int(posts.posted_at[-1]) // HOUR * HOUR + 1, HOUR, dtype=np.int64)
    stance, lo, hi = estimator(half, ends)
    scored = (ends > BEGIN + BURN_IN) & (ends <= ends[-1] - SPAN_HOURS * HOUR)
    result: list[float] = []
    for first, last in ((-SPAN_HOURS, 0), (0, SPAN_HOURS)):
        mean, error = _means(other, ends + first * HOUR, ends + last * HOUR)
        miss = np.abs(stance - mean)[scored]
        # The other half's mean has an error of its own, so the interval is widened by it.
        reach = np.hypot((hi - lo) / 2, 1.645 * error)[scored]
        result += [float(np.sqrt(np.mean(miss**2))), float(np.mean(miss <= reach))]
    return (*result, float(np.mean((hi - lo)[scored]) / 2))


def _means(posts: Posts, after: Ints, until: Ints) -> tuple[Floats, Floats]:
    """Return the certainty-weighted mean stance of the posts of each span, and its standard error."""
    weight = certainty_factor(posts.confidence)
    begin, stop = (np.searchsorted(posts.posted_at, border, side="right") for border in (after, until))
    mean, error = np.full(len(after), np.nan), np.full(len(after), np.nan)
    for place, (first, last) in enumerate(zip(begin.tolist(), stop.tolist(), strict=True)):
        if last - first > 1:
            w, s = weight[first:last], posts.stance[first:last]
            mean[place] = w @ s / w.sum()
            error[place] = np.sqrt(w**2 @ (s - mean[place]) ** 2) / w.sum()
    return mean, error


def _score(path: Path) -> Posts:
    """Score the opening posts with the lexicon; copies are found by their text."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        threads = sorted((thread["thread_no"], thread["lines"][0]) for thread in map(json.loads, lines))
    number = np.array([number for number, _ in threads], np.int64)
    posted = BEGIN + (number - number[0]) * DAY // NUMBERS_A_DAY
    scores = LexiconScorer().score([Post("", text) for _, text in threads])
    openings = [
        Opening(thread, at, text, None, None) for (thread, text), at in zip(threads, posted.tolist(), strict=True)
    ]
    return Posts(
        thread_id=number,
        posted_at=posted,
        known_at=posted,
        cluster=np.array(assign(openings), np.int64),
        stance=np.array([score.score for score in scores]),
        confidence=np.array([score.confidence for score in scores]),
        replies=np.zeros((len(number), 3)),
        live=np.ones(len(number), bool),
    )


def _part(posts: Posts, chosen: Bools) -> Posts:
    return Posts(**{name: getattr(posts, name)[chosen] for name in Posts.__dataclass_fields__})
