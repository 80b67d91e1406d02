"""Views of the posts of the last days, made once for all sessions until the index has changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from bizcharts_pipeline.app.queries.cached import kept_per_index
from bizcharts_pipeline.index.copypasta import CopyGroup, copy_groups
from bizcharts_pipeline.index.generals import General, generals
from bizcharts_pipeline.index.moved_store import ThreadWords, load_words
from bizcharts_pipeline.index.recent import RecentPosts, load_recent
from bizcharts_pipeline.index.shilling import CoinSigns, coin_signs
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS
from bizcharts_pipeline.warehouse.database import Database

MAX_GROUPS = 50

T = TypeVar("T")


@dataclass(frozen=True)
class Copies:
    """The largest groups of near-duplicates, and the words of the first post of each where they are stored."""

    groups: Sequence[CopyGroup]
    words: Mapping[int, ThreadWords]


def generals_of(
    database: Database, parameters: FearGreedSettings, length: timedelta, as_of: datetime | None
) -> list[General]:
    """Return for the app's page Generals the generals of the last ``length``, and the other threads."""
    return _view(
        database, parameters, length, as_of, "generals", lambda r: generals(r, NON_CRYPTO_GENERALS, parameters.interval)
    )


def signs_of(
    database: Database, parameters: FearGreedSettings, length: timedelta, as_of: datetime | None
) -> list[CoinSigns]:
    """Return for the app's page Coins the signs of shilling of the coins named in the last ``length``."""
    return _view(
        database, parameters, length, as_of, "signs", lambda r: coin_signs(r, NON_CRYPTO_GENERALS, parameters.interval)
    )


def copies_of(database: Database, parameters: FearGreedSettings, length: timedelta, as_of: datetime | None) -> Copies:
    """Return for the app's page Copies the groups of near-duplicates of the last ``length``."""

    def read() -> Copies:
        recent = _load(database, parameters, length, as_of)
        groups = copy_groups(recent, NON_CRYPTO_GENERALS, MAX_GROUPS) if recent else []
        with database.read() as connection:
            return Copies(groups, load_words(connection, [group.first_post for group in groups]))

    return kept_per_index(database, ("copies", length, as_of), read)


def _view(
    database: Database,
    parameters: FearGreedSettings,
    length: timedelta,
    as_of: datetime | None,
    name: str,
    view: Callable[[RecentPosts], list[T]],
) -> list[T]:
    def read() -> list[T]:
        recent = _load(database, parameters, length, as_of)
        return view(recent) if recent else []

    return kept_per_index(database, (name, length, as_of), read)


def _load(
    database: Database, parameters: FearGreedSettings, length: timedelta, as_of: datetime | None
) -> RecentPosts | None:
    """Load the posts; the database is closed again before anything is computed from them."""
    with database.read() as connection:
        return load_recent(connection, length, parameters, as_of)
