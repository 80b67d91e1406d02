"""Update of the published index: load, compute, append; no connection is open during the computation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from bizcharts_pipeline.index import store, vintages
from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.index.series import METHOD, look_back, rebuild
from bizcharts_pipeline.index.states import kept, save_states
from bizcharts_pipeline.index.stretch import MarketReadings
from bizcharts_pipeline.index.votes import DAY, to_us
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.database import Database

LONGEST_SPAN = 366 * DAY  # computed and appended at a time, which bounds memory


@dataclass(frozen=True)
class IndexUpdate:
    """Result of an update; ``readings`` are those of its last span (``None``: no post has a score)."""

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
    prior: Callable[[], Prior] = Prior,
) -> IndexUpdate:
    """Append the new readings up to ``now`` and replace the provisional rows of the running hour and day.

    An ordinary update computes the hours since the newest final one; it continues from a filter state stored at the end
    of an earlier day. Without such a state (no reading yet, another model) or with ``full``, everything is computed,
    and every bucket that differs from its current vintage gets a new one; an ordinary update leaves that to a full one
    while posts still lack scores. Readings that depend on posts deleted by retention stay as published. Idempotent.
    ``prior`` returns the scorer's base rate at the beginning of a series.
    """
    present = to_us(now)
    with database.read() as connection:
        anchor = None if full else store.load_anchor(connection, model_version, present, parameters)
        gone_before = store.load_gone_before(connection)
        unscored = not anchor and not full and store.any_unscored(connection, model_version)
    if unscored:
        # With only the few posts that a new model has scored so far, every past value would be wrong.
        return IndexUpdate(0, 0, None)
    state, after = anchor or (None, 0)
    if state is None:
        with database.read() as connection:
            state = store.load_beginning(connection, model_version, present, parameters, excluded_generals, prior)
    if state is None or state.at > present:
        return IndexUpdate(0, 0, None)

    new_readings = new_coin_readings = 0
    for until in _spans(state.at, present):
        with database.read() as connection:
            begin = state.at - look_back(parameters)
            posts = store.load_posts(connection, model_version, begin, until, parameters, excluded_generals)
            mentions = store.load_mentions(connection)
            coverage = store.load_coverage(connection, begin, until)
            trained_at = store.load_trained_at(connection, model_version)
            responses = store.load_responses(connection, model_version)
        result = rebuild(
            posts,
            mentions,
            coverage,
            state,
            until,
            parameters,
            responses=responses,
            coins_after=after,
            running=until == present,
        )
        midnights = [at for at in range(state.at + DAY, until + 1, DAY) if kept(at, present)]
        states = [result.state_at(at).filters for at in midnights]
        origin = vintages.Origin(model_version, METHOD, trained_at, present, after)
        with database.write() as connection:
            if store.load_gone_before(connection) != gone_before:
                break  # retention may have deleted posts meanwhile: the next run starts over
            new_readings += vintages.append_market(connection, result.market, origin)
            new_coin_readings += vintages.append_coins(connection, result.market, result.coins, result.symbols, origin)
            if states or not anchor:
                save_states(connection, model_version, state.at, present, states)
        if until != present:
            state = result.state_at(until)
    return IndexUpdate(new_readings, new_coin_readings, result.market)


def _spans(at: int, present: int) -> Iterator[int]:
    """The ends of the spans; only the last may end within a day."""
    while at + LONGEST_SPAN < present:
        at += LONGEST_SPAN
        yield at
    yield present
