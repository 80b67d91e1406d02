"""VADER (Hutto & Gilbert, ICWSM 2014), equal to vaderSentiment 3.3.2 but several times faster.

The package lower-cases every word of a text again for every word that carries sentiment. Here each distinct token is
resolved once and cached, and only the tokens that carry sentiment are evaluated. The rules and the four scores equal
the package's to the last digit (``tests/sentiment/test_vader.py``). The lexicon, the word lists and the constants are
read from the package.
"""

import math
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from vaderSentiment.vaderSentiment import (
    BOOSTER_DICT,
    C_INCR,
    N_SCALAR,
    NEGATE,
    SPECIAL_CASES,
    SentimentIntensityAnalyzer,
    normalize,
)

CACHED_TOKENS = 100_000  # then the cache is cleared, so that a flood of invented words cannot fill the memory

_NEGATIONS = frozenset(NEGATE)
_MODIFIERS = _NEGATIONS | BOOSTER_DICT.keys() | {"no", "so", "this", "least"}
_ASKED_FOR = frozenset({"or", "at", "doubt"})  # by the rules of "no", "least" and "without doubt"
_IDIOM_WORDS = frozenset(word for idiom in (*SPECIAL_CASES, *BOOSTER_DICT) if " " in idiom for word in idiom.split())
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")  # as every emoji in the package; a class of all emoji matches more slowly


@cache
def _package() -> SentimentIntensityAnalyzer:
    return SentimentIntensityAnalyzer()


def package_lexicon() -> Mapping[str, float]:
    """Return the words and emoticons of VADER's package with their valences."""
    lexicon: dict[str, float] = _package().lexicon
    return lexicon


class Polarity(NamedTuple):
    """VADER's four scores: shares of negative, neutral and positive words; the compound, -1 to 1."""

    neg: float
    neu: float
    pos: float
    compound: float


@dataclass(frozen=True, slots=True)
class Token:
    """Context-independent properties of a word for the rules."""

    word: str  # lower case, without punctuation unless it is as short as an emoticon
    is_upper: bool
    valence: float | None  # None: not in the lexicon
    booster: float | None
    negates: bool
    modifies: bool  # may change the valence of a word up to three places after it
    idiomatic: bool  # part of one of the package's idioms
    notable: bool  # the rules test its presence: laden, negating, in capitals, "but", or a phrase's end
    term: str | None  # set if the word, or the phrase that it replaces, is one of the extra terms
    ends_phrase: bool


class _Tokens(dict[str, Token]):
    """Cache from raw token to :class:`Token`; words without a role in the rules share one token."""

    def __init__(
        self,
        lexicon: Mapping[str, float],
        terms: Mapping[str, str],
        phrases: Iterable[Sequence[str]],
    ) -> None:
        super().__init__()
        self._lexicon, self._terms = lexicon, terms
        self._last = frozenset(phrase[-1] for phrase in phrases)
        self._asked_for = _ASKED_FOR.union(*phrases)

    def __missing__(self, raw: str) -> Token:
        word = strip_punctuation(raw)
        lower = word.lower()
        token = make_token(
            lower,
            self._lexicon.get(lower),
            is_upper=word.isupper(),
            term=self._terms.get(lower),
            ends_phrase=lower in self._last,
        )
        if not (token.notable or token.modifies or token.idiomatic or lower in self._asked_for):
            token = _PLAIN
        if len(self) >= CACHED_TOKENS:
            self.clear()
        self[raw] = token
        return token


def strip_punctuation(raw: str) -> str:
    """Return ``raw`` as VADER does, without punctuation at its ends, unless the rest is so short that it may be an
    emoticon.
    """
    stripped = raw.strip(string.punctuation)
    return raw if len(stripped) <= 2 else stripped


def make_token(
    word: str,
    valence: float | None,
    *,
    is_upper: bool = False,
    term: str | None = None,
    ends_phrase: bool = False,
) -> Token:
    """Return the token of ``word`` (lower case), with its properties for VADER's rules."""
    negates = word in _NEGATIONS or "n't" in word
    return Token(
        word=word,
        is_upper=is_upper,
        valence=valence,
        booster=BOOSTER_DICT.get(word),
        negates=negates,
        modifies=negates or word in _MODIFIERS,
        idiomatic=word in _IDIOM_WORDS,
        notable=valence is not None or negates or is_upper or ends_phrase or word == "but",
        term=term,
        ends_phrase=ends_phrase,
    )


_PLAIN = make_token("", None)  # any word without a role in the rules; also used before the first token


