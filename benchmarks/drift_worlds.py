"""Simulated boards on which the model goes stale in a known way, or does not: the test bed of the drift alarm.

A world has posts of a true class with words of that class, of the topic of the day and of common language; a scorer
whose probabilities are calibrated before anything happens (every other world: overconfident by a quarter); a price that
moves the mood; and a stream of random labels. Everything is strings and probabilities, as in the program.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.drift.alarm import FROZEN_DAYS, Standing, reference_end, standing, verdict
from bizcharts_pipeline.drift.assess import Evidence, assess
from bizcharts_pipeline.drift.labelled import LABELLED_DAYS, LabelledPost
from bizcharts_pipeline.drift.mix import LAGS
from bizcharts_pipeline.drift.panel import Floats, build_panel
from bizcharts_pipeline.drift.texts import Texts
from bizcharts_pipeline.drift.windows import HISTORY_DAYS
from bizcharts_pipeline.warehouse.scores import ScoredText

SEEDS = 200
POSTS_A_DAY = 45
LABELS_A_DAY = 8  # a quarter of 32
GOLD = 300
WATCHED_DAYS = 60
ONSET = 15  # the first day of the change, of the watched ones
BEGIN = date(2026, 1, 1)
SHARES = np.array([0.30, 0.42, 0.28])  # of the classes in a neutral mood
CLASS_WORDS, OWN = 0.14, 0.7  # share of the words that tell a class, and of these of the post's own
_COMMON, _OF_CLASS, _TOPICS, _OF_TOPIC, _SLANG = 4000, 30, 30, 6, 24

Array = NDArray[np.int64]


@dataclass(frozen=True)
class Days:
    """What a kind of world makes of each day, after the change on day ``onset``; all (days,)."""

    mood: Floats  # log odds of bullish against bearish, besides what the price does
    price_effect: Floats  # of the mood on a return of one standard deviation
    slang: Floats  # share of the words, of a class or common, that are said in new ones
    swapped: Floats  # share of the bullish posts' words that are bearish ones, and the other way round
    clarity: Floats  # of the usual share of words that tell a class
    fad: Floats  # share of the words that belong to a new topic


@dataclass(frozen=True)
class World:
    """The evidence, and the day on which something happened."""

    evidence: Evidence
    begin: int  # the first day that is watched
    onset: int


@dataclass(frozen=True)
class Outcome:
    """What was reported in a world, day by day of the watched ones."""

    alarms: tuple[int, ...]  # first days of alarms
    by: tuple[tuple[str, ...], ...]  # the measures that raised each
    exceeded: dict[str, int]  # days on which each measure exceeded its limits, before the onset
    false_alarms_a_month: float  # as stated


def _ramp(days: int, onset: int, length: int) -> Floats:
    return np.clip((np.arange(days) - onset + 1) / length, 0, 1)


def _calm(days: int, onset: int) -> Days:
    zero = np.zeros(days)
    return Days(zero, zero + 0.15, zero, zero, zero + 1, zero)


def _changed(**changes: Callable[[int, int], Floats]) -> Callable[[int, int], Days]:
    def of(days: int, onset: int) -> Days:
        return Days(**{**vars(_calm(days, onset)), **{name: make(days, onset) for name, make in changes.items()}})

    return of


KINDS: dict[str, Callable[[int, int], Days]] = {
    "calm": _calm,
    "mood follows the price": _changed(price_effect=lambda days, onset: np.full(days, 0.6)),
    "prior shift": _changed(mood=lambda days, onset: 0.9 * _ramp(days, onset, 3)),
    "new vocabulary": _changed(slang=lambda days, onset: 0.3 * _ramp(days, onset, 5)),
    "words change meaning": _changed(swapped=lambda days, onset: 0.5 * _ramp(days, onset, 5)),
    "confidence decays": _changed(clarity=lambda days, onset: 1 - 0.45 * _ramp(days, onset, 10)),
    "a fad of ten days": _changed(fad=lambda days, onset: 0.06 * (_ramp(days, onset, 1) - _ramp(days, onset + 10, 1))),
}
NO_DRIFT = ("calm", "mood follows the price", "prior shift")
DRIFT = ("new vocabulary", "words change meaning", "confidence decays")


def make_world(kind: str, seed: int, watched: int = WATCHED_DAYS) -> World:
    """Return world ``seed`` of a kind."""
    rng = np.random.default_rng([sorted(KINDS).index(kind), seed])
    begin = HISTORY_DAYS + FROZEN_DAYS
    days, onset = begin + watched, begin + ONSET
    is_so = KINDS[kind](days, onset)
    returns = 0.03 * rng.standard_t(4, days + LAGS) / np.sqrt(2)
    returns[LAGS + onset] -= 0.15  # a crash, in every kind
    moved = returns / 0.03
    follows = moved[LAGS:] + 0.5 * moved[LAGS - 1 : -1] + 0.2 * sum(moved[LAGS - lag : -lag] for lag in range(2, 7))
    own = _wandering(rng, days, 0.15, 0.7)
    mood = is_so.mood + own + is_so.price_effect * follows
    posts, truth = _posts(rng, mood, is_so, overconfident=seed % 2 == 1)
    panel = build_panel(posts, BEGIN, days)
    said = panel.probabilities.argmax(axis=1)
    labelled = [
        LabelledPost(day, int(truth[place]), int(said[place]))
        for day in range(begin - LABELLED_DAYS, days)
        for place in rng.choice(np.arange(panel.starts[day], panel.starts[day + 1]), LABELS_A_DAY, replace=False)
    ]
    confusion = np.zeros((3, 3), np.int64)
    gold = rng.choice(int(panel.starts[begin - LABELLED_DAYS]), GOLD, replace=False)
    np.add.at(confusion, (truth[gold], said[gold]), 1)
    return World(Evidence(Texts(panel), returns, labelled, confusion.tolist()), begin, onset)


def watch(world: World) -> Outcome:
    """Make the report of each watched day as the program does, and return what came of it."""
    days = world.evidence.panel.days
    before: list[dict[str, bool]] = []
    alarms, by, exceeded = list[int](), list[tuple[str, ...]](), dict[str, int]()
    stands: Standing | None = None
    stated = 0.0
    for day in range(world.begin, days):
        found = assess(world.evidence, day + 1, reference_end(day, stands), with_slang=False)
        judged = verdict(found, before)
        stated = judged.false_alarms_a_month
        before.append({each.measure: each.exceeded for each in found})
        if day < world.onset:
            for each in found:
                exceeded[each.measure] = exceeded.get(each.measure, 0) + each.exceeded
        now = standing(day, judged, stands)
        if now and not stands:
            alarms.append(day)
            by.append(judged.by)
        stands = now
    return Outcome(tuple(alarms), tuple(by), exceeded, stated)


def _wandering(rng: np.random.Generator, days: int, spread: float, keep: float) -> Floats:
    path, level = np.empty(days), rng.normal(0, spread)
    for day in range(days):
        path[day] = level
        level = keep * level + rng.normal(0, spread * np.sqrt(1 - keep**2))
    return path


def _posts(
    rng: np.random.Generator, mood: Floats, is_so: Days, *, overconfident: bool
) -> tuple[list[ScoredText], Array]:
    """Return the posts in order of time, and the true class of each."""
    days = len(mood)
    shares = SHARES * np.exp(np.outer(mood, [-1, 0, 1]))
    shares /= shares.sum(axis=1, keepdims=True)
    counts = rng.poisson(POSTS_A_DAY * np.exp(_wandering(rng, days, 0.15, 0.8)))
    counts = np.maximum(counts, LABELS_A_DAY)
    day = np.repeat(np.arange(days), counts)
    truth = (rng.random(len(day))[:, None] > np.cumsum(shares[day], axis=1)[:, :2]).sum(axis=1)
    length = 5 + rng.poisson(9, len(day))
    post = np.repeat(np.arange(len(day)), length)
    words = _words(rng, day[post], truth[post], is_so)
    logits = np.log(SHARES) + np.zeros((len(day), 3))
    known = (words >= _COMMON) & (words < _COMMON + 3 * _OF_CLASS)
    tells = (words[known] - _COMMON) // _OF_CLASS
    np.add.at(logits, (post[known], tells), np.log(2 * OWN / (1 - OWN)))
    logits *= 1.25 if overconfident else 1.0
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    confidence = 1 + (p * np.log(p)).sum(axis=1) / np.log(3)
    names = _NAMES[words]
    ends = np.cumsum(length)
    midnight = datetime(BEGIN.year, BEGIN.month, BEGIN.day)
    posts = [
        ScoredText(
            number + 1,
            midnight + timedelta(days=int(on), seconds=number % 86_400),
            " ".join(names[ends[number] - length[number] : ends[number]].tolist()),
            (each[0], each[1], each[2]),
            certainty,
        )
        for number, (on, each, certainty) in enumerate(zip(day, p.tolist(), confidence.tolist(), strict=True))
    ]
    return posts, truth


def _words(rng: np.random.Generator, day: Array, truth: Array, is_so: Days) -> Array:
    """Return a word for each place of a post, given its day and class."""
    days, size = len(is_so.mood), len(day)
    clarity = CLASS_WORDS * is_so.clarity * np.exp(_wandering(rng, days, 0.05, 0.8))
    topic, loudness, left = np.empty(days, np.int64), np.empty(days), 0
    for each in range(days):
        if left == 0:
            topic_now, loud_now, left = rng.integers(_TOPICS), rng.uniform(0.005, 0.025), 1 + rng.geometric(1 / 6)
        topic[each], loudness[each], left = topic_now, loud_now, left - 1
    common = np.minimum((rng.pareto(0.9, size) * 8).astype(np.int64), _COMMON - 1)
    chosen = rng.random(size)
    meant = np.where(rng.random(size) < OWN, truth, (truth + rng.integers(1, 3, size)) % 3)
    meant = np.where((rng.random(size) < is_so.swapped[day]) & (meant != 1), 2 - meant, meant)
    of_class = _COMMON + meant * _OF_CLASS + rng.integers(_OF_CLASS, size=size)
    topics = _COMMON + 3 * _OF_CLASS
    of_topic = topics + topic[day] * _OF_TOPIC + rng.integers(_OF_TOPIC, size=size)
    slang = topics + _TOPICS * _OF_TOPIC
    tells = chosen < clarity[day]
    words = np.where(tells, of_class, np.where(chosen > 1 - loudness[day], of_topic, common))
    # New words stand for words of a class twice as often as for others.
    replaced = rng.random(size) < is_so.slang[day] * np.where(tells, 1.0, 0.5)
    words = np.where(replaced & (chosen <= 1 - loudness[day]), slang + rng.integers(_SLANG, size=size), words)
    faddish = rng.random(size) < is_so.fad[day]
    return np.where(faddish, slang + _SLANG + rng.integers(_OF_TOPIC, size=size), words)


def _name(number: int) -> str:
    letters = "bcdfghjklmnpqrstvwxz"
    return "".join(letters[number // 20**place % 20] + "aeo"[place] for place in range(3))


_NAMES = np.array([_name(n) for n in range(_COMMON + 3 * _OF_CLASS + _TOPICS * _OF_TOPIC + _SLANG + _OF_TOPIC)])
