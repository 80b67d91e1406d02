"""The scorer that needs no training run: lexicon, VADER's rules and a small calibrated model on top."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from operator import mul
from typing import Any

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.sentiment.features import FEATURES, features
from bizcharts_pipeline.sentiment.scorer import Post, Score
from bizcharts_pipeline.sentiment.stance import StanceReader
from bizcharts_pipeline.sentiment.terms import lexicon_bytes, load_terms
from bizcharts_pipeline.text.coins import coin_names

# Raise it with any change of the code that changes scores, that of text/cleaning.py included: it is part of the model
# version, and a new version scores every post again.
CODE_VERSION = 2

_CALIBRATION = files(__package__).joinpath("data/calibration.json")


class CalibrationError(BizchartsError):
    """The calibration file does not fit the code."""


@dataclass(frozen=True)
class Calibration:
    """Multinomial logistic regression: the log odds of a class against neutral are linear in ``FEATURES``."""

    bearish: tuple[float, ...]  # a weight a feature
    bullish: tuple[float, ...]
    bearish_intercept: float
    bullish_intercept: float

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Calibration":
        """Take the numbers out of ``calibration.json``.

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
            raise CalibrationError(f"calibration.json: a number is missing or is none: {error!r}") from None

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` takes."""
        return {
            "intercepts": {"bearish": self.bearish_intercept, "bullish": self.bullish_intercept},
            "weights": {
                name: {"bearish": bearish, "bullish": bullish}
                for name, bearish, bullish in zip(FEATURES, self.bearish, self.bullish, strict=True)
            },
        }

    def score(self, values: Sequence[float]) -> Score:
        """Return the probabilities for one post's feature values."""
        bearish = self.bearish_intercept + sum(map(mul, self.bearish, values))
        bullish = self.bullish_intercept + sum(map(mul, self.bullish, values))
        highest = max(bearish, bullish, 0.0)
        odds = math.exp(bearish - highest), math.exp(-highest), math.exp(bullish - highest)
        total = sum(odds)
        return Score(odds[0] / total, odds[1] / total, odds[2] / total)


class LexiconScorer:
    """Scores posts by lexicon and form, as docs/scoring.md explains.

    Pure Python, deterministic, one process. It sees no pictures and takes irony at its word.
    """

    kind = "lexicon"

    def __init__(self) -> None:
        """Read lexicon and calibration.

        Raises:
            CalibrationError: calibration.json is not as it should be; the lexicon is read with the first post.
        """
        content = _CALIBRATION.read_bytes()
        self._calibration = Calibration.from_json(json.loads(content))
        code = f"code {CODE_VERSION}".encode()
        self.sha256 = hashlib.sha256(lexicon_bytes() + content + code).hexdigest()
        self.model_version = f"lexicon-{self.sha256[:8]}"

    @cached_property
    def _reader(self) -> StanceReader:
        return make_stance_reader()  # not before the first post: most minutes bring none

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return one score a post, in their order.

        Any text is taken; of a long one only the start is read.
        """
        return [self._calibration.score(features(post, self._reader)) for post in posts]


def make_stance_reader() -> StanceReader:
    """Return the reader that the scorer uses: the board's terms, with coins' names masked."""
    return StanceReader(load_terms(), masked=coin_names())
