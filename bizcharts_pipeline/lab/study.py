"""All tests of one mood against one price, and the adjustment for how many tests there were.

Every test that asks whether a mood says something about *following* prices is one of a family, whose p-values are
adjusted together by Benjamini and Yekutieli (2001), which holds under any dependence of the tests. The opposite
direction, from price to mood, is a family of its own, so that what is well known there makes nothing here look better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from bizcharts_pipeline.lab.bootstrap import REPETITIONS, Effect, effect_with_interval
from bizcharts_pipeline.lab.events import EXTREMES, EventStudy, event_study
from bizcharts_pipeline.lab.forecast import Forecast, clark_west, expanding_forecasts
from bizcharts_pipeline.lab.leadlag import ALPHA, LeadLag, lead_lag
from bizcharts_pipeline.lab.series import Pair
from bizcharts_pipeline.lab.stationarity import Stationarity, stationarity
from bizcharts_pipeline.lab.strategies import Traded, superior_p, trade

MIN_DAYS = 250  # with a mood and a price
MIN_FORECASTS = 100
SHIFTS = 40
MIN_SHIFT = 60  # days


@dataclass(frozen=True)
class Tested:
    """One test of a family; ``found``: its adjusted p-value is below 5 %."""

    series: str
    price: str
    what: str
    p: float
    adjusted_p: float
    found: bool


@dataclass(frozen=True)
class Placebo:
    """The joint test repeated with the mood moved in time, where nothing is to be found."""

    shifts: int
    rejected: float  # share with p below 5 %, before any adjustment
    p: float  # share of the shifts with a test statistic as large as the real one


@dataclass(frozen=True)
class Study:
    """What was found of one mood and one price."""

    name: str
    title: str
    price: str
    first_day: date
    last_day: date
    days: int  # with a mood and a return
    stationarity: Stationarity
    same_day: float  # correlation of a day's change of the mood with its return
    forward: LeadLag  # mood to price
    reverse: LeadLag  # price to mood
    effect: Effect | None
    forecast: Forecast | None  # None: too few days after the first fit
    events: tuple[EventStudy, ...]
    superior_p: float | None  # that no rule beats holding; None: the mood has no classes
    placebo: Placebo | None


@dataclass(frozen=True)
class Unstudied:
    """A mood that was not studied, and why."""

    name: str
    title: str
    price: str
    days: int
    reason: str


def study(
    pair: Pair, *, seed: int, repetitions: int = REPETITIONS, shifts: int = SHIFTS
) -> tuple[Study, tuple[Traded, ...]] | Unstudied:
    """Run all tests of the lab on ``pair``, a mood and a price; return them with the days of the trading rules (none
    without classes)."""
    days = pair.observed
    if days < MIN_DAYS:
        return Unstudied(pair.name, pair.title, pair.price, days, f"{days} of the {MIN_DAYS} days that it takes")
    forward, reverse = lead_lag(pair.mood, pair.returns), lead_lag(pair.returns, pair.mood)
    if forward is None or reverse is None:
        return Unstudied(pair.name, pair.title, pair.price, days, "its mood does not vary, or has too many gaps")
    found = stationarity(pair.mood)
    forecasts = expanding_forecasts(pair.mood, pair.returns)
    hold, traded = trade(pair.mood, pair.returns) if pair.classes else (None, ())
    events = [
        event_study(pair.mood, pair.returns, label, seed=seed + place, placebos=repetitions)
        for place, label in enumerate(EXTREMES if pair.classes else ())
    ]
    change = np.diff(pair.mood, prepend=np.nan)
    both = np.isfinite(change) & np.isfinite(pair.returns)
    made = Study(
        pair.name,
        pair.title,
        pair.price,
        pair.days[0].astype(object),
        pair.days[-1].astype(object),
        days,
        found,
        float(np.corrcoef(change[both], pair.returns[both])[0, 1]),
        forward,
        reverse,
        effect_with_interval(
            pair.mood, pair.returns, of_change=not found.stationary, seed=seed, repetitions=repetitions
        ),
        clark_west(forecasts.outcome, forecasts.by_mean, forecasts.by_mood)
        if forecasts.outcome.size >= MIN_FORECASTS
        else None,
        tuple(each for each in events if each is not None),
        None if hold is None else superior_p(hold, traded, seed=seed, repetitions=repetitions),
        placebo_shifts(pair, forward.f, shifts),
    )
    return made, traded


def placebo_shifts(pair: Pair, real: float, shifts: int) -> Placebo | None:
    """Repeat the joint test with the mood moved by evenly spaced numbers of days; ``None``: too few days, or none."""
    n = pair.mood.size
    if shifts < 1 or n < 2 * MIN_SHIFT + shifts:
        return None
    moved = [
        lead_lag(pair.shifted(int(days)).mood, pair.returns) for days in np.linspace(MIN_SHIFT, n - MIN_SHIFT, shifts)
    ]
    done = [each for each in moved if each is not None]
    if not done:
        return None
    reached = sum(each.f >= real for each in done)
    return Placebo(len(done), sum(each.p < ALPHA for each in done) / len(done), (1 + reached) / (1 + len(done)))


def forward_family(studies: Sequence[Study]) -> tuple[Tested, ...]:
    """Return every test of ``studies`` from mood to following prices, adjusted together; smallest p-values first."""
    raw = []
    for made in studies:
        raw += _lead_lag_tests(made, made.forward)
        if made.forecast:
            raw.append((made, "forecast out of sample (Clark-West)", made.forecast.p))
        for event in made.events:
            raw += [(made, f"{each.days} d after the begin of {event.event}", each.p) for each in event.after]
        if made.superior_p is not None:
            raw.append((made, "a trading rule beats holding (SPA)", made.superior_p))
    return _adjusted(raw)


def reverse_family(studies: Sequence[Study]) -> tuple[Tested, ...]:
    """Return every test of ``studies`` from price to following moods, adjusted together; smallest p-values first."""
    return _adjusted([test for made in studies for test in _lead_lag_tests(made, made.reverse)])


def _lead_lag_tests(made: Study, tests: LeadLag) -> list[tuple[Study, str, float]]:
    joint = (made, f"leads by 1 to {len(tests.by_lag)} d (joint)", tests.p)
    return [joint, *((made, f"leads by {test.lag} d", test.p) for test in tests.by_lag)]


def _adjusted(raw: Sequence[tuple[Study, str, float]]) -> tuple[Tested, ...]:
    from statsmodels.stats.multitest import multipletests

    if not raw:
        return ()
    found, adjusted, *_ = multipletests([p for *_, p in raw], alpha=ALPHA, method="fdr_by")
    tests = [
        Tested(made.name, made.price, what, p, float(adjusted_p), bool(yes))
        for (made, what, p), adjusted_p, yes in zip(raw, adjusted, found, strict=True)
    ]
    return tuple(sorted(tests, key=lambda test: test.p))
