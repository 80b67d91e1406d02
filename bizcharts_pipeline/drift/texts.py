"""Whether texts and confidences of a week differ from those of its reference by more than another class mix explains.

When only the shares of bearish, neutral and bullish posts change, and the posts of each class stay as they are (prior
shift), then the density of posts is multiplied by a linear function of the calibrated probabilities (Saerens et al.
2002). So a figure of a post, less its linear regression on the probabilities over the reference, keeps its mean under
every prior shift: what it is uncorrelated with cannot move it. All measures here are taken of such residuals.
"""

from functools import cache, cached_property
from typing import NamedTuple

import numpy as np

from bizcharts_pipeline.drift.panel import Floats, Panel, daily_means
from bizcharts_pipeline.drift.windows import Window
from bizcharts_pipeline.sentiment.evaluation import auc

KNOWN_POSTS = 2  # of the reference that have a word which counts as known
SHRINKAGE = 0.1  # of the covariance towards equal variances

CONFIDENCE, CERTAINTY, UNKNOWN = range(3)


class Shift(NamedTuple):
    """How three figures of posts moved: confidence, probability of the likeliest class, share of unknown words."""

    mean: Floats  # (3,) of the week
    beyond: Floats  # (3,) the part of it that the reference and the class mix do not explain
    daily: Floats  # (days, 3) the same by day
    n: int


class Texts:
    """Comparisons of weeks of one panel; each is made once, as an earlier week of one report is that of others."""

    def __init__(self, panel: Panel) -> None:
        """Prepare the comparisons; nothing is computed yet."""
        self.panel = panel
        self.shift = cache(self._shift)
        self.separation = cache(self._separation)

    def _shift(self, window: Window) -> Shift:
        """Return how the figures of the window's week moved."""
        panel = self.panel
        reference = panel.posts(window.reference_first, window.reference_end)
        week = panel.posts(window.first, window.end)
        known = panel.found_in(reference) >= KNOWN_POSTS
        there, now = self._figures(reference, known), self._figures(week, known)
        slopes = _regression(panel.design[reference], there)
        beyond = now - panel.design[week] @ slopes
        daily = np.column_stack([daily_means(panel, column, week) for column in beyond.T])
        return Shift(now.mean(axis=0), beyond.mean(axis=0), daily, len(now))

    def _separation(self, window: Window) -> float:
        """Return how well a linear classifier tells the week's posts from the reference's, by their words: the area
        under the ROC curve, 0.5 if it cannot.

        It is fitted on every other day and judged on the days between, and the other way round, so that what was said
        on one day only does not count.
        """
        found = [self._judged(window, learnt) for learnt in (0, 1)]
        return float(np.mean(found))

    def confidence_residuals(self, window: Window) -> tuple[list[Floats], float]:
        """Return, to measure drift, the confidences that the class mix does not explain, by day of reference and week,
        and their design effect: by how much the variance of a day's mean exceeds that of independent posts, over the
        reference."""
        panel = self.panel
        reference = panel.posts(window.reference_first, window.reference_end)
        slopes = _regression(panel.design[reference], panel.confidence[reference, None])[:, 0]
        days = [
            *range(window.reference_first, window.reference_end),
            *range(window.first, window.end),
        ]
        of_days = [panel.posts(day, day + 1) for day in days]
        values = [panel.confidence[at] - panel.design[at] @ slopes for at in of_days]
        before = [each for each in values[: window.reference_end - window.reference_first] if len(each)]
        within = float(np.concatenate(before).var())
        between = sum(len(each) * float(each.mean()) ** 2 for each in before) / max(1, len(before) - 1)
        return values, max(1.0, between / within) if within > 0 else 1.0

    def _figures(self, posts: slice, known: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Floats:
        panel = self.panel
        certainty = panel.probabilities[posts].max(axis=1)
        return np.column_stack([panel.confidence[posts], certainty, panel.unknown_share(posts, known)])

    def _judged(self, window: Window, learnt: int) -> float:
        before = self._products(learnt, window.reference_first, window.reference_end)
        week = self._products(learnt, window.first, window.end)
        if not before[0, 0] or not week[0, 0]:
            return 0.5
        slopes = np.asarray(np.linalg.lstsq(before[:3, :3], before[:3, 3:], rcond=None)[0], np.float64)
        covariance = (before[3:, 3:] - before[:3, 3:].T @ slopes) / before[0, 0]
        difference = (week[0, 3:] - week[0, :3] @ slopes) / week[0, 0]
        variance = float(np.trace(covariance)) / len(covariance)
        weights = np.linalg.solve(covariance + (SHRINKAGE * variance + 1e-12) * np.eye(len(covariance)), difference)
        return (
            auc(
                self._scores(window.first, window.end, 1 - learnt, weights, slopes),
                self._scores(window.reference_first, window.reference_end, 1 - learnt, weights, slopes),
            )
            or 0.5
        )

    def _scores(self, first: int, end: int, parity: int, weights: Floats, slopes: Floats) -> Floats:
        panel = self.panel
        posts = panel.posts(first, end)
        scores = panel.vectors[posts] @ weights - panel.design[posts] @ (slopes @ weights)
        return np.asarray(scores[panel.day_of[posts] % 2 == parity])

    def _products(self, parity: int, first: int, end: int) -> Floats:
        """Return the sums of products of 1, probabilities and vectors, over the days of one parity."""
        return np.asarray(self._cumulated[parity, end] - self._cumulated[parity, first])

    @cached_property
    def _cumulated(self) -> Floats:
        panel = self.panel
        columns = np.hstack([panel.design, panel.vectors])
        sums = np.zeros((2, panel.days + 1, columns.shape[1], columns.shape[1]), np.float64)
        for day in range(panel.days):
            of_day = columns[panel.posts(day, day + 1)]
            sums[:, day + 1] = sums[:, day]
            sums[day % 2, day + 1] += of_day.T @ of_day
        return sums


def _regression(design: Floats, values: Floats) -> Floats:
    """Return the least-squares coefficients of ``values`` (posts, figures) on ``design``."""
    return np.asarray(np.linalg.lstsq(design.T @ design, design.T @ values, rcond=None)[0])
