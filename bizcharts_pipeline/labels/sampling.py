"""Active-learning sampling: posts of which the model is unsure and that differ from each other."""

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.labels.text_model import Floats, Matrix, embeddings

Ints = NDArray[np.int64]

UNSURE_PER_POST = 5  # candidates with the smallest margins per selected post


def margins(probabilities: Floats) -> Floats:
    """Return how sure a model is of each post that might be labelled: the difference between the two highest class
    probabilities, (posts,), 0 to 1.
    """
    ordered = np.sort(probabilities, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def unsure_and_diverse(margin: Floats, terms: Matrix, n: int, seed: int) -> Ints:
    """Return the indices of at most ``n`` posts worth labelling: of those with the smallest margins, the nearest to
    each of ``n`` centres.

    Margin sampling (Scheffer, Decomain and Wrobel 2001) selects a pool, k-means distributes the choice over it (as in
    Zhdanov 2019, without weights). Ordered by margin.
    """
    from sklearn.cluster import MiniBatchKMeans

    unsure = np.argsort(margin, kind="stable")[: UNSURE_PER_POST * n]
    if len(unsure) <= n:
        return unsure
    points = embeddings(terms[unsure], seed)
    centres = MiniBatchKMeans(n, random_state=seed, n_init=1, batch_size=max(1024, 2 * n)).fit(points).cluster_centers_
    free = np.ones(len(unsure), bool)
    for centre in centres:
        distance = np.where(free, ((points - centre) ** 2).sum(axis=1), np.inf)
        free[int(np.argmin(distance))] = False
    return unsure[~free]
