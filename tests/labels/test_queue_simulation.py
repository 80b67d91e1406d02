"""The simulation can tell a strategy that helps from one that does not."""

import random

import pytest
from labels.queue_world import openings

from benchmarks.label_simulation import LAST_LABELS, simulate


@pytest.mark.slow
def test_on_noise_nothing_helps_and_a_repetition_gives_the_same() -> None:
    pytest.importorskip("sklearn")
    posts = openings(500, copies=0.1)
    ratings = random.Random(0).choices((1, 2, 3), k=len(posts))
    groups = [post.cluster_id or 0 for post in posts]
    outcomes = simulate([post.text for post in posts], ratings, groups, rounds=3)
    assert outcomes == simulate([post.text for post in posts], ratings, groups, rounds=3)
    assert (outcomes[0].strategy, outcomes[0].area_gain.mean) == ("random", 0)
    assert all(0.2 < outcome.area < 0.45 for outcome in outcomes)
    assert all(outcome.labels_to_goal <= LAST_LABELS == outcome.curve[-1][0] for outcome in outcomes)


@pytest.mark.slow
def test_where_few_posts_matter_being_unsure_finds_them() -> None:
    pytest.importorskip("sklearn")
    rare = [post for post in openings(4000, copies=0) if post.rating == 3][:60]
    common = [post for post in openings(1500, copies=0, first=5000) if post.rating != 3][:900]
    posts = [*rare, *common]
    texts, ratings = [post.text for post in posts], [post.rating for post in posts]
    outcomes = {o.strategy: o for o in simulate(texts, ratings, [post.thread_id for post in posts], rounds=5)}
    assert outcomes["as the queue"].area_gain.lo > 0
    assert outcomes["as the queue"].labels_to_goal < outcomes["random"].labels_to_goal
