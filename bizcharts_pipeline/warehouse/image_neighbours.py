"""How people labelled other posts with nearly the same picture."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import duckdb

from bizcharts_pipeline.warehouse.labelled import as_table
from bizcharts_pipeline.warehouse.pictures import NEAR_BITS
from bizcharts_pipeline.warehouse.values import literal

# The newest label of each labeller counts; a post that several people rated counts once for each.
_LABELS = """
WITH hashes AS (
    SELECT thread_id, TRY_CAST('0x' || perceptual_hash AS UBIGINT) AS bits FROM thumbnails
    WHERE kind = 'thumbnail' AND perceptual_hash IS NOT NULL
), asked AS (
    SELECT h.* FROM hashes AS h JOIN {wanted} AS w ON w.thread_id = h.thread_id
), newest AS (
    SELECT thread_id, max_by(struct_pack(rating := sentiment_rating, skipped), labeled_at) AS label
    FROM training_labels WHERE labeled_at <= {as_of} GROUP BY thread_id, labeler_id
), rated AS (
    SELECT h.thread_id, h.bits, n.label.rating AS rating FROM newest AS n JOIN hashes AS h USING (thread_id)
    WHERE NOT n.label.skipped AND n.label.rating IS NOT NULL
)
SELECT a.thread_id, count(*) FILTER (r.rating = 1), count(*) FILTER (r.rating = 2), count(*) FILTER (r.rating = 3)
FROM asked AS a JOIN rated AS r ON r.thread_id <> a.thread_id AND bit_count(xor(a.bits, r.bits)) <= {near}
GROUP BY a.thread_id
"""


@dataclass(frozen=True)
class PictureLabels:
    """People's labels of other posts whose picture is the same or nearly so."""

    bearish: int
    neutral: int
    bullish: int

    def __str__(self) -> str:
        total = self.bearish + self.neutral + self.bullish
        counts = {"bearish": self.bearish, "neutral": self.neutral, "bullish": self.bullish}
        named = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        return f"this picture was labelled {total} time{'s' if total > 1 else ''}: {named}"


def labels_of_pictures(
    connection: duckdb.DuckDBPyConnection, thread_ids: Collection[int], as_of: datetime | None = None
) -> dict[int, PictureLabels]:
    """Read from the database the labels, by ``as_of``, of other posts with a picture within ``NEAR_BITS`` of that of
    each thread; threads without any are left out.
    """
    if not thread_ids:
        return {}
    known = literal(as_of) if as_of else "TIMESTAMP 'infinity'"
    sql = _LABELS.format(wanted=as_table(thread_ids), as_of=known, near=NEAR_BITS)
    return {thread_id: PictureLabels(*counts) for thread_id, *counts in connection.execute(sql).fetchall()}
