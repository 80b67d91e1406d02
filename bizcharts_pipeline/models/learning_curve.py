"""Learning curve of a text model: its metrics on held-out posts, by the number of labels that it was trained on.

Models are trained on nested parts of the labelled posts and predict the posts of the other folds. The curve that is
fitted to the metrics is that of labels/worth.py, which extrapolates it.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.labels.worth import growth
from bizcharts_pipeline.models.estimate import folds
from bizcharts_pipeline.models.metrics import CLASSES, accuracy, macro_f1
from bizcharts_pipeline.training.recipe import Recipe, TextExample, TrainingError
from bizcharts_pipeline.training.text_set import TextSet
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.learning_curves import CurvePoint, LearningCurve, append_curve, curve_of

if TYPE_CHECKING:
    import numpy as np

    from bizcharts_pipeline.training.recipes.fitting import Train

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Classes = np.ndarray[Any, np.dtype[np.int8]]

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)  # of the posts that are not held out
REPEATS = 5  # of the cross-validation
POSTS_OF_ALL_REPEATS = 4_000  # with more posts there are fewer repeats, at least one
MIN_OF_A_CLASS = 30  # different posts: three or more are in the smallest part
REPLICATES = 1_000


class TooFewLabels(TrainingError):
    """There are too few labelled posts for a learning curve."""


class RepeatableRecipe(Recipe, Protocol):
    """A recipe whose models can be trained many times without encoding a post twice."""

    def trainer(self) -> "Train":
        """Return a training function for a learning curve, which encodes each post once."""
        ...


@dataclass(frozen=True)
class Trials:
    """The classes that models trained on parts of the posts predict for posts that they did not see."""

    sizes: tuple[float, ...]  # mean number of training posts
    predicted: "Classes"  # (repeats, sizes, posts)


def update_learning_curve(
    database: Database, recipe: RepeatableRecipe, text_set: TextSet, seed: int, now: datetime
) -> LearningCurve:
    """Return the learning curve of a recipe on the current labels; measure and store it if they have none yet.

    Raises:
        TooFewLabels: a class has too few different posts.
        BaseMissing: the encoder is not on this machine.
    """
    identity = _identity(recipe)
    with database.read() as connection:
        known = curve_of(connection, text_set.dataset_version, identity)
    if known:
        return known
    examples = text_set.examples
    _check(examples)
    repeats = max(1, min(REPEATS, POSTS_OF_ALL_REPEATS // len(examples)))
    trials = try_sizes(recipe.trainer(), examples, seed, repeats)
    fitted = fit_curve(trials, [each.label for each in examples], [each.group for each in examples], seed)
    curve = LearningCurve(text_set.dataset_version, recipe.kind, identity, len(examples), repeats, *fitted, now)
    with database.write() as connection:
        append_curve(connection, curve)
    return curve


def try_sizes(train: "Train", examples: Sequence[TextExample], seed: int, repeats: int = REPEATS) -> Trials:
    """Train a text model on nested parts of each fold's posts, for its learning curve; each post is predicted once for
    each repeat and size.

    Near-duplicates are on one side of a fold. Every part has about the class shares of the whole.
    """
    import numpy as np

    predicted = np.zeros((repeats, len(SHARES), len(examples)), np.int8)
    trained: list[list[int]] = [[] for _ in SHARES]
    for repeat in range(repeats):
        for fold, (known, test) in enumerate(folds(examples, seed + repeat)):
            order = _in_class_shares(examples, known, np.random.default_rng([seed, repeat, fold]))
            posts = [examples[i].post for i in test]
            for size, share in enumerate(SHARES):
                part = order[: round(share * len(order))]
                trained[size].append(len(part))
                model = train([examples[i] for i in part])
                predicted[repeat, size, test] = model.log_probabilities(posts).argmax(axis=1)
    return Trials(tuple(float(np.mean(counts)) for counts in trained), predicted)


def fit_curve(
    trials: Trials, truth: Sequence[int], groups: Sequence[int], seed: int
) -> tuple[tuple[CurvePoint, ...], float, float, float, float]:
    """Return the points of a model's learning curve, and what twice the labels add, with its standard deviation: to
    accuracy, to macro-F1.

    The deviations are from a bootstrap over repeats and over groups of near-duplicates.
    """
    import numpy as np

    counts = _confusions(trials, truth, groups)  # (groups, repeats, sizes, 9)
    n, repeats, sizes = counts.shape[:3]
    rng = np.random.default_rng(seed)
    of_groups = rng.multinomial(n, np.full(n, 1 / n), REPLICATES)
    of_repeats = rng.multinomial(repeats, np.full(repeats, 1 / repeats), REPLICATES)
    drawn = (of_groups @ counts.reshape(n, -1)).reshape(REPLICATES, repeats, -1)
    tables = np.einsum("brx,br->bx", drawn, of_repeats).reshape(-1, CLASSES, CLASSES)
    found = counts.sum(axis=(0, 1)).reshape(-1, CLASSES, CLASSES)
    x = np.array([growth(size / len(truth)) for size in trials.sizes])

    def doubled(metric: "Callable[[Array], Array]") -> tuple[float, float]:
        replicates = _slope(x, metric(tables).reshape(REPLICATES, sizes))
        return float(_slope(x, metric(found))), float(np.std(replicates))

    measured = zip(trials.sizes, accuracy(found).tolist(), macro_f1(found).tolist(), strict=True)
    return tuple(CurvePoint(*each) for each in measured), *doubled(accuracy), *doubled(macro_f1)


def _confusions(trials: Trials, truth: Sequence[int], groups: Sequence[int]) -> "Array":
    """Return the confusion matrix of each group, repeat and size: (groups, repeats, sizes, 9)."""
    import numpy as np

    names, of = np.unique(np.asarray(groups), return_inverse=True)
    repeats, sizes, posts = trials.predicted.shape
    counts = np.zeros((len(names), repeats, sizes, CLASSES * CLASSES))
    cells = np.asarray(truth)[:, None, None] * CLASSES + trials.predicted.transpose(2, 0, 1)
    place = np.broadcast_to(of[:, None, None], (posts, repeats, sizes))
    np.add.at(counts, (place, np.arange(repeats)[:, None], np.arange(sizes), cells), 1)
    return counts


def _slope(x: "Array", y: "Array") -> "Array":
    """Return the least-squares slope of ``y`` (…, points) over ``x`` (points,)."""
    centred = x - x.mean()
    slope: Array = y @ centred / (centred @ centred)
    return slope


def _in_class_shares(examples: Sequence[TextExample], places: Sequence[int], rng: "np.random.Generator") -> list[int]:
    """Return ``places`` in a random order of whole groups whose beginnings all have about the same class shares."""
    members: dict[int, list[int]] = {}
    for place in places:
        members.setdefault(examples[place].group, []).append(place)
    rank: dict[int, float] = {}
    for label in range(CLASSES):
        groups = [group for group, of in members.items() if examples[of[0]].label == label]
        for position, chosen in enumerate(rng.permutation(len(groups)).tolist()):
            rank[groups[chosen]] = (position + 0.5) / len(groups)
    return [place for group in sorted(members, key=lambda group: (rank[group], group)) for place in members[group]]


def _identity(recipe: Recipe) -> str:
    parts = [recipe.kind, recipe.code_version, recipe.base_model, recipe.base_revision, dict(recipe.settings)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=dict).encode()).hexdigest()[:12]


def _check(examples: Sequence[TextExample]) -> None:
    for label, name in enumerate(STANCES):
        different = len({example.group for example in examples if example.label == label})
        if different < MIN_OF_A_CLASS:
            raise TooFewLabels(
                f"A learning curve needs {MIN_OF_A_CLASS} different posts of each class; {different} are {name}. "
                "Label more and run again."
            )
