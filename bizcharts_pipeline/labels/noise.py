"""Detection of probably wrong labels by confident learning (Northcutt, Jiang and Chuang 2021, package cleanlab)."""

from collections.abc import Sequence

import numpy as np

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.labels.text_model import FOLDS, Matrix, out_of_fold


class NoNoiseSearch(BizchartsError):
    """Wrong labels cannot be searched for: cleanlab is not installed, or too few different posts are labelled."""


def doubtful_labels(terms: Matrix, ratings: Sequence[int], groups: Sequence[int], seed: int) -> list[int]:
    """Return the indices of people's probably wrong labels, most doubtful first.

    ``terms`` are the posts' TF-IDF rows, ``ratings`` 1 to 3, each occurring, ``groups`` the group of near-duplicates of
    each post. A label is doubtful if a model that saw neither the post nor its near-duplicates is more confident of
    another class than it usually is of posts labelled with it. With a weak model that is a hint for review, not a
    correction.

    Raises:
        NoNoiseSearch: cleanlab is not installed, or there are fewer than :data:`FOLDS` groups.
    """
    try:
        from cleanlab.filter import find_label_issues  # type: ignore[import-untyped]
    except ImportError:
        raise NoNoiseSearch("The search for wrong labels needs cleanlab: run `make install-noise`.") from None
    if (different := len(set(groups))) < FOLDS:
        raise NoNoiseSearch(
            f"Wrong labels were not searched for: {counted(len(ratings), 'labelled post')} without near-duplicates are "
            f"{counted(different, 'post')}, and {FOLDS} are needed."
        )
    places = find_label_issues(
        labels=np.asarray(ratings) - 1,
        pred_probs=out_of_fold(terms, ratings, groups, seed),
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return [int(place) for place in places]
