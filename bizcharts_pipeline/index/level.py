"""The market's current stance: a bank of local-level filters (Harvey 1989), weighted by how well they predict.

Each filter models the stance as a random walk observed once an hour, with an error that decreases with the weight of
the hour's posts. The filters differ in the speed of the walk. docs/methodology.md has the formulas.
"""

from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.index.sums import Sums
from bizcharts_pipeline.index.votes import Floats, Ints

# Chosen by simulation (benchmarks/bench_estimator.py), not estimated.
RATES = np.geomspace(3e-5, 2e-2, 10)  # variance of the walk's hourly step, in variances of one post
# Factors on the filters' variances: the slow ones lead where the mood is nearly constant, and err less then than their
# variances say; where those of middle speed lead, the mood is often faster than they are.
ERROR_FACTORS = np.array([0.45, 0.8, 0.9, 1.5, 1.5, 1.5, 1, 1, 1, 1])
TEMPER = 0.7  # share of the log likelihood that counts: the model is an approximation
EVIDENCE_HALF_LIFE_HOURS = 90 * 24
NOISE_HALF_LIFE_HOURS = 5 * 24
PRIOR_POSTS = 5.0  # weight of the noise's prior, in posts of weight 1
PRIOR_LEVEL = 0.1  # variance of the level at the start, in variances of one post
MIN_VARIANCE = 1e-6  # of one post: some uncertainty remains even if all posts agree

FORGET = 2 ** (-1 / EVIDENCE_HALF_LIFE_HOURS)  # hourly decay factor of the evidence
FADE = 2 ** (-1 / NOISE_HALF_LIFE_HOURS)  # hourly decay factor of the noise sums


@dataclass(frozen=True)
class Prior:
    """Prior before the first post: the scorer's base rate."""

    mean: float = 0.0  # stance
    variance: float = 0.5  # of one post's stance


@dataclass(frozen=True)
class Noise:
    """Exponentially decaying sums from which the variance of one post is estimated."""

    deviation: float  # of v (s - mean)^2
    square: float  # of v
    weight: float  # of w

    @staticmethod
    def before(prior: Prior) -> "Noise":
        """Return the sums from which one post's variance is estimated, before the first post."""
        return Noise(PRIOR_POSTS * prior.variance, PRIOR_POSTS, PRIOR_POSTS)


@dataclass(frozen=True)
class Level:
    """State of the filter bank after some hour, from which the next one continues."""

    mean: Floats  # (B,)
    variance: Floats  # (B,)
    evidence: Floats  # (B,) decaying, tempered log likelihood
    noise: Noise

    @staticmethod
    def before(prior: Prior) -> "Level":
        """Return the state of the market's filters before the first post."""
        bank = np.ones(len(RATES))
        return Level(prior.mean * bank, PRIOR_LEVEL * prior.variance * bank, 0 * bank, Noise.before(prior))


@dataclass(frozen=True)
class Path:
    """The bank's states before the first and after each of ``H`` settled hours: row 0 is the initial state."""

    mean: Floats  # (H + 1, B)
    variance: Floats  # (H + 1, B)
    evidence: Floats  # (H + 1, B)
    deviation: Floats  # (H + 1,) the noise sums
    square: Floats
    weight: Floats

    @property
    def post_variance(self) -> Floats:
        """Variance of the stance of a single post, as the market's filters assume it (H + 1,)."""
        return np.maximum(self.deviation / self.square, MIN_VARIANCE)

    @property
    def error(self) -> Floats:
        """Variance of an hour's mean stance times the hour's weight (H + 1,)."""
        return self.post_variance * self.square / self.weight

    def at(self, row: int) -> Level:
        """Return the state of the market's filters after ``row`` hours."""
        noise = Noise(float(self.deviation[row]), float(self.square[row]), float(self.weight[row]))
        return Level(self.mean[row].copy(), self.variance[row].copy(), self.evidence[row].copy(), noise)


