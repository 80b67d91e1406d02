"""Recipe of kind ``tfidf``: takes seconds, and needs no pretrained model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.tfidf import CHARACTER_GRAMS, WORD_GRAMS, TfidfModel
from bizcharts_pipeline.training.recipe import TextExample, TrainingError
from bizcharts_pipeline.training.recipes.fitting import RARITY, fit_calibrated, head, posts_of

C = 5.0
MIN_POSTS = 2  # that contain a term


def train(examples: Sequence[TextExample]) -> TfidfModel:
    """Return the TF-IDF model fitted to the training ``examples``.

    Raises:
        TrainingError: no two of them share a word.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    posts, labels = posts_of(examples)
    texts = [whole_text(post) for post in posts]
    words = TfidfVectorizer(ngram_range=WORD_GRAMS, min_df=MIN_POSTS, sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=CHARACTER_GRAMS, min_df=MIN_POSTS, sublinear_tf=True)
    try:
        terms = hstack([words.fit_transform(texts), characters.fit_transform(texts)]).tocsr()
    except ValueError:
        raise TrainingError(f"No two of the {len(posts)} posts share a word; label more") from None
    idf = np.concatenate([words.idf_, characters.idf_])
    return TfidfModel(_vocabulary(words), _vocabulary(characters), idf, *head(terms, labels, C))


def _vocabulary(vectoriser: Any) -> dict[str, int]:
    return {term: int(place) for term, place in vectoriser.vocabulary_.items()}


class TfidfRecipe:
    """TF-IDF of words and characters with logistic regression."""

    def __init__(self) -> None:
        """There are no options."""
        self.kind = "tfidf"
        self.base_model: str | None = None
        self.base_revision: str | None = None
        self.code_version = "1"
        self.settings: Mapping[str, Any] = {
            "words": WORD_GRAMS, "characters": CHARACTER_GRAMS, "least_posts": MIN_POSTS, "c": C, "rarity": RARITY
        }  # fmt: skip

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train the TF-IDF model, calibrate and write it; ``seed`` determines the calibration folds."""
        fit_calibrated(train, examples, folder, seed)
