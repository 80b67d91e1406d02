"""The promise of the alarm in simulated worlds: how rarely it is false, and that it comes. See docs/methodology.md."""

import pytest
from scipy.stats import poisson  # noqa: TID253

from benchmarks.bench_drift import Seen, see, simulate
from benchmarks.drift_worlds import DRIFT, NO_DRIFT, ONSET, SEEDS, WATCHED_DAYS
from bizcharts_pipeline.drift.alarm import MONTH

RARE = 0.001  # how often a test may fail by chance if the stated rate is the true one; the seeds make it repeatable
STATED_SHARE = {"new vocabulary": 0.6, "words change meaning": 0.85, "confidence decays": 0.9}  # found in 45 days


def assert_false_alarms_are_as_rare_as_stated(seen: list[Seen], days: int) -> None:
    alarms = sum(len(one.alarms) for one in seen)
    print(f"{alarms} false alarms in {len(seen) * days / MONTH:.0f} months")
    assert alarms <= poisson.isf(RARE, seen[0].stated * len(seen) * days / MONTH)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NO_DRIFT)
def test_a_calm_board_a_moving_price_and_another_class_mix_raise_no_alarm(kind: str) -> None:
    assert not any(see((kind, seed)).alarms for seed in range(2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", DRIFT)
def test_a_model_that_goes_stale_raises_the_alarm(kind: str) -> None:
    seen = [see((kind, seed)) for seed in range(2)]
    assert all(one.delay is not None and one.false_before == 0 for one in seen)
    expected = {"new vocabulary": "domain", "words change meaning": "labels", "confidence decays": "expected accuracy"}
    assert any(expected[kind] in one.first_by for one in seen)


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", NO_DRIFT)
def test_false_alarms_over_200_seeds_are_as_rare_as_stated(kind: str) -> None:
    assert_false_alarms_are_as_rare_as_stated(simulate(kind, range(SEEDS)), WATCHED_DAYS)


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", DRIFT)
def test_every_kind_of_drift_is_found_over_200_seeds_and_not_before_it_began(kind: str) -> None:
    seen = simulate(kind, range(SEEDS))
    assert sum(one.delay is not None for one in seen) >= STATED_SHARE[kind] * SEEDS
    before = sum(one.false_before for one in seen)
    assert before <= poisson.isf(RARE, seen[0].stated * SEEDS * ONSET / MONTH)
