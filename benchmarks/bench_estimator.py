"""Accuracy of the index's estimate of the present stance: eight kinds of simulated worlds, and prediction on real
posts.

    python -m benchmarks estimator

Each kind has 40 worlds of 100 days (``mood_worlds.py``), half of them with an accurate classifier and half with a noisy
one, with and without replies. The first 20 days are not scored. The published estimator is compared with its
predecessor: a shrunk, exponentially smoothed daily mean with a bootstrap interval.
"""

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass

import numpy as np

from benchmarks.measure import Row
from benchmarks.mood_worlds import BURN_IN_DAYS, DAYS, KINDS, WORLDS, MadeWorld, make_world
from benchmarks.real_posts import prediction_rows
from benchmarks.smoothed_average import smoothed_average
from bizcharts_pipeline.index.series import rebuild
from bizcharts_pipeline.index.stretch import Coverage, State
from bizcharts_pipeline.index.votes import HOUR, Floats, Ints, Mentions, Posts
from bizcharts_pipeline.settings import FearGreedSettings

FORECAST_HOURS = 12
LONGEST_LAG = 60
Estimator = Callable[[Posts, Ints], tuple[Floats, Floats, Floats]]  # stance, lo, hi at each end


@dataclass(frozen=True)
class Figures:
    """Results of an estimator in one world."""

    rmse: float  # against the present stance
    coverage: float  # share of the hours whose interval contains it
    half_width: float
    lag: float  # shift in hours that fits the estimate best to the truth
    rank_correlation: float
    forecast_rmse: float  # against the mean of the next 12 hours


def published(posts: Posts, ends: Ints) -> tuple[Floats, Floats, Floats]:
    """Run this version's estimator, as the index does."""
    none, nothing = np.empty(0, np.int64), np.empty(0)
    mentions = Mentions(none, none, (), nothing, none, nothing, nothing)
    begin = State.nothing(int(ends[0]) - HOUR)
    market = rebuild(
        posts, mentions, Coverage.nowhere(), begin, int(ends[-1]), FearGreedSettings(), running=False
    ).market
    return market.stance, market.stance_lo, market.stance_hi


ESTIMATORS: dict[str, Estimator] = {"average": smoothed_average, "published": published}


def figures(world: MadeWorld, estimator: Estimator) -> Figures:
    """Score an estimator in one world after the burn-in."""
    stance, lo, hi = (column[BURN_IN_DAYS * 24 :] for column in estimator(world.posts, world.ends))
    truth = world.stance[BURN_IN_DAYS * 24 :]
    known = ~np.isnan(stance)
    assert known.all(), "an estimate is missing"
    following = np.convolve(truth, np.ones(FORECAST_HOURS) / FORECAST_HOURS, "valid")[1:]
    moving = truth.std() > 1e-9
    return Figures(
        rmse=_rms(stance - truth),
        coverage=float(np.mean((lo <= truth) & (truth <= hi))),
        half_width=float(np.mean(hi - lo) / 2),
        lag=_lag(stance, truth) if moving else float("nan"),
        rank_correlation=float(np.corrcoef(_ranks(stance), _ranks(truth))[0, 1]) if moving else float("nan"),
        forecast_rmse=_rms(stance[: len(following)] - following),
    )


def simulate(kind: str, worlds: int = WORLDS, days: int = DAYS) -> dict[str, dict[str, list[Figures]]]:
    """Return the figures of each world of a kind, by variant and estimator."""
    found: dict[str, dict[str, list[Figures]]] = {}
    for number in range(worlds):
        world, variant = make_world(kind, number, days)
        for name, estimator in ESTIMATORS.items():
            found.setdefault(variant, {}).setdefault(name, []).append(figures(world, estimator))
    return found


def rows(worlds: int = WORLDS) -> Iterator[Row]:
    """Yield the published estimator's figures of each kind, with the average's in the note."""
    for kind in KINDS:
        by_variant = simulate(kind, worlds)
        pooled = {name: [one for variant in by_variant.values() for one in variant[name]] for name in ESTIMATORS}
        yield from _rows(kind, pooled)
        for variant in sorted(by_variant):
            yield from _rows(f"{kind}, {variant}", by_variant[variant], only=("rmse", "coverage"))
    yield from prediction_rows(ESTIMATORS)


def _rows(title: str, found: dict[str, list[Figures]], only: tuple[str, ...] = ()) -> Iterator[Row]:
    names = list(Figures.__dataclass_fields__)
    ours, theirs = ([astuple(one) for one in found[name]] for name in ("published", "average"))
    for place, name in enumerate(names):
        if only and name not in only:
            continue
        mine, other = ([one[place] for one in figures] for figures in (ours, theirs))
        note = f"average {np.mean(other):.3f}; spread between {len(mine)} worlds {np.std(mine, ddof=1):.3f}"
        if name.endswith("rmse"):
            note += f"; ratio {np.mean(mine) / np.mean(other):.2f}"
        yield f"{title}: {name.replace('_', ' ')}", float(np.mean(mine)), "", note


def _lag(stance: Floats, truth: Floats) -> float:
    fits = [np.corrcoef(stance[lag:], truth[: len(truth) - lag])[0, 1] for lag in range(LONGEST_LAG)]
    return float(np.argmax(fits))


def _rms(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _ranks(values: Floats) -> Floats:
    return np.argsort(np.argsort(values)).astype(float)
