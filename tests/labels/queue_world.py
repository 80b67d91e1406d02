"""A small board whose posts say what they are, for the tests of queue and trust."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.labels.ledger import LEDGER, Label, LabelLedger
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.values import literal, table

NOW = datetime(2026, 5, 1, 12)
LONG_AGO = NOW - timedelta(days=60)
_WORDS = {
    1: ["dump", "crash", "selling", "short", "rekt", "scam", "collapse", "bleeding"],
    2: ["question", "advice", "broker", "tax", "job", "thread", "general", "today"],
    3: ["pump", "moon", "buying", "long", "rich", "breakout", "gem", "rally"],
}
_ENDS = ("n", "rk", "st", "mp", "l", "sh", "x", "nd")
_FILLERS = [
    a + b + c for a in ("ka", "lo", "mi", "tu", "re", "no", "sa", "pe") for b in ("ba", "du", "fo") for c in _ENDS
]
_COLUMNS = {
    "thread_id": "BIGINT", "posted_at": "TIMESTAMP", "op_text_clean": "VARCHAR", "cluster_id": "BIGINT",
    "sticky": "BOOLEAN", "capcode": "VARCHAR", "spam_score": "DOUBLE", "image_md5": "VARCHAR", "source": "VARCHAR",
    "ingested_at": "TIMESTAMP", "text_known_at": "TIMESTAMP",
}  # fmt: skip


@dataclass(frozen=True)
class Opening:
    """A post of the board; its class is known to the tests alone."""

    thread_id: int
    rating: int
    text: str
    posted_at: datetime
    cluster_id: int | None = None
    sticky: bool = False
    capcode: str | None = None
    spam_score: float = 0.0
    image_md5: str | None = None


def openings(count: int, *, seed: int = 0, copies: float = 0.2, first: int = 1) -> list[Opening]:
    """Return ``count`` posts of 90 days; a share of ``copies`` are near-duplicates of the post before them."""
    rng = random.Random(seed)
    made: list[Opening] = []
    for thread_id in range(first, first + count):
        if made and rng.random() < copies:
            made.append(Opening(thread_id, made[-1].rating, made[-1].text, made[-1].posted_at, made[-1].cluster_id))
            continue
        rating = rng.choices((1, 2, 3), (3, 5, 2))[0]
        text = " ".join([*rng.choices(_FILLERS, k=6), *rng.choices(_WORDS[rating], k=2)])
        made.append(Opening(thread_id, rating, text, NOW - timedelta(days=90 * rng.random()), thread_id))
    return made


def board(folder: Path, posts: Sequence[Opening]) -> tuple[DatabaseFile, LabelLedger]:
    """Return a database with ``posts``, and an empty label ledger."""
    database = DatabaseFile(folder / "board.duckdb")
    rows = [
        vars(post) | {"op_text_clean": post.text, "source": "live", "ingested_at": NOW, "text_known_at": NOW}
        for post in posts
    ]
    with database.write() as connection:
        connection.execute(f"INSERT INTO thread_ops BY NAME {table(rows, _COLUMNS)}")
    return database, LabelLedger(folder / LEDGER)


def rated(post: Opening, *, by: str = "anon", at: datetime = LONG_AGO, rating: int | None = None) -> Label:
    """Return a label of ``post``: its true class, or ``rating``."""
    return Label(post.thread_id, rating or post.rating, by, at)


def answered(
    database: DatabaseFile,
    labels: Sequence[tuple[int, str | None]],
    *,
    provider: str = "openai",
    status: str = "labelled",
    usd: str = "0.0004",
    sure: float | None = None,
) -> None:
    """Write what ``provider`` said of threads; ``sure`` is the probability of what it said."""
    rest = None if sure is None else (1 - sure) / 2
    rows = [
        {
            "thread_id": thread_id, "provider": provider, "model": "m", "endpoint": "chat", "prompt_version": "v1",
            "label": label, "status": status, "usd": usd, "labeled_at": LONG_AGO, "request_key": str(thread_id),
            **{f"p_{name}": sure if name == label else rest for name in ("bearish", "neutral", "bullish")},
        }
        for thread_id, label in labels
    ]  # fmt: skip
    columns = dict.fromkeys(
        ("provider", "model", "endpoint", "prompt_version", "label", "status", "request_key"), "VARCHAR"
    )
    columns |= dict.fromkeys(("p_bearish", "p_neutral", "p_bullish"), "DOUBLE")
    columns |= {"thread_id": "BIGINT", "usd": "DECIMAL(18, 9)", "labeled_at": "TIMESTAMP"}
    with database.write() as connection:
        connection.execute(f"INSERT INTO auto_labels BY NAME {table(rows, columns)}")


def queue(database: DatabaseFile) -> list[tuple[int, str, float | None, float | None]]:
    """Return thread, stratum, probability and margin of the queue, in its order."""
    with database.read() as connection:
        return connection.execute(
            f"SELECT thread_id, stratum, probability, margin FROM label_queue WHERE built_at <= {literal(NOW)} "
            "ORDER BY position"
        ).fetchall()
