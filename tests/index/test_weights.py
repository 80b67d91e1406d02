import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bizcharts_pipeline.index.votes import DAY, HOUR, Votes
from bizcharts_pipeline.index.weights import water_fill, weigh
from bizcharts_pipeline.settings import FearGreedSettings

NOON = 20_000 * DAY + 12 * HOUR
MINUTE = HOUR // 60

vote = st.tuples(
    st.integers(-30 * 60, 0),  # minutes before the last end
    st.integers(0, 2),  # series
    st.integers(1, 6),  # cluster
    st.floats(-1, 1),  # stance
    st.floats(0.05, 1),  # weight
    st.tuples(*[st.integers(0, 300)] * 3),  # replies
)


@settings(max_examples=150, deadline=None)
@given(st.lists(vote, min_size=1, max_size=25), st.sampled_from([0.05, 0.3, 1.0]))
def test_weights_equal_a_plain_reference(drawn, cap):
    drawn = sorted(drawn, key=lambda v: v[0])
    votes = Votes(
        posted_at=np.array([NOON + v[0] * MINUTE for v in drawn]),
        series=np.array([v[1] for v in drawn]),
        cluster=np.array([v[2] for v in drawn]),
        stance=np.array([v[3] for v in drawn]),
        weight=np.array([v[4] for v in drawn]),
        engagement=1 + np.log1p(np.array([v[5] for v in drawn], float)),
    )
    parameters = FearGreedSettings(cluster_share_cap=cap)
    ends = NOON + HOUR * np.arange(-6, 1)
    weighed = weigh(votes, ends, 24, parameters)
    for row, end in enumerate(ends.tolist()):
        for place, series in enumerate(weighed.series.tolist()):
            n, mean, n_eff = reference(drawn, end, series, cap)
            assert weighed.votes[row, place] == n
            assert math.isclose(weighed.n_eff[row, place], n_eff, rel_tol=1e-9, abs_tol=1e-12)
            if n:
                assert math.isclose(weighed.mean[row, place], mean, rel_tol=1e-9, abs_tol=1e-9)
            else:
                assert math.isnan(weighed.mean[row, place])


def reference(drawn, end, series, cap):
    """The same by the book, one vote after the other."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for minutes, its_series, cluster, stance, weight, replies in drawn:
        posted = NOON + minutes * MINUTE
        if its_series != series or not end - 24 * HOUR < posted <= end:
            continue
        passed = 0  # full hours since the post, the present one included
        moment = -(-posted // HOUR) * HOUR
        while moment < end and passed < 2:
            moment, passed = moment + HOUR, passed + 1
        engagement = 1 + math.log(1 + replies[passed])
        recency = 2 ** (-((end - posted) / HOUR) / 12)
        groups.setdefault(cluster, []).append((weight * engagement * recency, stance))
    if not groups:
        return 0, None, 0.0
    factor = {c: (1 + math.log(len(members))) / len(members) for c, members in groups.items()}
    total = {c: factor[c] * sum(w for w, _ in members) for c, members in groups.items()}
    stance = {c: factor[c] * sum(w * s for w, s in members) / total[c] for c, members in groups.items()}
    share = {c: weight / sum(total.values()) for c, weight in total.items()}
    limit = max(cap, 2 / len(groups))
    capped: set[int] = set()
    filled = dict(share)
    while over := {c for c in filled if c not in capped and filled[c] > limit}:
        capped |= over
        free = sum(share[c] for c in share if c not in capped)
        left = 1 - limit * len(capped)
        filled = {c: limit if c in capped else share[c] * left / free for c in share}
    n_eff = sum(filled.values()) ** 2 / sum(w * w for w in filled.values())
    mean = sum(filled[c] * stance[c] for c in filled) / sum(filled.values())
    return sum(map(len, groups.values())), mean, n_eff


@settings(deadline=None)
@given(st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=40), st.floats(1, 4))
def test_water_filling_caps_every_share_and_keeps_total_and_order(weights, slack):
    weight = np.array([weights])
    cap = min(1.0, slack / len(weights) * 1.01)
    filled = water_fill(weight, np.array([0]), np.array([[cap]]))
    assert filled.max() <= cap * weight.sum() * (1 + 1e-9)
    assert np.isclose(filled.sum(), weight.sum(), rtol=1e-9)
    order = np.argsort(weight[0], kind="stable")
    assert (np.diff(filled[0][order]) >= -1e-9 * weight.sum()).all()


def test_fifty_copies_weigh_as_one_plus_the_logarithm_of_fifty():
    single, raid = np.arange(100), np.full(50, 100)
    cluster = np.concatenate([single, raid])
    votes = Votes(
        posted_at=np.full(150, NOON),
        series=np.zeros(150, np.int64),
        cluster=cluster,
        stance=np.where(cluster == 100, 1.0, 0.0),
        weight=np.ones(150),
        engagement=np.ones((150, 3)),
    )
    weighed = weigh(votes, np.array([NOON]), 24, FearGreedSettings())
    raiders = 1 + math.log(50)
    assert math.isclose(weighed.mean[0, 0], raiders / (100 + raiders))
    assert math.isclose(weighed.n_eff[0, 0], (100 + raiders) ** 2 / (100 + raiders**2))
