"""Queries of the index on the warehouse.

Connections come from ``warehouse``; this module only runs queries. Values reach the SQL as numpy arrays: binding Python
objects makes DuckDB import pandas and pyarrow, which costs 0.2 s in each run of a job that runs every minute.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.index.people import Response
from bizcharts_pipeline.index.series import METHOD, look_back
from bizcharts_pipeline.index.states import load_filters, newest_state, oldest_state
from bizcharts_pipeline.index.stretch import Coverage, State
from bizcharts_pipeline.index.votes import DAY, HOUR, Floats, Ints, Mentions, Posts, from_us
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.values import literal

REREAD = 6 * HOUR  # minimum look-back of an incremental run, for posts that arrive late

# Condition for counted posts; the table `excluded` has the generals that do not count.
_COUNTS = """
NOT sticky AND capcode IS NULL AND coalesce(spam_score, 0) < getvariable('requested').spam_cut
AND coalesce(general, '') NOT IN (SELECT general FROM excluded)
"""
# Posts first, their scores second: DuckDB then reads only that range of the scores.
_CANDIDATES = f"""
CREATE OR REPLACE TEMP TABLE candidates AS
SELECT thread_id, posted_at, text_known_at, coalesce(cluster_id, thread_id) AS cluster,
       first_seen_at IS NOT NULL AS live,
       date_trunc('hour', posted_at + INTERVAL 1 HOUR - INTERVAL 1 MICROSECOND) AS first_end
FROM thread_ops
WHERE posted_at > getvariable('requested').after AND posted_at <= getvariable('requested').until
  AND {_COUNTS}
"""
# `place` is a post's index. (A rowid is none within a transaction, where DuckDB counts from another number.)
_COUNTED = """
CREATE OR REPLACE TEMP TABLE counted AS
SELECT row_number() OVER () - 1 AS place, * FROM (
    SELECT c.*, s.score AS stance, s.confidence, s.model_version
    FROM candidates c JOIN scored_posts s USING (thread_id)
    WHERE s.model_version = getvariable('requested').model_version AND {scored}
    ORDER BY c.posted_at, c.thread_id)
"""

# The last observation of each post's replies at three moments: its first two full hours, and the age of two hours.
_WITH_REPLIES = """
WITH observed AS (
    SELECT o.thread_id,
           arg_max(o.reply_count, o.seen_at) FILTER (o.seen_at <= c.first_end) AS first_hour,
           arg_max(o.reply_count, o.seen_at)
               FILTER (o.seen_at <= c.first_end + INTERVAL 1 HOUR) AS second_hour,
           arg_max(o.reply_count, o.seen_at) AS two_hours
    FROM thread_observations o JOIN counted c USING (thread_id)
    WHERE o.seen_at > getvariable('requested').after AND o.seen_at <= getvariable('requested').until
      AND o.seen_at <= c.posted_at + INTERVAL 2 HOUR AND o.reply_count IS NOT NULL
    GROUP BY o.thread_id
)
SELECT c.thread_id, epoch_us(c.posted_at) AS posted_at, epoch_us(c.text_known_at) AS known_at, c.cluster,
       c.stance, c.confidence, c.live, coalesce(l.first_hour, 0)::DOUBLE AS first_hour,
       coalesce(l.second_hour, 0)::DOUBLE AS second_hour, coalesce(l.two_hours, 0)::DOUBLE AS two_hours
FROM counted c LEFT JOIN observed l USING (thread_id)
ORDER BY c.place
"""

# A post that names one coin has the post's stance towards it; one that names several has a stance towards each.
_NAMED = """
CREATE OR REPLACE TEMP TABLE named AS
SELECT c.place, c.thread_id, m.coin_symbol, max(m.confidence) AS certainty
FROM coin_mentions m JOIN counted c USING (thread_id) GROUP BY ALL
"""
_SYMBOLS = """
CREATE OR REPLACE TEMP TABLE symbols AS
SELECT coin_symbol, row_number() OVER (ORDER BY coin_symbol) - 1 AS coin FROM (SELECT DISTINCT coin_symbol
FROM named)
"""
_MENTIONS = """
WITH counts AS (SELECT thread_id, count(*) AS coins_named FROM named GROUP BY thread_id)
SELECT n.place, y.coin, n.certainty, k.coins_named,
       CASE WHEN k.coins_named > 1 THEN coalesce(s.score, c.stance) ELSE c.stance END AS stance,
       CASE WHEN k.coins_named > 1 THEN coalesce(s.confidence, c.confidence) ELSE c.confidence END AS
       confidence
FROM named n JOIN counted c ON c.place = n.place JOIN counts k ON k.thread_id = n.thread_id
JOIN symbols y ON y.coin_symbol = n.coin_symbol
LEFT JOIN scored_mentions s ON s.thread_id = n.thread_id AND s.coin_symbol = n.coin_symbol
      AND s.model_version = c.model_version
