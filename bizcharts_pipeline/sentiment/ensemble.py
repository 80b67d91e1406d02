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
from bizcharts_pipeline.sentiment.vectors import Store

MEMBERS: Mapping[str, Callable[[Path, Store | None], TextModel]] = {
    "lexicon_refit": lambda folder, _: LexiconModel.load(folder),
    "minilm": EncoderModel.load,
    "tfidf": lambda folder, _: TfidfModel.load(folder),
}


@dataclass(frozen=True)
class EnsembleModel:
    """Text models by kind, equally weighted; an encoder with neighbours counts as two."""

    members: Mapping[str, TextModel]

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the ensemble's log-probabilities of the sentiment classes: (posts, 3)."""
        return log_softmax(np.mean([member.log_probabilities(posts) for member in self.members.values()], axis=0))

    def save(self, folder: Path) -> None:
        """Write each text model of the ensemble into its folder."""
        for kind, member in self.members.items():
            (folder / kind).mkdir()
            member.save(folder / kind)

    @classmethod
    def load(cls, folder: Path, store: Store | None = None) -> "EnsembleModel":
        """Read the ensemble of text models from the files of :meth:`save`; ``store`` as in :class:`EncoderModel`."""
        return cls({kind: MEMBERS[kind](folder / kind, store) for kind in sorted(MEMBERS) if (folder / kind).is_dir()})
