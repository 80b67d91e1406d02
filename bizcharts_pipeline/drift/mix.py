"""Whether the classes' shares of a week differ from what the price's moves explain.

The mood is supposed to follow the price, so the daily shares are regressed on the price's returns of the day, of the
day before and of the five days before that, over the reference; what is left is compared. A class mix that moved for
another reason is a prior shift, which is no drift of the model by itself.
"""

import numpy as np

from bizcharts_pipeline.drift.limits import distance, distance_limit
from bizcharts_pipeline.drift.measured import Measured, unmeasured
from bizcharts_pipeline.drift.panel import Floats, Panel
from bizcharts_pipeline.drift.windows import MIN_EARLIER, Window, Windows

LAGS = 7  # days before the panel's first whose returns are needed
MIN_DAY_POSTS = 10
MIN_DAYS = 4  # of a week
MIN_PRICED = 0.8  # share of the days whose returns are known; with fewer no price is used


def class_mix(panel: Panel, returns: Floats, windows: Windows, level: float) -> Measured:
    """Return, as a measure of drift, the distance of the week's class mix from what was expected.

    ``returns`` are the price's daily log returns of the seven days before the panel's first day, then of its days; NaN
    where there is none.
    """
    shares, posts = daily_shares(panel)
    causes = causes_of(returns)
    used = np.isfinite(causes[windows.present.reference_first : windows.present.end]).all(axis=1).mean() >= MIN_PRICED
    design = np.column_stack([np.ones(panel.days), causes]) if used else np.ones((panel.days, 1))
    present = _left(shares, design, windows.present)
    earlier = [left for each in windows.earlier if (left := _left(shares, design, each)) is not None]
    if present is None or len(earlier) < MIN_EARLIER:
        return unmeasured("class mix", f"too few days have {MIN_DAY_POSTS} posts")
    limit = distance_limit(len(earlier), 2, level)
    found = distance(np.array([each[0] for each in earlier]), present[0])
    if np.isnan(found):
        return unmeasured("class mix", "the earlier weeks do not differ at all")
    bearish, bullish = present[1].tolist()
    expected_bearish, expected_bullish = (present[1] - present[0]).tolist()
    return Measured(
        "class mix",
        value=found,
        reference=0.0,
        threshold=limit,
        exceeded=found > limit,
        n=int(posts[windows.present.first : windows.present.end].sum()),
        details={
            "prices": bool(used),
            "bearish": bearish,
            "bullish": bullish,
            "expected_bearish": expected_bearish,
            "expected_bullish": expected_bullish,
            "earlier_weeks": len(earlier),
        },
    )


def daily_shares(panel: Panel) -> tuple[Floats, Floats]:
    """Return each day's mean probabilities of bearish and bullish in the panel (days, 2), NaN with too few posts, and
    its posts."""
    posts = np.diff(panel.starts)
    sums = np.column_stack([np.bincount(panel.day_of, panel.probabilities[:, k], minlength=panel.days) for k in (0, 2)])
    shares = np.full((panel.days, 2), np.nan)
    enough = posts >= MIN_DAY_POSTS
    shares[enough] = sums[enough] / posts[enough, None]
    return shares, posts.astype(np.float64)


def causes_of(returns: Floats) -> Floats:
    """Return the regressors by which the price explains each day's class mix without drift: the returns of it, of the
    day before, and of the five days before that."""
    days = len(returns) - LAGS
    place = LAGS + np.arange(days)
    before = np.sum([returns[place - lag] for lag in range(2, LAGS)], axis=0)
    return np.column_stack([returns[place], returns[place - 1], before])


def _left(shares: Floats, design: Floats, window: Window) -> tuple[Floats, Floats] | None:
    """Return the week's mean shares less the expected ones, and the mean shares; ``None`` if too few days are known."""
    known = np.isfinite(shares).all(axis=1) & np.isfinite(design).all(axis=1)
    days = np.arange(len(shares))
    reference = known & (days >= window.reference_first) & (days < window.reference_end)
    week = known & (days >= window.first) & (days < window.end)
    if week.sum() < MIN_DAYS or reference.sum() < 2 * design.shape[1] + MIN_DAYS:
        return None
    slopes = np.linalg.lstsq(design[reference], shares[reference], rcond=None)[0]
    return (shares[week] - design[week] @ slopes).mean(axis=0), shares[week].mean(axis=0)
