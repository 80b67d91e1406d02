"""The replay buffer: every class and quarter has its share, and the same posts are chosen again."""

import random
from collections import Counter
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.training.replay import OldPost, replay

TIMES = st.none() | st.integers(0, 1_000).map(lambda day: datetime(2024, 1, 1) + timedelta(days=day))
OLD = st.lists(st.tuples(st.integers(0, 2), TIMES), max_size=300).map(
    lambda posts: [OldPost(number, label, at) for number, (label, at) in enumerate(posts)]
)


@given(old=OLD, new=st.integers(0, 500), share=st.floats(0, 0.9), most=st.integers(0, 200), seed=st.integers(0, 9))
def test_the_buffer_holds_each_class_and_quarter_in_its_share(
    old: list[OldPost], new: int, share: float, most: int, seed: int
) -> None:
    chosen = replay(old, new, share=share, most=most, seed=seed)
    assert len(chosen) == min(len(old), most, round(new * share / (1 - share)))
    assert chosen <= {post.thread_id for post in old}
    shuffled = random.Random(seed).sample(old, len(old))
    assert replay(shuffled, new, share=share, most=most, seed=seed) == chosen
    picked = [post for post in old if post.thread_id in chosen]
    for of in (lambda post: post.label, lambda post: (post.label, post.quarter)):
        there, kept = Counter(map(of, old)), Counter(map(of, picked))
        for stratum, count in there.items():
            assert abs(kept[stratum] - count * len(chosen) / len(old)) < 1


def test_another_seed_chooses_others() -> None:
    old = [OldPost(number, number % 3, datetime(2025, 1 + number % 12, 1)) for number in range(300)]
    assert len({replay(old, 50, share=0.5, most=50, seed=seed) for seed in range(5)}) > 1
