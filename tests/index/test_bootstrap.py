import numpy as np

from bizcharts_pipeline.index.bootstrap import bounds, deviations, multipliers
from bizcharts_pipeline.index.votes import DAY, HOUR, Votes
from bizcharts_pipeline.index.weights import weigh
from bizcharts_pipeline.settings import FearGreedSettings

END = 20_000 * DAY


def test_a_clusters_multipliers_depend_on_nothing_but_its_id():
    ids = np.arange(58_000_000, 58_000_300, dtype=np.int64)
    together = multipliers(ids, 1000)
    assert (multipliers(ids[::-7], 1000) == together[::-7]).all()
    assert (multipliers(ids[:5], 101) == together[:5, :101]).all()


def test_multipliers_are_standard_exponential_and_uncorrelated():
    drawn = multipliers(np.arange(58_000_000, 58_002_000, dtype=np.int64), 1000).astype(float)
    assert abs(drawn.mean() - 1) < 0.005
    assert abs(drawn.var() - 1) < 0.01
    assert abs(np.quantile(drawn, 0.99) - np.log(100)) < 0.02
    between_clusters = np.corrcoef(drawn[:200])[np.triu_indices(200, 1)]
    between_replicates = np.corrcoef(drawn[:, :200].T)[np.triu_indices(200, 1)]
    assert abs(between_clusters.std() - 1 / np.sqrt(1000)) < 0.002
    assert abs(between_replicates.std() - 1 / np.sqrt(2000)) < 0.002


def test_nine_in_ten_intervals_hold_the_truth():
    rng = np.random.default_rng(7)
    truth, held, trials = -0.16, 0, 600
    parameters = FearGreedSettings()
    for trial in range(trials):
        count = 120
        cluster = np.arange(count) + trial * 1000
        cluster[rng.random(count) < 0.15] = trial * 1000  # a cluster speaks with one voice
        votes = Votes(
            posted_at=np.sort(END - rng.integers(0, 24 * HOUR, count)),
            series=np.zeros(count, np.int64),
            cluster=cluster,
            stance=np.where(cluster == trial * 1000, rng.choice([-1, 0, 1], p=[0.38, 0.4, 0.22]), 0.0)
            + np.where(cluster == trial * 1000, 0, rng.choice([-1, 0, 1], count, p=[0.38, 0.4, 0.22])),
            weight=0.25 + 0.75 * rng.random(count),
            engagement=1 + np.log1p(rng.geometric(0.05, (count, 1)).repeat(3, axis=1)),
        )
        weighed = weigh(votes, np.array([END]), 24, parameters)
        lo, hi = bounds(deviations(weighed, 0, np.array([0]), 400), 0.9)
        held += weighed.mean[0, 0] + lo[0] <= truth <= weighed.mean[0, 0] + hi[0]
    assert 0.86 <= held / trials <= 0.93


def test_bounds_are_the_quantiles():
    drawn = np.random.default_rng(1).normal(size=(5, 777)).astype(np.float32)
    lo, hi = bounds(drawn, 0.9)
    assert np.allclose(lo, np.quantile(drawn, 0.05, axis=1), atol=1e-6)
    assert np.allclose(hi, np.quantile(drawn, 0.95, axis=1), atol=1e-6)
