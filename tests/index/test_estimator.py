"""The estimator in simulated worlds whose present stance is known; the bench has the figures of 40 worlds a kind."""

import pytest

from benchmarks.bench_estimator import Figures, figures, published
from benchmarks.mood_worlds import KINDS, WORLDS, make_world
from benchmarks.smoothed_average import smoothed_average

CLEAR = 0  # even worlds have a classifier that reads clearly


def scored(kind: str, numbers, estimator=published, days: int = 100) -> list[Figures]:
    return [figures(make_world(kind, number, days)[0], estimator) for number in numbers]


def mean(found: list[Figures], name: str) -> float:
    return sum(getattr(one, name) for one in found) / len(found)


def test_the_interval_holds_the_present_stance_and_the_estimate_does_not_trail():
    found = scored("swinging", range(CLEAR, 8, 2), days=60)
    assert 0.84 < mean(found, "coverage") < 0.97
    assert mean(found, "lag") <= 12
    before = scored("swinging", range(CLEAR, 2, 2), smoothed_average, days=60)
    assert found[0].rmse < 0.7 * before[0].rmse


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_keep_their_promise_in_every_kind_of_world(kind):
    ours, before = scored(kind, range(WORLDS)), scored(kind, range(WORLDS), smoothed_average)
    assert 0.85 <= mean(ours, "coverage") <= 0.95
    assert mean(ours, "rmse") <= 1.05 * mean(before, "rmse")
    if kind == "swinging":
        assert mean(ours[CLEAR::2], "rmse") <= 0.7 * mean(before[CLEAR::2], "rmse")
        assert mean(ours, "lag") <= 12
