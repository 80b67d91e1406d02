"""The lexicon refitted on given training posts, for a fair comparison with trained models."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bizcharts_pipeline.sentiment.features import features
from bizcharts_pipeline.sentiment.lexicon import Calibration, make_stance_reader
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.stance import StanceReader
from bizcharts_pipeline.sentiment.temperature import Floats

WEIGHTS = "lexicon.json"


@dataclass(frozen=True)
class LexiconModel:
    """The lexicon's features with refitted weights."""

    calibration: Calibration

    @cached_property
    def _reader(self) -> StanceReader:
        return make_stance_reader()

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the refitted lexicon's log-probabilities of the sentiment classes: (posts, 3)."""
        scores = [self.calibration.score(features(post, self._reader)) for post in posts]
        return np.log([(score.p_bearish, score.p_neutral, score.p_bullish) for score in scores])

    def save(self, folder: Path) -> None:
        """Write the refitted lexicon's weights."""
        (folder / WEIGHTS).write_text(json.dumps(self.calibration.to_json(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "LexiconModel":
        """Read the refitted lexicon from the files of :meth:`save`.

        Raises:
            CalibrationError: it was fitted for other features than this version's.
        """
        return cls(Calibration.from_json(json.loads((folder / WEIGHTS).read_bytes())))
