"""The shift of the index under another model, and its interval."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_world import QUICK, START, posts_of, random_posts

from bizcharts_pipeline.index import shift as module
from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.index.shift import DailyPoints, Says, Shift, measure_shift
from bizcharts_pipeline.index.votes import DAY, Posts, to_us

UNTIL = to_us(START + timedelta(days=6, minutes=50))
NONE = DailyPoints(np.empty(0, np.int64), np.empty(0))


@pytest.fixture(autouse=True, scope="module")
def few_resamples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RESAMPLES", 12)
        yield


def board(seed: int) -> tuple[Posts, Says]:
    posts = posts_of([post for post in random_posts(seed, 7, 25) if to_us(post.posted_at) <= UNTIL])
    return posts, Says(posts.stance, posts.confidence, Prior())


def earlier(seed: int, days: int) -> DailyPoints:
    ends = to_us(START) - DAY * np.arange(days, dtype=np.int64)[::-1]
    return DailyPoints(ends, np.random.default_rng(seed).normal(0, 0.2, days))


def measured(posts: Posts, one: Says, other: Says, days: DailyPoints, seed: int = 1) -> Shift:
    return measure_shift(posts, one, other, days, UNTIL, QUICK, seed)


seeds = st.integers(0, 10_000)
some_days = st.integers(0, 50)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, other=seeds, days=some_days)
def test_the_interval_holds_the_estimate_and_is_the_same_each_time(seed: int, other: int, days: int) -> None:
    posts, one = board(seed)
    draw = np.random.default_rng(other)
    two = Says(draw.uniform(-1, 1, len(one.stance)), draw.uniform(0, 1, len(one.stance)), Prior(0.1, 0.4))
    found = measured(posts, one, two, earlier(seed, days))
    assert found.values is not None
    assert -100 <= found.lo <= found.points <= found.hi <= 100
    assert found.points == found.values[1] - found.values[0]
    assert found == measured(posts, one, two, earlier(seed, days))


@settings(max_examples=10, deadline=None)
@given(seed=seeds, days=some_days, stretch=st.floats(0.1, 0.9), moved=st.floats(-0.1, 0.1))
def test_a_model_that_says_the_same_on_another_scale_shifts_nothing(
    seed: int, days: int, stretch: float, moved: float
) -> None:
    posts, one = board(seed)
    one = replace(one, stance=one.stance * 0.9)
    two = Says(moved + stretch * one.stance, one.confidence, Prior(moved, stretch**2 * one.prior.variance))
    found = measured(posts, one, two, earlier(seed, days))
    assert (found.points, found.lo, found.hi) == pytest.approx((0, 0, 0), abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_a_model_that_says_the_opposite_mirrors_the_value(seed: int) -> None:
    posts, one = board(seed)
    found = measured(posts, one, replace(one, stance=-one.stance), NONE)
    assert found.stances[1] == -found.stances[0]
    assert found.values is not None
    assert sum(found.values) == pytest.approx(100)


def test_too_little_history_or_too_few_posts_have_no_value_that_could_shift() -> None:
    posts, one = board(1)
    strict = QUICK.model_copy(update={"minimum_history_days": 30})
    assert measure_shift(posts, one, one, NONE, UNTIL, strict, 1).points is None
    assert measure_shift(posts, one, one, earlier(1, 30), UNTIL, strict, 1).points == 0
    strict = QUICK.model_copy(update={"no_reading_below": 1_000.0})
    assert measure_shift(posts, one, one, NONE, UNTIL, strict, 1).points is None


def test_copies_are_drawn_together() -> None:
    posts, one = board(2)
    alone = measured(posts, one, replace(one, stance=-one.stance), NONE)
    copied = replace(posts, cluster=np.full(len(posts.cluster), posts.thread_id[0]))
    together = measured(copied, one, replace(one, stance=-one.stance), NONE)
    assert together.lo == together.hi == together.points, "one group: every resample is the same board"
    assert alone.lo < alone.hi