ORDER BY n.place, y.coin
"""

_POLLED_HOURS = """
SELECT DISTINCT epoch_us(date_trunc('hour', snapshot_at)) AS hour FROM catalog_snapshots
WHERE snapshot_at > getvariable('requested').after AND snapshot_at <= getvariable('requested').until
"""
_POLLING_SINCE = "SELECT epoch_us(min(snapshot_at)) AS since FROM catalog_snapshots"
_ARCHIVE_DAYS = """
SELECT epoch_us(day::TIMESTAMP) AS day, bool_or(complete) AS complete, epoch_us(max(fetched_at)) AS fetched_at
FROM warosu_days
WHERE day >= getvariable('requested').after::DATE AND day <= getvariable('requested').until::DATE
GROUP BY day ORDER BY day
"""

_FIRST_POST = f"""
SELECT epoch_us(min(o.posted_at)) AS first FROM thread_ops o JOIN scored_posts s USING (thread_id)
WHERE s.model_version = getvariable('requested').model_version AND {_COUNTS}
"""
_UNSCORED = """
SELECT count(*) FROM (
    FROM thread_ops WHERE sentiment_model_version IS DISTINCT FROM getvariable('requested').model_version LIMIT 1)
"""
# A model's readings could not be published before it was trained, nor before it was chosen.
_CHOSEN_AT = """
SELECT epoch_us(max("at")) FROM (
    SELECT trained_at AS "at" FROM model_versions WHERE model_version = getvariable('requested').model_version
    UNION ALL
    SELECT made_at FROM model_previews
    WHERE model_version = getvariable('requested').model_version AND outcome = 'switched')
"""
# The current vintage of the newest final hour, if it is of the requested model and of this method.
_NEWEST_HOUR = f"""
SELECT epoch_us(bucket_start) FROM (
    SELECT bucket_start, model_version, method FROM fear_greed_index
    WHERE final AND bucket = 'hour' AND bucket_start + INTERVAL 1 HOUR <= getvariable('requested').until
    ORDER BY bucket_start DESC, computed_at DESC LIMIT 1)
WHERE model_version = getvariable('requested').model_version AND method = '{METHOD}'
"""
# Of all readings up to the requested moment.
_KNOWABLE = """
SELECT epoch_us(max(knowable_at)) FROM fear_greed_index
WHERE final AND bucket = 'hour' AND bucket_start < getvariable('requested').until
"""
_GONE_BEFORE = "SELECT epoch_us(max(gone_before)) FROM retention_marks WHERE what = 'threads'"
# The daily points for the ranking: the current vintage of each, if it is of the requested model and of this method.
_DAYS = f"""
SELECT epoch_us(bucket_start) AS bucket_start, stance FROM (
    SELECT * FROM fear_greed_index
    WHERE final AND bucket = 'day'
      AND bucket_start >= getvariable('requested').after AND bucket_start < getvariable('requested').until
    QUALIFY row_number() OVER (PARTITION BY bucket_start ORDER BY computed_at DESC) = 1)
WHERE model_version = getvariable('requested').model_version AND method = '{METHOD}' AND raw_stance IS NOT NULL
ORDER BY bucket_start
"""
# A model refitted on all labels uses the gold response of the version that it was refitted from.
_RESPONSES = """
SELECT epoch_us(e.evaluated_at), e.response, e.response_covariance
FROM model_evaluations e SEMI JOIN (
    SELECT coalesce(refit_of, model_version) AS judged FROM model_versions
    WHERE model_version = getvariable('requested').model_version) m ON m.judged = e.model_version
