"""Model of kind ``image``: logistic regression on what is known of a post's picture, independent of scikit-learn at run
time.

It reads the network's vector, the colours, the kind and, by TF-IDF of characters, the text in the picture. A post whose
picture has no features gets the classes' shares among the training posts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.temperature import Floats, log_softmax
from bizcharts_pipeline.sentiment.tfidf import character_terms, term_logits
from bizcharts_pipeline.warehouse.image_features import COLOURS, KINDS, VECTOR_LENGTH, ImageFeatures

NUMBERS = len(COLOURS) + len(KINDS) + VECTOR_LENGTH
VOCABULARY = "vocabulary.json"
WEIGHTS = "weights.safetensors"

# Each block of numbers has about length 1 after standardisation, so that the regularisation treats them alike.
_BLOCKS = np.concatenate([np.full(n, 1 / np.sqrt(n)) for n in (len(COLOURS), len(KINDS), VECTOR_LENGTH)])


@dataclass(frozen=True)
class ImageModel:
    """Weights of the standardised numbers, and of the characters of the text in the picture."""

    mean: Floats  # (NUMBERS,)
    spread: Floats  # (NUMBERS,), positive
    weights: Floats  # (3, NUMBERS)
    characters: Mapping[str, int]  # term to its index, without gaps
    idf: Floats  # (terms,)
    term_weights: Floats  # (3, terms)
    intercepts: Floats  # (3,)
    shares: Floats  # (3,) log-probabilities of a post without features

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the log-probabilities of the sentiment classes by the posts' pictures: (posts, 3)."""
        return np.array([self._row(features_of_post(post)) for post in posts]).reshape(-1, 3)

    def _row(self, features: ImageFeatures | None) -> Floats:
        if features is None:
            return self.shares
        logits = self.intercepts + self.weights @ standardised(numbers_of(features), self.mean, self.spread)
        terms = character_terms(ocr_of(features))
        return log_softmax(logits + term_logits(terms, self.characters, self.idf, self.term_weights))

    def save(self, folder: Path) -> None:
        """Write vocabulary and weights of the sentiment model of pictures."""
        from safetensors.numpy import save_file

        terms = sorted(self.characters, key=self.characters.__getitem__)
        (folder / VOCABULARY).write_text(json.dumps(terms, indent=0) + "\n", encoding="utf-8")
        names = ("mean", "spread", "weights", "idf", "term_weights", "intercepts", "shares")
        save_file({name: np.ascontiguousarray(getattr(self, name)) for name in names}, folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> "ImageModel":
        """Read the sentiment model of pictures from the files of :meth:`save`."""
        from safetensors.numpy import load_file

        terms = json.loads((folder / VOCABULARY).read_bytes())
        return cls(characters={term: i for i, term in enumerate(terms)}, **load_file(folder / WEIGHTS))


def features_of_post(post: Post) -> ImageFeatures | None:
    """Return what a sentiment model reads of a post's picture, if it has a picture and its features are known."""
    return post.picture.features if post.picture else None


def numbers_of(features: ImageFeatures) -> Floats:
    """Return a picture's colours, kind (one-hot) and vector as a sentiment model reads them: (NUMBERS,)."""
    kind = [float(features.kind == one) for one in KINDS]
    return np.concatenate([features.colours, kind, features.vector.astype(np.float64)])


def standardised(numbers: Floats, mean: Floats, spread: Floats) -> Floats:
    """Return a picture's numbers, (NUMBERS,) or (posts, NUMBERS), in units of their spread for the sentiment model,
    each block with about length 1.
    """
    return np.asarray(np.clip((numbers - mean) / spread, -10, 10) * _BLOCKS)


def ocr_of(features: ImageFeatures) -> str:
    """Return the text in the picture as the sentiment model reads it."""
    return (features.ocr_text or "").lower()
