"""Simulated boards with a known present stance: the test bed for estimators of the mood.

A world has a hidden mood (-1 to 1), posts at random times with a true class drawn from the mood, and a classifier that
outputs probabilities for each post. The *present stance* is the expected certainty-weighted stance of a post made at
that moment under that classifier; it is computed from the mood, not from the posts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.index.votes import DAY, HOUR, Floats, Posts, certainty_factor

DAYS = 100
BURN_IN_DAYS = 20  # not scored
WORLDS = 40  # of each kind
BEGIN = 20_000 * DAY
_CLASSES = np.array([-1.0, 0.0, 1.0])
_MEAN_DRAWS = 60_000


@dataclass(frozen=True)
class Classifier:
    """Log odds of a post: ``gain`` for its true class, a base rate, and normal noise."""

    name: str
    gain: float
    noise: float
    base: tuple[float, float, float]

    def read(self, classes: NDArray[np.int64], rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return stance and confidence of posts of the given true ``classes`` (0 bearish, 1 neutral, 2 bullish)."""
        logits = np.asarray(self.base) + self.noise * rng.normal(size=(len(classes), 3))
        logits[np.arange(len(classes)), classes] += self.gain
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
        return p[:, 2] - p[:, 0], np.clip(1 - entropy / np.log(3), 0, 1)

    def means(self) -> tuple[Floats, Floats]:
        """Return the mean of weight times stance, and the mean weight, of each true class."""
        rng = np.random.default_rng(99)
        weighted, weight = np.empty(3), np.empty(3)
        for true in range(3):
            stance, confidence = self.read(np.full(_MEAN_DRAWS, true), rng)
            factor = certainty_factor(confidence)
            weighted[true], weight[true] = (factor * stance).mean(), factor.mean()
        return weighted, weight


CLEAR = Classifier("clear", gain=4.5, noise=1.0, base=(0.0, 0.3, -0.2))
NOISY = Classifier("noisy", gain=0.6, noise=0.7, base=(-0.1, 0.5, -0.4))


@dataclass(frozen=True)
class Kind:
    """Mood process and arrival process of a kind of world."""

    mood: Callable[[np.random.Generator, int], Floats]  # by hour
    posts_a_day: float = 250.0
    rhythm: float = 0.3  # amplitude of the daily rhythm of arrivals
    bursts_a_day: float = 0.0  # hours with several times the posts, a third of them copies
    copies: float = 0.03


@dataclass(frozen=True)
class MadeWorld:
    """One world: the estimator's input, and the truth at each hour's end."""

    posts: Posts
    ends: NDArray[np.int64]  # (H,)
    stance: Floats  # (H,) the present stance
    mood: Floats  # (H,)


def _returning(spread: float, hours_to_return: float) -> Callable[[np.random.Generator, int], Floats]:
    def mood(rng: np.random.Generator, hours: int) -> Floats:
        keep = np.exp(-1 / hours_to_return)
        shocks = rng.normal(0, spread * np.sqrt(1 - keep**2), hours)
        shocks[0] = rng.normal(0, spread)
        return np.tanh(_recursion(shocks, keep))

    return mood


def _swinging(rng: np.random.Generator, hours: int) -> Floats:
    """Return two waves of two to seven days with wandering frequency, on top of a slow one."""
    time, path = np.arange(hours), np.zeros(hours)
    for height, low, high in ((0.5, 48, 168), (0.3, 48, 168), (0.2, 400, 900)):
        period = rng.uniform(low, high)
        wander = _recursion(rng.normal(0, 0.02, hours), 1.0)
        path += height * np.sin(2 * np.pi * time / period + wander + rng.uniform(0, 2 * np.pi))
    return np.tanh(path)


def _drifting(rng: np.random.Generator, hours: int) -> Floats:
    return np.tanh(rng.normal(0, 0.3) + _recursion(rng.normal(0, rng.uniform(0.008, 0.02), hours), 0.9995))


def _steps(rng: np.random.Generator, hours: int) -> Floats:
    jumps = rng.random(hours) < 1 / rng.uniform(72, 240)
    jumps[0] = True
    levels = rng.uniform(-0.7, 0.7, hours)
    return np.asarray(levels[np.maximum.accumulate(np.where(jumps, np.arange(hours), 0))])


def _constant(rng: np.random.Generator, hours: int) -> Floats:
    return np.full(hours, rng.uniform(-0.6, 0.6))


