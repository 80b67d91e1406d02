"""Posts with subject, text and picture, for labelling and training."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.warehouse.labelled import as_table

MIN_BODY = 40  # characters; a shorter text does not identify a post without its subject

# The big tables are reduced to the wanted posts first: a plain left join reads them completely (418 MB at a million
# posts). A post known only from its labels (an imported file) gets the labels' snapshots.
_POSTS = """
SELECT w.thread_id, coalesce(t.posted_at, l.posted_at), CASE WHEN t.thread_id IS NULL THEN l.subject ELSE t.subject END,
       CASE WHEN t.thread_id IS NULL THEN l.text ELSE t.op_text_clean END,
       coalesce(t.image_url, l.image_url), t.image_md5,
       p.status, p.path, p.sha256, p.perceptual_hash, p.nsfw
FROM {wanted} AS w
LEFT JOIN (
    SELECT o.* FROM {wanted} AS wanted JOIN thread_ops AS o ON o.thread_id = wanted.thread_id
) AS t ON t.thread_id = w.thread_id
LEFT JOIN (
    SELECT n.* FROM {wanted} AS wanted JOIN thumbnails AS n ON n.thread_id = wanted.thread_id AND n.kind = 'thumbnail'
) AS p ON p.thread_id = w.thread_id
LEFT JOIN (
    SELECT thread_id, max(posted_at) AS posted_at, arg_max(subject_snapshot, labeled_at) AS subject,
           arg_max(text_snapshot, labeled_at) AS text, arg_max(image_url_snapshot, labeled_at) AS image_url
    FROM training_labels GROUP BY thread_id
) AS l ON l.thread_id = w.thread_id
WHERE t.thread_id IS NOT NULL OR l.thread_id IS NOT NULL
ORDER BY w.thread_id
"""


@dataclass(frozen=True)
class Picture:
    """The known data of a post's picture; ``path`` is relative to the home and set if ``status`` is 'stored'."""

    url: str | None
    md5: str | None
    status: str | None  # of `thumbnails`; None: not fetched yet
    path: str | None
    sha256: str | None
    perceptual_hash: str | None  # 16 hexadecimal digits
    nsfw: float | None


@dataclass(frozen=True)
class Post:
    """An opening post. Subject and text are plain text."""

    thread_id: int
    posted_at: datetime | None  # naive UTC; None: unknown (post known only from a label)
    subject: str | None
    text: str | None
    picture: Picture | None  # None: the post has no picture

    @property
    def whole_text(self) -> str:
        """Subject and text of the post to label, separated by a line break."""
        return "\n".join(part for part in (self.subject, self.text) if part)

    @property
    def texts(self) -> tuple[str, ...]:
        """Texts of the post to label that are compared for copies: subject with text, and text alone if it is long
        enough to identify the post.
        """
        if self.subject and self.text and len(self.text) > MIN_BODY:
            return self.whole_text, self.text
        return (self.whole_text,)


def load_posts(connection: duckdb.DuckDBPyConnection, thread_ids: Collection[int]) -> list[Post]:
    """Load the known posts among ``thread_ids``, as people label them, ordered by thread."""
    if not thread_ids:
        return []
    rows = connection.execute(_POSTS.format(wanted=as_table(thread_ids))).fetchall()
    return [
        Post(thread_id, posted_at, subject, text, Picture(url, *picture) if url or picture[1] else None)
        for thread_id, posted_at, subject, text, url, *picture in rows
    ]
