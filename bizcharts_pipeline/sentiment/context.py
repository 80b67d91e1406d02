"""Context of a post that is known when it is made: time, coins, and whether it is a standing thread.

Replies are left out: a post is scored within a minute, when it has none, while labelled posts have all of theirs, so a
model would learn from what it never sees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.temperature import Floats, log_softmax
from bizcharts_pipeline.text.coins import find_mentions
from bizcharts_pipeline.text.generals import general_of

CONTEXT = ("day_sine", "day_cosine", "weekend", "dated", "coins", "bitcoin", "ether", "other_coin", "general")


@dataclass(frozen=True)
class ContextModel:
    """Logistic regression on the values of ``CONTEXT``."""

    weights: Floats  # (3, len(CONTEXT))
    intercepts: Floats  # (3,)

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the log-probabilities of the sentiment classes by what goes with the posts' text: (posts, 3)."""
        values = np.array([context_of(post) for post in posts]).reshape(-1, len(CONTEXT))
        return log_softmax(values @ self.weights.T + self.intercepts)


def context_of(post: Post) -> tuple[float, ...]:
    """Return what a sentiment model reads beside a post's text: the values of ``CONTEXT``."""
    coins = {mention.coin_symbol for mention in find_mentions(post.subject, post.text)}
    named = (min(len(coins), 3) / 3, "BTC" in coins, "ETH" in coins, bool(coins - {"BTC", "ETH"}))
    return (*_time(post), *map(float, named), float(general_of(post.subject) is not None))


def _time(post: Post) -> tuple[float, float, float, float]:
    if post.posted_at is None:
        return 0.0, 0.0, 0.0, 0.0
    angle = 2 * math.pi * (post.posted_at.hour + post.posted_at.minute / 60) / 24
    return math.sin(angle), math.cos(angle), float(post.posted_at.weekday() >= 5), 1.0
