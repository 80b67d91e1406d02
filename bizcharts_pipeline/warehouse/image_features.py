"""Table ``image_features``: what a model reads of a picture, once for each content (SHA-256)."""

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import duckdb

from bizcharts_pipeline.warehouse.values import inserted, literal, quoted, table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ImageKind = Literal["chart", "screenshot", "meme", "photo"]
KINDS: tuple[ImageKind, ...] = ("chart", "screenshot", "meme", "photo")
VECTOR_LENGTH = 1024
# The order of `ImageFeatures.colours`. Shares of the pixels, or 0 to 1; slope is -1 to 1: by how much the coloured
# pixels lie higher in the right third than in the left one.
COLOURS = ("green", "red", "coloured", "slope", "brightness", "ground", "palette", "edges")

_COLUMNS = {
    "sha256": "VARCHAR",
    "extractor": "VARCHAR",
    "kind": "VARCHAR",
    "perceptual_hash": "VARCHAR",
    "green": "DOUBLE",
    "red": "DOUBLE",
    "colours": "DOUBLE[]",
    "ocr_text": "VARCHAR",
    "vector": "VARCHAR",
    "problem": "VARCHAR",
    "computed_at": "TIMESTAMP",
}
_FOUND = "kind, perceptual_hash, colours, ocr_text, vector, extractor"
_MERGE = """
MERGE INTO image_features AS t
USING (SELECT * REPLACE (from_base64(vector) AS vector) FROM {row}) AS f
ON t.sha256 = f.sha256
WHEN MATCHED THEN UPDATE SET
    extractor = f.extractor, kind = f.kind, perceptual_hash = f.perceptual_hash, green = f.green, red = f.red,
    colours = f.colours, ocr_text = f.ocr_text, vector = f.vector, problem = f.problem, computed_at = f.computed_at
WHEN NOT MATCHED THEN INSERT BY NAME
"""
# The newest first: their posts are scored soonest.
_WAITING = """
SELECT p.sha256, any_value(p.path), any_value(p.media_type)
FROM thumbnails AS p ANTI JOIN (FROM image_features WHERE extractor = {extractor}) AS f ON f.sha256 = p.sha256
WHERE p.kind = 'thumbnail' AND p.status = 'stored' AND p.sha256 IS NOT NULL
GROUP BY p.sha256 ORDER BY max(p.thread_id) DESC LIMIT {limit}
"""

# Of pictures that no thread has any more, or that were blocked or purged wherever they were.
FORGET_FEATURES = (
    "DELETE FROM image_features WHERE sha256 NOT IN "
    "(SELECT sha256 FROM thumbnails WHERE sha256 IS NOT NULL AND status NOT IN ('blocked', 'purged'))"
)


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """What models read of a picture."""

    kind: ImageKind
    perceptual_hash: str | None  # 16 hexadecimal digits; None: nearly a single tone
    colours: tuple[float, ...]  # in the order of COLOURS
    ocr_text: str | None  # None: no text was read; '': there is none
    vector: "NDArray[np.float32]"  # (VECTOR_LENGTH,), not negative
    extractor: str


@dataclass(frozen=True)
class WaitingImage:
    """A stored thumbnail without features of the present extractor. ``path`` is relative to the home."""

    sha256: str
    path: str
    media_type: str


def waiting_images(connection: duckdb.DuckDBPyConnection, extractor: str, limit: int) -> list[WaitingImage]:
    """Read from the database at most ``limit`` stored thumbnails that ``extractor`` has not read, of the newest threads
    first.
    """
    rows = connection.execute(_WAITING.format(extractor=literal(extractor), limit=int(limit))).fetchall()
    return [WaitingImage(*row) for row in rows]


def save_features(
    connection: duckdb.DuckDBPyConnection,
    sha256: str,
    extractor: str,
    found: ImageFeatures | str,
    computed_at: datetime,
) -> None:
    """Store the features of a picture in the database, or the reason why it has none. Call it inside
    :meth:`Database.write`.
    """
    row: dict[str, object] = {"sha256": sha256, "extractor": extractor, "computed_at": computed_at}
    if isinstance(found, str):
        row |= {"problem": found}
    else:
        row |= {
            "kind": found.kind,
            "perceptual_hash": found.perceptual_hash,
            "green": found.colours[COLOURS.index("green")],
            "red": found.colours[COLOURS.index("red")],
            "colours": list(found.colours),
            "ocr_text": found.ocr_text,
            "vector": base64.b64encode(found.vector.astype("<f2").tobytes()).decode(),
        }
    connection.execute(_MERGE.format(row=table([row], _COLUMNS)))


def features_of(connection: duckdb.DuckDBPyConnection, hashes: Collection[str]) -> dict[str, ImageFeatures]:
    """Read from the database the features of the pictures with these SHA-256, as far as they are known."""
    if not hashes:
        return {}
    names = ", ".join(map(quoted, sorted(set(hashes))))
    rows = connection.execute(
        f"SELECT sha256, {_FOUND} FROM image_features WHERE kind IS NOT NULL AND sha256 IN ({names})"
    ).fetchall()
    return {sha256: features_from_row(*row) for sha256, *row in rows}


def features_from_row(
    kind: ImageKind,
    perceptual_hash: str | None,
    colours: Iterable[float],
    ocr_text: str | None,
    vector: bytes,
    extractor: str,
) -> ImageFeatures:
    """Return a picture's features from their row in the database."""
    import numpy as np  # which most that read this module's names do without

    numbers = np.frombuffer(vector, "<f2").astype(np.float32)
    return ImageFeatures(kind, perceptual_hash, tuple(colours), ocr_text, numbers, extractor)


def picture_texts(connection: duckdb.DuckDBPyConnection, since: datetime) -> list[tuple[int, str]]:
    """Read from the database (thread, text in its picture) of the thumbnails fetched since then in which text was
    found.
    """
    return connection.execute(
        "SELECT p.thread_id, f.ocr_text FROM thumbnails AS p JOIN image_features AS f ON f.sha256 = p.sha256 "
        "WHERE p.kind = 'thumbnail' AND p.status = 'stored' AND f.ocr_text <> '' "
        f"AND p.fetched_at >= {literal(since)} ORDER BY ALL"
    ).fetchall()


def add_mentions(connection: duckdb.DuckDBPyConnection, mentions: Iterable[tuple[int, str, float, str]]) -> int:
    """Store the coins (thread, symbol, confidence, source) that their threads' texts do not name; return how many. Call
    it inside :meth:`Database.write`.
    """
    columns = {"thread_id": "BIGINT", "coin_symbol": "VARCHAR", "confidence": "DOUBLE", "mention_source": "VARCHAR"}
    rows = table([dict(zip(columns, mention, strict=True)) for mention in mentions], columns)
    return inserted(
        connection,
        f"INSERT INTO coin_mentions BY NAME SELECT * FROM {rows} AS new WHERE NOT EXISTS (FROM coin_mentions AS known "
        "WHERE known.thread_id = new.thread_id AND known.coin_symbol = new.coin_symbol)",
    )


def feature_counts(connection: duckdb.DuckDBPyConnection) -> Mapping[str, int]:
    """Read from the database the number of pictures by kind; ``none`` for those without features."""
    return dict(
        connection.execute(
            "SELECT coalesce(kind, 'none'), count(*) FROM image_features GROUP BY ALL ORDER BY 1"
        ).fetchall()
    )