WHERE e.response IS NOT NULL ORDER BY e.evaluated_at
"""


@dataclass(frozen=True)
class Inputs:
    """What the readings of a span are computed from, besides the state before it."""

    posts: Posts
    mentions: Mentions
    coverage: Coverage
    chosen_at: int | None
    responses: list[Response]


def load_inputs(
    connection: duckdb.DuckDBPyConnection,
    model_version: str,
    after: int,
    until: int,
    parameters: FearGreedSettings,
    excluded_generals: Sequence[str],
) -> Inputs:
    """Load what the index is computed from: the posts of ``(after, until]`` with their scores by one model version,
    mentions, coverage and responses.
    """
    posts = load_posts(connection, model_version, after, until, parameters, excluded_generals)
    return Inputs(
        posts,
        load_mentions(connection),
        load_coverage(connection, after, until),
        load_chosen_at(connection, model_version),
        load_responses(connection, model_version),
    )


def load_posts(
    connection: duckdb.DuckDBPyConnection,
    model_version: str,
    after: int,
    until: int,
    parameters: FearGreedSettings,
    excluded_generals: Sequence[str],
    scored_by: datetime | None = None,
) -> Posts:
    """Load the posts of ``(after, until]`` that count in the index, with the scores of one model version.

    Left out are posts without a score, or without one at ``scored_by`` (naive UTC), pinned (as first seen), by staff,
    of an excluded general, and spam.
    """
    _set_request(connection, after, until, model_version, parameters.spam_cut)
    _exclude(connection, excluded_generals)
    connection.execute(_CANDIDATES)
    scored = "TRUE" if scored_by is None else f"s.scored_at <= {literal(scored_by)}"
    connection.execute(_COUNTED.format(scored=scored))
    found = connection.execute(_WITH_REPLIES).fetchnumpy()
    replies = [_floats(found[name]) for name in ("first_hour", "second_hour", "two_hours")]
    return Posts(
        thread_id=_ints(found["thread_id"]),
        posted_at=_ints(found["posted_at"]),
        known_at=_ints(found["known_at"]),
        cluster=_ints(found["cluster"]),
        stance=_floats(found["stance"]),
        confidence=_floats(found["confidence"]),
        replies=np.column_stack(replies),
        live=np.asarray(found["live"], bool),
    )


def load_mentions(connection: duckdb.DuckDBPyConnection) -> Mentions:
    """Load the coins named by the index's posts last loaded on this connection."""
    connection.execute(_NAMED)
    connection.execute(_SYMBOLS)
    symbols = connection.execute("SELECT coin_symbol FROM symbols ORDER BY coin").fetchall()
    found = connection.execute(_MENTIONS).fetchnumpy()
    return Mentions(
        post=_ints(found["place"]),
        coin=_ints(found["coin"]),
        symbols=tuple(symbol for (symbol,) in symbols),
        certainty=_floats(found["certainty"]),
        coins_named=_ints(found["coins_named"]),
        stance=_floats(found["stance"]),
        confidence=_floats(found["confidence"]),
    )


