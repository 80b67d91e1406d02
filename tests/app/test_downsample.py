import numpy as np
import pytest

from bizcharts_pipeline.app.components.downsample import kept_points

HOURS = 87_600


def _walk(seed: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(size=HOURS))


@pytest.mark.parametrize("seed", range(5))
def test_ten_years_are_drawn_with_the_extremes_of_every_stretch(seed: int) -> None:
    times, series = np.arange(HOURS) * 3600, _walk(seed)
    series[[100, 40_000]] = 1e6, -1e6  # single hours that stand out
    kept = kept_points(times, [series], 500)
    assert len(kept) <= 4 * 500
    assert {0, 100, 40_000, HOURS - 1} <= set(kept.tolist())
    stretch = times * 500 // (times[-1] + 1)
    for each in range(500):
        everything, drawn = series[stretch == each], series[kept[stretch[kept] == each]]
        assert (drawn.min(), drawn.max()) == (everything.min(), everything.max())


def test_a_gap_of_one_hour_in_ten_years_still_breaks_the_line() -> None:
    times, series = np.arange(HOURS) * 3600, _walk(1)
    series[51_234] = np.nan
    assert 51_234 in kept_points(times, [series], 500)


def test_few_points_stay_as_they_are() -> None:
    times = np.arange(300) * 3600
    assert kept_points(times, [np.full(300, np.nan)], 500).tolist() == list(range(300))
    assert kept_points(times[:0], [np.array([])], 500).tolist() == []
