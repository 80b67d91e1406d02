"""Update of the published index: load, compute, append; no connection is open during the computation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.index import store, vintages
from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.index.series import METHOD, look_back, rebuild
from bizcharts_pipeline.index.states import kept, save_states
from bizcharts_pipeline.index.stretch import MarketReadings
from bizcharts_pipeline.index.votes import DAY, to_us
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.rescoring import has_to_wait, is_wanted

LONGEST_SPAN = 366 * DAY  # computed and appended at a time, which bounds memory


@dataclass(frozen=True)
class IndexUpdate:
    """Result of an update; ``readings`` are those of its last span (``None``: no post has a score). Nothing was
    computed if posts lack a score by the model (``unscored``), or if it is not published yet and another model's scores
    stand for some of its own (``awaited``)."""

    new_readings: int
    new_coin_readings: int
    readings: MarketReadings | None
    unscored: bool = False
    awaited: bool = False


def update_index(
    database: Database,
    *,
    model_version: str,
    now: datetime,
    parameters: FearGreedSettings,
    excluded_generals: Sequence[str] = (),
    full: bool = False,
    prior: Callable[[], Prior] = Prior,
    mixed: bool = False,
) -> IndexUpdate:
    """Append the index's new readings up to ``now`` and replace the provisional rows of the running hour and day.

    An ordinary update computes the hours since the newest final one; it continues from a filter state stored at the end
    of an earlier day. Without such a state (no reading yet, another model) or with ``full``, everything is computed,
    and every bucket that differs from its current vintage gets a new one; an ordinary update leaves that to a full one
    while posts still lack scores. While readings of another model are published and some scores of this one are still
    another model's, nothing is computed, unless ``mixed`` says so. Readings that depend on posts deleted by retention
    stay as published. Idempotent. ``prior`` returns the scorer's base rate at the beginning of a series.
    """
    present = to_us(now)

    def load(connection: duckdb.DuckDBPyConnection, after: int, until: int) -> store.Inputs:
        begin = after - look_back(parameters)
        return store.load_inputs(connection, model_version, begin, until, parameters, excluded_generals)

    with database.read() as connection:  # once: opening the database takes longer than these queries
        anchor = None if full else store.load_anchor(connection, model_version, present, parameters)
        if not anchor and not full and store.any_unscored(connection, model_version):
            # With only the few posts that a new model has scored so far, every past value would be wrong.
            return IndexUpdate(0, 0, None, unscored=True)
        if not anchor and not mixed and has_to_wait(connection, model_version):
            return IndexUpdate(0, 0, None, awaited=True)
        state, after = anchor or (
            store.load_beginning(connection, model_version, present, parameters, excluded_generals, prior),
            0,
        )
        if state is None or state.at > present:
            return IndexUpdate(0, 0, None)
        gone_before = store.load_gone_before(connection)
        ends = [*_spans(state.at, present)]
        inputs = load(connection, state.at, ends[0])

    new_readings = new_coin_readings = 0
    for until in ends:
        if until != ends[0]:
            with database.read() as connection:
                inputs = load(connection, state.at, until)
        result = rebuild(
            inputs.posts,
            inputs.mentions,
            inputs.coverage,
            state,
            until,
            parameters,
            responses=inputs.responses,
            coins_after=after,
            running=until == present,
        )
        midnights = [at for at in range(state.at + DAY, until + 1, DAY) if kept(at, present)]
        states = [result.state_at(at).filters for at in midnights]
        origin = vintages.Origin(model_version, METHOD, inputs.chosen_at, present, after)
        with database.write() as connection:
            if store.load_gone_before(connection) != gone_before:
                break  # retention may have deleted posts meanwhile: the next run starts over
            if anchor:
                wanted = store.is_published(connection, model_version, present)
            else:
                wanted = is_wanted(connection, model_version)
            if not wanted:
                break  # another model has taken over, or become champion, meanwhile
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
