"""Coverage of people's net stance by the wide interval and the monthly figure.

    python -m benchmarks people

Simulated boards (``mood_worlds.py``) have classifiers with a known confusion of classes. Gold posts are drawn from the
first 20 days, and their true classes serve as people's labels. The rest is the program's own computation: offset and
response with their errors from gold, the interval of each hour's stance, and people's net stance of each later month of
30 days.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import cast

import numpy as np

from benchmarks.bench_estimator import published
from benchmarks.measure import Row
from benchmarks.mood_worlds import BURN_IN_DAYS, DAYS, KINDS, MadeWorld, classifier_of, make_world, shares_of
from bizcharts_pipeline.index.people import Response, people_stance
from bizcharts_pipeline.index.sums import SETTLED, cell_sums
from bizcharts_pipeline.index.votes import DAY, Floats, market_votes
from bizcharts_pipeline.models.scale import measure_scale
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.settings import FearGreedSettings

WORLDS = 40  # of each kind
GOLD = 150  # posts
MONTH_DAYS = 30


@dataclass(frozen=True)
class Read:
    """A score as read by the scale measurement."""

    score: float
    confidence: float


def gold_response(world: MadeWorld, number: int) -> Response:
    """Measure the world's classifier on ``GOLD`` posts of the first days."""
    rng = np.random.default_rng([7, number])
    mood = rng.choice(world.mood[: BURN_IN_DAYS * 24], GOLD)
    truth = (rng.random(GOLD)[:, None] > np.cumsum(shares_of(mood), axis=1)[:, :2]).sum(axis=1)
    stance, confidence = classifier_of(number).read(truth, rng)
    read = [Read(*one) for one in zip(stance.tolist(), confidence.tolist(), strict=True)]
    scale = measure_scale(cast("list[Score]", read), truth.tolist(), range(GOLD), number)
    assert scale.response
    assert scale.response_covariance
    return Response(0, np.array(scale.response), np.array(scale.response_covariance).reshape(5, 5))


def wide_coverage(world: MadeWorld, response: Response) -> tuple[float, float, float]:
    """Return the shares of scored hours whose narrow and wide interval contain people's net stance, and the wide one's
    half width."""
    interval = FearGreedSettings().interval
    stance, lo, hi = (column[BURN_IN_DAYS * 24 :] for column in published(world.posts, world.ends))
    variance = ((hi - lo) / 2 / NormalDist().inv_cdf((1 + interval) / 2)) ** 2
    _, people_lo, people_hi = people_stance(stance, variance, response, interval)
    wide_lo, wide_hi = np.minimum(lo, people_lo), np.maximum(hi, people_hi)
    people = _net(world.mood[BURN_IN_DAYS * 24 :])
    narrow, wide = ((lo <= people) & (people <= hi)), ((wide_lo <= people) & (people <= wide_hi))
    return float(narrow.mean()), float(wide.mean()), float((wide_hi - wide_lo).mean() / 2)


def monthly_coverage(world: MadeWorld, response: Response) -> tuple[float, float, float]:
    """Return the share of later months whose interval contains people's net stance, its half width, and the figure's
    mean error."""
    votes = market_votes(world.posts)
    day = (votes.posted_at - world.posts.posted_at[0]) // DAY - BURN_IN_DAYS
    months = (DAYS - BURN_IN_DAYS) // MONTH_DAYS
    sums = cell_sums(votes, np.where((day >= 0) & (day < months * MONTH_DAYS), day // MONTH_DAYS, -1), months)[SETTLED]
    hours = world.mood[BURN_IN_DAYS * 24 :][: months * MONTH_DAYS * 24]
    people = _net(hours).reshape(months, -1).mean(axis=1)
    figure, lo, hi = people_stance(sums.mean, sums.variance, response, FearGreedSettings().interval)
    held = (lo <= people) & (people <= hi)
    return float(held.mean()), float((hi - lo).mean() / 2), float(np.abs(figure - people).mean())


def rows(worlds: int = WORLDS) -> Iterator[Row]:
    """Yield the figures of each kind and classifier."""
    for kind in KINDS:
        found: dict[str, list[tuple[float, ...]]] = {}
        for number in range(worlds):
            world, variant = make_world(kind, number)
            response = gold_response(world, number)
            figures = (*wide_coverage(world, response), *monthly_coverage(world, response))
            found.setdefault(variant.split(",")[0], []).append(figures)
        for classifier, each in sorted(found.items()):
            narrow, wide, half, held, half_month, error = np.nanmean(each, axis=0)
            spread = np.nanstd(each, axis=0, ddof=1)
            title = f"{kind}, {classifier}"
            yield (
                f"{title}: wide interval contains people's stance",
                wide,
                "",
                (f"narrow {narrow:.2f}; half width {half:.3f}; spread between {len(each)} worlds {spread[1]:.2f}"),
            )
            yield (
                f"{title}: month's interval contains people's stance",
                held,
                "",
                (f"half width {half_month:.3f}, mean error {error:.3f}; spread {spread[3]:.2f}"),
            )


def _net(mood: Floats) -> Floats:
    shares = shares_of(mood)
    return np.asarray(shares[:, 2] - shares[:, 0])
