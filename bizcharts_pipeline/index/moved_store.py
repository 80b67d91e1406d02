"""Reads the input of the explanation of a change: posts, the filters' state, texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.index.level import Level, Prior
from bizcharts_pipeline.index.series import look_back
from bizcharts_pipeline.index.states import load_filters, newest_state, oldest_state
from bizcharts_pipeline.index.store import load_beginning, load_gone_before, load_mentions, load_posts
from bizcharts_pipeline.index.votes import DAY, Mentions, Posts, from_us, to_us
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.as_of import first_bucket, newest_readings
from bizcharts_pipeline.warehouse.values import literal

# The filters begin so long before the earlier moment, if a state is stored; posts made since then are itemized.
NAMED = 5 * DAY
MAX_CHARACTERS = 1000  # of a subject or a text

# Of the posts that this connection has loaded last, in their order.
_TRAITS = """
SELECT coalesce(t.general, ''), s.method
FROM counted c JOIN thread_ops t USING (thread_id)
JOIN scored_posts s ON s.thread_id = c.thread_id AND s.model_version = c.model_version
ORDER BY c.place
"""
_WORDS = f"""
SELECT thread_id, left(subject, {MAX_CHARACTERS}), left(op_text_clean, {MAX_CHARACTERS}), source,
       EXISTS (FROM thread_fates AS f WHERE f.thread_id = t.thread_id AND f.fate = 'deleted')
FROM thread_ops AS t WHERE thread_id IN ({{threads}})
"""
_STORED_LATER = "SELECT max(text_known_at) FROM thread_ops WHERE posted_at <= {until} AND text_known_at > {as_of}"


class ChangeNotExplained(BizchartsError):
    """The change of the stance cannot be explained with the stored data."""


@dataclass(frozen=True)
class ThreadWords:
    """Texts of a thread as its author wrote them, cut at :data:`MAX_CHARACTERS`; None where the board deleted it."""

    subject: str | None
    text: str | None
    source: str  # 'live' or 'warosu'


@dataclass(frozen=True)
class StoredPosts:
    """The posts that a change depends on, as one model scored them."""

    begin: int  # of whose state ``level`` is: a day's end
    level: Level
    before: Posts  # as known at the earlier moment
    after: Posts  # as known at the later one
    mentions: Mentions  # by ``after``
    generals: list[str]  # of ``after``; '': none
    scorers: list[str]  # of ``after``: which scorer answered

    def known(self, as_of: int) -> "StoredPosts":
        """Return the part of the posts behind a change of the index that was stored here by ``as_of``."""
        known = self.after.known_at <= as_of
        return StoredPosts(
            begin=self.begin,
            level=self.level,
            before=self.before.part(self.before.known_at <= as_of),
            after=self.after.part(known),
            mentions=self.mentions.by(known),
            generals=[one for one, wanted in zip(self.generals, known, strict=True) if wanted],
            scorers=[one for one, wanted in zip(self.scorers, known, strict=True) if wanted],
        )


def model_at(connection: duckdb.DuckDBPyConnection, moment: datetime, as_of: datetime | None) -> str:
    """Return the model whose scores the index of ``moment`` was made of: that of the reading published then; if there
    was none, that of its newest vintage as of ``as_of``."""
    for known in (moment, as_of):
        if found := newest_readings(connection, "hour", 1, known, moment):
            return found[0].model_version
    first = first_bucket(connection, "hour", as_of)
    if first is None:
        raise ChangeNotExplained("there is no reading yet: poll the board or import the past first")
    raise ChangeNotExplained(
        f"there is no reading at or before {moment:%Y-%m-%d %H:%M} UTC: choose a later moment, the first ends at "
        f"{first + timedelta(hours=1):%Y-%m-%d %H:%M}"
    )


def load_change(
    connection: duckdb.DuckDBPyConnection,
    model: str,
    start: int,
    end: int,
    parameters: FearGreedSettings,
    excluded_generals: Sequence[str],
    prior: Callable[[duckdb.DuckDBPyConnection, str], Prior | None],
    as_of: datetime | None,
) -> StoredPosts:
    """Load what a change of the index depends on: the posts since some days before ``start`` up to ``end``, and the
    filters' state that they continue.

    Raises:
        ChangeNotExplained: there is no such state, or ``as_of`` can't be told apart in it.
    """

    def beginning() -> Prior:
        if (known := prior(connection, model)) is None:
            raise ChangeNotExplained(
                f"no state of the filters is stored of {from_us(start):%Y-%m-%d} for model {model}"
            )
        return known

    begin, level = _begin(connection, model, start, parameters, excluded_generals, beginning)
    if as_of is not None:
        _check_state(connection, from_us(begin), as_of)
    after = begin - look_back(parameters)
    before = load_posts(connection, model, after, start, parameters, excluded_generals)
    posts = load_posts(connection, model, after, end, parameters, excluded_generals)
    mentions = load_mentions(connection)
    traits = connection.execute(_TRAITS).fetchall()
    stored = StoredPosts(begin, level, before, posts, mentions, [row[0] for row in traits], [row[1] for row in traits])
    return stored if as_of is None else stored.known(to_us(as_of))


def _begin(
    connection: duckdb.DuckDBPyConnection,
    model: str,
    start: int,
    parameters: FearGreedSettings,
    excluded_generals: Sequence[str],
    prior: Callable[[], Prior],
) -> tuple[int, Level]:
    """Return where the filters begin: a stored state some days before ``start``, or where the series begins."""
    gone_before = load_gone_before(connection)
    whole_from = 0 if gone_before is None else gone_before + look_back(parameters)
    stored = newest_state(connection, model, start - NAMED)
    if stored is None or stored < whole_from:
        stored = oldest_state(connection, model, whole_from)
    if stored is not None and stored <= start:
        at, level, _, _ = load_filters(connection, model, stored)
        return at, level
    state = load_beginning(connection, model, start, parameters, excluded_generals, prior)
    if state is None or state.at > start:
        raise ChangeNotExplained(
            f"the posts needed for {from_us(start):%Y-%m-%d %H:%M} UTC are not stored, or the model {model} did not "
            "score them: choose a later moment"
        )
    return state.at, state.level


def _check_state(connection: duckdb.DuckDBPyConnection, state: datetime, as_of: datetime) -> None:
    """Refuse a state that was computed from posts which were not known at ``as_of``."""
    query = _STORED_LATER.format(until=literal(state), as_of=literal(as_of))
    row = connection.execute(query).fetchone()
    if row and row[0]:
        raise ChangeNotExplained(
            f"posts made before {state:%Y-%m-%d} came here after {as_of:%Y-%m-%d %H:%M} (the last "
            f"on {row[0]:%Y-%m-%d}) and are in the filters' state: leave out the moment of knowledge"
        )


def load_words(connection: duckdb.DuckDBPyConnection, threads: Sequence[int]) -> dict[int, ThreadWords]:
    """Load subject, text and source of each of ``threads`` that moved the index; of what the board deleted only the
    source.
    """
    if not threads:
        return {}
    rows = connection.execute(_WORDS.format(threads=", ".join(map(str, threads)))).fetchall()
    return {
        thread: ThreadWords(None, None, source) if deleted else ThreadWords(subject, text, source)
        for thread, subject, text, source, deleted in rows
    }
