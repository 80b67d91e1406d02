"""Made-up posts in a real database."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.index.update import update_index
from bizcharts_pipeline.index.votes import Mentions, Posts, to_us
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

START = datetime(2025, 1, 1)
MODEL = "test-1"
COINS = ["BTC", "ETH", "LINK", "ICP", "XMR", "SOL"]
# A short history, so that a few weeks of posts leave the calibration.
QUICK = FearGreedSettings().model_copy(update={"history_days": 60, "minimum_history_days": 5, "no_reading_below": 3.0})


@dataclass(frozen=True)
class MadePost:
    """One post with its score, its looks and its mentions."""

    thread_id: int
    posted_at: datetime
    up: float
    down: float
    confidence: float = 0.5
    looks: tuple[tuple[datetime, int], ...] = ()
    coins: tuple[str, ...] = ()
    cluster_id: int | None = None
    live: bool = True
    spam: float = 0.0
    general: str = ""
    sticky: bool = False
    ingested_at: datetime | None = None
    text: str | None = None
    image: str | None = None


def random_posts(seed: int, days: int, per_day: int, start: datetime = START) -> list[MadePost]:
    """Posts with a wandering mood, looks at their replies every half hour, some copies, some coins."""
    rng = np.random.default_rng(seed)
    count = days * per_day
    seconds = np.sort(rng.integers(0, days * 86_400, count))
    posts: list[MadePost] = []
    for number, second in enumerate(seconds.tolist()):
        posted = start + timedelta(seconds=second)
        up = rng.random() * (0.5 + 0.3 * np.sin(number / per_day / 3))
        looks = tuple(
            (posted + timedelta(minutes=int(minutes)), int(replies))
            for minutes, replies in zip((5, 35, 65, 95, 150), np.cumsum(rng.integers(0, 9, 5)), strict=True)
        )
        copied = posts[-int(rng.integers(1, 9))] if len(posts) > 9 and rng.random() < 0.15 else None
        posts.append(
            MadePost(
                thread_id=1000 + number,
                posted_at=posted,
                up=float(up),
                down=float(rng.random() * (1 - up)),
                confidence=float(rng.random()),
                looks=looks if rng.random() < 0.8 else (),
                coins=tuple(rng.choice(COINS, rng.integers(0, 4), False)),
                cluster_id=(copied.cluster_id or copied.thread_id) if copied else None,
            )
        )
    return posts


def new_database(path: Path) -> DatabaseFile:
    path.mkdir(exist_ok=True)
    return DatabaseFile(path / "index.duckdb", 20)


def store_posts(database: DatabaseFile, posts: Sequence[MadePost], *, polled: bool = True) -> None:
    """Write ``posts`` as if polled and scored; ``polled`` adds a poll in each of their hours."""
    looks = [(p.thread_id, *look) for p in posts for look in p.looks]
    coins = [(p.thread_id, coin) for p in posts for coin in p.coins]
    with database.write() as connection:
        _insert(
            connection,
            "thread_ops",
            thread_id=[p.thread_id for p in posts],
            posted_at=_moments([p.posted_at for p in posts]),
            ingested_at=_moments([p.ingested_at or p.posted_at for p in posts]),
            text_known_at=_moments([p.ingested_at or p.posted_at for p in posts]),
            sentiment_model_version=[MODEL] * len(posts),
            first_seen_at=_moments([p.posted_at if p.live else None for p in posts]),
            source=["live" if p.live else "warosu" for p in posts],
            cluster_id=[p.cluster_id or p.thread_id for p in posts],
            spam_score=[p.spam for p in posts],
            general=[p.general for p in posts],
            op_text_clean=[p.text for p in posts],
            image_md5=[p.image for p in posts],
            sticky=[p.sticky for p in posts],
        )
        _insert(
            connection,
            "scored_posts",
            thread_id=[p.thread_id for p in posts],
            model_version=[MODEL] * len(posts),
            p_bearish=[p.down for p in posts],
            p_neutral=[1 - p.up - p.down for p in posts],
            p_bullish=[p.up for p in posts],
            score=[p.up - p.down for p in posts],
            confidence=[p.confidence for p in posts],
            method=["made up"] * len(posts),
            scored_at=_moments([p.posted_at for p in posts]),
        )
        if looks:
            thread_id, seen_at, replies = zip(*looks, strict=True)
            columns = {"thread_id": thread_id, "seen_at": _moments(seen_at), "reply_count": replies}
            _insert(connection, "thread_observations", **columns)
        if coins:
            thread_id, symbol = zip(*coins, strict=True)
            count = len(coins)
            columns = {"thread_id": thread_id, "coin_symbol": symbol, "confidence": [0.9] * count}
            _insert(connection, "coin_mentions", **columns, mention_source=["made up"] * count)
        if polled:
            hours = sorted({p.posted_at.replace(minute=30, second=0) for p in posts})
            _insert(
                connection,
                "catalog_snapshots",
                snapshot_at=_moments(hours),
                not_modified=[False] * len(hours),
            )


def update(database: DatabaseFile, now: datetime, model: str = MODEL) -> None:
    """Compute the whole index up to ``now``."""
    update_index(database, model_version=model, now=now, parameters=QUICK, full=True)


def posts_of(made: Sequence[MadePost]) -> Posts:
    """The same as arrays, without a database and without replies."""
    made = sorted(made, key=lambda post: (post.posted_at, post.thread_id))
    posted = np.array([to_us(p.posted_at) for p in made], np.int64)
    return Posts(
        thread_id=np.array([p.thread_id for p in made], np.int64),
        posted_at=posted,
        known_at=posted,
        cluster=np.array([p.cluster_id or p.thread_id for p in made], np.int64),
        stance=np.array([p.up - p.down for p in made]),
        confidence=np.array([p.confidence for p in made]),
        replies=np.zeros((len(made), 3)),
        live=np.array([p.live for p in made], bool),
    )


def no_mentions() -> Mentions:
    none, nothing = np.empty(0, np.int64), np.empty(0)
    return Mentions(none, none, (), nothing, none, nothing, nothing)


def rows_of(database: DatabaseFile, table: str, columns: str = "*", where: str = "true") -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return connection.execute(f"SELECT {columns} FROM {table} WHERE {where} ORDER BY ALL").fetchall()


def known_by(post: MadePost, moment: datetime) -> MadePost:
    """``post`` with the looks that were taken by ``moment``."""
    return replace(post, looks=tuple(look for look in post.looks if look[0] <= moment))


def _moments(moments: Sequence[datetime | None]) -> Any:
    return np.array(moments, dtype="datetime64[us]")


def _insert(connection: Any, table: str, **columns: Any) -> None:
    connection.register("given", {name: np.asarray(values) for name, values in columns.items()})
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM given")
    connection.unregister("given")
