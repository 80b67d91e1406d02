"""People's net stance by calendar month: the model's stance, corrected for its weaker response to changes.

The correction divides by the slope, so a daily value would be mostly noise; a month has enough posts for it.
docs/methodology.md has the formulas.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np

from bizcharts_pipeline.index.people import people_stance
from bizcharts_pipeline.index.store import load_posts, load_responses
from bizcharts_pipeline.index.sums import SETTLED, cell_sums
from bizcharts_pipeline.index.votes import market_votes, to_us
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.text.duplicates import MEMORY


@dataclass(frozen=True)
class Month:
    """One calendar month (UTC). Intervals have the probability mass of the setting ``interval``."""

    month: datetime  # its first moment, naive UTC
    complete: bool  # False: the current month
    n: int  # opening posts that count
    n_eff: float
    stance: float  # the model's certainty-weighted mean, -1 to 1
    stance_lo: float
    stance_hi: float
    people: float | None  # people's net stance, -1 to 1; None: no gold measurement, or the model does not follow
    people_lo: float | None
    people_hi: float | None
    model_version: str


def monthly_stances(
    connection: duckdb.DuckDBPyConnection,
    model_version: str,
    most: int,
    now: datetime,
    parameters: FearGreedSettings,
    excluded_generals: Sequence[str],
) -> list[Month]:
    """Return the mood of each of the newest ``most`` calendar months up to ``now`` that have counted posts, newest
    first.
    """
    starts = [datetime(now.year, now.month, 1)]
    while len(starts) < most and starts[0].year > 1:
        before = starts[0]
        starts.insert(0, datetime(before.year - (before.month == 1), (before.month - 2) % 12 + 1, 1))
    edges = [to_us(start) for start in starts] + [to_us(now) + 1]
    posts = load_posts(connection, model_version, edges[0] - MEMORY, edges[-1] - 1, parameters, excluded_generals)
    votes = market_votes(posts)
    sums = cell_sums(votes, np.searchsorted(edges, votes.posted_at, side="right") - 1, len(starts))[SETTLED]
    there = np.flatnonzero(sums.weight > 0)
    sums = sums.part(there)
    stance, variance = sums.mean, sums.variance
    lo, hi = sums.interval(parameters.interval)
    responses = load_responses(connection, model_version)
    people: list[tuple[float | None, ...]] = [(None, None, None)] * len(there)
    if responses:
        figures = np.column_stack(people_stance(stance, variance, responses[-1], parameters.interval))
        people = [(None, None, None) if math.isnan(row[0]) else tuple(row) for row in figures.tolist()]
    return [
        Month(
            month=starts[place],
            complete=place < len(starts) - 1,
            n=int(sums.n[row]),
            n_eff=float(sums.n_eff[row]),
            stance=float(stance[row]),
            stance_lo=float(lo[row]),
            stance_hi=float(hi[row]),
            people=people[row][0],
            people_lo=people[row][1],
            people_hi=people[row][2],
            model_version=model_version,
        )
        for row, place in reversed(list(enumerate(there.tolist())))
    ]