def _shocks(rng: np.random.Generator, hours: int) -> Floats:
    """Return a calm mood, with news every few days that fades within two."""
    news = rng.normal(0, 0.7, hours) * (rng.random(hours) < 1 / 120)
    return np.tanh(np.arctanh(_returning(0.12, 200)(rng, hours)) + _recursion(news, np.exp(-1 / 30)))


KINDS = {
    "calm": Kind(_returning(0.15, 120)),
    "swinging": Kind(_swinging),
    "drifting": Kind(_drifting),
    "steps": Kind(_steps),
    "constant": Kind(_constant),
    "sparse": Kind(_returning(0.4, 96), posts_a_day=60),
    "rhythm and bursts": Kind(_returning(0.35, 96), rhythm=0.85, bursts_a_day=0.7),
    "shocks": Kind(_shocks),
}


def classifier_of(number: int) -> Classifier:
    """Return the classifier of world ``number`` of any kind."""
    return (CLEAR, NOISY)[number % 2]


def make_world(kind: str, number: int, days: int = DAYS) -> tuple[MadeWorld, str]:
    """Return world ``number`` of a kind, and its variant: the classifier and whether posts have replies."""
    rng = np.random.default_rng([sorted(KINDS).index(kind), number])
    shape, classifier, replies = KINDS[kind], classifier_of(number), number // 2 % 2 == 1
    hours = days * 24
    mood = shape.mood(rng, hours + 1)
    posted, burst = _arrivals(rng, shape, hours)
    at = np.interp((posted - BEGIN) / HOUR, np.arange(hours + 1), mood)
    shares = shares_of(at)
    classes = (rng.random(len(at))[:, None] > np.cumsum(shares, axis=1)[:, :2]).sum(axis=1)
    stance, confidence = classifier.read(classes, rng)
    number_of = np.arange(1, len(at) + 1, dtype=np.int64)
    cluster = number_of.copy()
    copied = rng.random(len(at)) < np.where(burst, 1 / 3, shape.copies)
    for place in np.flatnonzero(copied).tolist():
        original = int(cluster[max(0, place - int(rng.integers(1, 60)))]) - 1
        if posted[place] - posted[original] < 48 * HOUR:
            cluster[place] = original + 1
            stance[place], confidence[place] = stance[original], confidence[original]
    posts = Posts(
        thread_id=number_of,
        posted_at=posted,
        known_at=posted,
        cluster=cluster,
        stance=stance,
        confidence=confidence,
        replies=_replies(rng, len(at)) if replies else np.zeros((len(at), 3)),
        live=np.ones(len(at), bool),
    )
    weighted, weight = classifier.means()
    shares = shares_of(mood[1:])
    ends = BEGIN + HOUR * np.arange(1, hours + 1, dtype=np.int64)
    world = MadeWorld(posts, ends, (shares @ weighted) / (shares @ weight), mood[1:])
    return world, f"{classifier.name}{', replies' if replies else ''}"


def shares_of(mood: Floats) -> Floats:
    """Return the shares of the three classes (len(mood), 3) among posts at each mood; bearish and bullish are
    equal at 0.2."""
    odds = np.exp(1.5 * np.multiply.outer(mood - 0.2, _CLASSES)) * np.array([1.0, 1.5, 1.0])
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _arrivals(rng: np.random.Generator, shape: Kind, hours: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    hour = np.arange(hours)
    rate = shape.posts_a_day / 24 * (1 + shape.rhythm * np.sin(2 * np.pi * (hour + 5) / 24))
    bursting = rng.random(hours) < shape.bursts_a_day / 24
    counts = rng.poisson(rate * np.where(bursting, 6, 1))
    posted = BEGIN + HOUR * np.repeat(hour, counts) + rng.integers(1, HOUR, counts.sum())
    order = np.argsort(posted, kind="stable")
    return posted[order], np.repeat(bursting, counts)[order]


def _replies(rng: np.random.Generator, count: int) -> Floats:
    last = rng.negative_binomial(0.7, 0.03, count)
    second = rng.binomial(last, 0.8)
    return np.column_stack([rng.binomial(second, 0.5), second, last]).astype(float)


def _recursion(shocks: Floats, keep: float) -> Floats:
    path, level = np.empty(len(shocks)), 0.0
    for place, shock in enumerate(shocks.tolist()):
        level = keep * level + shock
        path[place] = level
    return path
