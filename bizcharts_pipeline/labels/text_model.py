"""A small text model, fitted in seconds: TF-IDF and logistic regression.

It only finds posts of which it is unsure and posts that are similar; it never scores the index. scikit-learn is
imported where it is used, because the import takes a second.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.text.duplicates import normalise

Floats = NDArray[np.float64]
Matrix = Any  # a scipy.sparse matrix (posts, terms)

MAX_TERMS = 50_000
MAX_CHARACTERS = 2_500  # read per post; the board allows about 2,100
DIMENSIONS = 64  # of an embedding
FOLDS = 5
GROUP_CHARACTERS = 60


def duplicate_group(text: str) -> str:
    """Return a key shared by posts of the same recurring thread, which differ in numbers and in their endings, to label
    one of them.

    Coarser than ``cluster_id``, which looks back 48 hours only.
    """
    return normalise(text)[:GROUP_CHARACTERS]


def term_matrix(texts: Sequence[str]) -> Matrix:
    """Return, for the choice of posts to label, the TF-IDF of words and word pairs that occur in at least two texts,
    rows of length 1 or 0: (posts, terms).
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, max_features=MAX_TERMS, sublinear_tf=True, dtype=np.float32
    )
    try:
        return vectoriser.fit_transform([normalise(text)[:MAX_CHARACTERS] for text in texts])
    except ValueError:  # no two texts have a word in common
        return csr_matrix((len(texts), 1), dtype=np.float32)


def probabilities(known: Matrix, ratings: Sequence[int], others: Matrix) -> Floats:
    """Fit a small model to the ``known`` labelled posts and their ``ratings``; return its probabilities for ``others``:
    (posts, 3).

    Each class, 1 to 3, must occur. Classes have equal weight regardless of frequency, or the most common would
    dominate.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(class_weight="balanced", max_iter=500).fit(known, ratings)
    return np.asarray(model.predict_proba(others), np.float64)


def out_of_fold(terms: Matrix, ratings: Sequence[int], groups: Sequence[int], seed: int) -> Floats:
    """Return probabilities of labelled posts (posts, 3), each by a model that saw neither the post nor its
    near-duplicates.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    given = np.asarray(ratings)
    predicted = np.full((len(given), 3), 1 / 3)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(terms, given, groups):
        if len(set(given[train])) == 3:
            predicted[test] = probabilities(terms[train], given[train].tolist(), terms[test])
    return predicted


def embeddings(terms: Matrix, seed: int) -> Floats:
    """Return latent-semantic embeddings of length 1 (Deerwester et al. 1990), to choose posts to label that differ:
    (posts, dimensions).
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    dimensions = min(DIMENSIONS, min(terms.shape) - 1)
    if dimensions < 1:
        return np.ones((terms.shape[0], 1))
    return np.asarray(normalize(TruncatedSVD(dimensions, random_state=seed).fit_transform(terms)), np.float64)