class Vader:
    """Sentiment analyser with VADER's rules, extensible by terms and phrases."""

    def __init__(
        self,
        valences: Mapping[str, float | None] | None = None,
        terms: Mapping[str, str] | None = None,
        phrases: Mapping[tuple[str, ...], Token] | None = None,
    ) -> None:
        """``valences`` extends the package's lexicon, overrides it, or removes a word (``None``).

        ``terms`` maps a single word to the term that it represents; ``phrases`` maps several words to the token that
        replaces them.

        All words are in lower case. Of phrases that end at one word the longest wins, of overlapping ones the last.
        """
        self._emojis: dict[str, str] = _package().emojis
        # Last word (mostly the rarer one), then the previous word, to the phrases that end with both.
        self._phrases: dict[str, dict[str, list[tuple[tuple[str, ...], Token]]]] = {}
        for words, token in sorted((phrases or {}).items(), key=lambda item: -len(item[0])):
            self._phrases.setdefault(words[-1], {}).setdefault(words[-2], []).append((words, token))
        lexicon = {**package_lexicon(), **(valences or {})}
        laden = {word: valence for word, valence in lexicon.items() if valence is not None}
        self._tokens = _Tokens(laden, terms or {}, (phrases or {}).keys())

    def polarity(self, text: str) -> Polarity:
        """Return VADER's four scores of ``text``; all are 0 for an empty text."""
        text = self.spell_out_emojis(text).strip()
        tokens, notable = self.tokens(text)
        if not tokens:
            return Polarity(0.0, 0.0, 0.0, 0.0)
        return _summarise(self.valences(tokens, notable), len(tokens), _emphasis(text))

    def spell_out_emojis(self, text: str) -> str:
        """Replace emoji of one code point by the descriptions of VADER's package."""
        if text.isascii():
            return text

        def description(match: re.Match[str]) -> str:
            words = self._emojis.get(match.group())
            if words is None:
                return match.group()
            start = match.start()
            return words if start == 0 or text[start - 1] == " " else " " + words

        return _NOT_ASCII.sub(description, text)

    def tokens(self, text: str) -> tuple[list[Token], list[int]]:
        """Return VADER's tokens of ``text``, phrases merged, and the positions of the notable ones."""
        tokens = list(map(self._tokens.__getitem__, text.split()))
        notable = _find_notable(tokens)
        if self._phrases:
            ends = [i for i in notable if tokens[i].ends_phrase]
            if ends and self._merge_phrases(tokens, ends):
                notable = _find_notable(tokens)
        return tokens, notable

    def _merge_phrases(self, tokens: list[Token], ends: list[int]) -> bool:
        """Replace each phrase that ends at one of ``ends`` by one token; return whether there was any."""
        left = len(tokens)  # the tokens from this index on are final
        for i in reversed(ends):
            if i >= left or i == 0:
                continue
            for words, phrase in self._phrases[tokens[i].word].get(tokens[i - 1].word, ()):
                start = i + 1 - len(words)
                if len(words) == 2 or (start >= 0 and tuple([token.word for token in tokens[start : i + 1]]) == words):
                    tokens[start : i + 1] = [phrase]
                    left = start
                    break
        return left < len(tokens)

    def valences(self, tokens: Sequence[Token], notable: Sequence[int]) -> list[tuple[int, float]]:
        """Return position and valence, after VADER's rules, of each token that carries sentiment, in order."""
        laden = [i for i in notable if tokens[i].valence is not None and tokens[i].booster is None]
        if not laden:
            return []
        shouts = sum([tokens[i].is_upper for i in notable])
        emphatic = 0 < shouts < len(tokens)
        valences = [
            (i, _valence(tokens, i, emphatic)) for i in laden if tokens[i].word != "kind" or not _hedges(tokens, i)
        ]
        buts = [i for i in notable if tokens[i].word == "but"]
        return _weigh_but(buts[0], valences) if buts else valences


def _find_notable(tokens: Sequence[Token]) -> list[int]:
    return [i for i, token in enumerate(tokens) if token.notable]


def _hedges(tokens: Sequence[Token], i: int) -> bool:
    """Return whether the "kind" at ``i`` belongs to "kind of"."""
    return i + 1 < len(tokens) and tokens[i + 1].word == "of"


def _valence(tokens: Sequence[Token], i: int, emphatic: bool) -> float:
    """Return the valence of the laden token ``i`` in context; ``emphatic``: capitals are an emphasis."""
    token = tokens[i]
    valence = own = token.valence or 0.0
    one = tokens[i - 1] if i else _PLAIN
    two = tokens[i - 2] if i > 1 else _PLAIN
    three = tokens[i - 3] if i > 2 else _PLAIN
    modified = one.modifies or two.modifies or three.modifies
    if token.word == "no" and i + 1 < len(tokens) and tokens[i + 1].valence is not None:
        valence = 0.0
    if modified and _follows_no(one.word, two.word, three.word):
        valence = own * N_SCALAR
    if token.is_upper and emphatic:
        valence += C_INCR if valence > 0 else -C_INCR
    if modified:
        valence = _modify(tokens, i, valence, emphatic)
    if i > 2 and three.valence is None and (token.idiomatic or one.idiomatic or two.idiomatic):
        valence = _idioms(tokens, i, valence)
    if modified and one.word == "least" and one.valence is None and two.word not in ("at", "very"):
        valence *= N_SCALAR
    return valence


