from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from index_world import QUICK, START, MadePost, no_mentions, posts_of, random_posts

from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.index.people import Response
from bizcharts_pipeline.index.series import rebuild
from bizcharts_pipeline.index.stretch import Coverage, MarketReadings, State
from bizcharts_pipeline.index.votes import DAY, HOUR, to_us

BEGIN = to_us(START)
NUMBERS = (
    "value", "lo", "hi", "stance", "stance_lo", "stance_hi", "raw_stance", "n", "n_eff", "history_days", "knowable_at"
)  # fmt: skip


def read(made, until: datetime, state: State | None = None, parameters=QUICK, running=False, **more):
    return rebuild(
        posts_of(made),
        no_mentions(),
        Coverage.nowhere(),
        state or State.nothing(BEGIN),
        to_us(until),
        parameters,
        running=running,
        **more,
    )


def steady(hours: range, up: float = 0.5, per_hour: int = 4) -> list[MadePost]:
    moments = [START + timedelta(hours=h, minutes=7 * k + 1) for h in hours for k in range(per_hour)]
    return [MadePost(i, moment, up, 0.1) for i, moment in enumerate(moments, 1 + 100_000 * hours.start)]


def test_cutting_a_stretch_in_two_changes_nothing():
    made = random_posts(seed=3, days=30, per_day=60)
    whole = read(made, START + timedelta(days=30)).market
    for days in (1, 13, 29):
        cut = START + timedelta(days=days)
        first = read([p for p in made if p.posted_at <= cut], cut)
        second = read(made, START + timedelta(days=30), first.state_at(to_us(cut))).market
        for name in NUMBERS:
            joined = np.concatenate([getattr(first.market, name), getattr(second, name)])
            np.testing.assert_array_equal(joined, getattr(whole, name), err_msg=name)
        assert first.market.label + second.label == whole.label
        assert first.market.state + second.state == whole.state


