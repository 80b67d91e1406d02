"""People's net stance estimated from a model's stance, by the model's measured response to people on the gold posts.

Assumes that posts changed from bearish to bullish since gold, or back, and that the share of neutral ones is unchanged.
docs/methodology.md has the formulas.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from bizcharts_pipeline.index.votes import Floats


@dataclass(frozen=True)
class Response:
    """A model's response to people's stance on gold, as measured at ``since``.

    ``figures`` (5,) are means over gold posts: people's net stance; the model's weight; its weighted stance; and the
    differences of the last two between a bullish and a bearish post. ``covariance`` (5, 5) is over resampled gold
    posts.
    """

    since: int  # microseconds since 1970
    figures: Floats
    covariance: Floats


def people_stance(
    stance: Floats, variance: Floats, response: Response, interval: float
) -> tuple[Floats, Floats, Floats]:
    """Return people's net stance and the ends of its interval, for the index's ``R`` stances by a model with their
    variances.

    All are clipped to -1 and 1. If it is uncertain whether the model follows people, the interval is -1 to 1; if it
    does not follow them on gold, the stance is NaN too.
    """
    net, weight, weighted, more_weight, more_weighted = response.figures
    movement = more_weighted - stance * more_weight  # of the weighted stance, per post that changes sides
    follows = movement > 0
    safe = np.where(follows, movement, 1.0)
    turned = (stance * weight - weighted) / safe
    one = np.ones_like(stance)
    slopes = np.stack([one, 2 * stance / safe, -2 / safe, 2 * turned * stance / safe, -2 * turned / safe], axis=1)
    of_gold = np.einsum("ri,ij,rj->r", slopes, response.covariance, slopes)
    of_stance = (2 * (weight + turned * more_weight) / safe) ** 2 * variance
    reach = NormalDist().inv_cdf((1 + interval) / 2)
    moves = np.stack([-stance, one], axis=1)
    doubt = np.sqrt(np.einsum("ri,ij,rj->r", moves, response.covariance[3:, 3:], moves))
    known = movement > reach * doubt
    people, width = net + 2 * turned, reach * np.sqrt(of_gold + of_stance)
    return (
        np.where(follows, np.clip(people, -1, 1), np.nan),
        np.where(known, np.clip(people - width, -1, 1), -1.0),
        np.where(known, np.clip(people + width, -1, 1), 1.0),
    )
