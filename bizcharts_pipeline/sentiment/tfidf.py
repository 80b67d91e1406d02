"""Baseline model: TF-IDF of words and characters with logistic regression, independent of scikit-learn at run time."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.temperature import Floats, log_softmax

WORD_GRAMS = (1, 2)
CHARACTER_GRAMS = (3, 5)  # within words, including their boundaries

VOCABULARY = "vocabulary.json"
WEIGHTS = "weights.safetensors"

_WORD = re.compile(r"\b\w\w+\b")


@dataclass(frozen=True)
class TfidfModel:
    """Equal to scikit-learn's ``TfidfVectorizer`` (sublinear, by word and by ``char_wb``) with its
    ``LogisticRegression`` on the concatenated features."""

    words: Mapping[str, int]  # term to its index among the words, without gaps
    characters: Mapping[str, int]
    idf: Floats  # (terms,), words first
    weights: Floats  # (3, terms)
    intercepts: Floats  # (3,)

    def log_probabilities(self, posts: Sequence[Post]) -> Floats:
        """Return the log-probabilities of the sentiment classes by the texts' TF-IDF: (posts, 3)."""
        return log_softmax(np.array([self._logits(whole_text(post).lower()) for post in posts]).reshape(-1, 3))

    def _logits(self, text: str) -> Floats:
        words = len(self.words)
        return np.asarray(
            self.intercepts
            + term_logits(word_terms(text), self.words, self.idf[:words], self.weights[:, :words])
            + term_logits(character_terms(text), self.characters, self.idf[words:], self.weights[:, words:])
        )

    def save(self, folder: Path) -> None:
        """Write vocabulary and weights of the TF-IDF model."""
        from safetensors.numpy import save_file

        vocabulary = {"words": _in_order(self.words), "characters": _in_order(self.characters)}
        (folder / VOCABULARY).write_text(json.dumps(vocabulary, indent=0) + "\n", encoding="utf-8")
        arrays = {"idf": self.idf, "weights": self.weights, "intercepts": self.intercepts}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> "TfidfModel":
        """Read the TF-IDF model from the files of :meth:`save`."""
        from safetensors.numpy import load_file

        vocabulary = json.loads((folder / VOCABULARY).read_bytes())
        words, characters = ({term: i for i, term in enumerate(vocabulary[name])} for name in ("words", "characters"))
        return cls(words, characters, **load_file(folder / WEIGHTS))


def term_logits(terms: Iterable[str], vocabulary: Mapping[str, int], idf: Floats, weights: Floats) -> Floats:
    """Return what one vocabulary's TF-IDF values, normalised to length 1, add to a sentiment model's logits: (3,).

    ``idf`` (terms,) and ``weights`` (3, terms) are in the vocabulary's order; unknown terms do not count.
    """
    counts = Counter(vocabulary[term] for term in terms if term in vocabulary)
    if not counts:
        return np.zeros(3)
    places = list(counts)
    values = np.array([1 + math.log(count) for count in counts.values()]) * idf[places]
    return np.asarray(weights[:, places] @ (values / np.linalg.norm(values)))


def word_terms(text: str) -> Iterator[str]:
    """Yield the words that the TF-IDF model counts: of at least two letters of a lower-case text, and each pair of
    neighbours.
    """
    words = _WORD.findall(text)
    for n in range(WORD_GRAMS[0], WORD_GRAMS[1] + 1):
        for start in range(len(words) - n + 1):
            yield " ".join(words[start : start + n])


def character_terms(text: str) -> Iterator[str]:
    """Yield the n-grams that the TF-IDF model counts, of each word padded with a space on both sides; a word shorter
    than n is yielded once.
    """
    for word in text.split():
        padded = f" {word} "
        for n in range(CHARACTER_GRAMS[0], CHARACTER_GRAMS[1] + 1):
            for start in range(max(1, len(padded) - n + 1)):
                yield padded[start : start + n]
            if len(padded) <= n:
                break


def _in_order(vocabulary: Mapping[str, int]) -> list[str]:
    return sorted(vocabulary, key=vocabulary.__getitem__)