def test_a_gap_widens_the_interval_and_its_hours_have_no_reading():
    made = random_posts(seed=4, days=10, per_day=96)
    gap = range(5 * 24, 8 * 24)
    made = [p for p in made if (p.posted_at - START) // timedelta(hours=1) not in gap]
    market = read(made, START + timedelta(days=10)).market
    silent = slice(6 * 24, 8 * 24 - 1)
    assert (market.n[silent] == 0).all()
    assert set(market.state[silent]) == {"no reading"}
    assert np.isnan(market.value[silent]).all()
    assert market.label[150] is None
    width = market.stance_hi - market.stance_lo
    assert (np.diff(width[gap.start + 2 : gap.stop]) > 0).all()
    assert np.allclose(market.stance[silent], market.stance[silent.start], atol=0.05)  # the last mood is all there is
    assert width[gap.stop + 23] < width[gap.stop - 1] / 1.5


def test_a_jump_of_the_mood_is_found_within_half_a_day():
    made = random_posts(seed=5, days=20, per_day=250)
    made = [replace(p, up=0.0, down=float(p.thread_id % 2)) for p in made]
    jump = START + timedelta(days=18)
    made = [replace(p, up=p.down, down=0.0) if p.posted_at > jump else p for p in made]
    market = read(made, START + timedelta(days=20)).market
    after = market.stance[18 * 24 - 1 :]
    assert after[0] < -0.35
    assert after[12] > 0.25


def test_calibrating_has_neither_value_nor_class_and_then_comes_the_percentile():
    market = read(random_posts(seed=5, days=12, per_day=60), START + timedelta(days=12)).market
    days = QUICK.minimum_history_days
    early, late = slice(24, days * 24), slice(days * 24, None)
    assert set(market.state[early]) <= {"calibrating", "no reading"}
    for column in (market.value, market.lo, market.hi):
        assert np.isnan(column[early]).all()
    assert set(market.label[early]) == {None}
    assert not np.isnan(market.stance[early]).any()
    assert market.history_days[: days * 24].tolist() == [hour // 24 for hour in range(days * 24)]
    assert set(market.state[late]) <= {"normal", "thin"}
    history = market.stance[23 : days * 24 : 24]
    now = market.stance[days * 24]
    rank = ((history < now).sum() + 0.5 * (history == now).sum() + 0.5) / (days + 1)
    assert market.value[days * 24] == pytest.approx(100 * rank)


def test_a_series_begins_at_the_scorers_base_rate():
    made = steady(range(40), up=0.1)
    pessimist = State.nothing(BEGIN, Prior(-0.4, 0.3))
    early, late = (read(made, START + timedelta(hours=h), pessimist).market for h in (1, 40))
    neutral = read(made, START + timedelta(hours=1)).market
    assert -0.4 < early.stance[0] < neutral.stance[0] - 0.05
    assert late.stance[-1] == pytest.approx(0.0, abs=0.03)  # and the posts have the last word


def test_a_value_lies_in_its_interval_and_few_posts_make_a_wide_one():
    made = random_posts(seed=8, days=14, per_day=80)
    market = read(made, START + timedelta(days=14)).market
    known = ~np.isnan(market.value)
    assert (market.lo[known] <= market.value[known]).all()
    assert (market.value[known] <= market.hi[known]).all()
    widths = []
    for some in (made, made[::4]):
        market = read(some, START + timedelta(days=14)).market
        widths.append(np.nanmean((market.stance_hi - market.stance_lo)[100:]))
    assert 1.2 < widths[1] / widths[0] < 2.5


def test_copies_raise_neither_the_mood_nor_the_certainty_much():
    made = random_posts(seed=9, days=3, per_day=60)
    raid = [
        MadePost(900_000 + k, START + timedelta(days=2, hours=20, minutes=k), 1.0, 0.0, cluster_id=900_000)
        for k in range(50)
    ]
    until = START + timedelta(days=3)
    calm, copied = read(made, until).market, read(made + raid, until).market
    strangers = read(made + [replace(p, cluster_id=None) for p in raid], until).market
    for name, share in (("raw_stance", 0.25), ("stance", 0.35)):
        effect = getattr(copied, name)[-1] - getattr(calm, name)[-1]
        assert 0 < effect < share * (getattr(strangers, name)[-1] - getattr(calm, name)[-1])
    assert copied.n_eff[-1] <= calm.n_eff[-1] + 1


def test_the_running_reading_leaves_the_complete_ones_alone():
    made = random_posts(seed=2, days=4, per_day=60)
    half_past = START + timedelta(days=3, hours=7, minutes=30)
    alone: MarketReadings = read(made, START + timedelta(days=3, hours=7)).market
    market = read(made, half_past, running=True).market
    assert market.provisional
    assert market.ends[-1] == to_us(half_past)
    assert market.ends[-2] % HOUR == 0
    np.testing.assert_array_equal(market.stance[:-1], alone.stance)
    on_the_hour = read(made, START + timedelta(days=3, hours=7), running=True).market
    assert on_the_hour.stance[-1] == pytest.approx(on_the_hour.stance[-2], abs=1e-12)


def test_the_wide_interval_holds_the_narrow_one_from_the_models_measurement_on():
    made = random_posts(seed=2, days=4, per_day=60)
    measured = BEGIN + 2 * DAY + HOUR // 2
    # On gold people's net stance was -0.1, and the model moves by a tenth of what they do.
    figures, covariance = np.array([-0.1, 0.5, -0.02, 0.0, 0.1]), np.diag([0.01, 0.0, 0.0, 0.0, 0.0])
    market = read(made, START + timedelta(days=4), responses=[Response(measured, figures, covariance)]).market
    before, after = market.ends < measured, market.ends >= measured
    assert np.isnan(market.stance_wide_lo[before]).all()
    people = -0.1 + 2 * (0.5 * market.stance + 0.02) / 0.1
    variance = ((market.stance_hi - market.stance_lo) / 2 / 1.644854) ** 2
    reach = 1.644854 * np.sqrt(0.01 + (2 * 0.5 / 0.1) ** 2 * variance)
    lo = np.minimum(market.stance_lo, np.clip(people - reach, -1, 1))
    hi = np.maximum(market.stance_hi, np.clip(people + reach, -1, 1))
    assert market.stance_wide_lo[after] == pytest.approx(lo[after], abs=1e-6)
    assert market.stance_wide_hi[after] == pytest.approx(hi[after], abs=1e-6)
    assert (hi - lo > 3 * (market.stance_hi - market.stance_lo))[after].any()


def test_coverage_counts_hours_and_is_unknown_where_nobody_could_have_looked():
    known = np.array([False] * 24 + [True] * 24)
    covered = known & (np.arange(48) % 2 == 0)
    asked = np.where(np.arange(48) == 30, 7 * DAY, 0)
    coverage = Coverage(BEGIN, covered, known, asked)
    ends = BEGIN + np.array([DAY, 2 * DAY, DAY + 90 * HOUR // 60])
    share = coverage.share(ends, 24)
    assert np.isnan(share[0])
    assert share[1:].tolist() == [0.5, 1 / 24]
    assert coverage.knowable_at(ends, 24).tolist() == [0, 7 * DAY, 0]