def follow(level: Level, hours: Sums, window: Sums) -> Path:
    """Run the market's filters over ``H`` settled ``hours``; ``window`` has the sums of the 24 hours up to each hour's
    end.
    """
    deviation, square, weight = fading_noise(level.noise, hours, window)
    count, bank = len(hours.n), len(RATES)
    means, variances, evidences = (np.empty((count + 1, bank)) for _ in range(3))
    path = Path(means, variances, evidences, deviation, square, weight)
    mean, variance, evidence = level.mean.copy(), level.variance.copy(), level.evidence.copy()
    path.mean[0], path.variance[0], path.evidence[0] = mean, variance, evidence
    steps = np.multiply.outer(path.post_variance, RATES)
    errors = (path.error[1:] / np.where(hours.weight > 0, hours.weight, 1)).tolist()
    observed = (hours.weight > 0).tolist()
    for row, (seen, error, stance) in enumerate(zip(observed, errors, hours.mean.tolist(), strict=True), 1):
        variance = variance + steps[row]
        if seen:
            total = variance + error
            miss = stance - mean
            evidence = FORGET * evidence - (TEMPER / 2) * (np.log(total) + miss * miss / total)
            mean = mean + variance / total * miss
            variance = variance * (error / total)
        path.mean[row], path.variance[row], path.evidence[row] = mean, variance, evidence
    return path


def fading_noise(noise: Noise, hours: Sums, window: Sums) -> tuple[Floats, Floats, Floats]:
    """Return the three sums from which one post's variance is estimated, before and after each hour (H + 1,);
    deviations are from the mean of the preceding 24 hours.
    """
    # The mean is estimated from the same posts, which reduces the deviations by a share of 1 / n_eff.
    kept = np.maximum(1 - 1 / np.maximum(window.n_eff, 1.0), 0.5)
    return (
        _faded(noise.deviation, hours.deviation(window.mean) / kept),
        _faded(noise.square, hours.square),
        _faded(noise.weight, hours.weight),
    )


def _faded(start: float, added: Floats) -> Floats:
    sums = np.empty(len(added) + 1)
    sums[0] = start
    for row, amount in enumerate(added.tolist(), 1):
        start = FADE * start + amount
        sums[row] = start
    return sums


@dataclass(frozen=True)
class Estimate:
    """Mean and variance of the mixture of filters at ``R`` moments."""

    mean: Floats  # (R,)
    variance: Floats  # (R,)


def estimate(path: Path, rows: Ints, unsettled: list[tuple[Floats, Floats, Floats]]) -> Estimate:
    """Estimate the market's stance: continue the filters from each settled row of ``rows`` (R,) over the hours that are
    not settled yet.

    ``unsettled`` has for each of these hours its length in hours, weight and mean stance, each (R,).
    """
    mean, variance = path.mean[rows], path.variance[rows]
    step = path.post_variance[rows, None] * RATES
    error = path.error[rows]
    for length, weight, stance in unsettled:
        variance = variance + step * length[:, None]
        gain = gains(variance, error, weight)
        mean = mean + gain * (stance[:, None] - mean)
        variance = variance * (1 - gain)
    return Estimate(*mixed(mean, variance * ERROR_FACTORS, path.evidence[rows]))


def gains(variance: Floats, error: Floats, weight: Floats) -> Floats:
    """Return the gain of each of the index's filters in an hour, (R, B): the share of its distance to the hour's mean
    that it moves; 0 in an hour without a post.

    ``variance`` (R, B) is the filters' before the hour; ``error`` and ``weight`` (R,) are the hour's.
    """
    seen = weight > 0
    ratio = np.where(seen, error / np.where(seen, weight, 1), np.inf)[:, None]
    return np.asarray(variance / (variance + ratio))


def shares(evidence: Floats) -> Floats:
    """Return the weights of the index's filters in their mixture, proportional to exp(evidence): (..., B); they sum to
    1.
    """
    share = np.exp(evidence - evidence.max(axis=-1, keepdims=True))
    return np.asarray(share / share.sum(axis=-1, keepdims=True))


def mixed(mean: Floats, variance: Floats, evidence: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance (R,) of the mixture of the index's filters (R, B)."""
    share = shares(evidence)
    middle = (share * mean).sum(axis=-1)
    return middle, (share * (variance + (mean - middle[..., None]) ** 2)).sum(axis=-1)
