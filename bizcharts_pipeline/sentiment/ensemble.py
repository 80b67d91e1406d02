"""Several text models as one: the geometric mean of what they say.

Averaging logarithms ("logarithmic opinion pool", Heskes 1998) lets a model that excludes a class have its way. Each
member's files lie in a folder of their own below the ensemble's, named by its kind.
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
    """Text models by their kind; each counts alike."""

    members: Mapping[str, TextModel]

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return logarithms of the classes' probabilities: (posts, 3)."""
        return log_softmax(np.mean([member.log_probabilities(posts) for member in self.members.values()], axis=0))

    def save(self, folder: Path) -> None:
        """Write each member into its folder."""
        for kind, member in self.members.items():
            (folder / kind).mkdir()
            member.save(folder / kind)

    @classmethod
    def load(cls, folder: Path) -> "EnsembleModel":
        """Read what :meth:`save` wrote."""
        return cls({kind: MEMBERS[kind](folder / kind) for kind in sorted(MEMBERS) if (folder / kind).is_dir()})
