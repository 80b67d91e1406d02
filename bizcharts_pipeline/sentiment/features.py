"""Numeric features of a post: its lexicon valences and its form."""

import math
import re

from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.stance import StanceReader
from bizcharts_pipeline.text.cleaning import clean_text
from bizcharts_pipeline.text.generals import general_of

MAX_CHARACTERS = 8_000  # maximum length of subject and text that is read; the board allows some 2,100

FEATURES = (
    "bull",  # the strongest bullish terms, in units of a full valence
    "bear",
    "has_term",
    "pleasant",  # VADER's own words, squashed like its compound score
    "unpleasant",
    "log_words",
    "no_text",  # a picture with at most a subject
    "questions",  # question marks, up to three
    "opens_asking",
    "greentext",  # share of the words
    "links",  # up to three
    "negations",  # per ten words
    "capitals",  # share of the words
    "general",  # 1 in a recurring general thread
    "log_lines",
    "countdown",  # "day 89 of posting until ...", a ritual of holders
)

_FULL_VALENCE = 4.0
_SQUASH = 15.0  # VADER's normalising constant
_ASKS = re.compile(
    r"\W*(?:how|what|whats|what's|why|is|are|should|which|who|when|where|can|do|does|did|will|would|any|anyone)\b",
    re.I,
)
_COUNTDOWN = re.compile(r"\W*(?:daily\b|day #?\d)", re.IGNORECASE)


def features(post: Post, reader: StanceReader) -> tuple[float, ...]:
    """Return the features of a post's text that the lexicon scores, the values of ``FEATURES``. Any text is accepted;
    ``MAX_CHARACTERS`` of the cleaned text are read.
    """
    subject, body = clean_text(post.subject), clean_text(post.text)
    text = f"{subject}\n{body}"[:MAX_CHARACTERS].strip()
    reading = reader.read(text)
    words = reading.words or 1
    return (
        reading.bull / _FULL_VALENCE,
        reading.bear / _FULL_VALENCE,
        float(reading.hits > 0),
        _squash(reading.pleasant),
        _squash(reading.unpleasant),
        math.log1p(reading.words),
        float(not body.strip()),
        float(min(text.count("?"), 3)),
        float(_ASKS.match(text) is not None),
        reading.quoted_words / words,
        float(min(text.count("://"), 3)),
        10 * reading.negations / (10 + words),
        reading.capitals / words,
        float(general_of(subject) is not None),
        math.log1p(text.count("\n")),
        float(_COUNTDOWN.match(text) is not None),
    )


def _squash(valence: float) -> float:
    return valence / math.sqrt(valence * valence + _SQUASH)
