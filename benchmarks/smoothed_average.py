"""The estimator before the filter: a daily mean, shrunk, exponentially smoothed, with a bootstrap interval.

Kept to be compared with; nothing but the benchmarks uses it.
"""

import numpy as np

from bizcharts_pipeline.index.series import Coverage, State, rebuild
from bizcharts_pipeline.index.votes import Floats, Ints, Mentions, Posts
from bizcharts_pipeline.settings import FearGreedSettings


def smoothed_average(posts: Posts, ends: Ints) -> tuple[Floats, Floats, Floats]:
    """Stance, lo and hi at each of the hourly ``ends``."""
    none, nothing = np.empty(0, np.int64), np.empty(0)
    mentions = Mentions(none, none, (), nothing, none, nothing, nothing)
    nowhere = Coverage(0, np.zeros(0, bool), np.zeros(0, bool))
    begin = State.nothing(int(ends[0]) - 3_600_000_000)
    settings = FearGreedSettings(replicates=400)
    market = rebuild(posts, mentions, nowhere, begin, int(ends[-1]), settings, running=False).market
    return market.stance, market.stance_lo, market.stance_hi
