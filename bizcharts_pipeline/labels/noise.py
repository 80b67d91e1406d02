"""Detection of probably wrong labels by confident learning (Northcutt, Jiang and Chuang 2021, package cleanlab)."""

from collections.abc import Sequence

import numpy as np

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.labels.text_model import Matrix, out_of_fold


class NoiseSearchMissing(BizchartsError):
    """The package cleanlab is not installed."""


def doubtful_labels(terms: Matrix, ratings: Sequence[int], groups: Sequence[int], seed: int) -> list[int]:
    """Return the indices of probably wrong labels, most doubtful first.

    ``terms`` are the posts' TF-IDF rows, ``ratings`` 1 to 3, each occurring, ``groups`` the group of near-duplicates of
    each post. A label is doubtful if a model that saw neither the post nor its near-duplicates is more confident of
    another class than it usually is of posts labelled with it. With a weak model that is a hint for review, not a
    correction.

    Raises:
        NoiseSearchMissing: cleanlab is not installed.
    """
    try:
        from cleanlab.filter import find_label_issues  # type: ignore[import-untyped]
    except ImportError:
        raise NoiseSearchMissing("The search for wrong labels needs cleanlab: run `make install-noise`.") from None
    places = find_label_issues(
        labels=np.asarray(ratings) - 1,
        pred_probs=out_of_fold(terms, ratings, groups, seed),
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return [int(place) for place in places]
