"""Previews of a switch of the champion: time, and error of the shift that they promise.

    python -m benchmarks switch

Time: 3,000 opening posts (those of 2025, then long ones of 2017), an ensemble in place of the lexicon. Error: simulated
boards of 100 days whose posts two classifiers read; the preview has the last 14 days by both and the earlier daily
points by the first one alone; the truth is the index over all days by both. The same with fewer of the newest posts,
as a vision model on a server is asked for.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.bench_text import LABELS, long_posts, opening_posts
from benchmarks.measure import Row
from benchmarks.mood_worlds import BEGIN, CLEAR, NOISY, Classifier, make_world, shares_of
from bizcharts_pipeline.core.rows import PreparedThread, SourceThread
from bizcharts_pipeline.index import shift
from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.index.series import rebuild
from bizcharts_pipeline.index.shift import DailyPoints, Says, measure_shift
from bizcharts_pipeline.index.stretch import Coverage, State
from bizcharts_pipeline.index.votes import DAY, HOUR, Floats, Mentions, Posts
from bizcharts_pipeline.models.estimate import read_examples
from bizcharts_pipeline.models.preview import DAYS, MAX_POSTS, MAX_VISION_POSTS, MIN_VISION_SHARE, preview_switch
from bizcharts_pipeline.models.registry import as_row, fit_and_publish
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.new_posts import score_new_posts
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.threads import merge_threads

WORLDS = 12  # of each kind
KINDS = ("calm", "swinging", "drifting", "steps", "shocks")
MIDDLE = Classifier("middle", gain=1.2, noise=0.7, base=(-0.1, 0.5, -0.4))
OTHER = Classifier("other", gain=0.6, noise=0.7, base=(0.1, 0.4, -0.2))
PAIRS = ((NOISY, OTHER), (NOISY, MIDDLE), (NOISY, CLEAR))
SIZES = (250, 500, int(MIN_VISION_SHARE * MAX_VISION_POSTS), MAX_VISION_POSTS, MAX_POSTS)
NOW = datetime(2025, 12, 19)
PARAMETERS = FearGreedSettings()


def rows() -> Iterator[Row]:
    """Yield every figure as (name, value, unit, note)."""
    if LABELS.exists():
        yield from _seconds()
    for pair in PAIRS:
        yield from _errors(*pair)
    yield from _sizes(NOISY, CLEAR)


def _seconds() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        database = DatabaseFile(home / "bizcharts.duckdb")
        texts = [(post.subject, post.text) for post in [*opening_posts(), *long_posts(MAX_POSTS)]][:MAX_POSTS]
        step = DAYS / (len(texts) + 1)
        threads = [
            PreparedThread(
                SourceThread(number, NOW - number * step, "live", subject=subject, op_html=text), text, None, 0.0, ()
            )
            for number, (subject, text) in enumerate(texts, 1)
        ]
        with database.write() as connection:
            merge_threads(connection, threads, ingested_at=NOW, seen_at=NOW)
        score_new_posts(database, champion_scorer(database, Place(home), NOW), limit=None, now=NOW)
        artifact = fit_and_publish(EnsembleRecipe(home=home), read_examples(LABELS), "rated posts", home, 0)
        for name in ("new texts", "vectors kept"):
            started = time.perf_counter()
            found = preview_switch(database, Place(home), as_row(artifact, NOW), PARAMETERS, NOW)
            yield f"preview of an ensemble, {name}", time.perf_counter() - started, "s", f"{found.posts:,} posts"


def _errors(old: Classifier, new: Classifier) -> Iterator[Row]:
    (found,) = _found(old, new, [MAX_POSTS])
    promised, true, lo, hi = found
    error = promised - true
    worlds = f"{len(error)} worlds, {old.name} to {new.name}"
    yield "true shift, root mean square", float(np.sqrt((true**2).mean())), "points", worlds
    yield "promised less true, mean", float(error.mean()), "points", f"± {error.std() / np.sqrt(len(error)):.2f}"
    yield "true shift above 20 points", float((np.abs(true) > 20).mean()), "", ""
    yield from _figures(promised, true, lo, hi, worlds)


def _sizes(old: Classifier, new: Classifier) -> Iterator[Row]:
    for most, (promised, true, lo, hi) in zip(SIZES, _found(old, new, SIZES), strict=True):
        posts = f"newest {most:,} posts, {len(true)} worlds, {old.name} to {new.name}"
        yield "width of the interval, mean", float((hi - lo).mean()), "points", posts
        yield "width of the interval, median", float(np.median(hi - lo)), "points", posts
        yield from _figures(promised, true, lo, hi, posts)


def _figures(promised: Floats, true: Floats, lo: Floats, hi: Floats, note: str) -> Iterator[Row]:
    yield "promised less true, root mean square", float(np.sqrt(((promised - true) ** 2).mean())), "points", note
    yield (
        "true shift within the interval (90 % of sampling error)",
        float(((true >= lo) & (true <= hi)).mean()),
        "",
        note,
    )
    told = (np.abs(true) > 20) == (np.abs(promised) > 20)
    yield "rightly told to be above 20 points or not", float(told.mean()), "", note


def _found(old: Classifier, new: Classifier, sizes: Sequence[int]) -> list[Floats]:
    """For each number of posts: promised and true shift, and interval (4, worlds)."""
    with_more = shift.RESAMPLES
    shift.RESAMPLES = 60
    found = np.array([_one(kind, number, old, new, sizes) for kind in KINDS for number in range(WORLDS)])
    shift.RESAMPLES = with_more
    return list(found.transpose(1, 2, 0))


def _one(
    kind: str, number: int, old: Classifier, new: Classifier, sizes: Sequence[int]
) -> list[tuple[float, float, float, float]]:
    world, _ = make_world(kind, number)
    posts, rng = world.posts, np.random.default_rng([number, 5])
    mood = np.interp(posts.posted_at, BEGIN + HOUR * np.arange(len(world.mood)), world.mood)
    shares = shares_of(mood)
    classes = (rng.random(len(mood))[:, None] > np.cumsum(shares, axis=1)[:, :2]).sum(axis=1)
    until = int(world.ends[-1]) - 5 * HOUR  # an hour of the last day
    says = [(*each.read(classes, rng), Prior()) for each in (old, new)]
    wholes = [_index(posts, stance, confidence, until) for stance, confidence, _ in says]
    recent = (posts.posted_at > until - 14 * DAY) & (posts.posted_at <= until)
    true = wholes[1][0] - wholes[0][0]
    found = []
    for most in sizes:
        newest = recent & (np.cumsum(recent[::-1])[::-1] <= most)
        present, other = (Says(stance[newest], confidence[newest], prior) for stance, confidence, prior in says)
        measured = measure_shift(posts.part(newest), present, other, wholes[0][1], until, PARAMETERS, number)
        assert measured.points is not None
        assert measured.lo is not None
        assert measured.hi is not None
        found.append((measured.points, true, measured.lo, measured.hi))
    return found


def _index(posts: Posts, stance: Floats, confidence: Floats, until: int) -> tuple[float, DailyPoints]:
    """The present value, and the daily points, of an index over all days."""
    scored = replace(posts, stance=stance, confidence=confidence).part(posts.posted_at <= until)
    none, nothing = np.empty(0, np.int64), np.empty(0)
    mentions = Mentions(none, none, (), nothing, none, nothing, nothing)
    begin = int(posts.posted_at[0]) // DAY * DAY
    found = rebuild(scored, mentions, Coverage.nowhere(), State.nothing(begin), until, PARAMETERS)
    state = found.state_at(until // DAY * DAY)
    return float(found.market.value[-1]), DailyPoints(state.day_ends, state.day_stances)
