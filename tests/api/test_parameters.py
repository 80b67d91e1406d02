"""Which candles a request asks for: aligned, within its bounds, none after now, in pages without a gap."""

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from bizcharts_pipeline.api.parameters import EARLIEST, LATEST, MONDAY, TIMEFRAMES, CandleQuery, opens

NOW = datetime(2026, 3, 5, 0, 20)
_moment = st.datetimes(EARLIEST, LATEST - timedelta(days=1))
_near = st.datetimes(NOW - timedelta(days=30), NOW + timedelta(days=30))


def asked(**parameters: object) -> CandleQuery:
    given = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in parameters.items()}
    return CandleQuery.model_validate({name: value for name, value in given.items() if value is not None})


@given(
    timeframe=st.sampled_from(sorted(TIMEFRAMES)),
    start=st.none() | _near | _moment,
    end=st.none() | _near | _moment,
    as_of=st.none() | st.datetimes(EARLIEST, NOW),
    limit=st.integers(1, 10_000),
)
@settings(max_examples=400)
def test_the_opens_are_aligned_and_within_the_bounds(
    timeframe: str, start: datetime | None, end: datetime | None, as_of: datetime | None, limit: int
) -> None:
    query = asked(timeframe=timeframe, **{"from": start}, to=end, as_of=as_of, limit=limit)
    step = TIMEFRAMES[timeframe]
    first, last, following = opens(query, NOW)
    count = max((last - first) // step + 1, 0)
    assert (first - MONDAY) % step == (last - MONDAY) % step == timedelta(0)
    assert count <= limit
    if count:
        assert first >= max(EARLIEST, start or EARLIEST)
        assert last <= (as_of or NOW)
        assert end is None or last < end
    if following is not None:
        assert (count, following) == (limit, last + step)
        assert end is None or following < end


@given(
    timeframe=st.sampled_from(sorted(TIMEFRAMES)),
    start=st.datetimes(NOW - timedelta(days=3), NOW),
    end=st.datetimes(NOW - timedelta(days=3), NOW + timedelta(days=1)),
    limit=st.integers(50, 500),
)
@settings(max_examples=100)
def test_the_pages_hold_each_open_of_the_stretch_once(
    timeframe: str, start: datetime, end: datetime, limit: int
) -> None:
    step = TIMEFRAMES[timeframe]
    found: list[datetime] = []
    following: datetime | None = start
    while following is not None:
        first, last, following = opens(asked(timeframe=timeframe, **{"from": following}, to=end, limit=limit), NOW)
        found += [first + n * step for n in range((last - first) // step + 1)]
    every = [MONDAY + n * step for n in range((start - MONDAY) // step, (NOW - MONDAY) // step + 1)]
    assert found == [each for each in every if start <= each < end and each <= NOW]
