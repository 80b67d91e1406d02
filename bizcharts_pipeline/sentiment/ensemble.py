"""Ensemble of text models: the geometric mean of their probabilities.

Averaging logarithms ("logarithmic opinion pool", Heskes 1998) lets a single model veto a class. Each member's files are
in a subfolder of the ensemble's folder, named after its kind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bizcharts_pipeline.sentiment.calibrated import TextModel
from bizcharts_pipeline.sentiment.lexicon_refit import LexiconModel
from bizcharts_pipeline.sentiment.minilm import EncoderModel
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.temperature import Floats, log_softmax
from bizcharts_pipeline.sentiment.tfidf import TfidfModel

MEMBERS: Mapping[str, Callable[[Path], TextModel]] = {
    "lexicon_refit": LexiconModel.load,
    "minilm": EncoderModel.load,
    "tfidf": TfidfModel.load,
}


@dataclass(frozen=True)
class EnsembleModel:
    """Text models by kind, equally weighted."""

    members: Mapping[str, TextModel]

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the log-probabilities of the classes: (posts, 3)."""
        return log_softmax(np.mean([member.log_probabilities(posts) for member in self.members.values()], axis=0))

    def save(self, folder: Path) -> None:
        """Write each member into its folder."""
        for kind, member in self.members.items():
            (folder / kind).mkdir()
            member.save(folder / kind)

    @classmethod
    def load(cls, folder: Path) -> "EnsembleModel":
        """Read the files of :meth:`save`."""
        return cls({kind: MEMBERS[kind](folder / kind) for kind in sorted(MEMBERS) if (folder / kind).is_dir()})
