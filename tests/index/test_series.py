from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from index_world import QUICK, START, MadePost, no_mentions, posts_of, random_posts

from bizcharts_pipeline.index.series import Coverage, MarketReadings, State, rebuild
from bizcharts_pipeline.index.votes import DAY, HOUR, to_us

NOWHERE = Coverage(0, np.zeros(0, bool), np.zeros(0, bool))
BEGIN = to_us(START)


def read(made, until: datetime, state: State | None = None, parameters=QUICK, running=False):
    return rebuild(
        posts_of(made),
        no_mentions(),
        NOWHERE,
        state or State.nothing(BEGIN),
        to_us(until),
        parameters,
        running=running,
    )


def steady(hours: range, up: float = 0.5, per_hour: int = 4) -> list[MadePost]:
    moments = [START + timedelta(hours=h, minutes=7 * k + 1) for h in hours for k in range(per_hour)]
    return [MadePost(i, moment, up, 0.1) for i, moment in enumerate(moments, 1 + 100_000 * hours.start)]


def test_cutting_a_stretch_in_two_changes_nothing():
    made = random_posts(seed=3, days=30, per_day=60)
    whole = read(made, START + timedelta(days=30)).market
    first = read([p for p in made if p.posted_at <= START + timedelta(days=13)], START + timedelta(days=13))
    second = read(made, START + timedelta(days=30), first.state).market
    for name in ("value", "lo", "hi", "stance", "stance_lo", "stance_hi", "raw_stance", "n", "n_eff"):
        joined = np.concatenate([getattr(first.market, name), getattr(second, name)])
        np.testing.assert_allclose(joined, getattr(whole, name), atol=1e-5, err_msg=name)
    assert first.market.label + second.label == whole.label
    assert first.market.state + second.state == whole.state


def test_smoothing_starts_afresh_after_a_gap_and_gaps_have_no_reading():
    made = steady(range(48), up=0.9) + steady(range(120, 140), up=0.1)
    market = read(made, START + timedelta(hours=140)).market
    silent = slice(48 + 24, 120)
    assert (market.n[silent] == 0).all()
    assert np.isnan(market.stance_lo[silent]).all()
    assert np.allclose(market.stance[silent], np.nanmean(market.raw_stance[: 48 + 24]))  # the normal mood
    assert np.isnan(market.value[silent]).all()
    assert market.label[80] is None
    assert market.state[80] == "no reading"
    # The first reading afterwards is its own shrunk mean; only the anchor knows of the old mood.
    n_eff, pull = market.n_eff[120], QUICK.shrinkage_posts
    normal = np.nanmean(market.raw_stance[:72])
    assert market.stance[120] == pytest.approx((n_eff * 0.0 + pull * normal) / (n_eff + pull))


def test_smoothing_halves_the_distance_in_its_half_life():
    made = steady(range(24 * 9), up=0.1) + steady(range(24 * 9, 24 * 12), up=0.6)
    unshrunk = QUICK.model_copy(update={"shrinkage_posts": 0.0, "window_hours": 1})
    market = read(made, START + timedelta(days=12), parameters=unshrunk).market
    jump = 24 * 9 - 1
    assert market.stance[jump] == pytest.approx(0)
    assert market.stance[jump + 24] == pytest.approx(0.25)
    assert market.stance[jump + 48] == pytest.approx(0.375)


def test_calibrating_is_the_plain_stance_and_then_comes_the_percentile():
    market = read(random_posts(seed=5, days=12, per_day=60), START + timedelta(days=12)).market
    days = QUICK.minimum_history_days
    early, late = slice(24, days * 24), slice(days * 24, None)
    assert set(market.state[early]) <= {"calibrating", "no reading"}
    np.testing.assert_allclose(market.value[early], 50 + 50 * market.stance[early])
    assert set(market.state[late]) <= {"normal", "thin"}
    history = market.stance[23 : days * 24 : 24]
    now = market.stance[days * 24]
    rank = ((history < now).sum() + 0.5 * (history == now).sum() + 0.5) / (days + 1)
    assert market.value[days * 24] == pytest.approx(100 * rank)


def test_a_value_lies_in_its_interval_and_a_window_of_few_posts_has_a_wide_one():
    made = random_posts(seed=8, days=14, per_day=80)
    market = read(made, START + timedelta(days=14)).market
    known = ~np.isnan(market.value)
    assert (market.lo[known] <= market.value[known]).all()
    assert (market.value[known] <= market.hi[known]).all()
    unshrunk = QUICK.model_copy(update={"shrinkage_posts": 0.0})
    widths = []
    for some in (made, made[::4]):
        market = read(some, START + timedelta(days=14), parameters=unshrunk).market
        widths.append(np.nanmean((market.stance_hi - market.stance_lo)[100:]))
    assert 1.7 < widths[1] / widths[0] < 2.3


def test_copies_raise_neither_the_mood_nor_the_certainty_much():
    made = random_posts(seed=9, days=3, per_day=60)
    raid = [
        MadePost(900_000 + k, START + timedelta(days=2, hours=20, minutes=k), 1.0, 0.0, cluster_id=900_000)
        for k in range(50)
    ]
    until = START + timedelta(days=3)
    calm, copied = read(made, until).market, read(made + raid, until).market
    strangers = read(made + [replace(p, cluster_id=None) for p in raid], until).market
    effect = copied.raw_stance[-1] - calm.raw_stance[-1]
    assert 0 < effect < 0.2 * (strangers.raw_stance[-1] - calm.raw_stance[-1])
    assert copied.n_eff[-1] <= calm.n_eff[-1] + 1


def test_the_running_reading_leaves_the_complete_ones_alone():
    made = random_posts(seed=2, days=4, per_day=60)
    half_past = START + timedelta(days=3, hours=7, minutes=30)
    alone: MarketReadings = read(made, START + timedelta(days=3, hours=7)).market
    market = read(made, half_past, running=True).market
    assert market.provisional
    assert market.ends[-1] == to_us(half_past)
    assert market.ends[-2] % HOUR == 0
    assert market.value[:-1] == pytest.approx(alone.value, nan_ok=True)


def test_coverage_counts_hours_and_is_unknown_where_nobody_could_have_looked():
    known = np.array([False] * 24 + [True] * 24)
    covered = known & (np.arange(48) % 2 == 0)
    coverage = Coverage(BEGIN, covered, known)
    ends = BEGIN + np.array([DAY, 2 * DAY, DAY + 90 * HOUR // 60])
    share = coverage.share(ends, 24)
    assert np.isnan(share[0])
    assert share[1:].tolist() == [0.5, 1 / 24]
