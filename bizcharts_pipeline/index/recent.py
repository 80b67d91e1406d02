"""The posts of the last days as one model scored them, with what tells coordinated posting from talk."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.index.store import load_mentions, load_posts
from bizcharts_pipeline.index.votes import Bools, Mentions, Posts, to_us
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.text.duplicates import MEMORY
from bizcharts_pipeline.text.links import link_hosts
from bizcharts_pipeline.warehouse.as_of import newest_reading
from bizcharts_pipeline.warehouse.values import literal

# Of the posts that this connection has loaded last, in their order.
_TRAITS = """
SELECT coalesce(t.general, '') AS general, coalesce(t.image_md5, '') AS image,
       CASE WHEN contains(t.op_text_clean, '://') OR contains(lower(t.op_text_clean), 'www.')
            THEN t.op_text_clean ELSE '' END AS linked
FROM counted c JOIN thread_ops t USING (thread_id) ORDER BY c.place
"""
_ADVERTS = """
SELECT m.coin_symbol, count(DISTINCT t.thread_id) FROM thread_ops t JOIN coin_mentions m USING (thread_id)
WHERE t.posted_at > {start} AND t.posted_at <= {end} AND t.text_known_at <= {known} AND t.spam_score >= {cut}
GROUP BY 1
"""


@dataclass(frozen=True)
class RecentPosts:
    """``P`` scored posts in order of time: of no general that is left out of the index as well as of these.

    Those before ``start`` are there for their near-duplicates only. Microseconds since 1970, UTC.
    """

    start: int
    end: int
    posts: Posts
    mentions: Mentions
    general: NDArray[np.object_]  # (P,) '': none
    image: NDArray[np.object_]  # (P,) MD5 of the file; '': none
    hosts: tuple[frozenset[str], ...]  # P; linked to, except common ones
    adverts: Mapping[str, int]  # posts in ``(start, end]`` that name a coin and are left out as spam, by coin

    @property
    def inside(self) -> Bools:
        """Whether each of the index's recent posts was made in ``(start, end]`` (P,)."""
        return self.posts.posted_at > self.start


def load_recent(
    connection: duckdb.DuckDBPyConnection,
    length: timedelta,
    parameters: FearGreedSettings,
    as_of: datetime | None,
) -> RecentPosts | None:
    """Load the index's posts of the last ``length`` up to ``as_of`` (naive UTC), or up to when the newest reading was
    computed, and those of the 48 hours before them, as scored by the model of the newest reading. ``None``: there is
    none yet.

    Left out are posts whose text was not held here by then or that were not scored by ``as_of``, spam, pinned posts and
    posts by staff.
    """
    newest = newest_reading(connection, "hour", as_of)
    if newest is None:
        return None
    until = as_of or newest.computed_at
    end, start = to_us(until), to_us(until - length)
    posts = load_posts(connection, newest.model_version, start - MEMORY, end, parameters, (), scored_by=as_of)
    mentions = load_mentions(connection)
    traits = connection.execute(_TRAITS).fetchnumpy()
    adverts = _ADVERTS.format(
        start=literal(until - length), end=literal(until), known=literal(until), cut=literal(parameters.spam_cut)
    )
    known = posts.known_at <= end
    return RecentPosts(
        start=start,
        end=end,
        posts=posts.part(known),
        mentions=mentions.by(known),
        general=np.asarray(traits["general"], object)[known],
        image=np.asarray(traits["image"], object)[known],
        hosts=tuple(link_hosts(text) if text else frozenset() for text in np.asarray(traits["linked"], object)[known]),
        adverts=dict(connection.execute(adverts).fetchall()),
    )
