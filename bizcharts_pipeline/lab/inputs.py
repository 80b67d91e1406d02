"""Reads the lab's series from the warehouse: of each day what was knowable at the midnight that ends it."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from statistics import fmean

import duckdb
import numpy as np

from bizcharts_pipeline.core.clock import DAY, midnight
from bizcharts_pipeline.lab.series import Floats, Pair
from bizcharts_pipeline.prices.alternative_me import NAME
from bizcharts_pipeline.prices.returns import Days, day_grid, log_returns, on_grid
from bizcharts_pipeline.text.generals import general_of
from bizcharts_pipeline.warehouse.as_of import candles, coin_scores_at_opens, first_bucket
from bizcharts_pipeline.warehouse.prices import midnight_prices, reference_days
from bizcharts_pipeline.warehouse.scores import first_scores_by_subject

INDEX, REFERENCE, PLACEBO = "index", "reference", "placebo"
MARKET = "BTC"
PLACEBO_GENERAL = "smg"  # stocks: a mood that the index leaves out
_PLACEBO_WORDS = (PLACEBO_GENERAL, "stock market general")


def read_pairs(
    connection: duckdb.DuckDBPyConnection, coins: Sequence[str], now: datetime, as_of: datetime | None = None
) -> list[Pair]:
    """Return the moods with their prices, trimmed: the index, each coin's, the reference index and the placebo.

    ``coins`` are symbols; ``now`` and ``as_of`` are naive UTC. Under one rule: a day's mood is what was knowable at its
    end. A reading of alternative.me has the time of its day's begin and appears minutes later, so that the end of that
    day is the first midnight at which it is knowable.
    """
    last = (min(as_of or now, now) - DAY).date()  # the last complete day
    reference = reference_days(connection, NAME, as_of)
    begin = first_bucket(connection, "hour", as_of)
    first = min([*reference, *([begin.date()] if begin else [])], default=last + DAY)
    grid = day_grid(first, last)
    if grid.size == 0:
        return []
    opens = (midnight(first) + DAY, midnight(last) + DAY)
    known = candles(connection, DAY, *opens, as_of)
    index = {candle.open.date() - DAY: candle.value for candle in known if candle.value is not None}

    def returns(coin: str) -> Floats:
        return log_returns(midnight_prices(connection, coin, first - DAY, last), grid)

    market = returns(MARKET)
    pairs = [Pair(INDEX, "the index", MARKET, grid, on_grid(index, grid), market, classes=True)]
    for coin in coins:
        found = coin_scores_at_opens(connection, coin, DAY, *opens, as_of)
        scores = {at.date() - DAY: score for at, score in found if score is not None}
        if scores:
            mood = on_grid(scores, grid)
            pairs.append(Pair(f"coin:{coin}", f"the board's mood on {coin}", coin, grid, mood, returns(coin)))
    pairs.append(Pair(REFERENCE, f"{NAME}'s index", MARKET, grid, on_grid(reference, grid), market, classes=True))
    placebo = _placebo(connection, grid, as_of)
    if np.isfinite(placebo).any():
        pairs.append(Pair(PLACEBO, f"the mood of /{PLACEBO_GENERAL}/ (stocks)", MARKET, grid, placebo, market))
    return [pair.trimmed() for pair in pairs]


def _placebo(connection: duckdb.DuckDBPyConnection, grid: Days, as_of: datetime | None) -> Floats:
    """The mean score of each day's posts in the stock market general that were knowable at the day's end."""
    by_day: dict[date, list[float]] = defaultdict(list)
    for subject, posted_at, knowable_at, score in first_scores_by_subject(connection, _PLACEBO_WORDS, as_of):
        if general_of(subject) == PLACEBO_GENERAL and knowable_at <= midnight(posted_at.date()) + timedelta(days=1):
            by_day[posted_at.date()].append(score)
    return on_grid({day: fmean(scores) for day, scores in by_day.items()}, grid)
