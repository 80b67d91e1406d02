"""The statistics against worked values, independent computations, and worlds of which the truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm  # noqa: TID253
from lab_worlds import world

from bizcharts_pipeline.lab import power
from bizcharts_pipeline.lab.events import entries, event_study
from bizcharts_pipeline.lab.forecast import clark_west, expanding_forecasts
from bizcharts_pipeline.lab.leadlag import ALPHA, lead_lag, newey_west_lags
from bizcharts_pipeline.lab.power import detectable_r2
from bizcharts_pipeline.lab.series import Floats, lagged
from bizcharts_pipeline.lab.sharpe import deflated_sharpe, expected_maximum, probabilistic_sharpe, sharpe_ratio
from bizcharts_pipeline.lab.stationarity import stationarity
from bizcharts_pipeline.lab.strategies import RULES, superior_p, trade
from bizcharts_pipeline.lab.study import Unstudied, forward_family, placebo_shifts, study


def noise(seed: int, n: int = 600) -> Floats:
    return np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("lead", [1, 2, 3, 4, 5])
def test_the_day_by_which_a_series_leads_is_named(lead: int) -> None:
    mood = noise(1)
    returns = 0.01 * (0.5 * np.nan_to_num(lagged(mood, lead)) + noise(2))
    found = lead_lag(mood, returns)
    assert found
    assert (found.strongest.lag, found.p < 1e-9) == (lead, True)
    assert found.strongest.coefficient == pytest.approx(0.005, abs=0.0015)
    back = lead_lag(returns, mood)
    assert back
    assert back.p > ALPHA


def test_a_gap_removes_days_and_does_not_move_others_together() -> None:
    mood = noise(1)
    returns = 0.01 * np.nan_to_num(lagged(mood, 2)) + 0.0001 * noise(2)
    mood[100:103] = np.nan
    found = lead_lag(mood, returns)
    assert found
    assert found.n == 600 - 6 - 8, "six lags at the begin, and each day that has a gap among its last six"
    assert found.strongest.lag == 2
    assert found.strongest.coefficient == pytest.approx(0.01, rel=0.01)


def test_a_mood_that_does_not_vary_is_not_studied() -> None:
    made = study(replace(world(1, 400), mood=np.full(400, 50.0)), seed=1)
    assert isinstance(made, Unstudied)
    short = study(world(1, 249), seed=1)
    assert isinstance(short, Unstudied)
    assert short.reason == "249 of the 250 days that it takes"


def test_a_random_walk_is_not_taken_for_stationary() -> None:
    walk, reverting = np.cumsum(noise(3)), noise(3)
    assert not stationarity(walk).stationary
    assert stationarity(walk).kpss_p < ALPHA
    assert stationarity(reverting).stationary
    assert stationarity(reverting).kpss_p > ALPHA


def test_clark_west_agrees_with_values_worked_by_hand() -> None:
    """The gain of each forecast is e² of the mean, less e² of the mood, plus the squared difference of the two."""
    outcome, by_mean, by_mood = np.array([1.0, 2.0, 1.0]), np.zeros(3), np.array([1.0, 1.0, -1.0])
    found = clark_west(outcome, by_mean, by_mood)
    gains = np.array([1 - (0 - 1), 4 - (1 - 1), 1 - (4 - 1)], dtype=float)
    assert list(gains) == [2.0, 4.0, -2.0]
    # 3 observations: 4 (3/100)^(2/9) = 1.83, so one lag with weight 1/2.
    centred = gains - gains.mean()
    variance = (centred @ centred + 2 * 0.5 * (centred[1:] @ centred[:-1])) / 3
    assert found.t == pytest.approx(gains.mean() / math.sqrt(variance / 3))
    assert found.r2 == pytest.approx(1 - (0 + 1 + 4) / (1 + 4 + 1))


def test_clark_west_agrees_with_a_regression_on_a_constant() -> None:
    made = expanding_forecasts(world(5, 900, 1, 0.05).mood, world(5, 900, 1, 0.05).returns)
    found = clark_west(made.outcome, made.by_mean, made.by_mood)
    errors = made.outcome - made.by_mean
    gain = errors**2 - ((made.outcome - made.by_mood) ** 2 - (made.by_mean - made.by_mood) ** 2)
    options = {"maxlags": newey_west_lags(gain.size), "use_correction": False}
    fitted = sm.OLS(gain, np.ones(gain.size)).fit(cov_type="HAC", cov_kwds=options)
    assert found.t == pytest.approx(float(fitted.tvalues[0]), rel=1e-9)
    assert found.p == pytest.approx(float(fitted.pvalues[0]) / 2, rel=1e-6)
    assert found.p < ALPHA


def test_forecasts_agree_with_a_fit_to_the_days_before_each() -> None:
    pair = world(6, 400)
    made = expanding_forecasts(pair.mood, pair.returns)
    design = np.column_stack([np.ones(400), *(lagged(pair.mood, lag) for lag in range(1, 6))])[5:]
    returns = pair.returns[5:]
    for place in (250, 300, 394):
        fitted, *_ = np.linalg.lstsq(design[:place], returns[:place])
        assert made.by_mood[place - 250] == pytest.approx(design[place] @ fitted, abs=1e-8)
        assert made.by_mean[place - 250] == pytest.approx(returns[:place].mean())


def test_a_forecast_and_a_position_do_not_depend_on_the_future() -> None:
    pair, cut = world(7, 700), 500
    changed = replace(pair, mood=pair.mood.copy(), returns=pair.returns.copy())
    changed.mood[cut:] = 100 - changed.mood[cut:]
    changed.returns[cut:] *= -3
    before, after = (expanding_forecasts(each.mood, each.returns) for each in (pair, changed))
    known = cut - 255
    assert np.array_equal(before.by_mood[: known + 1], after.by_mood[: known + 1]), "of the first changed day too"
    assert not np.allclose(before.by_mood[known + 1 :], after.by_mood[known + 1 :])
    for one, other in zip(trade(pair.mood, pair.returns)[1], trade(changed.mood, changed.returns)[1], strict=True):
        assert np.array_equal(one.position[:cut], other.position[:cut]), "the position of a day is of the day before"


def test_a_rule_earns_the_day_after_its_mood_less_the_costs() -> None:
    mood = np.array([10.0, 10.0, 80.0, np.nan, 60.0, 60.0])
    returns = np.log1p(np.array([0.5, 0.10, -0.20, 0.30, 0.40, 0.05]))
    hold, traded = trade(mood, returns, cost=0.01)
    assert hold == pytest.approx([0.10, -0.20, 0.30, 0.40, 0.05])
    done = {each.rule.name: each for each in traded}
    assert list(done) == [rule.name for rule in RULES]
    assert done["fear-long"].returns == pytest.approx([0.10 - 0.01, -0.20, -0.01, 0.0, 0.0])
    assert list(done["contrarian"].position) == [1, 1, -1, 0, 0]
    assert done["contrarian"].returns == pytest.approx([0.09, -0.20, -0.30 - 0.02, -0.01, 0.0])
    assert done["momentum"].traded == 3
    assert list(done["greed-flat"].position) == [1, 1, 0, 0, 1]


def test_a_rule_that_beats_holding_is_told_from_rules_that_do_not() -> None:
    luck = world(8, 900)
    hold, traded = trade(luck.mood, luck.returns)
    assert superior_p(hold, traded, seed=1, repetitions=199) > ALPHA
    better = replace(traded[0], returns=hold + 0.01 + 0.01 * noise(9, hold.size))
    assert superior_p(hold, (better, *traded[1:]), seed=1, repetitions=199) == pytest.approx(1 / 200)


def test_the_deflated_sharpe_ratio_agrees_with_the_example_of_its_authors() -> None:
    """Bailey and López de Prado 2014, numerical example: 5 years of daily returns with a Sharpe ratio of 2.5 a year,
    skewness -3, kurtosis 10, the best of 100 trials whose Sharpe ratios have a variance of 1/2 a year."""
    luck = expected_maximum(100, 0.5 / 250)
    assert luck == pytest.approx(0.1132, abs=5e-5)
    assert probabilistic_sharpe(2.5 / math.sqrt(250), luck, 1250, -3, 10) == pytest.approx(0.9004, abs=5e-5)
    fewer = expected_maximum(46, 0.5 / 250)
    assert probabilistic_sharpe(2.5 / math.sqrt(250), fewer, 1250, -3, 10) == pytest.approx(0.9505, abs=5e-5)


def test_each_further_trial_deflates_a_sharpe_ratio() -> None:
    returns = 0.002 + 0.02 * noise(10)
    tried = [sharpe_ratio(returns), 0.01, -0.03, 0.02]
    alone, few, many = (deflated_sharpe(returns, each) for each in (tried[:1], tried, tried * 20))
    assert alone
    assert few
    assert many
    assert alone > few > many
    assert deflated_sharpe(np.zeros(100), tried) is None


def test_a_move_after_extreme_fear_is_seen_and_none_where_there_is_none() -> None:
    pair = world(11, 1500)
    begins = entries(pair.mood, "Extreme Fear")
    assert begins.size >= 10
    assert all(pair.mood[begins] < 24.5)
    assert all(pair.mood[begins - 1] > 24.5)
    planted = pair.returns.copy()
    planted[begins + 1] += 0.03
    seen = event_study(pair.mood, planted, "Extreme Fear", seed=1)
    unseen = event_study(pair.mood, pair.returns, "Extreme Fear", seed=1)
    assert seen
    assert unseen
    assert seen.after[0].days == 1
    assert seen.after[0].p < 0.01
    assert seen.after[0].mean - unseen.after[0].mean == pytest.approx(0.03 * seen.n / begins.size, abs=0.004)
    assert seen.after[0].mean > seen.after[0].hi
    assert unseen.after[0].p > 0.01
    assert event_study(pair.mood[:60], planted[:60], "Extreme Greed", seed=1) is None


def test_a_mood_that_is_moved_in_time_leads_nothing() -> None:
    pair = world(12, 1000, 1, 0.08)
    real = lead_lag(pair.mood, pair.returns)
    assert real
    placebo = placebo_shifts(pair, real.f, 40)
    assert placebo
    assert placebo.p == pytest.approx(1 / 41)
    assert placebo.rejected <= 0.15


def test_p_values_are_adjusted_over_every_test_of_all_series() -> None:
    made = [study(world(seed), seed=1, repetitions=99, shifts=0) for seed in (13, 14)]
    studies = [each[0] for each in made if not isinstance(each, Unstudied)]
    family = forward_family(studies)
    assert len(family) == 2 * (1 + 5 + 1 + 6 + 1)
    raw = sorted(test.p for test in family)
    total = len(raw) * sum(1 / place for place in range(1, len(raw) + 1))
    by_hand = [
        min(1.0, *(p * total / rank for rank, p in list(enumerate(raw, 1))[place:])) for place in range(len(raw))
    ]
    assert [test.adjusted_p for test in family] == pytest.approx(by_hand)


def test_more_days_and_fewer_tests_show_smaller_effects() -> None:
    size = {
        (days, tests): detectable_r2(world(15, days), tests, seed=1) or math.inf
        for days, tests in ((1500, 14), (400, 14), (400, 100_000))
    }
    assert size[1500, 14] < size[400, 14] < size[400, 100_000]


def test_where_no_size_is_found_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "SIZES", (0.0005, 0.001))
    assert detectable_r2(world(15, 400), 14, seed=1) is None
