"""The board's own lexicon: terms and phrases with a market stance, and words without a meaning here.

``data/lexicon.tsv`` has one row for each term: ``valence`` on VADER's scale (-4 most bearish, 4 most bullish),
``certainty`` of its sign (H, M or L; ``-`` for a term without a valence), ``role``, and ``spellings`` of one or more
words, in lower case, separated by ``|``. Roles: ``shill`` (an advertiser's promise), ``opponent`` (loses when the price
rises), ``defeat`` (positive when it befalls an opponent), ``capitals`` (counts only in capitals). A valence of 0
removes the spellings from VADER's lexicon.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.sentiment.vader import Vader, make_token, package_lexicon, strip_punctuation

CERTAINTY_WEIGHTS = {"H": 1.0, "M": 0.7, "L": 0.4, "-": 0.0}
ROLES = frozenset({"", "shill", "opponent", "defeat", "capitals"})

_LEXICON = files(__package__).joinpath("data/lexicon.tsv")


class LexiconError(BizchartsError):
    """The lexicon file is malformed."""


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the board with all its spellings."""

    name: str
    valence: float
    weight: float  # 0 to 1: certainty of the sign
    role: str
    spellings: tuple[tuple[str, ...], ...]


def lexicon_bytes() -> bytes:
    """Return the unchanged file of the sentiment lexicon, which is part of a model's version."""
    return _LEXICON.read_bytes()


def load_terms() -> tuple[Term, ...]:
    """Read the terms of the sentiment lexicon.

    Raises:
        LexiconError: a value is not allowed, or a spelling occurs twice.
    """
    lines = _LEXICON.read_text(encoding="utf-8").splitlines()
    terms = tuple(_term(row) for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    seen: dict[tuple[str, ...], str] = {}
    for term in terms:
        for spelling in term.spellings:
            if spelling in seen:
                raise LexiconError(f"lexicon.tsv: {' '.join(spelling)!r} is in {seen[spelling]} and {term.name}")
            seen[spelling] = term.name
    return terms


def _term(row: dict[str, str]) -> Term:
    name, valence = row["term"], float(row["valence"])
    if not -4 <= valence <= 4 or row["certainty"] not in CERTAINTY_WEIGHTS or row["role"] not in ROLES:
        raise LexiconError(f"lexicon.tsv, {name}: valence -4 to 4, certainty H M L or -, role one of {sorted(ROLES)}")
    return Term(
        name=name,
        valence=valence,
        weight=CERTAINTY_WEIGHTS[row["certainty"]],
        role=row["role"],
        spellings=tuple(
            tuple(strip_punctuation(word) for word in spelling.split()) for spelling in row["spellings"].split("|")
        ),
    )


def make_reader(terms: Iterable[Term], masked: Iterable[tuple[str, ...]] = ()) -> Vader:
    """Return a VADER analyser that knows ``terms`` and ignores ``masked`` phrases, such as coin names."""
    spellings = {spelling: term for term in terms for spelling in term.spellings}
    laden = package_lexicon().keys() | {spelling[0] for spelling in spellings if len(spelling) == 1}
    valences: dict[str, float | None] = {}
    names: dict[str, str] = {}
    phrases = {
        phrase: make_token(" ".join(phrase), None)
        for phrase in masked
        if len(phrase) > 1 and not laden.isdisjoint(phrase)
    }
    for spelling, term in spellings.items():
        valence, name = (term.valence, term.name) if term.valence else (None, None)
        if len(spelling) > 1:
            phrases[spelling] = make_token(" ".join(spelling), valence, term=name)
        else:
            valences[spelling[0]] = valence
            if name:
                names[spelling[0]] = name
    return Vader(valences, names, phrases)
