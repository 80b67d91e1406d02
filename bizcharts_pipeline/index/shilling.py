"""Signs that a coin is promoted by few: advertisements, repeated texts, repeated pictures, links to one host.

No sign proves anything: fans repeat themselves too, and a promoter who writes each post anew leaves none.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.index.mean_stance import MeanStance, mean_stances
from bizcharts_pipeline.index.recent import RecentPosts
from bizcharts_pipeline.index.sums import copy_numbers
from bizcharts_pipeline.index.votes import Bools, Ints, coin_votes, market_votes

REUSES = 3  # posts that name one coin and share a picture, or a host: fewer are a coincidence


@dataclass(frozen=True)
class CoinSigns:
    """The posts of a stretch that name a coin, and how many of them show which sign.

    ``adverts`` are left out of the index and of ``posts``. ``copies`` have nearly the text of a post of the 48 hours
    before. ``same_picture`` and ``same_host`` are posts of at least :data:`REUSES` that name the coin and share a
    picture, or link to one host that is not a common one. ``suspected`` show any of the three signs; ``without`` is the
    mood of the others.
    """

    coin_symbol: str
    posts: int
    adverts: int
    share: float  # of all opening posts
    copies: int
    same_picture: int
    same_host: int
    suspected: int
    mood: MeanStance  # of all
    without: MeanStance


def coin_signs(recent: RecentPosts, excluded: Collection[str], probability: float) -> list[CoinSigns]:
    """Return the signs of shilling of each coin that is named, the one with the most suspected posts first.

    Generals in ``excluded`` are left out, as in the index; ``probability`` is that of the intervals.
    """
    mentions, counted = recent.mentions, ~np.isin(recent.general.astype(str), list(excluded))
    inside = (recent.inside & counted)[mentions.post]
    copy = (copy_numbers(market_votes(recent.posts)) > 1)[mentions.post]
    picture = inside & _shared(mentions.coin, [{image} - {""} for image in recent.image[mentions.post]], inside)
    host = inside & _shared(mentions.coin, [recent.hosts[place] for place in mentions.post], inside)
    suspected = inside & (copy | picture | host)
    votes, coins = coin_votes(recent.posts, mentions, np.arange(len(mentions.symbols))), len(mentions.symbols)
    group = np.where(inside, mentions.coin, -1)
    moods = mean_stances(votes, group, coins, probability)
    without = mean_stances(votes, np.where(suspected, -1, group), coins, probability)
    all_posts = max(int((recent.inside & counted).sum()), 1)
    numbers = [
        np.bincount(mentions.coin[inside & which], minlength=coins).tolist()
        for which in (inside, copy, picture, host, suspected)
    ]
    found = [
        CoinSigns(
            coin_symbol=symbol,
            posts=posts,
            adverts=recent.adverts.get(symbol, 0),
            share=posts / all_posts,
            copies=copies,
            same_picture=pictures,
            same_host=hosts,
            suspected=suspects,
            mood=mood,
            without=rest,
        )
        for symbol, posts, copies, pictures, hosts, suspects, mood, rest in zip(
            mentions.symbols, *numbers, moods, without, strict=True
        )
        if posts
    ]
    return sorted(found, key=lambda each: (-each.suspected, -each.posts, each.coin_symbol))


def _shared(coins: Ints, things: list[Collection[str]], among: Bools) -> Bools:
    """Whether each mention has something in common with enough others of its coin, ``among`` which it counts."""
    seen = Counter(
        (coin, thing)
        for coin, of_one, there in zip(coins.tolist(), things, among, strict=True)
        if there
        for thing in of_one
    )
    return np.array(
        [
            any(seen[coin, thing] >= REUSES for thing in of_one)
            for coin, of_one in zip(coins.tolist(), things, strict=True)
        ],
        bool,
    )
