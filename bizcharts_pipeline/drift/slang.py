"""Words and pairs of words that rose within the week: candidates for the lexicon.

They are ranked by the log odds of the week against the reference with an informative prior (Monroe, Colaresi and Quinn
2008), counted in posts, so that a post that repeats a word does not count twice.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bizcharts_pipeline.drift.panel import Panel
from bizcharts_pipeline.drift.windows import Window
from bizcharts_pipeline.sentiment.terms import load_terms
from bizcharts_pipeline.text.coins import coin_names, find_mentions
from bizcharts_pipeline.text.slurs import mask_slurs

MIN_POSTS, MIN_DAYS = 5, 3
MIN_Z = 3.0
MOST = 20
EXAMPLES = 3
PRIOR_POSTS = 500.0  # that the reference weighs as a prior
MAX_CHARACTERS = 40  # of a term


@dataclass(frozen=True)
class Candidate:
    """A term that rose: the number of posts that have it in the week and in the reference, and some of the former."""

    term: str
    posts: int
    before: int
    z: float  # standard errors by which its log odds rose
    examples: tuple[int, ...]  # thread numbers


def candidates(panel: Panel, window: Window) -> list[Candidate]:
    """Return the terms of the panel that rose most and that the lexicon does not know, the strongest first; coins are
    left out."""
    week = panel.posts(window.first, window.end)
    before = panel.posts(window.reference_first, window.reference_end)
    now: Counter[str] = Counter()
    for place in range(week.start, week.stop):
        now.update(set(_terms(panel.words[place])))
    rare = {term for term, count in now.items() if count < MIN_POSTS or len(term) > MAX_CHARACTERS}
    wanted = now.keys() - rare - _known()
    then: Counter[str] = Counter()
    for place in range(before.start, before.stop):
        then.update(wanted.intersection(_terms(panel.words[place])))
    n, m = week.stop - week.start, before.stop - before.start
    rise = {term: z for term in wanted if (z := _rise(now[term], n, then[term], m)) >= MIN_Z}
    kept: list[Candidate] = []
    for term, z in sorted(rise.items(), key=lambda each: (-each[1], each[0])):
        parts = term.split()
        if len(parts) > 1 and any(rise.get(part, 0.0) >= z for part in parts):
            continue  # "the fork" rose because "fork" did
        if len(parts) == 1 and find_mentions("", f"${term}"):
            continue  # a coin's symbol
        places = [at for at in range(week.start, week.stop) if term in _terms(panel.words[at])]
        if len(set(panel.day_of[places].tolist())) < MIN_DAYS:
            continue
        examples = tuple(int(number) for number in panel.thread_ids[places[:EXAMPLES]])
        kept.append(Candidate(mask_slurs(term), now[term], then[term], round(z, 1), examples))
        if len(kept) == MOST:
            break
    return kept


def _terms(words: tuple[str, ...]) -> Iterator[str]:
    yield from words
    yield from (f"{one} {other}" for one, other in pairwise(words))


def _known() -> set[str]:
    lexicon = {" ".join(spelling) for term in load_terms() for spelling in term.spellings}
    return lexicon | {" ".join(name) for name in coin_names()}


def _rise(now: int, n: int, before: int, m: int) -> float:
    """Return the standard errors by which the log odds of a term are higher in ``now`` of ``n`` posts."""
    prior = PRIOR_POSTS * (now + before) / (n + m)
    odds_now = (now + prior) / (n + PRIOR_POSTS - now - prior)
    odds_before = (before + prior) / (m + PRIOR_POSTS - before - prior)
    variance = 1 / (now + prior) + 1 / (before + prior)
    return float(np.log(odds_now) - np.log(odds_before)) / math.sqrt(variance)
