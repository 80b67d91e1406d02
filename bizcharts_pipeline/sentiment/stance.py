"""Lexicon features of a post: its bullish and bearish valences, and its mood."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bizcharts_pipeline.sentiment.terms import Term, make_reader
from bizcharts_pipeline.sentiment.vader import Token

MAX_HITS = 3  # counted terms: a wall of "moon" is one "moon"
SHILL_CEILING = 1.5  # maximum total of an advertiser's promises
QUESTION_FACTOR = 0.3
GREENTEXT_FACTOR = 0.5
FLIP_FACTOR = -0.6
FLIP_DISTANCE = 3  # maximum tokens between an opponent and its defeat

_SENTENCE_END = re.compile(r"([.!?])\s+")


class Reading(NamedTuple):
    """The valences found in a post, on VADER's scale."""

    bull: float  # sum of the strongest terms
    bear: float  # the same, as a positive number
    hits: int
    pleasant: float  # sum of VADER's own words
    unpleasant: float
    words: int
    quoted_words: int  # in greentext
    negations: int
    capitals: int  # words in capitals


class StanceReader:
    """Scores the text of posts with the board's lexicon."""

    def __init__(self, terms: Iterable[Term], masked: Iterable[tuple[str, ...]] = ()) -> None:
        """``masked`` phrases (coin names), in lower case, carry no valence."""
        self._terms: Mapping[str, Term] = {term.name: term for term in terms}
        self._vader = make_reader(self._terms.values(), masked)

    def read(self, text: str) -> Reading:
        """Return the valences of ``text`` by the sentiment lexicon; questions and greentext lines are evaluated
        separately.
        """
        hits: list[tuple[float, Term]] = []
        pleasant = unpleasant = 0.0
        words = quoted = negations = capitals = 0
        for section, quotes, factor in _sections(self._vader.spell_out_emojis(text)):
            tokens, notable = self._vader.tokens(section)
            words += len(tokens)
            negations += sum([tokens[i].negates for i in notable])
            capitals += sum([tokens[i].is_upper for i in notable])
            if quotes:
                quoted += len(tokens)
            for i, valence in self._vader.valences(tokens, notable):
                valence *= factor
                if name := tokens[i].term:
                    term = self._terms[name]
                    turn = self._turn(term.role, tokens, i) if term.role else 1.0
                    hits.append((valence * term.weight * turn, term))
                elif valence > 0:
                    pleasant += valence
                else:
                    unpleasant -= valence
        bull, bear = _strongest(hits)
        return Reading(bull, bear, len(hits), pleasant, unpleasant, words, quoted, negations, capitals)

    def _turn(self, role: str, tokens: Sequence[Token], i: int) -> float:
        """Return the factor of a term with a role: an opponent's defeat reverses the sign."""
        if role == "defeat" and self._any_of("opponent", tokens[max(0, i - FLIP_DISTANCE) : i]):
            return FLIP_FACTOR
        if role == "opponent" and self._any_of("defeat", tokens[i + 1 : i + 1 + FLIP_DISTANCE]):
            return 0.0
        return 0.0 if role == "capitals" and not tokens[i].is_upper else 1.0

    def _any_of(self, role: str, tokens: Iterable[Token]) -> bool:
        return any(token.term and self._terms[token.term].role == role for token in tokens)


def _sections(text: str) -> Iterator[tuple[str, bool, float]]:
    """Yield the parts of a post: text, whether it is greentext, and the weight of its words.

    All plain sentences form one part, all greentext another, and the questions in each two more.
    """
    if ">" not in text and "?" not in text:
        yield text, False, 1.0
        return
    parts: dict[tuple[bool, bool], list[str]] = {}
    for line in text.split("\n"):
        quoted = line[:1] == ">"
        if "?" not in line:
            parts.setdefault((quoted, False), []).append(line)
            continue
        *sentences, last = _SENTENCE_END.split(line)  # each sentence is followed by its mark
        for sentence, mark in [*zip(sentences[::2], sentences[1::2], strict=True), (last, last[-1:])]:
            asks = mark == "?" and not sentence.lower().startswith("who else")
            parts.setdefault((quoted, asks), []).append(sentence)
    for (quoted, asks), texts in parts.items():
        worth = (GREENTEXT_FACTOR if quoted else 1.0) * (QUESTION_FACTOR if asks else 1.0)
        yield "\n".join(texts), quoted, worth


def _strongest(hits: list[tuple[float, Term]]) -> tuple[float, float]:
    """Return the bullish and the bearish sum of the strongest hits."""
    if len(hits) > MAX_HITS:
        hits = sorted(hits, key=lambda hit: -abs(hit[0]))[:MAX_HITS]
    bull = bear = shill = 0.0
    for valence, term in hits:
        if valence < 0:
            bear -= valence
        elif term.role == "shill":
            shill += valence
        else:
            bull += valence
    return bull + min(shill, SHILL_CEILING), bear
