"""Bring the published index up to date: load, compute, append; no connection is open meanwhile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from bizcharts_pipeline.index import store, vintages
from bizcharts_pipeline.index.series import MarketReadings, rebuild
from bizcharts_pipeline.index.votes import DAY, to_us
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.database import Database

LONGEST_SPAN = 366 * DAY  # computed and appended at a time, which bounds memory


@dataclass(frozen=True)
class IndexUpdate:
    """What an update did; ``readings`` are those of its last span (``None``: no post has a score)."""

    new_readings: int
    new_coin_readings: int
    readings: MarketReadings | None


def update_index(
    database: Database,
    *,
    model_version: str,
    now: datetime,
    parameters: FearGreedSettings,
    excluded_generals: Sequence[str] = (),
    full: bool = False,
) -> IndexUpdate:
    """Append what is new up to ``now`` and replace the running hour's and day's provisional rows.

    An ordinary update computes the hours since the newest final one; it takes up five days before, from
    stored readings. Where there is nothing to take up from (no reading yet, another model) or with ``full``,
    everything is computed, and every bucket that now says something else than its current vintage gets a new
    one; an ordinary update leaves that to a full one while posts still wait for their scores. What reaches into the
    time whose posts retention has deleted stays as it was published. Run twice, it changes nothing.
    """
    present = to_us(now)
    with database.read() as connection:
        anchor = None if full else store.load_anchor(connection, model_version, present, parameters)
        begun = anchor or store.load_beginning(connection, model_version, present, parameters, excluded_generals)
        gone_before = store.load_gone_before(connection)
        unscored = not anchor and not full and store.any_unscored(connection, model_version)
    if unscored:
        # Built on the few posts that a new model has scored so far, every past value would be wrong.
        return IndexUpdate(0, 0, None)
    if begun is None or begun[0].at > present:
        return IndexUpdate(0, 0, None)

    state, after = begun
    new_readings = new_coin_readings = 0
    for until in _spans(state.at, present):
        with database.read() as connection:
            begin = state.at - store.longest_window(parameters)
            posts = store.load_posts(connection, model_version, begin, until, parameters, excluded_generals)
            mentions = store.load_mentions(connection)
            coverage = store.load_coverage(connection, begin, until)
            trained_at = store.load_trained_at(connection, model_version)
        result = rebuild(
            posts,
            mentions,
            coverage,
            state,
            until,
            parameters,
            coins_after=after,
            running=until == present,
        )
        origin = vintages.Origin(model_version, trained_at, present, after)
        with database.write() as connection:
            if store.load_gone_before(connection) != gone_before:
                break  # what was read may lack posts that retention has deleted meanwhile: the next run takes it up
            new_readings += vintages.append_market(connection, result.market, origin)
            new_coin_readings += vintages.append_coins(
                connection, result.market, result.coins, mentions.symbols, origin
            )
        state = result.state
    return IndexUpdate(new_readings, new_coin_readings, result.market)


def _spans(at: int, present: int) -> Iterator[int]:
    """The ends of the spans; only the last may end within a day."""
    while at + LONGEST_SPAN < present:
        at += LONGEST_SPAN
        yield at
    yield present
