"""Filter states stored in the warehouse, from which an incremental run continues, or a full run after deleted posts.

Stored are the ends of the days of the last week, and those of the first day of every month.
"""

import duckdb
import numpy as np

from bizcharts_pipeline.index.coins import Deviations
from bizcharts_pipeline.index.level import Level, Noise
from bizcharts_pipeline.index.series import METHOD
from bizcharts_pipeline.index.votes import DAY, Floats, from_us
from bizcharts_pipeline.warehouse.values import literal

RECENT = 8 * DAY
_MARKET, _COINS, _COIN = "market", "coins", "coin:"
_NOISE = 3  # numbers

_NEWEST = """
SELECT epoch_us(max("at")) FROM index_states
WHERE model_version = {model} AND method = {method} AND "at" <= {at}
"""
_OLDEST = """
SELECT epoch_us(min("at")) FROM index_states
WHERE model_version = {model} AND method = {method} AND "at" >= {at}
"""
_LOAD = """
SELECT series, epoch_us(seen_at), figures FROM index_states
WHERE model_version = {model} AND method = {method} AND "at" = {at} ORDER BY series
"""
_DROP = """
DELETE FROM index_states
WHERE model_version = {model} AND method = {method}
  AND ("at" > {after} OR ("at" < {recent} AND extract(day FROM "at") <> 1))
"""
_ADD = """
INSERT INTO index_states
SELECT {model}, {method}, make_timestamp("at"), series, make_timestamp(nullif(seen, 0)), list(figure ORDER BY place)
FROM (SELECT s."at", n.series, s.seen, f.place, f.figure
      FROM fresh_states s JOIN fresh_figures f USING (state) JOIN fresh_series n USING (state))
GROUP BY ALL
"""

FilterState = tuple[int, Level, tuple[str, ...], Deviations]  # at, market, coins' symbols and filters


def newest_state(connection: duckdb.DuckDBPyConnection, model_version: str, until: int) -> int | None:
    """Return the newest moment at or before ``until`` for which the state of the index's filters is stored; ``None`` if
    there is none.
    """
    return _one(connection, _NEWEST, model_version, until)


def oldest_state(connection: duckdb.DuckDBPyConnection, model_version: str, after: int) -> int | None:
    """Return the oldest moment at or after ``after`` for which the state of the index's filters is stored; ``None`` if
    there is none.
    """
    return _one(connection, _OLDEST, model_version, after)


def kept(at: int, present: int) -> bool:
    """Whether the state of the index's filters of a day's end ``at`` is kept at ``present``."""
    return at >= present - RECENT or from_us(at).day == 1


def load_filters(connection: duckdb.DuckDBPyConnection, model_version: str, at: int) -> FilterState:
    """Load the state of the index's filters stored by :func:`save_states` for the moment ``at``, which must exist."""
    rows = connection.execute(_LOAD.format(**_names(model_version), at=literal(from_us(at)))).fetchall()
    figures = {series: np.array(found, np.float64) for series, _, found in rows}
    mean, variance, evidence = figures[_MARKET][_NOISE:].reshape(3, -1)
    level = Level(mean, variance, evidence, Noise(*figures[_MARKET][:_NOISE].tolist()))
    shared = figures[_COINS]
    coins = [(series.removeprefix(_COIN), seen or 0) for series, seen, _ in rows if series.startswith(_COIN)]
    bank = len(shared) - _NOISE
    own = np.array([figures[_COIN + symbol] for symbol, _ in coins]).reshape(len(coins), 2, bank)
    seen = np.array([seen for _, seen in coins], np.int64)
    deviations = Deviations(seen, own[:, 0], own[:, 1], shared[_NOISE:], Noise(*shared[:_NOISE].tolist()))
    return at, level, tuple(symbol for symbol, _ in coins), deviations


def save_states(
    connection: duckdb.DuckDBPyConnection, model_version: str, after: int, present: int, states: list[FilterState]
) -> None:
    """Replace the states of the index's filters stored after ``after`` by ``states``, and delete those no longer
    kept.
    """
    recent = literal(from_us(present - RECENT))
    connection.execute(_DROP.format(**_names(model_version), after=literal(from_us(after)), recent=recent))
    names: list[str] = []
    moments: list[int] = []
    seen: list[int] = []
    figures: list[Floats] = []
    for at, level, symbols, deviations in states:
        named = np.flatnonzero(deviations.seen).tolist()
        names += [_MARKET, _COINS, *(_COIN + symbols[coin] for coin in named)]
        moments += [at] * (2 + len(named))
        seen += [0, 0, *deviations.seen[named].tolist()]
        figures += [
            np.concatenate([_noise(level.noise), level.mean, level.variance, level.evidence]),
            np.concatenate([_noise(deviations.noise), deviations.evidence]),
            *(np.concatenate([deviations.mean[coin], deviations.variance[coin]]) for coin in named),
        ]
    if not states:
        return
    number = np.arange(len(names))
    lengths = [len(row) for row in figures]
    place = np.concatenate([np.arange(length) for length in lengths])
    connection.register("fresh_states", {"state": number, "at": np.array(moments), "seen": np.array(seen)})
    connection.register("fresh_series", {"state": number, "series": np.array(names, np.str_)})
    flat = {"state": np.repeat(number, lengths), "place": place, "figure": np.concatenate(figures)}
    connection.register("fresh_figures", flat)
    connection.execute(_ADD.format(**_names(model_version)))


def _noise(noise: Noise) -> Floats:
    return np.array([noise.deviation, noise.square, noise.weight])


def _names(model_version: str) -> dict[str, str]:
    return {"model": literal(model_version), "method": literal(METHOD)}


def _one(connection: duckdb.DuckDBPyConnection, query: str, model_version: str, at: int) -> int | None:
    row = connection.execute(query.format(**_names(model_version), at=literal(from_us(at)))).fetchone()
    return None if row is None or row[0] is None else int(row[0])
