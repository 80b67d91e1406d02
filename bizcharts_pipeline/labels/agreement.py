"""Agreement between labellers, and of each labeller over time.

By chance alone two people agree often if one class is common, so the raw share is accompanied by Cohen's kappa (Cohen
1960), its quadratically weighted form, in which bearish against bullish counts four times as much as one step (Cohen
1968), and Gwet's AC1, which stays meaningful if one class is rare (Gwet 2008). Intervals are percentiles of a bootstrap
over the posts (95 %, seeded). If all ratings agree, the interval has no width. The kappas depend on the few posts rated
differently, so they have no interval with fewer than two such posts, or if one of the two used a single class.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.labels.ledger import Label
from bizcharts_pipeline.labels.stances import STANCES

if TYPE_CHECKING:
    import numpy as np

    Tables = np.ndarray[Any, np.dtype[np.float64]]

MIN_ITEMS = 10
MIN_DIFFERENT = 2
REPLICATES = 2000
SEED = 0
MASS = 0.95
CLASSES = len(STANCES)


@dataclass(frozen=True)
class Measure:
    """A value with its interval, or the reason why one or both are missing."""

    value: float | None
    lo: float | None
    hi: float | None
    reason: str | None = None

    def __str__(self) -> str:
        if self.value is None:
            return f"none: {self.reason}"
        interval = f"no interval: {self.reason}" if self.lo is None else f"{self.lo:.2f} to {self.hi:.2f}"
        return f"{self.value:.2f} ({interval})"


@dataclass(frozen=True)
class Agreement:
    """Agreement of two ratings of each of the same posts.

    ``table`` counts them: one row per class of the first, one column per class of the second, bearish to bullish. For
    self-agreement both names are equal, and the first rating is the earlier one.
    """

    first: str
    second: str
    items: int
    table: tuple[tuple[int, ...], ...]
    raw: Measure
    kappa: Measure
    weighted_kappa: Measure
    ac1: Measure

    def __str__(self) -> str:
        who = f"{self.first} with themselves" if self.first == self.second else f"{self.first} and {self.second}"
        lines = [
            f"{who}: {counted(self.items, 'post')}",
            f"  the same {self.raw}, kappa {self.kappa},",
            f"  weighted {self.weighted_kappa}, AC1 {self.ac1}",
            "  " + " " * 10 + "".join(f"{name:>10}" for name in STANCES),
        ]
        for name, row in zip(STANCES, self.table, strict=True):
            lines.append(f"  {name:<10}" + "".join(f"{count:>10}" for count in row))
        return "\n".join(lines)


def agreements(labels: Sequence[Label], relabelled_after: timedelta) -> list[Agreement]:
    """Return the agreement of each two labellers who share posts, and the self-agreement of each who relabelled
    posts.
    """
    return between_labellers(labels) + self_agreements(labels, relabelled_after)


def between_labellers(labels: Iterable[Label]) -> list[Agreement]:
    """Compare the newest ratings of each two labellers on the posts that both have rated, if any."""
    ratings: dict[str, dict[int, int]] = defaultdict(dict)
    for label in newest(labels):
        if label.sentiment_rating is not None:
            ratings[label.labeler_id][label.thread_id] = label.sentiment_rating
    found = []
    for one, other in combinations(sorted(ratings), 2):
        shared = sorted(ratings[one].keys() & ratings[other].keys())
        if shared:
            found.append(measured(one, other, [(ratings[one][post], ratings[other][post]) for post in shared]))
    return found


def self_agreements(labels: Iterable[Label], apart: timedelta) -> list[Agreement]:
    """Compare each labeller's successive ratings of a post at least ``apart`` in time; closer ones are corrections."""
    of_post: dict[tuple[str, int], list[Label]] = defaultdict(list)
    for label in sorted(labels, key=lambda label: label.labeled_at):
        if label.sentiment_rating is not None:
            of_post[label.labeler_id, label.thread_id].append(label)
    pairs: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for (labeller, _), ratings in sorted(of_post.items()):
        for earlier, later in pairwise(ratings):
            if later.labeled_at - earlier.labeled_at >= apart and earlier.labeled_at != later.labeled_at:
                assert earlier.sentiment_rating is not None
                assert later.sentiment_rating is not None
                pairs[labeller].append((earlier.sentiment_rating, later.sentiment_rating))
    return [measured(labeller, labeller, pairs[labeller]) for labeller in sorted(pairs)]


def newest(labels: Iterable[Label]) -> list[Label]:
    """Return each labeller's newest label of each post, as the label ledger does: at equal times the later one in
    order.
    """
    found: dict[tuple[int, str], Label] = {}
    for label in labels:
        key = label.thread_id, label.labeler_id
        if key not in found or label.labeled_at >= found[key].labeled_at:
            found[key] = label
    return [found[key] for key in sorted(found)]


