"""The built-in scorer: lexicon, VADER's rules and a small calibrated model."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from operator import mul
from typing import Any

from bizcharts_pipeline.core.errors import BizchartsError, reason_of
from bizcharts_pipeline.sentiment.features import FEATURES, features
from bizcharts_pipeline.sentiment.scorer import BATCH, Post, Score
from bizcharts_pipeline.sentiment.stance import StanceReader
from bizcharts_pipeline.sentiment.terms import lexicon_bytes, load_terms
from bizcharts_pipeline.text.coins import coin_names

# Increment it with any code change that affects scores, including text/cleaning.py: it is part of the model version,
# and a new version scores every post again.
CODE_VERSION = 2

_CALIBRATION = files(__package__).joinpath("data/calibration.json")


class CalibrationError(BizchartsError):
    """The calibration file does not match the code."""


@dataclass(frozen=True)
class Calibration:
    """Multinomial logistic regression: the log odds of a class against neutral are linear in ``FEATURES``."""

    bearish: tuple[float, ...]  # one weight per feature
    bullish: tuple[float, ...]
    bearish_intercept: float
    bullish_intercept: float

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Calibration":
        """Parse the lexicon's ``calibration.json``.

        Raises:
            CalibrationError: it was fitted for other features, or a number is missing.
        """
        try:
            intercepts, weights = content["intercepts"], content["weights"]
            if list(weights) != list(FEATURES):
                raise CalibrationError(
                    "calibration.json was fitted for other features; fit it again: "
                    "python -m bizcharts_pipeline.sentiment.fit_lexicon LABELS.jsonl"
                )
            return cls(
                bearish=tuple(float(weight["bearish"]) for weight in weights.values()),
                bullish=tuple(float(weight["bullish"]) for weight in weights.values()),
                bearish_intercept=float(intercepts["bearish"]),
                bullish_intercept=float(intercepts["bullish"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(f"calibration.json: a number is missing or invalid: {reason_of(error)}") from None

    def to_json(self) -> dict[str, Any]:
        """Return the lexicon's calibration as :meth:`from_json` reads it."""
        return {
            "intercepts": {"bearish": self.bearish_intercept, "bullish": self.bullish_intercept},
            "weights": {
                name: {"bearish": bearish, "bullish": bullish}
                for name, bearish, bullish in zip(FEATURES, self.bearish, self.bullish, strict=True)
            },
        }

    def score(self, values: Sequence[float]) -> Score:
        """Return the lexicon's probabilities of the classes for one post's feature values."""
        bearish = self.bearish_intercept + sum(map(mul, self.bearish, values))
        bullish = self.bullish_intercept + sum(map(mul, self.bullish, values))
        highest = max(bearish, bullish, 0.0)
        odds = math.exp(bearish - highest), math.exp(-highest), math.exp(bullish - highest)
        total = sum(odds)
        return Score(odds[0] / total, odds[1] / total, odds[2] / total)


class LexiconScorer:
    """Scores posts by lexicon and form, as explained in docs/scoring.md.

    Pure Python, deterministic, one process. It ignores pictures and does not recognise irony.
    """

    kind = "lexicon"
    batch = BATCH

    def __init__(self) -> None:
        """Read the calibration; the lexicon is read with the first post.

        Raises:
            CalibrationError: calibration.json is malformed or does not match the code.
        """
        content = _CALIBRATION.read_bytes()
        self._calibration = Calibration.from_json(json.loads(content))
        code = f"code {CODE_VERSION}".encode()
        self.sha256 = hashlib.sha256(lexicon_bytes() + content + code).hexdigest()
        self.model_version = f"lexicon-{self.sha256[:8]}"

    @cached_property
    def _reader(self) -> StanceReader:
        return make_stance_reader()  # not before the first post, as most minutes have none

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return the lexicon's score of each post, in order.

        Any text is accepted; only the start of a long one is read.
        """
        return [self._calibration.score(features(post, self._reader)) for post in posts]


def make_stance_reader() -> StanceReader:
    """Return the lexicon scorer's reader: the board's terms, with coin names masked."""
    return StanceReader(load_terms(), masked=coin_names())