def load_coverage(connection: duckdb.DuckDBPyConnection, after: int, until: int) -> Coverage:
    """Load the coverage of the index's hours in ``(after, until]`` by polls and by the archive."""
    _set_request(connection, after, until)
    start = after // HOUR * HOUR
    hours = start + HOUR * np.arange(-(-(until - start) // HOUR), dtype=np.int64)
    polled = np.isin(hours, _ints(connection.execute(_POLLED_HOURS).fetchnumpy()["hour"]))
    since = _one(connection, _POLLING_SINCE)
    polling = np.zeros(len(hours), bool) if since is None else hours >= since // HOUR * HOUR
    archive = connection.execute(_ARCHIVE_DAYS).fetchnumpy()
    day, complete, fetched_at = (_ints(archive[name]) for name in ("day", "complete", "fetched_at"))
    days = hours // DAY * DAY
    place = np.searchsorted(day, days)
    archived = np.isin(days, day)
    found = archived & np.isin(days, day[complete > 0])
    needed = archived & ~polled & (found | ~polling)
    return Coverage(
        start,
        covered=polled | found,
        known=archived | polling,
        fetched_at=np.where(needed, np.append(fetched_at, 0)[place], 0),
    )


def load_chosen_at(connection: duckdb.DuckDBPyConnection, model_version: str) -> int | None:
    """Load, for the index, the time when a model version was trained, or last became champion, whichever is later;
    ``None`` if neither is known.
    """
    _set_request(connection, model_version=model_version)
    return _one(connection, _CHOSEN_AT)


def load_beginning(
    connection: duckdb.DuckDBPyConnection,
    model_version: str,
    now: int,
    parameters: FearGreedSettings,
    excluded_generals: Sequence[str],
    prior: Callable[[], Prior],
) -> State | None:
    """Load the state from which a full run of the index begins; ``None`` if there is no post to count.

    It is the day of the first post scored by this model version, with the scorer's ``prior``. If retention has deleted
    posts, no window may include their time: the run begins at the first stored state after it, or without one at the
    first end of a day after it, with the prior again.
    """
    _set_request(connection, model_version=model_version, spam_cut=parameters.spam_cut)
    _exclude(connection, excluded_generals)
    first = _one(connection, _FIRST_POST)
    if first is None or first > now:
        return None
    begin, gone_before = first // DAY * DAY, load_gone_before(connection)
    if gone_before is None:
        return State.nothing(begin, prior())
    complete_from = max(-(-(gone_before + look_back(parameters)) // DAY) * DAY, begin)
    stored = oldest_state(connection, model_version, complete_from)
    if stored is None or stored > now:
        return State.nothing(complete_from, prior())
    return load_state(connection, model_version, stored, parameters)


def load_gone_before(connection: duckdb.DuckDBPyConnection) -> int | None:
    """Load the time up to which retention has deleted posts, which the index can no longer count; ``None`` if it has
    deleted none.
    """
    return _one(connection, _GONE_BEFORE)


def is_published(connection: duckdb.DuckDBPyConnection, model_version: str, now: int) -> bool:
    """Whether the index's newest final hour is of this model version and of this method."""
    _set_request(connection, until=now, model_version=model_version)
    return _one(connection, _NEWEST_HOUR) is not None


def any_unscored(connection: duckdb.DuckDBPyConnection, model_version: str) -> bool:
    """Whether any post still lacks a score by the champion ``model_version``, from whose scores the index is
    computed.
    """
    _set_request(connection, model_version=model_version)
    return bool(_one(connection, _UNSCORED))


def load_anchor(
    connection: duckdb.DuckDBPyConnection, model_version: str, now: int, parameters: FearGreedSettings
) -> tuple[State, int] | None:
    """Load the state from which an incremental run of the index continues, and the end of the newest final hour;
    ``None`` if there is none.

    It is the newest stored state at least :data:`REREAD` before that hour (or before ``now``, if that is earlier).
    """
    _set_request(connection, until=now, model_version=model_version)
    newest = _one(connection, _NEWEST_HOUR)
    if newest is None:
        return None
    stored = newest_state(connection, model_version, min(newest + HOUR, now) - REREAD)
    if stored is None:
        return None
    return load_state(connection, model_version, stored, parameters), newest + HOUR


def load_state(
    connection: duckdb.DuckDBPyConnection, model_version: str, at: int, parameters: FearGreedSettings
) -> State:
    """Load the index's stored state of the moment ``at`` (the end of a day), and the daily points before it for the
    ranking.
    """
    _, level, symbols, deviations = load_filters(connection, model_version, at)
    day_ends, day_stances = load_days(connection, model_version, at, parameters)
    return State(
        at=at,
        level=level,
        symbols=symbols,
        deviations=deviations,
        day_ends=day_ends,
        day_stances=day_stances,
        knowable_at=_one(connection, _KNOWABLE) or 0,
    )


def load_days(
    connection: duckdb.DuckDBPyConnection, model_version: str, until: int, parameters: FearGreedSettings
) -> tuple[Ints, Floats]:
    """Load the index's published daily points by a model in the ``history_days`` before ``until``: ends of the days,
    stances.
    """
    _set_request(connection, until - parameters.history_days * DAY, until, model_version)
    days = connection.execute(_DAYS).fetchnumpy()
    return _ints(days["bucket_start"]) + DAY, _floats(days["stance"])


def load_responses(connection: duckdb.DuckDBPyConnection, model_version: str) -> list[Response]:
    """Load how a trained model's stances in the index respond to people's, as measured on gold, by time; empty for the
    shipped lexicon.
    """
    _set_request(connection, model_version=model_version)
    return [
        Response(since, np.array(figures), np.array(covariance).reshape(len(figures), -1))
        for since, figures, covariance in connection.execute(_RESPONSES).fetchall()
    ]


def _exclude(connection: duckdb.DuckDBPyConnection, generals: Sequence[str]) -> None:
    connection.register("excluded", {"general": texts([*generals, "-"])})


def _set_request(
    connection: duckdb.DuckDBPyConnection,
    after: int = 0,
    until: int = 0,
    model_version: str = "",
    spam_cut: float = 1.0,
) -> None:
    """Set the variable ``requested``, whose values DuckDB treats as constants in planning."""
    values = {
        "after": literal(from_us(after)),
        "until": literal(from_us(until)),
        "model_version": literal(model_version),
        "spam_cut": literal(spam_cut),
    }
    fields = ", ".join(f"'{name}': {value}" for name, value in values.items())
    connection.execute(f"SET VARIABLE requested = {{{fields}}}")


def times(microseconds: Sequence[int] | Ints) -> NDArray[np.datetime64]:
    """Return the index's moments ``microseconds`` in DuckDB's timestamp form."""
    return np.asarray(microseconds, np.int64).astype("datetime64[us]")


def texts(strings: Sequence[str]) -> NDArray[np.str_]:
    """Return ``strings`` for the index's statements in a form that DuckDB reads without inspecting each object; without
    NULL.
    """
    return np.asarray(strings, dtype=np.str_)


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int | None:
    row = connection.execute(query).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def _ints(column: NDArray[np.generic]) -> Ints:
    return np.asarray(column, np.int64)


def _floats(column: NDArray[np.generic]) -> Floats:
    """A column of floats; NaN for NULL."""
    return np.asarray(np.ma.filled(np.ma.asarray(column, np.float64), np.nan))
