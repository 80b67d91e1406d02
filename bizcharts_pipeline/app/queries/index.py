"""The index as the pages show it: the newest reading beside earlier ones, and its hours as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import duckdb
import numpy as np

from bizcharts_pipeline.app.components.downsample import Floats, Ints
from bizcharts_pipeline.app.queries.cached import once_per_file, once_per_index
from bizcharts_pipeline.app.theme import change
from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.warehouse.as_of import index_series, newest_reading
from bizcharts_pipeline.warehouse.model_previews import ModelSwitch, model_switches
from bizcharts_pipeline.warehouse.prices import hourly_prices
from bizcharts_pipeline.warehouse.published import LIVE, Reading
from bizcharts_pipeline.warehouse.rescoring import Rescoring, rescoring
from bizcharts_pipeline.warehouse.snapshots import last_poll, outages

HOUR = timedelta(hours=1)
EARLIER = (
    ("yesterday", timedelta(days=1)),
    ("last week", timedelta(days=7)),
    ("last month", timedelta(days=30)),
    ("last year", timedelta(days=365)),
)
MAX_SPANS = 200  # drawn of each kind, the newest
MAX_PRICE_AGE = 25 * 3600  # seconds; of older days one price a day is kept


@dataclass(frozen=True)
class Now:
    """The newest hour's reading, and the same hour's of earlier days by name; ``None``: there is none."""

    newest: Reading | None
    earlier: tuple[tuple[str, Reading | None], ...]
    last_poll: datetime | None  # naive UTC
    rescoring: Rescoring | None  # a new champion that has not scored all posts yet


Span = tuple[int, int]  # from, to; Unix seconds


@dataclass(frozen=True)
class Series:
    """The hours of the index, ascending, as arrays of one length. ``times`` are Unix seconds of the hours' beginnings;
    NaN: there is no figure."""

    times: Ints
    value: Floats
    lo: Floats
    hi: Floats
    stance: Floats
    stance_lo: Floats
    stance_hi: Floats
    n_eff: Floats
    coverage: Floats
    price: Floats  # of one BTC in USD
    switches: tuple[tuple[int, str], ...]  # when a model begins, and its name with the shift; not the first one
    outages: tuple[Span, ...]  # without a poll
    afterwards: tuple[Span, ...]  # whose readings were computed later than they would have been live

    @property
    def ranked(self) -> bool:
        """Whether any hour of the app's chart has an index value; else the chart shows the stance."""
        return not bool(np.isnan(self.value).all())


@once_per_file
def current(connection: duckdb.DuckDBPyConnection, as_of: datetime | None, history_days: int) -> Now:
    """Return for the app's page Now the newest reading and the earlier ones that people compare it with."""
    newest = newest_reading(connection, "hour", as_of)
    earlier: list[tuple[str, Reading | None]] = []
    for name, ago in EARLIER:
        begin = newest.bucket_start - ago if newest else None
        found = index_series(connection, "hour", begin, begin + HOUR, as_of) if begin else []
        earlier.append((name, found[0] if found else None))
    progress = rescoring(connection, newest.computed_at, history_days) if newest and as_of is None else None
    return Now(newest, tuple(earlier), last_poll(connection), progress)


@once_per_index
def hours(connection: duckdb.DuckDBPyConnection, start: datetime, end: datetime, as_of: datetime | None) -> Series:
    """Return for the app's page Now the hourly readings of the index from ``start`` up to ``end`` (naive UTC), as
    knowable at ``as_of``, each with the price of Bitcoin."""
    readings = index_series(connection, "hour", start, end, as_of)
    times = np.array([to_epoch(each.bucket_start) for each in readings], np.int64)
    figures = {
        name: np.array([getattr(each, name) for each in readings], np.float64)
        for name in ("value", "lo", "hi", "stance", "stance_lo", "stance_hi", "n_eff", "coverage")
    }
    price = prices_at(
        times + int(HOUR.total_seconds()),
        hourly_prices(connection, "BTC", start - timedelta(days=1), min(end, as_of or end)),
    )
    return Series(
        times,
        **figures,
        price=price,
        switches=_switches(readings, model_switches(connection, as_of), start, end),
        outages=_outages(connection, start, min(end, as_of or end)),
        afterwards=_afterwards(readings),
    )


@once_per_index
def reading_of(connection: duckdb.DuckDBPyConnection, hour: datetime, as_of: datetime | None) -> Reading | None:
    """Return for the posts on the app's page the reading of the hour that begins at ``hour`` (naive UTC)."""
    return next(iter(index_series(connection, "hour", hour, hour + HOUR, as_of)), None)


def prices_at(ends: Ints, prices: Sequence[tuple[datetime, float]]) -> Floats:
    """Return for the app's chart, for each of ``ends`` (Unix seconds), the newest of ``prices`` by then, NaN where it
    is older than a day."""
    found = np.full(len(ends), np.nan)
    if not prices:
        return found
    known = np.array([to_epoch(at) for at, _ in prices], np.int64)
    usd = np.array([price for _, price in prices], np.float64)
    places = np.searchsorted(known, ends, side="right") - 1
    fresh = (places >= 0) & (ends - known[places] <= MAX_PRICE_AGE)
    found[fresh] = usd[places[fresh]]
    return found


def _outages(connection: duckdb.DuckDBPyConnection, start: datetime, end: datetime) -> tuple[Span, ...]:
    return tuple(
        (int(to_epoch(each.last_poll)), int(to_epoch(each.next_poll)))
        for each in reversed(outages(connection, MAX_SPANS))
        if each.next_poll > start and each.next_poll <= end
    )


def _afterwards(readings: Sequence[Reading]) -> tuple[Span, ...]:
    spans: list[Span] = []
    for reading in readings:
        if reading.basis == LIVE:
            continue
        begin = int(to_epoch(reading.bucket_start))
        end = begin + int(HOUR.total_seconds())
        if spans and spans[-1][1] == begin:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return tuple(spans[-MAX_SPANS:])


def _switches(
    readings: Sequence[Reading], made: Sequence[ModelSwitch], start: datetime, end: datetime
) -> tuple[tuple[int, str], ...]:
    """Return where the model of the readings changes, and when readers saw another one's values for the first time."""
    within = {
        int(to_epoch(later.bucket_start)): later.model_version
        for earlier, later in pairwise(readings)
        if later.model_version != earlier.model_version
    }
    seen = {
        int(to_epoch(each.published_at)): f"{each.model_version}{_shifted(each)}"
        for each in made
        if each.published_at and each.former and start <= each.published_at < end
    }
    return tuple(sorted((within | seen).items()))


def _shifted(switch: ModelSwitch) -> str:
    return "" if switch.shift is None else f" ({change(switch.shift)})"
