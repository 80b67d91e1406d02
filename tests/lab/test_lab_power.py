"""What the lab finds where something is, and what it finds where nothing is. Seeds and strengths are in docs/lab.md."""

import pytest
from lab_worlds import world
from scipy.stats import binom  # noqa: TID253

from bizcharts_pipeline.lab.leadlag import ALPHA
from bizcharts_pipeline.lab.power import POWER, detectable_r2
from bizcharts_pipeline.lab.study import Study, Unstudied, forward_family, study

DAYS = 1000
RARE = 0.001  # how often a test may fail by chance if the stated rate is the true one; the seeds make it repeatable
# Share of the daily variance that the mood explains, and how often that is found among 1,000 days, at least.
STATED_NAMED = {0.02: 0.45, 0.03: 0.6, 0.05: 0.7}  # how often the lag with the largest t is the planted one
STATED_POWER = {0.02: 0.5, 0.03: 0.7, 0.05: 0.95}


def examined(seed: int, repetitions: int, lead: int = 0, r2: float = 0.0) -> tuple[Study, bool]:
    done = study(world(seed, DAYS, lead, r2), seed=seed, repetitions=repetitions, shifts=0)
    assert not isinstance(done, Unstudied)
    return done[0], any(test.found for test in forward_family([done[0]]))


def assert_a_planted_lead_is_found(lead: int, r2: float, seeds: int, repetitions: int) -> None:
    found = named = 0
    for seed in range(10_000 * lead, 10_000 * lead + seeds):
        made, discovered = examined(seed, repetitions, lead, r2)
        found += discovered
        named += made.forward.strongest.lag == lead
    print(f"lead {lead} d, R² {r2}: found {found}, lag named {named} of {seeds}")
    assert found >= binom.ppf(RARE, seeds, STATED_POWER[r2])
    assert named >= binom.ppf(RARE, seeds, STATED_NAMED[r2])


def assert_false_discoveries_are_as_rare_as_stated(worlds: int, repetitions: int) -> None:
    false = outside = unadjusted = 0
    for seed in range(worlds):
        made, discovered = examined(seed, repetitions)
        false += discovered
        unadjusted += made.forward.p < ALPHA
        assert made.effect
        outside += not made.effect.lo <= 0 <= made.effect.hi
    print(f"{worlds} null worlds: {false} with a discovery, joint p < 5 % {unadjusted}, interval misses 0 {outside}")
    assert false <= binom.isf(RARE, worlds, ALPHA)
    assert unadjusted <= binom.isf(RARE, worlds, 1.6 * ALPHA)  # the price of asymptotic tests
    assert outside <= binom.isf(RARE, worlds, 1.6 * ALPHA)


@pytest.mark.slow
@pytest.mark.parametrize("lead", [1, 2, 3])
def test_a_planted_lead_of_one_to_three_days_is_found(lead: int) -> None:
    assert_a_planted_lead_is_found(lead, 0.05, seeds=30, repetitions=199)


@pytest.mark.slow
def test_worlds_without_a_lead_show_none() -> None:
    assert_false_discoveries_are_as_rare_as_stated(60, repetitions=199)


@pytest.mark.slow
def test_the_size_that_a_report_names_is_found_as_often_as_it_says() -> None:
    """On worlds of their own seeds, whose mood follows the price; over the leads that the report speaks of."""
    size = detectable_r2(world(77, DAYS), 14, seed=1)
    assert size
    seeds = 30
    found = sum(
        examined(70_000 + 1_000 * lead + seed, 199, lead, size)[1] for lead in (1, 2, 3) for seed in range(seeds)
    )
    print(f"R² {size}: found {found} of {3 * seeds}")
    assert found >= binom.ppf(RARE, 3 * seeds, POWER)


@pytest.mark.acceptance
@pytest.mark.parametrize("lead", [1, 2, 3])
@pytest.mark.parametrize("r2", STATED_POWER)
def test_a_planted_lead_is_found_with_the_stated_power_over_60_seeds(lead: int, r2: float) -> None:
    assert_a_planted_lead_is_found(lead, r2, seeds=60, repetitions=999)


@pytest.mark.acceptance
def test_two_hundred_null_worlds_keep_the_stated_rate_of_false_discoveries() -> None:
    assert_false_discoveries_are_as_rare_as_stated(200, repetitions=999)