def measured(first: str, second: str, pairs: Sequence[tuple[int, int]], seed: int = SEED) -> Agreement:
    """Return all measures of agreement between two labellers, whose ratings, 1 to 3, are the ``pairs`` of (first,
    second).
    """
    import numpy as np

    counts = np.zeros((CLASSES, CLASSES))
    for one, other in pairs:
        counts[one - 1, other - 1] += 1
    table = tuple(tuple(int(count) for count in row) for row in counts)
    if len(pairs) < MIN_ITEMS:
        none = Measure(None, None, None, f"fewer than {MIN_ITEMS} posts")
        return Agreement(first, second, len(pairs), table, none, none, none, none)
    drawn = np.random.default_rng(seed).multinomial(len(pairs), counts.ravel() / len(pairs), size=REPLICATES)
    samples = drawn.reshape(-1, CLASSES, CLASSES).astype(np.float64)
    raw, kappa, weighted, ac1 = (
        _measure(of, counts, samples) for of in (_raw_agreement, _cohen_kappa, _weighted_kappa, _gwet_ac1)
    )
    if doubt := _no_interval(counts):
        kappa, weighted = (
            Measure(each.value, None, None, doubt) if each.value is not None else each for each in (kappa, weighted)
        )
    return Agreement(first, second, len(pairs), table, raw, kappa, weighted, ac1)


def cohen_kappa(one: Sequence[int], other: Sequence[int]) -> float | None:
    """Return Cohen's kappa of two labellers' classes (any integers) of the same items.

    ``None`` without items, or if both raters used one and the same class only.
    """
    count = len(one)
    ones, others = Counter(one), Counter(other)
    observed = sum(a == b for a, b in zip(one, other, strict=True)) * count
    expected = sum(ones[name] * others[name] for name in ones)
    return (observed - expected) / (count**2 - expected) if count**2 > expected else None


def _raw_agreement(tables: "Tables") -> "Tables":
    """Return the share of equal ratings for each of ``tables`` (…, classes, classes), like the other measures."""
    result: Tables = tables.trace(axis1=-2, axis2=-1) / tables.sum(axis=(-2, -1))
    return result


def _cohen_kappa(tables: "Tables") -> "Tables":
    """Return Cohen's kappa; NaN if both raters used one and the same class only."""
    import numpy as np

    return _kappa(tables, 1 - np.eye(CLASSES))


def _weighted_kappa(tables: "Tables") -> "Tables":
    """Return Cohen's kappa with quadratic weights; NaN if both raters used one and the same class only."""
    import numpy as np

    step = np.subtract.outer(np.arange(CLASSES), np.arange(CLASSES)).astype(np.float64)
    return _kappa(tables, step**2)


def _gwet_ac1(tables: "Tables") -> "Tables":
    """Return Gwet's AC1: chance is the sum of pi (1 - pi) / (classes - 1), pi being a class's mean share of both
    raters.
    """
    total = tables.sum(axis=(-2, -1))
    share = (tables.sum(axis=-1) + tables.sum(axis=-2)) / (2 * total[..., None])
    chance = (share * (1 - share)).sum(axis=-1) / (CLASSES - 1)
    result: Tables = (_raw_agreement(tables) - chance) / (1 - chance)
    return result


def _kappa(tables: "Tables", weights: "Tables") -> "Tables":
    import numpy as np

    total = tables.sum(axis=(-2, -1))
    observed = (tables * weights).sum(axis=(-2, -1)) / total
    by_chance = tables.sum(axis=-1)[..., :, None] * tables.sum(axis=-2)[..., None, :]
    expected = (by_chance * weights).sum(axis=(-2, -1)) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Tables = np.where(expected > 0, 1 - observed / expected, np.nan)
    return result


def _no_interval(counts: "Tables") -> str | None:
    """Return why a bootstrap interval of a kappa would be meaningless; ``None`` if it is not."""
    if counts.sum() - counts.trace() < MIN_DIFFERENT:
        return f"fewer than {MIN_DIFFERENT} posts rated differently"
    constant = 1 in ((counts.sum(axis=0) > 0).sum(), (counts.sum(axis=1) > 0).sum())
    return "one of the two used one class only" if constant else None


def _measure(of: Callable[["Tables"], "Tables"], counts: "Tables", samples: "Tables") -> Measure:
    import numpy as np

    value = float(of(counts[None])[0])
    if np.isnan(value):
        return Measure(None, None, None, "one class only")
    tail = (1 - MASS) / 2
    lo, hi = np.nanquantile(of(samples), [tail, 1 - tail])  # NaN: a sample with one class only
    return Measure(value, float(lo), float(hi))