def _modify(tokens: Sequence[Token], i: int, valence: float, emphatic: bool) -> float:
    """Apply the degree adverbs and negations up to three words before the laden token ``i``."""
    for distance in range(1, min(i, 3) + 1):
        before = tokens[i - distance]
        if before.valence is None:
            if before.booster is not None:
                valence += _boost(before, distance, valence, emphatic)
            valence = _negate(tokens, i, distance, valence)
    return valence


def _follows_no(one: str, two: str, three: str) -> bool:
    return one == "no" or two == "no" or (three == "no" and one in ("or", "nor"))


def _boost(before: Token, distance: int, valence: float, emphatic: bool) -> float:
    """Return the effect of a degree adverb, which decreases with distance."""
    assert before.booster is not None
    boost = -before.booster if valence < 0 else before.booster
    if before.is_upper and emphatic:
        boost += C_INCR if valence > 0 else -C_INCR
    return boost * (1.0, 0.95, 0.9)[distance - 1]


def _negate(tokens: Sequence[Token], i: int, distance: int, valence: float) -> float:
    """Reverse the valence after a negation, except in "never so", "never this" and "without doubt"."""
    before = tokens[i - distance]
    if distance > 1:
        between = [tokens[k].word for k in range(i - distance + 1, i)]
        if (before.word == "never" and between[0] in ("so", "this")) or (
            distance == 3 and between[1] in ("so", "this")
        ):
            return valence * 1.25
        if before.word == "without" and "doubt" in between:
            return valence
    return valence * N_SCALAR if before.negates else valence


def _idioms(tokens: Sequence[Token], i: int, valence: float) -> float:
    """Apply the idioms that contain a word of the lexicon, and the adverbs of two or three words."""
    zero, one, two, three = [tokens[i - k].idiomatic for k in range(4)]
    after = i + 1 < len(tokens) and tokens[i + 1].idiomatic
    if not ((one and (zero or two)) or (two and three) or (zero and after)):
        return valence
    third, second, first, word = [token.word for token in tokens[i - 3 : i + 1]]
    before = (f"{third} {second} {first}", f"{third} {second}", f"{second} {first}")
    for idiom in (f"{first} {word}", f"{second} {first} {word}", before[2], before[0], before[1]):
        if idiom in SPECIAL_CASES:
            valence = SPECIAL_CASES[idiom]
            break
    for width in (2, 3):
        if i + width <= len(tokens):
            idiom = " ".join(token.word for token in tokens[i : i + width])
            valence = SPECIAL_CASES.get(idiom, valence)
    for adverb in before:
        valence += BOOSTER_DICT.get(adverb, 0.0)
    return valence


def _weigh_but(but: int, valences: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Halve the valences before the first "but" (at position ``but``) and raise those after it by half.

    The package looks up each value by its amount while it changes the list, so of equal amounts always the first one is
    changed; this is reproduced.
    """
    amounts = [valence for _, valence in valences]
    for k in range(len(amounts)):
        first = amounts.index(amounts[k])
        position = valences[first][0]
        if position < but:
            amounts[first] *= 0.5
        elif position > but:
            amounts[first] *= 1.5
    return [(position, amount) for (position, _), amount in zip(valences, amounts, strict=True)]


def _emphasis(text: str) -> float:
    """Return the effect of exclamation marks (up to four) and repeated question marks."""
    questions = text.count("?")
    asked = 0.0 if questions < 2 else questions * 0.18 if questions <= 3 else 0.96
    return min(text.count("!"), 4) * 0.292 + asked


def _summarise(valences: Sequence[tuple[int, float]], words: int, emphasis: float) -> Polarity:
    amounts = [valence for _, valence in valences]
    total = float(sum(amounts))
    compound = normalize(total + math.copysign(emphasis, total) if total else 0.0)
    positive = negative = 0.0
    neutral = words
    for amount in amounts:
        if amount > 0:
            positive += amount + 1
            neutral -= 1
        elif amount < 0:
            negative += amount - 1
            neutral -= 1
    if positive > -negative:
        positive += emphasis
    elif positive < -negative:
        negative -= emphasis
    shares = positive - negative + neutral
    return Polarity(
        neg=round(abs(negative / shares), 3),
        neu=round(abs(neutral / shares), 3),
        pos=round(abs(positive / shares), 3),
        compound=round(compound, 4),
    )
