"""Intervals by the Bayesian bootstrap (Rubin 1981) over clusters of near-duplicates.

Each cluster gets one Exp(1) multiplier a replicate and keeps it in every window it is in, so that
neighbouring readings err together and the error that the smoothing lets through is right.
"""

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.index.votes import Floats, Ints
from bizcharts_pipeline.index.weights import Weighed

Replicates = NDArray[np.float32]
Words = NDArray[np.uint64]

SEED = 20_190_601
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# Exp(1) at the middles of 65,536 equally likely steps: 16 random bits make one multiplier.
_EXPONENTIAL = (-np.log((np.arange(65_536) + 0.5) / 65_536)).astype(np.float32)


def multipliers(clusters: Ints, replicates: int) -> Replicates:
    """Exp(1) multipliers (len(clusters), replicates).

    A row depends on its cluster's id alone, neither on the other clusters nor on how the posts were cut into
    runs. It is a stream of SplitMix64 (Steele, Lea and Flood 2014), evaluated at its counter.
    """
    key = _mix(clusters.astype(np.uint64) + np.uint64((SEED * _GOLDEN) % 2**64))
    steps = np.arange(1, -(-replicates // 4) + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    words = _mix(key[:, None] + steps)
    drawn: Replicates = _EXPONENTIAL.take(words.view(np.uint16)[:, :replicates], mode="clip")
    return drawn


def _mix(words: Words) -> Words:
    words ^= words >> np.uint64(30)
    words *= _MIX_1
    words ^= words >> np.uint64(27)
    words *= _MIX_2
    words ^= words >> np.uint64(31)
    return words


def deviations(weighed: Weighed, column: int, rows: Ints, replicates: int) -> Replicates:
    """Replicated minus actual mean stance of one series, by its place: (len(rows), replicates).

    0 where the window has no vote.
    """
    if not replicates:
        return np.zeros((len(rows), 0), np.float32)
    stop = weighed.first[column + 1] if column + 1 < len(weighed.first) else len(weighed.cluster)
    block = slice(weighed.first[column], stop)
    weight, stance = weighed.weight[rows, block], weighed.stance[rows, block]
    total = weight.sum(axis=1, keepdims=True)
    mean = np.divide(stance.sum(axis=1, keepdims=True), total, out=np.zeros_like(total), where=total > 0)
    # Centred before rounding to single precision, and scaled so that the denominator is near 1.
    scale = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
    random = multipliers(weighed.cluster[block], replicates)
    numerator = ((stance - mean * weight) * scale).astype(np.float32) @ random
    denominator = (weight * scale).astype(np.float32) @ random
    return np.asarray(np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0))


def bounds(deviation: Replicates, mass: float) -> tuple[Floats, Floats]:
    """The equal-tailed quantiles that hold ``mass`` of each row, linearly interpolated: two of (rows,).

    NaN without replicates.
    """
    if not deviation.shape[1]:
        return np.full(len(deviation), np.nan), np.full(len(deviation), np.nan)
    ordered = np.sort(deviation, axis=1)
    last = ordered.shape[1] - 1
    edges = []
    for probability in ((1 - mass) / 2, (1 + mass) / 2):
        below = min(int(probability * last), last - 1)
        part = probability * last - below
        edges.append(ordered[:, below] * (1 - part) + ordered[:, below + 1] * part)
    return edges[0].astype(np.float64), edges[1].astype(np.float64)
