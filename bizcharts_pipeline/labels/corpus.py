"""Posts as they are labelled and learned from: subject, text, picture."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.warehouse.labelled import as_table

MIN_BODY = 40  # characters; a shorter text says too little to be told by without its subject

# The big tables are cut to the wanted posts first: a left join alone reads them whole (418 MB at a million posts).
# A post that only its labels know (an imported file) is what the labeller saw.
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
    """The picture of a post as far as it is known; ``path`` is relative to the home where ``status`` is 'stored'."""

    url: str | None
    md5: str | None
    status: str | None  # of `thumbnails`; None: never looked for
    path: str | None
    sha256: str | None
    perceptual_hash: str | None  # 16 hexadecimal digits
    nsfw: float | None


@dataclass(frozen=True)
class Post:
    """An opening post. Subject and text are plain text."""

    thread_id: int
    posted_at: datetime | None  # naive UTC; None: known from a label alone that did not keep it
    subject: str | None
    text: str | None
    picture: Picture | None  # None: the post has none

    @property
    def whole_text(self) -> str:
        """Subject and text, a line break between."""
        return "\n".join(part for part in (self.subject, self.text) if part)

    @property
    def texts(self) -> tuple[str, ...]:
        """What a copy of the post may have: the whole text, and without its subject where that is enough to tell."""
        if self.subject and self.text and len(self.text) > MIN_BODY:
            return self.whole_text, self.text
        return (self.whole_text,)


def load_posts(connection: duckdb.DuckDBPyConnection, thread_ids: Collection[int]) -> list[Post]:
    """Return the posts of ``thread_ids`` that are known, by thread."""
    if not thread_ids:
        return []
    rows = connection.execute(_POSTS.format(wanted=as_table(thread_ids))).fetchall()
    return [
        Post(thread_id, posted_at, subject, text, Picture(url, *picture) if url or picture[1] else None)
        for thread_id, posted_at, subject, text, url, *picture in rows
    ]
